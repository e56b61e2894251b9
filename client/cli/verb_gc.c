/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "command.h"
#include "json.h"

static void print_json(const shmb_collection *collection)
{
	struct json json = JSON_INIT;

	json_open(&json, NULL, '{');
	json_number(&json, "freed", collection->freed);
	json_number(&json, "freed_bytes", collection->freed_bytes);
	json_number(&json, "marked", collection->marked);
	json_number(&json, "slices", collection->slices);
	json_number(&json, "longest_slice_us", collection->longest_us);
	json_number(&json, "duration_us", collection->duration_us);
	json_close(&json, '}');
}

static void print_text(const struct command *command, const shmb_collection *collection)
{
	char size[COMMAND_SIZE_MAX];

	printf("freed       %" PRIu64 " %s, %s\n", collection->freed, collection->freed == 1 ? "block" : "blocks",
	       command_format_size(command, collection->freed_bytes, size));
	printf("kept        %" PRIu64 " with links\n", collection->marked);
	printf("took        %" PRIu64 " us in %" PRIu64 " %s, the longest %" PRIu64 " us\n", collection->duration_us,
	       collection->slices, collection->slices == 1 ? "slice" : "slices", collection->longest_us);
}

static int gc_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, COMMAND_JSON}, COMMAND_OPTIONS};
	shmb_collection collection;
	shmb_session *session;
	bool json = false;
	int option, status;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option != COMMAND_JSON)
			return command->status;
		json = true;
	}
	if (optind < argc)
		return report_usage("gc", "it takes no operands");
	status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	int result = shmb_collect(session, &collection);
	if (result < 0)
		status = report_failure("gc", result, "nothing was collected");
	else if (json)
		print_json(&collection);
	else
		print_text(command, &collection);
	shmb_close(session);
	return status;
}

const struct verb verb_gc = {
	.name = "gc",
	.synopsis = "[--json]",
	.summary = "free blocks that only circles of links hold",
	.help = "Has the daemon look for blocks that hold each other by links and that nothing\n"
			"else holds, and free them; it does so by itself, too, a second or more after they\n"
			"were left, and before it refuses an allocation. Says how many there were, how\n"
			"many blocks with links are held, and how long it took: in slices, between which\n"
			"the daemon answers others.\n"
			"\n"
			"      --json          print JSON\n",
	.run = gc_run,
};
