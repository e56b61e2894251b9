/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "command.h"

enum {
	FREE_NAME = COMMAND_FIRST_FREE,
};

static int free_block(shmb_session *session, uint64_t id)
{
	int result = shmb_remove(session, id), status;

	if (result == 0)
		return EXIT_DONE;
	status = report_failure("free", result, "block %" PRIu64, id);
	if (result == -SHMB_E_IN_USE)
		report_remedy("`shmbuddy show %" PRIu64 "` says who holds it", id);
	return status;
}

static int free_name(shmb_session *session, const char *name)
{
	int result = shmb_unpublish(session, name);

	if (result == 0)
		return EXIT_DONE;
	return report_failure("free", result, "name '%s'", name);
}

static int free_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, FREE_NAME}, COMMAND_OPTIONS};
	shmb_session *session;
	const char *name = NULL;
	int option, status;
	uint64_t id = 0;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option != FREE_NAME)
			return command->status;
		name = optarg;
	}
	if (argc - optind != (name ? 0 : 1))
		return report_usage("free", "say what: either one block's id, or --name and a name");
	if (name == NULL) {
		status = command_block_id(command, argv[optind], &id);
		if (status != EXIT_DONE)
			return status;
	}
	status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	status = name ? free_name(session, name) : free_block(session, id);
	shmb_close(session);
	return status;
}

const struct verb verb_free = {
	.name = "free",
	.synopsis = "BLOCK | --name N",
	.summary = "free a block, or take a name away",
	.help = "Frees a block with all its names, where nothing but names that you published,\n"
			"or the time to live that you gave it, hold it. With --name takes that one name away; its block is freed where "
			"nothing\n"
			"else holds it. More than 64 names of a block, and then the block, go a moment later.\n"
			"\n"
			"      --name N        take this name away\n",
	.run = free_run,
};
