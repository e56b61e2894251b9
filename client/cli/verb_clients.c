/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "age.h"
#include "listing.h"
#include "user.h"

enum column {
	SESSION,
	PID,
	USER,
	UID,
	GID,
	PROGRAM,
	ACCESS,
	CONNECTED,
	BLOCKS,
	BYTES,
	REQUESTS,
	AGE,
	COLUMN_COUNT,
};

static const struct table_column columns[COLUMN_COUNT] = {
	[SESSION] = {"SESSION", TABLE_NUMBER, TABLE_ALWAYS, "number of the session"},
	[PID] = {"PID", TABLE_NUMBER, TABLE_ALWAYS, "process"},
	[USER] = {"USER", TABLE_TEXT, TABLE_ALWAYS, "user it runs as"},
	[UID] = {"UID", TABLE_NUMBER, TABLE_ON_WISH, "the same as a number"},
	[GID] = {"GID", TABLE_NUMBER, TABLE_ON_WISH, "its group as a number"},
	[PROGRAM] = {"PROGRAM", TABLE_TEXT, TABLE_ALWAYS, "what it calls itself"},
	[ACCESS] = {"ACCESS", TABLE_TEXT, TABLE_ALWAYS, "rw, or r: it may only read"},
	[CONNECTED] = {"CONNECTED", TABLE_BOOL, TABLE_ALWAYS, "no: the connection was lost, the process lives"},
	[BLOCKS] = {"BLOCKS", TABLE_NUMBER, TABLE_ALWAYS, "blocks it holds"},
	[BYTES] = {"BYTES", TABLE_NUMBER, TABLE_ALWAYS, "set aside for what it allocated and holds"},
	[REQUESTS] = {"REQUESTS", TABLE_NUMBER, TABLE_ALWAYS, "requests answered"},
	[AGE] = {"AGE", TABLE_NUMBER, TABLE_ALWAYS, "since it connected"},
};

static void add_client(struct table *table, const shmb_client_info *client, uint64_t now)
{
	table_line(table);
	table_number(table, SESSION, client->session, NULL);
	if (client->pid != 0)
		table_number(table, PID, client->pid, NULL);
	table_text(table, USER, user_name(client->uid));
	table_number(table, UID, client->uid, NULL);
	table_number(table, GID, client->gid, NULL);
	table_text(table, PROGRAM, client->program);
	table_text(table, ACCESS, client->access == SHMB_READ_ONLY ? "r" : "rw");
	table_bool(table, CONNECTED, client->connected);
	table_number(table, BLOCKS, client->blocks, NULL);
	table_size(table, BYTES, client->bytes);
	table_number(table, REQUESTS, client->requests, NULL);
	table_age(table, AGE, age_between(client->connected_ns, now));
}

static int fill(shmb_session *session, struct table *table, const void *wish)
{
	shmb_client_info *clients;
	uint64_t now = command_now_ns();
	size_t count;
	int result = shmb_list_clients(session, &clients, &count);

	(void)wish;
	if (result < 0)
		return report_failure("clients", result, "cannot list the clients");
	for (size_t i = 0; i < count; i++)
		add_client(table, &clients[i], now);
	free(clients);
	return EXIT_DONE;
}

static const struct listing listing = {"clients", columns, COLUMN_COUNT, fill};

static int clients_run(struct command *command, int argc, char **argv)
{
	return listing_run(&listing, command, argc, argv);
}

const struct verb verb_clients = {
	.name = "clients",
	.synopsis = LISTING_SYNOPSIS,
	.summary = "list the sessions",
	.help = "Lists the sessions of the pool, this command's own among them.\n",
	.listing = &listing,
	.run = clients_run,
};
