/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on events: see operation.h. Which events come when the daemon is killed nobody can say; those that do must be well-formed, and
 * asking for them must disturb nothing. Threads at several seats share one session, and one subscription.
 */
#include <string.h>

#include "tests/storm/client.h"
#include "tests/support/pattern.h"

#define TAKEN_AT_ONCE 64
#define BLOCKS (SHMB_EVENT_BLOCK_FREED | SHMB_EVENT_BLOCK_EVICTED | SHMB_EVENT_BLOCK_EXPIRED)
#define NAMES (SHMB_EVENT_NAME_PUBLISHED | SHMB_EVENT_NAME_REMOVED)
#define SESSIONS (SHMB_EVENT_SESSION_OPENED | SHMB_EVENT_SESSION_ENDED)

bool operation_subscribe(struct client *client)
{
	/* No kinds: of nothing any more. */
	uint32_t kinds = pattern_below(&client->random, 4) ? (uint32_t)pattern_random(&client->random) & SHMB_EVENT_ALL : 0;
	const char *prefix = pattern_below(&client->random, 4) ? NULL : "no name starts so";

	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_subscribe(client->session, kinds, prefix)) == 0);
	return true;
}

static bool is_well_formed(const shmb_event *event)
{
	bool has_block = event->block.id && event->block.incarnation, has_name = event->name[0];

	if (!event->time_ns || strlen(event->name) > SHMB_NAME_MAX)
		return false;
	if (event->kind & NAMES)
		return has_block && has_name && event->bytes;
	if (event->kind & BLOCKS)
		return has_block && !has_name && event->bytes;
	if (event->kind & SESSIONS)
		return !has_block && has_name && event->session;
	return !has_block && !has_name &&
	       (event->kind == SHMB_EVENT_LOST ||
	        (event->kind == SHMB_EVENT_PRESSURE && event->pressure <= SHMB_PRESSURE_KERNEL));
}

/* Takes what has come, and waits a moment for more. Not a request: the daemon need not be there. */
bool operation_listen(struct client *client)
{
	uint32_t patience = (uint32_t)pattern_below(&client->random, 3);
	shmb_event event;
	int result = 1;

	for (unsigned taken = 0; taken < TAKEN_AT_ONCE && result == 1; taken++) {
		result = shmb_next_event(client->session, patience, &event);
		CLIENT_EXPECT(client, result != 1 || is_well_formed(&event));
	}
	CLIENT_EXPECT(client, result >= 0 || result == -SHMB_E_INVALID_ARGUMENT || result == -SHMB_E_DISCONNECTED);
	return result != -SHMB_E_INVALID_ARGUMENT; /* it was subscribed to something */
}
