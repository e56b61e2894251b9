/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expiry: see expiry.h.
 *
 * A ticket goes in one store. Of a block whose time to live has passed the names go, one by one, each in one store and each a step of its own
 * (one block may have very many), and that it is a cache block, and then the lease. It is freed with the last of its holds, which may be a session's or a ticket's: those
 * who have them keep it. A name that is given to it in between goes too; a new time to live in between ends it: what has gone, has gone.
 *
 * A block that is removed and has very many names goes the same way (request_remove.c). That is no expiry to those who are told of events.
 *
 * Nothing is decided beforehand, and no slot is used: the deadline in the record says all. A kill between two of the steps leaves less to do, and
 * the next daemon, to which the deadline has passed as well, goes on.
 */
#include "expiry.h"

#include "lifetime.h"
#include "pool.h"

static void step_lease(struct pool *pool, uint32_t lease)
{
	uint32_t block = pool->leases.records[lease].block, name = pool->blocks.names[block];

	if (name) {
		lifetime_drop_name(pool, name - 1);
	} else if (blocks_is_cached(&pool->blocks, block)) {
		lifetime_drop_cached(pool, block);
	} else {
		if (LEASE_DEADLINE(leases_word(&pool->leases, lease)) != LEASE_REMOVED)
			events_emit_block(pool, EVENT_BLOCK_EXPIRED, block);
		lifetime_drop_lease(pool, lease);
	}
}

static void expire(void *context, enum deadline_kind kind, uint32_t index)
{
	struct pool *pool = context;

	if (kind == DEADLINE_TICKET)
		lifetime_drop_ticket(pool, index);
	else
		step_lease(pool, index);
	pool_publish_counters(pool);
}

void expiry_start(struct pool *pool)
{
	deadlines_start(&pool->deadlines, expire, pool);
}
