/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "age.h"
#include "listing.h"
#include "user.h"

enum column {
	NAME,
	BLOCK,
	OFFSET,
	SIZE,
	USER,
	UID,
	AGE,
	COLUMN_COUNT,
};

static const struct table_column columns[COLUMN_COUNT] = {
	[NAME] = {"NAME", TABLE_TEXT, false, "the name"},
	[BLOCK] = {"BLOCK", TABLE_NUMBER, false, "id of its block"},
	[OFFSET] = {"OFFSET", TABLE_NUMBER, true, "where it starts in the block"},
	[SIZE] = {"SIZE", TABLE_NUMBER, false, "bytes that it stands for"},
	[USER] = {"USER", TABLE_TEXT, false, "user that published it"},
	[UID] = {"UID", TABLE_NUMBER, true, "the same as a number"},
	[AGE] = {"AGE", TABLE_NUMBER, false, "since it was published"},
};

enum {
	NAMES_WAIT = TABLE_FIRST_FREE,
	NAMES_TIMEOUT,
};

/* How long --wait waits where --timeout does not say. */
#define TIMEOUT_MS 30000

/* --wait: the only one that is listed; NULL: all are. */
static const char *awaited;
static uint32_t timeout_ms = TIMEOUT_MS;

/* The session holds its block from then on, so that it can be listed. */
static int await(shmb_session *session)
{
	shmb_block block;
	int result = awaited ? shmb_lookup_wait(session, awaited, timeout_ms, &block) : 0;

	return result < 0 ? report_failure("names", result, "waiting for '%s'", awaited) : EXIT_DONE;
}

static int fill(shmb_session *session, struct table *table)
{
	uint64_t now = command_now_ns();
	shmb_name_info *names;
	size_t count;
	int result, status = await(session);

	if (status != EXIT_DONE)
		return status;
	result = shmb_list_names(session, &names, &count);
	if (result < 0)
		return report_failure("names", result, "cannot read the names");
	for (size_t i = 0; i < count; i++) {
		const shmb_name_info *name = &names[i];

		if (awaited && strcmp(name->name, awaited) != 0)
			continue;
		table_line(table);
		table_text(table, NAME, name->name);
		table_number(table, BLOCK, name->block, NULL);
		table_size(table, OFFSET, name->offset);
		table_size(table, SIZE, name->length);
		table_text(table, USER, user_name(name->uid));
		table_number(table, UID, name->uid, NULL);
		table_age(table, AGE, age_between(name->created_ns, now));
	}
	free(names);
	return EXIT_DONE;
}

static const struct listing listing = {"names", columns, COLUMN_COUNT, fill};

static int names_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {TABLE_OPTIONS,
	                                        {"wait", required_argument, NULL, NAMES_WAIT},
	                                        {"timeout", required_argument, NULL, NAMES_TIMEOUT},
	                                        COMMAND_OPTIONS};
	struct table_view view = {0};
	bool timed = false;
	int option, status = EXIT_DONE;

	while ((option = command_next_option(command, argc, argv, ":o:h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == NAMES_WAIT) {
			awaited = optarg;
		} else if (option == NAMES_TIMEOUT) {
			timed = true;
			status = command_wait(command, "timeout", optarg, &timeout_ms);
		} else {
			table_option(&view, option);
		}
		if (status != EXIT_DONE)
			return status;
	}
	if (optind < argc)
		return report_usage("names", "it takes no operands");
	if (timed && !awaited)
		return report_usage("names", "--timeout is for --wait");
	if (awaited && command->offline)
		return report_usage("names", "--wait needs the daemon, which --offline does without");
	return listing_show(&listing, command, &view);
}

const struct verb verb_names = {
	.name = "names",
	.synopsis = "[--wait NAME [--timeout T]] " LISTING_SYNOPSIS,
	.summary = "list the names",
	.help = "Lists the published names. With --wait lists one alone, as soon as it is\n"
			"published; where that takes longer than the timeout, it is an error.\n"
			"\n"
			"      --wait NAME     wait for this name, and list no other\n"
			"      --timeout T     for so long, such as 500ms or 1m; default: 30s\n",
	.listing = &listing,
	.offline = true,
	.run = names_run,
};
