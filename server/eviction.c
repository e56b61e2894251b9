/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction: see eviction.h.
 *
 * Happy path. An allocation finds no room. First the trails of the hold pages are read, so that what was used by holds counts as used. Then, a
 * few at a time, the blocks that were not used for longest are marked DYING, in one store each, so that no hold page can get hold of them
 * any more; the pages are read; and who stands in none of them goes, until there is room: its names, its time to live, and
 * with the last store the block. Those that were marked and are not needed, or are held after all, are LIVE again before anything else runs.
 *
 * What may go wrong:
 *
 * - Somebody holds it by a hold page: it is LIVE again, as if used now, and stays.
 * - A page cannot be read: it may hold anything, and nothing that others may know is evicted.
 * - It has very many names: it stays, since they could not go in one turn of the loop. (CACHE_NAMES_MAX.)
 * - All blocks of the user who has the most are held so: they were used since the search began, and then others' are tried before them.
 * - All that could go would not be enough: nothing goes. (By its sum. Where it lies apart, much may go for nothing.)
 * - Somebody waits, and all that is left is held by pages: nobody says when they let go, so it is tried again a little later.
 * - There are very many hold pages, or clients that have them read again and again: reading them has an allowance (allowance.h), and what
 *   must go waits for it.
 * - Much must go: a slice is done now, and the allocation waits while the others follow, each in a turn of its own.
 * - The daemon dies between any two of the stores. What is DYING and still a cache block has a holder, its own flag, and so is LIVE again for the
 *   next daemon, if need be with fewer names: what had begun to go was idle, and goes when it is its turn again.
 */
#include "eviction.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "dying.h"
#include "hold_page.h"
#include "lifetime.h"
#include "page_holds.h"
#include "pool.h"
#include "session.h"

/* Marked and looked for together: one reading of the pages does for all of them. */
#define BATCH 32

/* For finding the victim that a slot names: a page has many slots, and a client fills it as it likes. */
#define BUCKETS 256u

/* Blocks and names that go in one call or turn: some hundred microseconds. */
#define SLICE 256

/* Where there are more hold pages than this, reading them all is dear. */
#define MANY_PAGES 64

/* The trails are not read again for this many times as long as that took. */
#define FOLLOW_SHARE 9

/* Milliseconds until what hold pages had is tried again, while somebody waits. */
#define AGAIN_MS 100

struct victim {
	uint32_t block;
	uint64_t id, used;
	bool held;
};

struct batch {
	struct pool *pool;
	struct victim victims[BATCH];
	unsigned count;
	bool unknown;           /* a page could not be read */
	uint8_t first[BUCKETS]; /* by bucket_of(id): a victim, plus one; */
	uint8_t next[BATCH];    /* and by victim, the next of its bucket */
};

/* ---- The hold pages --------------------------------------------------------------------------------------------- */

/* A tenth of the loop's time at most: what is used meanwhile shows a moment later. */
static void follow_trails(struct pool *pool)
{
	struct eviction *eviction = &pool->eviction;
	uint64_t trail[HOLD_TRAIL], now = uv_hrtime();
	const struct session *session;

	if (now < eviction->follow_ns)
		return;
	for (uint32_t number = 1; pool->page_holds.pages && (session = sessions_from(&pool->sessions, number));
	     number = session->number + 1) {
		if (session->hold_page != HOLD_PAGE_NONE && hold_page_read_trail(session->hold_page, trail) == 0)
			cache_follow(&pool->cache, trail, HOLD_TRAIL);
	}
	uint64_t end = uv_hrtime();
	eviction->follow_ns = end + FOLLOW_SHARE * (end - now);
}

/* Ids come in rows. */
static unsigned bucket_of(uint64_t id)
{
	return (unsigned)(id % BUCKETS);
}

static void enter_victims(struct batch *batch)
{
	memset(batch->first, 0, sizeof batch->first);
	for (unsigned k = 0; k < batch->count; k++) {
		uint8_t *first = &batch->first[bucket_of(batch->victims[k].id)];
		batch->next[k] = *first;
		*first = (uint8_t)(k + 1);
	}
}

static void find_in_page(struct batch *batch, const struct session *session)
{
	uint64_t slots[HOLD_SLOTS];

	if (hold_page_read(session->hold_page, slots) < 0) {
		batch->unknown = true;
		return;
	}
	for (unsigned i = 0; i < HOLD_SLOTS; i++) {
		for (unsigned k = batch->first[bucket_of(slots[i])]; k; k = batch->next[k - 1])
			batch->victims[k - 1].held |= batch->victims[k - 1].id == slots[i];
	}
}

/* After it no page can come to hold a block of the batch, and who does is known. */
static void look(struct batch *batch)
{
	struct pool *pool = batch->pool;
	const struct session *session;

	enter_victims(batch);
	for (unsigned k = 0; k < batch->count; k++)
		blocks_set_state(&pool->blocks, batch->victims[k].block, RECORD_DYING);
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t number = 1; pool->page_holds.pages && (session = sessions_from(&pool->sessions, number));
	     number = session->number + 1) {
		if (session->hold_page != HOLD_PAGE_NONE)
			find_in_page(batch, session);
	}
	page_holds_have_read(pool, pool->page_holds.pages);
	for (unsigned k = 0; k < batch->count && batch->unknown; k++)
		batch->victims[k].held |= (blocks_word(&pool->blocks, batch->victims[k].block) & RECORD_SHARED) != 0;
}

/* ---- One block -------------------------------------------------------------------------------------------------- */

static uint32_t count_names(const struct pool *pool, uint32_t block)
{
	uint32_t count = 0;

	for (uint32_t link = pool->blocks.names[block]; link && count <= CACHE_NAMES_MAX;
	     link = pool->names.of_block[link - 1].next)
		count++;
	return count;
}

static void evict(struct pool *pool, uint32_t block)
{
	events_emit_block(pool, EVENT_BLOCK_EVICTED, block);
	while (pool->blocks.names[block])
		lifetime_drop_name(pool, pool->blocks.names[block] - 1);
	if (pool->blocks.leases[block])
		lifetime_drop_lease(pool, pool->blocks.leases[block] - 1);
	dying_free(pool, block);
	pool_count(&pool->counters->evictions, 1);
}

static void keep(struct pool *pool, const struct victim *victim)
{
	blocks_set_state(&pool->blocks, victim->block, RECORD_LIVE);
	cache_give_back(&pool->cache, victim->block, victim->held ? cache_tick(&pool->cache) : victim->used);
}

/* ---- A batch ---------------------------------------------------------------------------------------------------- */

/* Up to so many; 0: there are none. */
static void gather(struct batch *batch, uint64_t uid, uint64_t since, unsigned most)
{
	struct victim *victim = batch->victims;

	assert(most <= BATCH);
	batch->count = 0;
	batch->unknown = false;
	while (batch->count < most && cache_take(&batch->pool->cache, uid, since, &victim->block, &victim->used)) {
		victim->id = record_id(blocks_word(&batch->pool->blocks, victim->block));
		victim->held = count_names(batch->pool, victim->block) > CACHE_NAMES_MAX;
		batch->count++;
		victim++;
	}
}

/* True: enough. Where reading the pages is dear, a few more go at once, so that it is worth it. */
static bool settle(struct batch *batch, bool (*enough)(void *context), void *context, unsigned *budget)
{
	unsigned worth = batch->pool->page_holds.pages / MANY_PAGES;
	bool done = false;

	for (unsigned k = 0; k < batch->count; k++) {
		const struct victim *victim = &batch->victims[k];
		unsigned cost = 1 + (victim->held ? 0 : count_names(batch->pool, victim->block));
		*budget = *budget > cost ? *budget - cost : 0;
		if ((done && k >= worth) || victim->held) {
			keep(batch->pool, victim);
		} else {
			evict(batch->pool, victim->block);
			done = done || enough(context);
		}
	}
	return done;
}

struct eviction_search eviction_new_search(const struct pool *pool)
{
	return (struct eviction_search){.left = pool->cache.blocks, .since = pool->cache.clock};
}

/* Those that are held stay, and come last. */
enum eviction_result eviction_run(struct pool *pool, uint64_t uid, struct eviction_search *search,
                                  bool (*enough)(void *context), void *context)
{
	struct batch batch = {.pool = pool};
	unsigned budget = SLICE, most = 1 + pool->page_holds.pages / MANY_PAGES;

	if (pool->eviction.stopped || cache_bytes(&pool->cache, uid) == 0 || search->left == 0)
		return EVICTION_NONE;
	if (page_holds_read_wait_ms(pool))
		return EVICTION_MORE;
	if (most > BATCH)
		most = BATCH;
	follow_trails(pool);
	while (budget && search->left && !page_holds_read_wait_ms(pool)) {
		gather(&batch, uid, search->since, most < search->left ? most : (unsigned)search->left);
		if (!batch.count)
			return EVICTION_NONE;
		search->left -= batch.count;
		look(&batch);
		if (settle(&batch, enough, context, &budget))
			return EVICTION_ENOUGH;
		most = most < BATCH / 2 ? 2 * most : BATCH; /* where one does, the others need not be touched */
	}
	return search->left ? EVICTION_MORE : EVICTION_NONE;
}

/* ---- For those who wait ----------------------------------------------------------------------------------------- */

static bool can_serve(void *context)
{
	const struct wait_queue *queue = context;

	return wait_queue_can_serve(queue) || !wait_queue_has_waiters(queue);
}

static void try_again(uv_timer_t *timer);

static void end(struct eviction *eviction)
{
	uv_idle_stop(&eviction->slices);
	eviction->search.left = 0;
	wait_queue_expect_eviction(&eviction->pool->wait_queue, false);
	if (eviction->pool->cache.blocks && !eviction->stopped)
		uv_timer_start(&eviction->again, try_again, AGAIN_MS, 0);
}

/* Whoever can be served is in the queue's own turns, and then no more goes than is needed. */
static void go_on(uv_idle_t *idle)
{
	struct eviction *eviction = idle->data;
	struct wait_queue *queue = &eviction->pool->wait_queue;

	if (!wait_queue_has_waiters(queue)) {
		end(eviction);
		return;
	}
	if (wait_queue_can_serve(queue))
		return;
	uint64_t wait = page_holds_read_wait_ms(eviction->pool);
	if (wait) {
		uv_idle_stop(idle);
		uv_timer_start(&eviction->again, try_again, wait, 0);
		return;
	}
	if (eviction_run(eviction->pool, CACHE_ANYBODY, &eviction->search, can_serve, queue) == EVICTION_NONE)
		end(eviction);
	pool_publish_counters(eviction->pool);
}

void eviction_begin(struct pool *pool)
{
	struct eviction *eviction = &pool->eviction;

	if (eviction->stopped)
		return;
	if (!pool->wait_queue.evicting)
		eviction->search = eviction_new_search(pool);
	uv_idle_start(&eviction->slices, go_on);
	wait_queue_expect_eviction(&pool->wait_queue, true);
}

/* Somebody waits in the pool's line. */
static void look_for_more(struct pool *pool)
{
	if (wait_queue_has_waiters(&pool->wait_queue))
		eviction_begin(pool);
}

/* It is tried for whoever waits for memory, or for a quota that it is charged to. */
static void appeared(struct pool *pool, uint32_t block)
{
	struct accounts *accounts = &pool->accounts;
	struct user *user = payer_of(pool, block);

	pool->eviction.search.left += pool->wait_queue.evicting;
	look_for_more(pool);
	account_line_wake(&accounts->lines, &user->account.line);
	account_line_wake(&accounts->lines, &accounts->promised);
}

/* Those that hold pages had may be idle by now: nobody says so. */
static void try_again(uv_timer_t *timer)
{
	struct eviction *eviction = timer->data;

	if (eviction->search.left)
		uv_idle_start(&eviction->slices, go_on); /* it was only put off */
	else
		look_for_more(eviction->pool);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

int eviction_init(struct eviction *eviction, struct pool *pool)
{
	*eviction = (struct eviction){.pool = pool};
	int result = uv_idle_init(pool->loop, &eviction->slices);

	if (result == 0)
		result = uv_timer_init(pool->loop, &eviction->again);
	if (result < 0)
		return result;
	eviction->slices.data = eviction->again.data = eviction;
	eviction->loop = pool->loop;
	pool->cache.appeared = appeared;
	return 0;
}

void eviction_stop(struct eviction *eviction)
{
	eviction->stopped = true;
	if (!eviction->loop)
		return;
	end(eviction);
	uv_timer_stop(&eviction->again);
}

void eviction_close(struct eviction *eviction)
{
	if (!eviction->loop)
		return;
	uv_close((uv_handle_t *)&eviction->slices, NULL);
	uv_close((uv_handle_t *)&eviction->again, NULL);
	eviction->loop = NULL;
}
