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
 * one took, or at once where much has died.
 *
 * An allocation that would be refused has it done first (dying_hurry), and then the pages are read for the orphans too: one that stands in none
 * was let go of without a word, and is dying. Others stay as they are.
 *
 * Reading all pages at once has an allowance of its own (page_holds.c). To free what has died, for memory and at once, is charged to the same: it
 * may be a million of blocks. Without any left an allocation waits a moment, until it was done (`owed`), for all who want memory by then; and who
 * wants a block that is dying gets it, for what may be held counts as held.
 * Who says that he has let go has his own page read first, and none but that where it holds the block still.
 *
 * What may go wrong:
 *
 * - Released is lost, with its connection: the orphans are looked at again when a session connects again. It is lost otherwise, or a slot
 *   was read while it changed: some orphans are looked at again every second, and all before an allocation is refused.
 * - A page cannot be read, now, or ever since somebody removed the file: it may hold anything. What is looked for becomes an orphan.
 * - A client dies: its session is marked dead first, then its page counts no more, and what stands in it is looked at again.
 * - A client writes what it likes into its page: it can make orphans of blocks that are dying, as it could by holding them. A look costs a
 *   look-up a slot, in slices.
 * - Somebody takes a known hold of a DYING block, by a request: it is settled first, for this block alone.
 * - A block that has a known holder is to shrink (lifetime_seclude): it is DYING while the pages of others are read, in no list.
 * - Blocks hold each other in a circle: the collector finds them, and looks for all of them before one of them ends (collector.c). They
 *   are DYING and condemned, and are in none of the lists here, but found by the ids that stand in pages.
 * - The daemon dies. DYING and ORPHAN are in the block's word: the next daemon makes LIVE what has a known holder, and looks for the rest.
 *   A hold page is in its session's record before the client has it, and is opened again.
 *
 * Why no hold is missed: DYING was stored before the look began, and a fence lies in between; see hold_layout.h. A page that is opened during a
 * look has come too late to hold what is DYING.
 */
#include "dying.h"

#include "collector.h"
#include "hold_page.h"
#include "page_holds.h"
#include "pool.h"
#include "reclaim.h"
#include "session.h"

/* A look begins at once where so much has died since the last one began. */
#define DEAD_BLOCKS_MAX 4096
#define DEAD_BYTES_MAX (UINT64_C(64) << 20)

/* Otherwise the loop has this many times what the last look took for itself, but no longer than this. */
#define LOOK_SHARE 9
#define LOOK_PAUSE_MAX_MS 10

/* Pages read, and blocks freed, in one turn of the loop: some 50 microseconds. */
#define SLICE_PAGES 64
#define SLICE_BLOCKS 256

/* What freeing a block is charged with, nanoseconds, about what it takes: as for pages (page_holds.c). */
#define BLOCK_NS 150

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
	uint32_t *lists[] = {&dying->waiting, &dying->looked_for, &dying->orphans, &dying->confirmed, &dying->found},
			 *list = lists[0];

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

	payer_end(pool, index);
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
	events_emit_block(pool, EVENT_BLOCK_FREED, index);
	metadata_give(&pool->metadata, body->metadata);
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
	schedule(dying);
}

/* It has just died: the memory of many is not left waiting. What is doubted again and again hastens nothing. */
static void set_dead(struct dying *dying, uint32_t index)
{
	dying->dead_count++;
	dying->dead_bytes += blocks_body(&dying->pool->blocks, index)->granted;
	set_waiting(dying, index);
}

static void look_again(uv_timer_t *timer);

/* The session has it in its page; NULL: some session may. */
static void make_orphan(struct dying *dying, uint32_t index, const struct session *session)
{
	if (session)
		payer_found(dying->pool, index, session->user);
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

int dying_look_at(struct session *session)
{
	struct dying *dying = &session->pool->dying;
	const struct blocks *blocks = &session->pool->blocks;
	uint64_t slots[HOLD_SLOTS];
	uint32_t link;
	int result = hold_page_read(session->hold_page, slots);

	dying->pages_read++;
	for (size_t i = 0; i < HOLD_SLOTS && result == 0; i++) {
		if (!slots[i] || !(link = find(dying, slots[i])) || record_state(blocks_word(blocks, link - 1)) != RECORD_DYING)
			continue;
		if (blocks_is_condemned(blocks, link - 1))
			collector_found_held(session->pool, link - 1);
		else
			make_orphan(dying, link - 1, session);
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
	dying->dead_count = dying->dead_bytes = 0;
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
		if (session->hold_page != HOLD_PAGE_NONE && dying_look_at(session) < 0)
			dying->unreadable = true;
	}
	while (dying->looked_for) {
		if (blocks-- == 0)
			return false;
		if (dying->unreadable)
			make_orphan(dying, dying->looked_for - 1, NULL);
		else
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
	bool much = dying->dead_count >= DEAD_BLOCKS_MAX || dying->dead_bytes >= DEAD_BYTES_MAX;

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

	if (!pool->page_holds.pages || !(blocks_word(&pool->blocks, index) & RECORD_SHARED)) {
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
	set_dead(dying, index);
}

struct search {
	const struct pool *pool;
	const struct session **out_holder; /* the first */
};

static bool note_holder(void *context, uint32_t session, uint32_t count)
{
	struct search *search = context;

	(void)count;
	*search->out_holder = search->pool->sessions.by_number[session];
	return false;
}

void dying_settle(const struct session *asking, uint32_t index)
{
	struct pool *pool = asking->pool;
	const struct session *holder = page_holds_count(asking, index) ? asking : NULL;
	int result = holder ? 0 : page_holds_list(pool, index, note_holder, &(struct search){pool, &holder});

	if (result == 0 && !holder)
		end_one(&pool->dying, index);
	else
		make_orphan(&pool->dying, index, holder);
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

void dying_released(const struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;

	/* He may hold it once more by now, or never have let go. When he does for the last time, he says so again. */
	if (record_state(blocks_word(&pool->blocks, index)) == RECORD_ORPHAN && !page_holds_count(session, index))
		doubt(&pool->dying, index);
}

/* ---- Looking at once -------------------------------------------------------------------------------------------- */

/* True: something was freed, and there may be more. False: nothing is waiting any more. */
static bool look_for_all(struct dying *dying)
{
	const struct view_counters *counters = dying->pool->counters;
	uint64_t freed = atomic_load_explicit(&counters->frees, memory_order_relaxed);

	/* What came during a look has its own: the first may find that all it looks for is held. Each has fewer left to look for. */
	while (dying->looking || dying->waiting) {
		if (!dying->looking) {
			uv_timer_stop(&dying->timer);
			begin_look(dying);
			uv_idle_start(&dying->slices, look_on);
		}
		go_on_looking(dying, UINT32_MAX, SLICE_BLOCKS);
		if (atomic_load_explicit(&counters->frees, memory_order_relaxed) != freed)
			return true;
	}
	return false;
}

/* Orphans that stand in the page are found: they leave the lists of those that may stand in none. */
static bool find_orphans(struct dying *dying, const struct session *session)
{
	const struct blocks *blocks = &dying->pool->blocks;
	uint64_t slots[HOLD_SLOTS];
	uint32_t link;

	dying->pages_read++;
	if (hold_page_read(session->hold_page, slots) < 0)
		return false;
	for (size_t i = 0; i < HOLD_SLOTS; i++) {
		if (!slots[i] || !(link = find(dying, slots[i])) || record_state(blocks_word(blocks, link - 1)) != RECORD_ORPHAN)
			continue;
		take_out(dying, link - 1);
		add(dying, &dying->found, link - 1);
	}
	return true;
}

/*
 * Doubts the orphans that stand in no page. They can be held still while the pages are read: each has a look of its own, which tells. A page that
 * cannot be read may hold all of them.
 */
static void doubt_unheld(struct dying *dying)
{
	const struct sessions *sessions = &dying->pool->sessions;
	const struct session *session;
	unsigned doubts = AGAIN_BLOCKS;
	bool whole = true;

	for (uint32_t number = 1; whole && (session = sessions_from(sessions, number)); number = session->number + 1)
		whole = session->hold_page == HOLD_PAGE_NONE || find_orphans(dying, session);
	while (whole && doubts-- && (dying->orphans || dying->confirmed))
		doubt(dying, (dying->orphans ? dying->orphans : dying->confirmed) - 1);
	while (dying->found) {
		uint32_t index = dying->found - 1;
		take_out(dying, index);
		add(dying, &dying->confirmed, index);
	}
}

static bool hurry(struct dying *dying)
{
	const struct view_counters *counters = dying->pool->counters;
	uint64_t before = dying->pages_read, frees = atomic_load_explicit(&counters->frees, memory_order_relaxed);
	bool freed = look_for_all(dying);

	if (!freed && dying->orphan_count) {
		doubt_unheld(dying);
		freed = look_for_all(dying);
	}
	frees = atomic_load_explicit(&counters->frees, memory_order_relaxed) - frees;
	page_holds_have_read(dying->pool, dying->pages_read - before);
	allowance_spend(&dying->pool->page_holds.for_memory, frees * BLOCK_NS);
	return freed;
}

/* What was owed is done, if there is an allowance again. Who waits for it has found out then. */
static void pay(uv_timer_t *timer)
{
	struct dying *dying = timer->data;
	struct allowance *allowance = &dying->pool->page_holds.for_memory;
	bool left = allowance_is_left(allowance, uv_hrtime());

	while (left && hurry(dying))
		left = allowance_is_left(allowance, uv_hrtime());
	if (left)
		wait_queue_owe(&dying->pool->wait_queue, false);
	else
		uv_timer_start(timer, pay, allowance_wait_ms(allowance), 0);
	pool_publish_counters(dying->pool);
}

bool dying_hurry(struct pool *pool)
{
	struct dying *dying = &pool->dying;
	struct allowance *allowance = &pool->page_holds.for_memory;

	if (dying->stopped || !(dying->looking || dying->waiting || dying->orphan_count))
		return false;
	/* Whoever is owed it comes first: others who come all the time would leave nothing for them. */
	bool owed = uv_is_active((uv_handle_t *)&dying->owed);
	if (!owed && allowance_is_left(allowance, uv_hrtime()))
		return hurry(dying);
	wait_queue_owe(&pool->wait_queue, true);
	if (!owed)
		uv_timer_start(&dying->owed, pay, allowance_wait_ms(allowance), 0);
	return false;
}

/* ---- After the end of a session, a connection, a daemon --------------------------------------------------------- */

int dying_drop_page(struct session *session)
{
	int page = session->hold_page;
	struct dying *dying = &session->pool->dying;
	uint64_t slots[HOLD_SLOTS], trail[HOLD_TRAIL];
	uint32_t link;

	if (page == HOLD_PAGE_NONE)
		return page;
	if (session->pool->cache.blocks && hold_page_read_trail(page, trail) == 0)
		cache_follow(&session->pool->cache, trail, HOLD_TRAIL);
	bool unknown = hold_page_read(page, slots) < 0;
	page_holds_drop_page(session);
	if (unknown)
		dying_doubt(session->pool);
	for (size_t i = 0; i < HOLD_SLOTS && !unknown; i++) {
		if (slots[i] && (link = find(dying, slots[i])) &&
		    record_state(blocks_word(&session->pool->blocks, link - 1)) == RECORD_ORPHAN)
			doubt(dying, link - 1);
	}
	return page;
}

void dying_doubt(struct pool *pool)
{
	if (pool->dying.orphan_count)
		look_again(&pool->dying.again);
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
		result = uv_timer_init(pool->loop, &dying->owed);
	if (result == 0)
		result = uv_idle_init(pool->loop, &dying->slices);
	if (result < 0) {
		pair_index_deinit(&dying->by_id);
		return result;
	}
	dying->timer.data = dying->again.data = dying->owed.data = dying->slices.data = dying;
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
	uv_timer_stop(&dying->owed);
	uv_idle_stop(&dying->slices);
}

void dying_close(struct dying *dying)
{
	if (!dying->loop)
		return;
	uv_close((uv_handle_t *)&dying->timer, NULL);
	uv_close((uv_handle_t *)&dying->again, NULL);
	uv_close((uv_handle_t *)&dying->owed, NULL);
	uv_close((uv_handle_t *)&dying->slices, NULL);
	dying->loop = NULL;
}

void dying_deinit(struct dying *dying)
{
	pair_index_deinit(&dying->by_id);
}
