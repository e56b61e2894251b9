/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name for a block that is there. Who publishes a block must hold it: this command takes hold of it for that long, so that it cannot
 * go in between.
 */
#include <inttypes.h>

#include "command.h"
#include "size.h"

enum {
	NAME_REPLACE = COMMAND_FIRST_FREE,
	NAME_OFFSET,
	NAME_LENGTH,
};

static int publish(shmb_session *session, const shmb_block *block, const char *name, const shmb_publish_options *options)
{
	int result = shmb_publish_with(session, block->handle, name, options), status;

	if (result == 0)
		return EXIT_DONE;
	status = report_failure("name", result, "name '%s' for block %" PRIu64, name, block->handle.id);
	if (result == -SHMB_E_NAME_TAKEN)
		report_remedy("try: another name, --replace, or `shmbuddy free --name '%s'` first", name);
	return status;
}

static int name_block(shmb_session *session, uint64_t id, const char *name, const shmb_publish_options *options)
{
	shmb_block_info info = {0};
	shmb_block block = {0};
	int result = shmb_find_block(session, id, &info);

	if (result == 0)
		result = shmb_acquire(session, info.handle, &block);
	if (result < 0)
		return report_failure("name", result, "block %" PRIu64, id);
	return publish(session, &block, name, options); /* closing the session gives the reference back */
}

/* Where a range starts: a size, or 0. */
static int read_offset(struct command *command, const char *text, uint64_t *out_offset)
{
	if (size_parse(text, out_offset) == 0)
		return EXIT_DONE;
	return command_size(command, "offset", text, out_offset); /* which says what is wrong with it */
}

static int name_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"replace", no_argument, NULL, NAME_REPLACE},
	                                        {"offset", required_argument, NULL, NAME_OFFSET},
	                                        {"length", required_argument, NULL, NAME_LENGTH},
	                                        COMMAND_OPTIONS};
	shmb_publish_options wanted = {0};
	shmb_session *session;
	int option, status = EXIT_DONE;
	uint64_t id = 0;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == NAME_REPLACE)
			wanted.replace = true;
		else if (option == NAME_OFFSET)
			status = read_offset(command, optarg, &wanted.offset);
		else
			status = command_size(command, "length", optarg, &wanted.length);
		if (status != EXIT_DONE)
			return status;
	}
	if (argc - optind != 2)
		return report_usage("name", "say which block, by its id, and a name for it");
	status = command_block_id(command, argv[optind], &id);
	if (status != EXIT_DONE)
		return status;
	status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	status = name_block(session, id, argv[optind + 1], &wanted);
	shmb_close(session);
	return status;
}

const struct verb verb_name = {
	.name = "name",
	.synopsis = "BLOCK NAME [--replace] [--offset SIZE] [--length SIZE]",
	.summary = "give a block, or a range of it, a name",
	.help = "Gives a block one name more, which holds it from then on, until `shmbuddy free\n"
			"--name NAME`. BLOCK is an id as `shmbuddy ls` shows it. With --offset or --length\n"
			"the name stands for a range of the block: `shmbuddy get` gets that range.\n"
			"\n"
			"      --replace       even if the name stands for another block, in one step;\n"
			"                      only for who published it, and root\n"
			"      --offset SIZE   where the range starts in the block; else at its start\n"
			"      --length SIZE   how long it is; else it goes to the end of the block\n",
	.run = name_run,
};
