/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that change nothing: see operation.h. The view is read beside a daemon that writes, and beside a dead one. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/storm/client.h"

bool operation_verify(struct client *client)
{
	const struct ledger_hold *hold = client_any_hold(client);

	if (hold)
		client_verify(client, hold);
	return hold != NULL;
}

static bool agrees(const shmb_block_info *info, const struct ledger_hold *hold)
{
	return info->handle.index == hold->handle.index && info->offset == hold->offset && info->size == hold->size &&
	       info->granted >= info->size;
}

bool operation_find(struct client *client)
{
	const struct ledger_hold *hold = client_any_hold(client);
	shmb_block_info info;

	if (!hold)
		return false;
	CLIENT_EXPECT(client, shmb_find_block(client->session, hold->handle.id, &info) == 0);
	CLIENT_EXPECT(client, agrees(&info, hold));
	return true;
}

/* All that this client holds is among what it sees. */
bool operation_walk(struct client *client)
{
	unsigned held = 0, seen = 0;
	shmb_block_info info;
	uint32_t cursor = 0;
	int result;

	while ((result = shmb_next_block(client->session, &cursor, &info)) == 1) {
		for (unsigned i = 0; i < LEDGER_HOLDS; i++) {
			const struct ledger_hold *hold = &client->seat->holds[i];
			if (atomic_load(&hold->state) != HOLD_HELD || hold->handle.id != info.handle.id)
				continue;
			CLIENT_EXPECT(client, agrees(&info, hold));
			seen++;
		}
	}
	CLIENT_EXPECT(client, result == 0);
	for (unsigned i = 0; i < LEDGER_HOLDS; i++)
		held += atomic_load(&client->seat->holds[i].state) == HOLD_HELD;
	CLIENT_EXPECT(client, seen == held);
	return true;
}

bool operation_list(struct client *client)
{
	shmb_client_info *clients;
	size_t count;
	bool there = false;

	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_list_clients(client->session, &clients, &count)) == 0);
	for (size_t i = 0; i < count; i++)
		there = there || (clients[i].pid == (uint32_t)getpid() && clients[i].connected);
	free(clients);
	CLIENT_EXPECT(client, there);
	return true;
}

bool operation_ping(struct client *client)
{
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_ping(client->session)) == 0);
	return true;
}
