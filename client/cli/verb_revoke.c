/* SPDX-License-Identifier: Apache-2.0 */
/* A ticket is taken back: what only it held is freed. */
#include "command.h"
#include "ticket_file.h"

static int revoke_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {COMMAND_OPTIONS};
	shmb_session *session;
	shmb_ticket ticket;
	int result, status;

	if (command_next_option(command, argc, argv, ":h", options) != -1)
		return command->status;
	if (argc - optind != 1)
		return report_usage("revoke", "say where the ticket is: one file, or - for standard input");
	status = ticket_file_read("revoke", argv[optind], &ticket);
	if (status == EXIT_DONE)
		status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	result = shmb_revoke(session, ticket);
	if (result < 0)
		status = report_failure("revoke", result, "the ticket");
	shmb_close(session);
	return status;
}

const struct verb verb_revoke = {
	.name = "revoke",
	.synopsis = "FROM",
	.summary = "take a ticket back",
	.help = "Takes back the ticket in the file FROM, or on standard input where that is -:\n"
			"nobody can use it any more, and its block is freed where nothing else holds it.\n"
			"For tickets that you made; root may take back any. A ticket is no argument, for\n"
			"everybody sees those.\n",
	.run = revoke_run,
};
