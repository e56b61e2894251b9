/* SPDX-License-Identifier: Apache-2.0 */
/* A ticket for a block. This command holds the block only while it makes it; the ticket holds it from then on. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "json.h"
#include "user.h"

enum {
	SHARE_NAME = COMMAND_FIRST_FREE,
	SHARE_TTL,
	SHARE_USER,
};

/* Takes hold of what is to be shared, by name or by id. */
static int take_hold(shmb_session *session, const char *name, uint64_t id, shmb_block *out_block)
{
	shmb_block_info info;
	int result;

	if (name) {
		result = shmb_lookup(session, name, out_block);
		return result == 0 ? EXIT_DONE : report_failure("share", result, "name '%s'", name);
	}
	result = shmb_find_block(session, id, &info);
	if (result == 0)
		result = shmb_acquire(session, info.handle, out_block);
	return result == 0 ? EXIT_DONE : report_failure("share", result, "block %" PRIu64, id);
}

static int share(shmb_session *session, const char *name, uint64_t id, const shmb_share_options *options, bool as_json)
{
	char text[SHMB_TICKET_TEXT_MAX];
	struct json json = JSON_INIT;
	shmb_ticket ticket;
	shmb_block block = {0};
	int status = take_hold(session, name, id, &block), result;

	if (status != EXIT_DONE)
		return status;
	result = shmb_share(session, block.handle, options, &ticket);
	if (result < 0)
		return report_failure("share", result, "block %" PRIu64, block.handle.id);
	shmb_ticket_format(ticket, text);
	if (!as_json) {
		puts(text);
		return EXIT_DONE;
	}
	json_open(&json, NULL, '{');
	json_text(&json, "ticket", text);
	json_number(&json, "id", block.handle.id);
	json_number(&json, "size", block.size);
	json_decimal(&json, "expires", (double)(options->ttl_ms ? options->ttl_ms : SHMB_TICKET_TTL_MS) / 1e3);
	json_close(&json, '}');
	return EXIT_DONE;
}

static int read_option(struct command *command, int option, const char **name, shmb_share_options *options, bool *json)
{
	int status = EXIT_DONE;

	if (option == SHARE_NAME) {
		*name = optarg;
	} else if (option == SHARE_TTL) {
		status = command_ttl(command, false, optarg, &options->ttl_ms);
	} else if (option == SHARE_USER) {
		options->bound = true;
		if (user_find(optarg, &options->uid) < 0)
			status = report_usage("share", "there is no user '%s': say a name or a number", optarg);
	} else {
		*json = true;
	}
	return status;
}

static int share_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, SHARE_NAME},
	                                        {"ttl", required_argument, NULL, SHARE_TTL},
	                                        {"uid", required_argument, NULL, SHARE_USER},
	                                        {"json", no_argument, NULL, COMMAND_JSON},
	                                        COMMAND_OPTIONS};
	shmb_share_options wanted = {0};
	shmb_session *session;
	const char *name = NULL;
	bool json = false;
	int option, status;
	uint64_t id = 0;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		status = read_option(command, option, &name, &wanted, &json);
		if (status != EXIT_DONE)
			return status;
	}
	if (argc - optind != (name ? 0 : 1))
		return report_usage("share", "say what: either one block's id, or --name and a name");
	if (name == NULL) {
		status = command_block_id(command, argv[optind], &id);
		if (status != EXIT_DONE)
			return status;
	}
	status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	status = share(session, name, id, &wanted, json);
	shmb_close(session);
	return status;
}

const struct verb verb_share = {
	.name = "share",
	.synopsis = "BLOCK | --name N [--ttl TIME] [--uid USER] [--json]",
	.summary = "make a ticket: whoever has it gets the block",
	.help = "Makes a ticket for a block and prints it. The ticket holds the block, also when\n"
			"its names go, until somebody uses it with `shmbuddy get --ticket`, once, or it\n"
			"expires. Whoever has it gets the block: hand it on by a pipe or a file.\n"
			"\n"
			"      --name N        the block of this name, in place of an id\n"
			"      --ttl TIME      it expires after this, such as 500ms, 10m or 12h; up to 720h\n"
			"                      (30 days); 1m unless given\n"
			"      --uid USER      only this user, a name or a number, may use it\n"
			"      --json          print JSON\n",
	.run = share_run,
};
