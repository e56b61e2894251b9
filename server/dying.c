/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a block.
 *
 * Happy path. The last known holder goes. A block that nobody else may know (never SHARED), or of a pool in which nobody has a hold page, is
 * freed in that same store. Any other becomes DYING, by one store, and waits for a look; whoever gave it back is answered. The look reads the
 * hold page of each session that has one. A DYING block that stands in one becomes an ORPHAN, at once; what is left at the end is freed.
 * An orphan is alive: it can be acquired, by page, or by a request, which makes it LIVE again. When its holder lets go it says so
 * (Released), the block is DYING again, and so on.
 *
 * Looks take turns with requests, a few pages at a time, and a tenth of the loop's time at most: the next begins after nine times what the last
 * one took, or at once where much is waiting. An allocation that would be refused has it done first.
 *
 * What may go wrong:
 *
 * - Released is lost, with its connection: the orphans are looked at again when a session connects again. It is lost otherwise, or a slot
 *   was read while it changed: some orphans are looked at again every second.
 * - A client dies: its session is marked dead first, then its page counts no more, and what stands in it is looked at again.
 * - A client writes what it likes into its page: it can make orphans of blocks that are dying, as it could by holding them. A look costs a
 *   look-up a slot, in slices.
 * - Somebody takes a known hold of a DYING block, by a request: it is settled first, for this block alone.
 * - Blocks hold each other in a circle: the collector finds them, and looks for all of them before one of them ends (collector.c). They
 *   are DYING and condemned, and are in none of the lists here, but found by the ids that stand in pages.
 * - The daemon dies. DYING and ORPHAN are in the block's word: the next daemon makes LIVE what has a known holder, and looks for the rest.
 *   A hold page is in its session's record before the client has it, and is opened again.
 *
 * Why no hold is missed: DYING was stored before the look began, and a fence lies in between; see hold_layout.h. A page that is opened during a
 * look has come too late to hold what is DYING.
 */
#include "dying.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "collector.h"
#include "hold_page.h"
#include "pool.h"
#include "reclaim.h"
#include "session.h"

/* A look begins at once where so much is waiting for it. */
#define WAITING_BLOCKS_MAX 4096
#define WAITING_BYTES_MAX (UINT64_C(64) << 20)

/* Otherwise the loop has this many times what the last look took for itself, but no longer than this. */
#define LOOK_SHARE 9
#define LOOK_PAUSE_MAX_MS 10

/* Pages read, and blocks freed, in one turn of the loop: some 50 microseconds. */
#define SLICE_PAGES 64
#define SLICE_BLOCKS 256

/* Milliseconds until some orphans are looked at again though nobody said anything, and how many. */
#define AGAIN_MS 1000
#define AGAIN_BLOCKS 1024

static void add(struct dying *dying, uint32_t *list, uint32_t index)
{
	index_list_push(dying->pool->blocks.owned, list, index);
}

/* Takes a block out of whichever of the lists it is in. Only the first needs to know which. */
static void take_out(struct dying *dying, uint32_t index)
{
	uint32_t *lists[] = {&dying->waiting, &dying->looked_for, &dying->orphans, &dying->confirmed}, *list = lists[0];

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		if (*lists[i] == index + 1)
			list = lists[i];
	}
	index_list_remove(dying->pool->blocks.owned, list, index);
}

static uint32_t find(const struct dying *dying, uint64_t id)
{
	return pair_index_find(&dying->by_id, (uint32_t)(id >> 32), (uint32_t)id);
}

void dying_know(struct pool *pool, uint32_t index)
{
	uint64_t id = record_id(blocks_word(&pool->blocks, index));

	pair_index_add(&pool->dying.by_id, index, (uint32_t)(id >> 32), (uint32_t)id);
}

void dying_forget(struct pool *pool, uint32_t index)
{
	pair_index_remove(&pool->dying.by_id, index);
}

void dying_free(struct pool *pool, uint32_t index)
{
	const struct block_body *body = blocks_body(&pool->blocks, index);
	struct commit_range range = {pool->blocks.records[index].offset, body->granted};
	uint64_t size = body->size;

	if (!body->owner) {
		pool->unowned_blocks--;
		pool->unowned_bytes -= body->granted;
	}
	if (pool->blocks.links_from[index]) {
		/* Its links go later, however many there are (cascade.c): until then no other block has their beginning for its record. */
		blocks_free_and_keep(&pool->blocks, index);
		index_list_push(pool->blocks.owned, &pool->links.loose, index);
	} else {
		blocks_set_state(&pool->blocks, index, RECORD_FREE);
	}
	reclaim_free(pool->reclaim, &range);
	pool->block_count--;
	pool->requested -= size;
	pool_count(&pool->counters->frees, 1);
}

/* ---- Looking ---------------------------------------------------------------------------------------------------- */

static void schedule(struct dying *dying);

static void set_waiting(struct dying *dying, uint32_t index)
{
	add(dying, &dying->waiting, index);
	dying->waiting_count++;
	dying->waiting_bytes += blocks_body(&dying->pool->blocks, index)->granted;
	schedule(dying);
}

static void look_again(uv_timer_t *timer);

static void make_orphan(struct dying *dying, uint32_t index)
{
	blocks_set_state(&dying->pool->blocks, index, RECORD_ORPHAN);
	take_out(dying, index);
	collector_touched(dying->pool, index);
	add(dying, &dying->confirmed, index);
	dying->orphan_count++;
	if (!uv_is_active((uv_handle_t *)&dying->again))
		uv_timer_start(&dying->again, look_again, AGAIN_MS, 0);
}

/* From orphan to dying. */
static void doubt(struct dying *dying, uint32_t index)
{
	blocks_set_state(&dying->pool->blocks, index, RECORD_DYING);
	take_out(dying, index);
	dying->orphan_count--;
	set_waiting(dying, index);
}

/* A page that cannot be read may hold anything: what is looked for is looked for again. */
static void look_later(struct dying *dying)
{
	dying->unreadable = true;
	while (dying->looked_for) {
		uint32_t index = dying->looked_for - 1;
		take_out(dying, index);
		set_waiting(dying, index);
	}
}

int dying_look_at(struct session *session)
{
	struct dying *dying = &session->pool->dying;
	const struct blocks *blocks = &session->pool->blocks;
	uint64_t slots[HOLD_SLOTS];
	uint32_t link;
	int result = hold_page_read(session->hold_page, slots);

	for (size_t i = 0; i < HOLD_SLOTS && result == 0; i++) {
		if (!slots[i] || !(link = find(dying, slots[i])) || record_state(blocks_word(blocks, link - 1)) != RECORD_DYING)
			continue;
		if (blocks_is_condemned(blocks, link - 1))
			collector_found_held(session->pool, link - 1);
		else
			make_orphan(dying, link - 1);
	}
	return result;
}

static void end_one(struct dying *dying, uint32_t index)
{
	take_out(dying, index);
	dying_forget(dying->pool, index);
	dying_free(dying->pool, index);
}

static void begin_look(struct dying *dying)
{
	dying->looking = true;
	dying->unreadable = false;
	dying->looked_for = dying->waiting;
	dying->waiting = 0;
	dying->waiting_count = dying->waiting_bytes = 0;
	dying->next_session = 1;
	dying->started_ns = uv_hrtime();
}

/* Up to so many pages, then up to so many blocks. True: the look has ended. */
static bool go_on_looking(struct dying *dying, uint32_t pages, uint32_t blocks)
{
	struct session *session;

	/* Between the words, which say DYING, those of blocks that came since the look began too, and the slots. */
	atomic_thread_fence(memory_order_seq_cst);
	while ((session = sessions_from(&dying->pool->sessions, dying->next_session))) {
		if (pages-- == 0)
			return false;
		dying->next_session = session->number + 1;
		if (session->hold_page >= 0 && dying_look_at(session) < 0)
			look_later(dying);
	}
	while (dying->looked_for) {
		if (blocks-- == 0)
			return false;
		end_one(dying, dying->looked_for - 1);
	}
	dying->looking = false;
	dying->ended_ns = uv_hrtime();
	return true;
}

static void look_on(uv_idle_t *idle)
{
	struct dying *dying = idle->data;

	if (go_on_looking(dying, SLICE_PAGES, SLICE_BLOCKS)) {
		uv_idle_stop(idle);
		schedule(dying);
	}
	pool_publish_counters(dying->pool);
}

static void look(uv_timer_t *timer)
{
	struct dying *dying = timer->data;

	begin_look(dying);
	uv_idle_start(&dying->slices, look_on);
}

static void schedule(struct dying *dying)
{
	bool much = dying->waiting_count >= WAITING_BLOCKS_MAX || dying->waiting_bytes >= WAITING_BYTES_MAX;

	if (!dying->waiting || dying->looking || dying->stopped || (uv_is_active((uv_handle_t *)&dying->timer) && !much))
		return;
	uint64_t due = dying->ended_ns + LOOK_SHARE * (dying->ended_ns - dying->started_ns), now = uv_hrtime();
	uint64_t pause = much || due <= now ? 0 : (due - now) / 1000000;
	uv_timer_start(&dying->timer, look, pause < LOOK_PAUSE_MAX_MS ? pause : LOOK_PAUSE_MAX_MS, 0);
}

static void look_again(uv_timer_t *timer)
{
	struct dying *dying = timer->data;

	if (!dying->orphans) {
		dying->orphans = dying->confirmed;
		dying->confirmed = 0;
	}
	for (unsigned i = 0; i < AGAIN_BLOCKS && dying->orphans; i++)
		doubt(dying, dying->orphans - 1);
	if (dying->orphan_count)
		uv_timer_start(timer, look_again, AGAIN_MS, 0);
}

/* ---- What happens to blocks ------------------------------------------------------------------------------------- */

void dying_begin(struct pool *pool, uint32_t index)
{
	struct dying *dying = &pool->dying;
	const struct block_body *body = blocks_body(&pool->blocks, index);

	if (!dying->pages || !(blocks_word(&pool->blocks, index) & RECORD_SHARED)) {
		dying_free(pool, index); /* from owned to free in one store */
		return;
	}
	if (body->owner) {
		pool->unowned_blocks++;
		pool->unowned_bytes += body->granted;
		blocks_drop_owner(&pool->blocks, index, RECORD_DYING);
	} else {
		blocks_set_state(&pool->blocks, index, RECORD_DYING);
	}
	collector_touched(pool, index);
	dying_know(pool, index);
	set_waiting(dying, index);
}

bool dying_settle(struct pool *pool, uint32_t index)
{
	struct dying *dying = &pool->dying;
	bool held = dying_is_held(pool, record_id(blocks_word(&pool->blocks, index)));

	if (held)
		make_orphan(dying, index);
	else
		end_one(dying, index);
	return held;
}

void dying_revive(struct pool *pool, uint32_t index)
{
	struct dying *dying = &pool->dying;

	if (record_state(blocks_word(&pool->blocks, index)) != RECORD_ORPHAN)
		return;
	blocks_set_state(&pool->blocks, index, RECORD_LIVE);
	take_out(dying, index);
	dying_forget(pool, index);
	dying->orphan_count--;
}

void dying_released(struct pool *pool, uint32_t index)
{
	if (record_state(blocks_word(&pool->blocks, index)) == RECORD_ORPHAN)
		doubt(&pool->dying, index);
}

bool dying_hurry(struct pool *pool)
{
	struct dying *dying = &pool->dying;
	uint64_t freed = atomic_load_explicit(&pool->counters->frees, memory_order_relaxed);

	/* What came during a look has its own: the first may find that all it looks for is held. Each has fewer left to look for. */
	while (!dying->stopped && (dying->looking || dying->waiting)) {
		if (!dying->looking) {
			uv_timer_stop(&dying->timer);
			begin_look(dying);
			uv_idle_start(&dying->slices, look_on);
		}
		go_on_looking(dying, UINT32_MAX, SLICE_BLOCKS);
		if (atomic_load_explicit(&pool->counters->frees, memory_order_relaxed) != freed)
			return true;
		if (dying->waiting && !dying->looking && dying->unreadable)
			return false; /* a page cannot be read now: the same look again would end the same way */
	}
	return false;
}

/* ---- Hold pages ------------------------------------------------------------------------------------------------- */

void dying_add_page(struct session *session, int fd)
{
	session->hold_page = fd;
	session->pool->dying.pages++;
}

void dying_drop_page(struct session *session)
{
	struct dying *dying = &session->pool->dying;
	uint64_t slots[HOLD_SLOTS];
	uint32_t link;

	if (session->hold_page < 0)
		return;
	bool unknown = hold_page_read(session->hold_page, slots) < 0;
	close(session->hold_page);
	session->hold_page = -1;
	dying->pages--;
	hold_page_remove(session->pool->name, session->number);
	if (unknown)
		dying_doubt(session->pool);
	for (size_t i = 0; i < HOLD_SLOTS && !unknown; i++) {
		if (slots[i] && (link = find(dying, slots[i])))
			dying_released(session->pool, link - 1);
	}
}

void dying_doubt(struct pool *pool)
{
	if (pool->dying.orphan_count)
		look_again(&pool->dying.again);
}

uint32_t dying_count_holds(const struct session *session, uint64_t id)
{
	uint64_t slots[HOLD_SLOTS];
	uint32_t count = 0;

	if (session->hold_page < 0)
		return 0;
	if (hold_page_read(session->hold_page, slots) < 0)
		return 1; /* it may */
	for (size_t i = 0; i < HOLD_SLOTS; i++)
		count += slots[i] == id;
	return count;
}

bool dying_is_held(const struct pool *pool, uint64_t id)
{
	const struct session *session;

	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t number = 1; pool->dying.pages && (session = sessions_from(&pool->sessions, number));
	     number = session->number + 1) {
		if (dying_count_holds(session, id))
			return true;
	}
	return false;
}

void dying_adopt(struct pool *pool, uint32_t index)
{
	uint64_t word = blocks_word(&pool->blocks, index);
	bool held = !blocks_is_unheld(&pool->blocks, index);

	if ((word & RECORD_CONDEMNED) && collector_adopt(pool, index))
		return;
	if (record_state(word) == RECORD_LIVE) {
		if (!held)
			dying_begin(pool, index);
	} else if (held) {
		blocks_set_state(&pool->blocks, index, RECORD_LIVE);
	} else {
		if (record_state(word) != RECORD_DYING || (word & RECORD_CONDEMNED))
			blocks_set_state(&pool->blocks, index, RECORD_DYING);
		dying_know(pool, index);
		set_waiting(&pool->dying, index);
	}
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

int dying_init(struct dying *dying, struct pool *pool, uint32_t max_blocks)
{
	*dying = (struct dying){.pool = pool};
	int result = pair_index_init(&dying->by_id, max_blocks);

	if (result == 0)
		result = uv_timer_init(pool->loop, &dying->timer);
	if (result == 0)
		result = uv_timer_init(pool->loop, &dying->again);
	if (result == 0)
		result = uv_idle_init(pool->loop, &dying->slices);
	if (result < 0) {
		pair_index_deinit(&dying->by_id);
		return result;
	}
	dying->timer.data = dying->again.data = dying->slices.data = dying;
	dying->loop = pool->loop;
	return 0;
}

void dying_stop(struct dying *dying)
{
	if (!dying->loop)
		return;
	dying->stopped = true;
	dying->looking = false;
	uv_timer_stop(&dying->timer);
	uv_timer_stop(&dying->again);
	uv_idle_stop(&dying->slices);
}

void dying_close(struct dying *dying)
{
	if (!dying->loop)
		return;
	uv_close((uv_handle_t *)&dying->timer, NULL);
	uv_close((uv_handle_t *)&dying->again, NULL);
	uv_close((uv_handle_t *)&dying->slices, NULL);
	dying->loop = NULL;
}

void dying_deinit(struct dying *dying)
{
	pair_index_deinit(&dying->by_id);
}
