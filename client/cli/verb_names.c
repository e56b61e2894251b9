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
	[NAME] = {"NAME", TABLE_TEXT, TABLE_ALWAYS, "the name"},
	[BLOCK] = {"BLOCK", TABLE_NUMBER, TABLE_ALWAYS, "id of its block"},
	[OFFSET] = {"OFFSET", TABLE_NUMBER, TABLE_ON_WISH, "where it starts in the block"},
	[SIZE] = {"SIZE", TABLE_NUMBER, TABLE_ALWAYS, "bytes that it stands for"},
	[USER] = {"USER", TABLE_TEXT, TABLE_ALWAYS, "user that published it"},
	[UID] = {"UID", TABLE_NUMBER, TABLE_ON_WISH, "the same as a number"},
	[AGE] = {"AGE", TABLE_NUMBER, TABLE_ALWAYS, "since it was published"},
};

enum {
	NAMES_WAIT = TABLE_FIRST_FREE,
	NAMES_TIMEOUT,
	NAMES_PREFIX,
};

/* How long --wait waits where --timeout does not say. */
#define TIMEOUT_MS 30000

/* Which names the reader wants. */
struct wish {
	shmb_name_filter filter;
	const char *awaited; /* --wait: the only one that is listed; NULL: all are */
	uint32_t timeout_ms;
};

/* The session holds its block from then on, so that it can be listed. */
static int await(shmb_session *session, const struct wish *wish)
{
	shmb_block block;
	int result = wish->awaited ? shmb_lookup_wait(session, wish->awaited, wish->timeout_ms, &block) : 0;

	return result < 0 ? report_failure("names", result, "waiting for '%s'", wish->awaited) : EXIT_DONE;
}

static int report_none(const shmb_name_filter *filter)
{
	if (filter->prefix && filter->pattern)
		report("names", "no name that starts with '%s' matches '%s'", filter->prefix, filter->pattern);
	else if (filter->prefix)
		report("names", "no name starts with '%s'", filter->prefix);
	else
		report("names", "no name matches '%s'", filter->pattern);
	report_remedy("`shmbuddy names` lists the names there are");
	return EXIT_REFUSED;
}

static int fill(shmb_session *session, struct table *table, const void *wish)
{
	const struct wish *names_wish = wish;
	const shmb_name_filter *filter = &names_wish->filter;
	uint64_t now = command_now_ns();
	shmb_name_info *names;
	size_t count;
	int result, status = await(session, names_wish);

	if (status != EXIT_DONE)
		return status;
	result = shmb_match_names(session, filter, &names, &count);
	if (result < 0)
		return report_failure("names", result, "cannot read the names");
	if (count == 0 && (filter->prefix || filter->pattern)) {
		free(names);
		return report_none(filter);
	}
	for (size_t i = 0; i < count; i++) {
		const shmb_name_info *name = &names[i];

		if (names_wish->awaited && strcmp(name->name, names_wish->awaited) != 0)
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
	                                        {"prefix", required_argument, NULL, NAMES_PREFIX},
	                                        COMMAND_OPTIONS};
	struct wish wish = {.timeout_ms = TIMEOUT_MS};
	struct table_view view = {0};
	bool timed = false;
	int option, status = EXIT_DONE;

	while ((option = command_next_option(command, argc, argv, ":o:h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == NAMES_WAIT) {
			wish.awaited = optarg;
		} else if (option == NAMES_TIMEOUT) {
			timed = true;
			status = command_wait(command, "timeout", optarg, &wish.timeout_ms);
		} else if (option == NAMES_PREFIX) {
			wish.filter.prefix = optarg;
		} else {
			table_option(&view, option);
		}
		if (status != EXIT_DONE)
			return status;
	}
	if (argc - optind > 1)
		return report_usage("names", "it takes one pattern: in quotes, or else the shell takes it for files");
	wish.filter.pattern = argv[optind]; /* or NULL, at the end */
	if (timed && !wish.awaited)
		return report_usage("names", "--timeout is for --wait");
	if (wish.awaited && (wish.filter.pattern || wish.filter.prefix))
		return report_usage("names", "--wait waits for one name: leave out pattern and prefix");
	if (wish.awaited && command->offline)
		return report_usage("names", "--wait needs the daemon, which --offline does without");
	return listing_show(&listing, command, &view, &wish);
}

const struct verb verb_names = {
	.name = "names",
	.synopsis = "[PATTERN] [--prefix P] [--wait NAME [--timeout T]] " LISTING_SYNOPSIS,
	.summary = "list the names",
	.help = "Lists the published names: all, those that match PATTERN as a whole (* any\n"
			"characters, ? one, [a-z] one of these, \\ takes the next as it is; in quotes, so\n"
			"that the shell leaves it alone), or those that start with P. Where there are none\n"
			"of those it says so, and the exit status is 1. With --wait lists one alone, as\n"
			"soon as it is published; where that takes longer than the timeout, it is an error.\n"
			"\n"
			"      --prefix P      only names that start with P\n"
			"      --wait NAME     wait for this name, and list no other\n"
			"      --timeout T     for so long, such as 500ms or 1m, up to 1000h; default: 30s\n",
	.listing = &listing,
	.offline = true,
	.run = names_run,
};
