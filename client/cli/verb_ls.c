/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "age.h"
#include "listing.h"
#include "name_list.h"
#include "user.h"

enum column {
	ID,
	OFFSET,
	SIZE,
	GRANTED,
	OWNER,
	USER,
	UID,
	AGE,
	KIND,
	TAG,
	NAME,
	NAMES,
	COLUMN_COUNT,
};

static const struct table_column columns[COLUMN_COUNT] = {
	[ID] = {"ID", TABLE_NUMBER, TABLE_ALWAYS, "the block's id"},
	[OFFSET] = {"OFFSET", TABLE_NUMBER, TABLE_ALWAYS, "where it starts in the segment"},
	[SIZE] = {"SIZE", TABLE_NUMBER, TABLE_ALWAYS, "bytes asked for"},
	[GRANTED] = {"GRANTED", TABLE_NUMBER, TABLE_ALWAYS, "bytes set aside"},
	[OWNER] = {"OWNER", TABLE_NUMBER, TABLE_ALWAYS, "session that allocated it and holds it"},
	[USER] = {"USER", TABLE_TEXT, TABLE_ALWAYS, "user that allocated it"},
	[UID] = {"UID", TABLE_NUMBER, TABLE_ON_WISH, "the same as a number"},
	[AGE] = {"AGE", TABLE_NUMBER, TABLE_ALWAYS, "since it was allocated"},
	[KIND] = {"KIND", TABLE_TEXT, TABLE_ON_WISH, "sealed, cached, or neither"},
	[TAG] = {"TAG", TABLE_TEXT, TABLE_ALWAYS, "its label"},
	[NAME] = {"NAME", TABLE_TEXT, TABLE_ALWAYS, "its first name, with [from+size] of a range, and how many more"},
	[NAMES] = {"NAMES", TABLE_NUMBER, TABLE_ON_WISH, "how many names it has"},
};

/* For people; JSON has the bare name, and `names` and `show` all about it. */
static void describe_names(const struct table *table, const shmb_name_info *name, size_t count, const shmb_block_info *block,
                           size_t capacity, char *out_text)
{
	char from[COMMAND_SIZE_MAX], size[COMMAND_SIZE_MAX], range[2 * COMMAND_SIZE_MAX + 8] = "", more[24] = "";

	if (!table_is_json(table) && name_list_is_range(name, block))
		snprintf(range, sizeof(range), " [%s+%s]", table_format_size(table, name->offset, from),
		         table_format_size(table, name->length, size));
	if (!table_is_json(table) && count > 1)
		snprintf(more, sizeof(more), " +%zu", count - 1);
	snprintf(out_text, capacity, "%s%s%s", name->name, range, more);
}

static void add_names(struct table *table, const struct name_list *names, const shmb_block_info *block)
{
	char text[SHMB_NAME_MAX + 128];
	size_t first, count = name_list_of_block(names, block->handle.id, &first);

	table_number(table, NAMES, count, NULL);
	if (count == 0)
		return;
	describe_names(table, &names->items[first], count, block, sizeof(text), text);
	table_text(table, NAME, text);
}

static void add_block(struct table *table, const shmb_block_info *block, uint64_t now)
{
	table_line(table);
	table_number(table, ID, block->handle.id, NULL);
	table_size(table, OFFSET, block->offset);
	table_size(table, SIZE, block->size);
	table_size(table, GRANTED, block->granted);
	if (block->owner != 0)
		table_number(table, OWNER, block->owner, NULL);
	table_text(table, USER, user_name(block->uid));
	table_number(table, UID, block->uid, NULL);
	table_age(table, AGE, age_between(block->created_ns, now));
	if (block->sealed)
		table_text(table, KIND, block->cached ? "cached" : "sealed");
	table_text(table, TAG, block->tag);
}

static int fill(shmb_session *session, struct table *table, const void *wish)
{
	struct name_list names = NAME_LIST_INIT;
	uint64_t now = command_now_ns();
	shmb_block_info *blocks;
	size_t count;
	int result = name_list_load(session, &names);

	(void)wish;
	if (result < 0)
		return report_failure("ls", result, "cannot read the names");
	result = shmb_list_blocks(session, &blocks, &count);
	if (result < 0) {
		name_list_deinit(&names);
		return report_failure("ls", result, "cannot read the blocks");
	}
	for (size_t i = 0; i < count; i++) {
		add_block(table, &blocks[i], now);
		add_names(table, &names, &blocks[i]);
	}
	free(blocks);
	name_list_deinit(&names);
	return EXIT_DONE;
}

static const struct listing listing = {"blocks", columns, COLUMN_COUNT, fill};

static int ls_run(struct command *command, int argc, char **argv)
{
	return listing_run(&listing, command, argc, argv);
}

const struct verb verb_ls = {
	.name = "ls",
	.synopsis = LISTING_SYNOPSIS,
	.summary = "list the blocks",
	.help = "Lists the live blocks.\n",
	.listing = &listing,
	.offline = true,
	.run = ls_run,
};
