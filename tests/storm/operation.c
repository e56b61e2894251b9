/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations, and the dice: see operation.h. */
#include "tests/storm/operation.h"

#include "tests/storm/client.h"
#include "tests/support/pattern.h"

const struct operation operations[OPERATION_COUNT] = {
#define OPERATION_LINE(name, weight, read_only) {#name, weight, read_only, operation_##name},
	OPERATIONS(OPERATION_LINE)
#undef OPERATION_LINE
};

bool operation_is_limited(const struct client *client, int result)
{
	return client->ledger->limited && result == -SHMB_E_LIMIT;
}

void operation_draw(struct client *client)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < OPERATION_COUNT; i++)
		sum += client->read_only && !operations[i].read_only ? 0 : operations[i].weight;
	uint64_t left = pattern_below(&client->random, sum);
	for (unsigned i = 0; i < OPERATION_COUNT; i++) {
		if (client->read_only && !operations[i].read_only)
			continue;
		if (left >= operations[i].weight) {
			left -= operations[i].weight;
			continue;
		}
		if (operations[i].perform(client))
			atomic_fetch_add(&client->seat->done[i], 1);
		return;
	}
}
