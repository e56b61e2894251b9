/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over a pool.
 *
 * The records of view and state are the truth; everything else (free bitmaps, lists, sums, free indexes) is made from them here.
 * A daemon that was killed left a prefix of its stores (state_layout.h), hence at most one slot is open:
 *
 *   FILLING   its operation has not happened: what is PENDING becomes FREE, what is FREEING becomes LIVE again. The slot becomes EMPTY
 *             with the sequence before, so that the request, sent again, is executed.
 *   DECIDED   it has happened: what is PENDING becomes LIVE, what is FREEING goes, and what the slot's body says by itself (a
 *             reference's count, an owner, a name that goes or is replaced, a ticket, a deadline, a block's other body) is done
 *             once more. The slot becomes DONE: sent again, it gets its outcome.
 *
 * The slot is closed last. Killed before that, the next daemon finds it open still, and does the same again: each step sets
 * what it finds to what it must be, and changes nothing the second time.
 *
 * Then every record is checked: checksums, bounds, overlaps (the allocator refuses to take a range twice), and that what it refers
 * to is there. A record that contradicts others is named and the daemon refuses to start; nothing is erased, and whoever
 * runs it may look, or start with --discard. Only what a kill can leave is mended:
 *
 * - a block that nothing holds any more: its last hold went in one store, the block would have gone in the next. Freed.
 * - a block that was DYING for the look of a shrink, and has a known holder: LIVE.
 * - a metadata record that no block names: free.
 * - the name index: a record linked and not alive, or alive and not linked. Each store of the mending leaves it valid for readers,
 *   who may be looking at it.
 * - a session marked dead: the reaper goes on with it.
 * - a hold page that no session's record speaks of: it was made, and nobody has got it; or its session has ended. Removed.
 * - what has come to its deadline: it expires when the pool is served (expiry.c).
 * - circles of links on their way to an end: that was decided, and goes on when the pool is served, or they live on (collector.c).
 *
 * Growing, where it is asked for, comes last, in tables that are known to be sound (growth.c).
 *
 * Sessions come back without a connection, as lost ones. Whose lock is free, or whose process has ended, or has given its pid to
 * another that started later, is over. Clones that nobody has adopted are awaited, or over: adoption.c.
 */
#include "takeover.h"

#include <inttypes.h>
#include <unistd.h>

#include "commit.h"
#include "growth.h"
#include "hold_page.h"
#include "log.h"
#include "reaper.h"
#include "recovery.h"
#include "session.h"
#include "state_layout.h"

/* Circles of links whose end a former daemon has decided have no other holder. */
static int check_condemned(const struct recovery *recovery)
{
	const struct blocks *blocks = &recovery->pool->blocks;
	uint64_t collection = atomic_load_explicit(&recovery->pool->state_header->collection, memory_order_relaxed);

	if (collection && collection != STATE_COLLECTED)
		return recovery_contradiction(recovery, "header", 0, "says that %" PRIx64 " was decided", collection);
	for (uint32_t i = 0; recovery_has_collected(recovery) && i < blocks->table.used; i++) {
		if (blocks_is_condemned(blocks, i) && blocks_is_rooted(blocks, i))
			return recovery_contradiction(recovery, "block", i, "(block %" PRIu64 ") is held, and its end was decided",
			                              record_id(blocks_word(blocks, i)));
	}
	return 0;
}

/* What nothing is known to hold, after all that holds is known, is freed, or looked for in the hold pages. */
static void end_unheld(struct recovery *recovery)
{
	struct pool *pool = recovery->pool;

	for (uint32_t i = 0; i < pool->blocks.table.used; i++) {
		if (!record_is_live(blocks_word(&pool->blocks, i)))
			continue;
		recovery->unheld += blocks_is_unheld(&pool->blocks, i);
		dying_adopt(pool, i);
		cache_adopt(pool, i);
	}
	collector_recover(pool);
}

/* From where on ids are given out: above every one that a record bears, for no id is given out twice. */
static int take_over_ids(struct recovery *recovery)
{
	struct pool *pool = recovery->pool;
	uint64_t reserved = atomic_load_explicit(&pool->state_header->ids_reserved, memory_order_relaxed);

	if (recovery->highest_id && reserved <= recovery->highest_id)
		return recovery_contradiction(recovery, "header", 0,
		                              "has handed out ids below %" PRIu64 ", and there is one of %" PRIu64, reserved,
		                              recovery->highest_id);
	if (reserved > RECORD_ID_MAX)
		return recovery_contradiction(recovery, "header", 0, "has handed out more ids than there are");
	pool->next_id = reserved ? reserved : 1;
	return 0;
}

/* The pool is not served: what was made of its sessions goes, and their records stay as they are. */
static int abandon(struct pool *pool, int result)
{
	struct session *session;

	for (uint32_t number = 1; (session = sessions_from(&pool->sessions, number)); number++) {
		number = session->number;
		if (session->under_way)
			session->dead = session->forgotten = true; /* its hold page is being removed: buried when that is done */
		else
			reaper_bury(session);
	}
	pool->sessions.lost = pool->sessions.awaited = pool->sessions.dead = NULL; /* they were in these lists */
	uv_timer_stop(&pool->sessions.awaited_timer);
	return result;
}

/* Killed between a change and its count: the one that is behind catches up, for counts never fall. */
static void mend_counts(struct view_counters *counters, uint64_t blocks)
{
	uint64_t allocations = atomic_load_explicit(&counters->allocations, memory_order_relaxed);
	uint64_t frees = atomic_load_explicit(&counters->frees, memory_order_relaxed);

	if (allocations < frees + blocks)
		atomic_store_explicit(&counters->allocations, frees + blocks, memory_order_relaxed);
	else
		atomic_store_explicit(&counters->frees, allocations - blocks, memory_order_relaxed);
}

static bool has_hold_page(const void *context, uint32_t number)
{
	const struct pool *pool = context;

	if (number >= pool->sessions.table.capacity || !pool->sessions.by_number[number])
		return false;
	const struct session *session = pool->sessions.by_number[number];
	return !session->dead && atomic_load_explicit(&session->record->hold_page, memory_order_relaxed) != 0;
}

int takeover_run(struct pool *pool)
{
	struct recovery recovery = {.pool = pool};
	int result = recovery_count_records(&pool->blocks.table, &pool->blocks.table.used);

	if (result == 0)
		result = recovery_count_records(&pool->references.table, &pool->references.table.used);
	if (result == 0)
		result = recovery_count_records(&pool->names.table, &pool->names.table.used);
	if (result == 0)
		result = recovery_count_records(&pool->links.table, &pool->links.table.used);
	if (result == 0)
		result = recovery_count_records(&pool->tickets.table, &pool->tickets.table.used);
	if (result == 0)
		result = recovery_count_records(&pool->leases.table, &pool->leases.table.used);
	if (result == 0)
		result = recovery_count_records(&pool->metadata.table, &pool->metadata.table.used);
	if (result == 0)
		result = extents_recover(&pool->extents);
	if (result == 0)
		result = recovery_sessions(&recovery);
	if (result == 0)
		result = recovery_open_slot(&recovery);
	if (result == 0)
		result = recovery_blocks(&recovery);
	if (result == 0)
		result = recovery_references(&recovery);
	if (result == 0)
		result = recovery_names(&recovery);
	if (result == 0)
		result = recovery_links(&recovery);
	if (result == 0)
		result = recovery_tickets(&recovery);
	if (result == 0)
		result = recovery_leases(&recovery);
	if (result == 0)
		result = recovery_metadata(&recovery);
	if (result == 0)
		result = take_over_ids(&recovery);
	if (result == 0)
		result = check_condemned(&recovery);
	if (result < 0)
		return abandon(pool, result);
	end_unheld(&recovery);
	recovery_close_slot(&recovery);
	result = recovery_liveness(&recovery);
	if (result == 0)
		result = growth_run(pool);
	if (result < 0)
		return abandon(pool, result);
	/* From here on its daemon is this one, and so is the word on whether it lasts. Not before: a pool that is refused stays. */
	commit(&pool->state_header->lasts, pool->ephemeral ? STATE_EPHEMERAL : STATE_LASTS);
	atomic_store_explicit(&pool->header->daemon_pid, (uint32_t)getpid(), memory_order_relaxed);
	hold_page_remove_others(pool->name, has_hold_page, pool);
	mend_counts(pool->counters, pool->block_count);
	pool_publish_counters(pool);
	log_info("pool %s: taken over: blocks: %" PRIu64 ", names: %" PRIu64 ", sessions: %" PRIu32
	         "; %srecords redone: %" PRIu64 ", undone: %" PRIu64 ", unheld blocks: %" PRIu64,
	         pool->name, pool->block_count, pool->name_count, pool->sessions.count,
	         recovery.open ? "one request was under way: " : "", recovery.redone, recovery.undone, recovery.unheld);
	if (pool->ephemeral)
		log_warning("pool %s: it was to last, and is --ephemeral from now on: all of it is removed when this daemon ends",
		            pool->name);
	return 0;
}
