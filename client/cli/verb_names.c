/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

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

static int fill(shmb_session *session, struct table *table)
{
	uint64_t now = command_now_ns();
	shmb_name_info *names;
	size_t count;
	int result = shmb_list_names(session, &names, &count);

	if (result < 0)
		return report_failure("names", result, "cannot read the names");
	for (size_t i = 0; i < count; i++) {
		const shmb_name_info *name = &names[i];

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
	return listing_run(&listing, command, argc, argv);
}

const struct verb verb_names = {
	.name = "names",
	.synopsis = LISTING_SYNOPSIS,
	.summary = "list the names",
	.help = "Lists the published names.\n",
	.listing = &listing,
	.offline = true,
	.run = names_run,
};
