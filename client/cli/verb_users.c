/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "listing.h"
#include "user.h"

enum column {
	USER,
	UID,
	BYTES,
	MAX_BYTES,
	GUARANTEE,
	BLOCKS,
	MAX_BLOCKS,
	NAMES,
	MAX_NAMES,
	TICKETS,
	MAX_TICKETS,
	LINKS,
	MAX_LINKS,
	WAITERS,
	MAX_WAITERS,
	SESSIONS,
	MAX_SESSIONS,
	COLUMN_COUNT,
};

static const struct table_column columns[COLUMN_COUNT] = {
	[USER] = {"USER", TABLE_TEXT, TABLE_ALWAYS, "name of the user"},
	[UID] = {"UID", TABLE_NUMBER, TABLE_ON_WISH, "the same as a number"},
	[BYTES] = {"BYTES", TABLE_NUMBER, TABLE_ALWAYS, "set aside for blocks that are charged to it"},
	[MAX_BYTES] = {"MAX-BYTES", TABLE_NUMBER, TABLE_IF_ANY, "that it may have; empty: no limit; and so below"},
	[GUARANTEE] = {"GUARANTEE", TABLE_NUMBER, TABLE_IF_ANY, "bytes that are kept for it"},
	[BLOCKS] = {"BLOCKS", TABLE_NUMBER, TABLE_ALWAYS, "blocks that are charged to it"},
	[MAX_BLOCKS] = {"MAX-BLOCKS", TABLE_NUMBER, TABLE_IF_ANY, "that it may have"},
	[NAMES] = {"NAMES", TABLE_NUMBER, TABLE_ALWAYS, "names that it published"},
	[MAX_NAMES] = {"MAX-NAMES", TABLE_NUMBER, TABLE_IF_ANY, "that it may publish"},
	[TICKETS] = {"TICKETS", TABLE_NUMBER, TABLE_ALWAYS, "tickets that it made"},
	[MAX_TICKETS] = {"MAX-TICKETS", TABLE_NUMBER, TABLE_IF_ANY, "that it may have"},
	[LINKS] = {"LINKS", TABLE_NUMBER, TABLE_ALWAYS, "links that it made"},
	[MAX_LINKS] = {"MAX-LINKS", TABLE_NUMBER, TABLE_IF_ANY, "that it may have"},
	[WAITERS] = {"WAITERS", TABLE_NUMBER, TABLE_ALWAYS, "requests that wait"},
	[MAX_WAITERS] = {"MAX-WAITERS", TABLE_NUMBER, TABLE_IF_ANY, "that may wait"},
	[SESSIONS] = {"SESSIONS", TABLE_NUMBER, TABLE_ALWAYS, "sessions"},
	[MAX_SESSIONS] = {"MAX-SESSIONS", TABLE_NUMBER, TABLE_IF_ANY, "that it may have"},
};

/* What is used, and behind it what may be. */
static void add_charge(struct table *table, size_t column, const shmb_charge *charge)
{
	table_number(table, column, charge->used, NULL);
	if (charge->limit != SHMB_NO_LIMIT)
		table_number(table, column + 1, charge->limit, NULL);
}

static void add_user(struct table *table, const shmb_user_info *user)
{
	table_line(table);
	table_text(table, USER, user_name(user->uid));
	table_number(table, UID, user->uid, NULL);
	table_size(table, BYTES, user->bytes.used);
	if (user->bytes.limit != SHMB_NO_LIMIT)
		table_size(table, MAX_BYTES, user->bytes.limit);
	if (user->guarantee)
		table_size(table, GUARANTEE, user->guarantee);
	add_charge(table, BLOCKS, &user->blocks);
	add_charge(table, NAMES, &user->names);
	add_charge(table, TICKETS, &user->tickets);
	add_charge(table, LINKS, &user->links);
	add_charge(table, WAITERS, &user->waiters);
	add_charge(table, SESSIONS, &user->sessions);
}

static int fill(shmb_session *session, struct table *table, const void *wish)
{
	shmb_user_info *users;
	size_t count;
	int result = shmb_list_users(session, &users, &count);

	(void)wish;
	if (result < 0)
		return report_failure("users", result, "cannot list the users");
	for (size_t i = 0; i < count; i++)
		add_user(table, &users[i]);
	free(users);
	return EXIT_DONE;
}

static const struct listing listing = {"users", columns, COLUMN_COUNT, fill};

static int users_run(struct command *command, int argc, char **argv)
{
	return listing_run(&listing, command, argc, argv);
}

const struct verb verb_users = {
	.name = "users",
	.synopsis = LISTING_SYNOPSIS,
	.summary = "list what each user has, and may have",
	.help = "Lists the users that have anything in the pool, or of which the daemon's command\n"
			"line speaks: what is charged to all sessions of each together. Beside what it has\n"
			"stands its limit, the quota, where anybody has one of that kind.\n",
	.listing = &listing,
	.run = users_run,
};
