/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector: circles of links that hold themselves.
 *
 * Happy path. A run begins. It looks at all blocks that have links; from those that something else holds, be it a session, a name, a ticket, a time,
 * or, as far as is known, a hold page (ORPHAN), and from those whose end is being looked at (DYING), it follows the links (mark.c), and marks
 * what it reaches. Then each live block that has links to it and is not marked is condemned, in one store: DYING, so that from now on no hold
 * page can get hold of it (hold_layout.h). Then the hold pages are read, once, for all of them together. What stands in one is rescued, and what
 * that reaches, by the same mark. Nothing grey is left, and all pages are read: in this moment the rest is decided to end, by one store in the
 * state's header. Their links go, and they, each in one store; when none is left the header's word goes, and who waits is answered.
 *
 * All of this in slices of SLICE_NS of the loop, which handles requests in between. Where somebody waits there is one in each turn of the
 * loop, and else one a millisecond. Where there are no links a run has nothing to look at, and no request is dearer than by the look at a flag.
 *
 * When. By request (Collect). When memory is wanted and there is none, if there is reason to suspect. And by itself, AUTO_MS after something has
 * left a block to links alone that holds others by links itself: each circle that is left to itself was left so by such an event, for the last
 * that held it from outside held one of its blocks, or one from which links led to it. It takes at most a part in AUTO_SHARE of the loop's time.
 *
 * Why nothing is freed that somebody reaches:
 *
 * - Until the decision each block that gets a holder of whatever kind is touched: marked, and rescued if it was condemned. So a block that is
 *   condemned in the moment of the decision has no known holder but links, and none from a marked block (mark.c); all others that have links to
 *   them are marked: those that were when the mark came by, those that something touched since, and those that became DYING since, which are
 *   touched for that: a page may say later that it holds one, be it a lie. A block without links to it is not condemned: something holds it, or
 *   it is gone.
 * - Nor has a hold page one of them: each was DYING without a pause since before the first page was read. Whoever had hold of it then was
 *   seen, or has let go since. Whoever was to get it from him saw that it is DYING, and asked: which rescued it. And so for what is reached from
 *   what a page holds: until it is rescued it cannot be taken by page, only by a request, which rescues it at once.
 * - From the decision on none of them can be acquired, linked, or found: a handle of one is stale, for good, a kill of the daemon notwithstanding.
 *   All end or none does, so nobody gets hold of a part.
 *
 * What may go wrong:
 *
 * - A condemned block is asked for: it is rescued first, and if nothing holds it in the end there is reason to suspect again.
 * - A condemned block loses its last link, from a block that goes by itself: it ends with the others, or is rescued and then DYING as any other.
 * - What was held when it was marked is let go of: it stays, and the event is a reason for the next run.
 * - A circle is rescued for a hold page's sake. Who lets go of it does not say so, for the blocks are live and not ORPHAN. So the run is repeated
 *   after AUTO_MS, as long as that is so.
 * - A page cannot be read: it may hold anything. All are rescued; the run has no result, and is repeated as well.
 * - There is no memory for the mark: the same.
 * - A client writes what it likes into its page: it can keep circles, as it could by holding them.
 *
 * What a kill leaves: during the mark nothing. A block that is condemned, and no decision: the next daemon takes the mark back (LIVE; or DYING,
 * if nothing is known to hold it). A decision: all that is condemned ends; the next daemon goes on where this one was, whether a
 * link had gone or a block. The decision's word outlives the last of them: then it just goes. Before it has gone nothing else is condemned.
 */
#include "collector.h"

#include <assert.h>
#include <errno.h>

#include "commit.h"
#include "dying.h"
#include "hold_page.h"
#include "log.h"
#include "pool.h"
#include "session.h"

/* A slice, as collector.h has it. A step takes a microsecond at most. */
#define SLICE_NS 100000
#define SLICE_STEPS 64

/* Steps that the reading of a hold page counts as, with all that may stand in it. */
#define PAGE_STEPS 48

/* A run by itself begins so long after there was a reason, and not before it would take a larger part of the loop's time than this. */
#define AUTO_MS 1000
#define AUTO_SHARE 50

/* A circle that a page held last time may be free now. When memory is wanted it is looked at again after so many times the last run's duration. */
#define WANTED_SHARE 10

static void begin(struct collector *collector, bool hurried);
static void go_on(struct collector *collector);

/* ---- A run, step by step ---------------------------------------------------------------------------------------- */

static void reached(struct pool *pool, uint32_t block)
{
	if (blocks_is_condemned(&pool->blocks, block))
		condemned_rescue(pool, block);
}

void collector_touch(struct pool *pool, uint32_t block)
{
	if (mark_add(&pool->collector.mark, block))
		reached(pool, block);
}

/* Is it held by something else than links, or may it be? */
static bool is_root(const struct pool *pool, uint32_t block)
{
	enum record_state state = record_state(blocks_word(&pool->blocks, block));

	if (state == RECORD_DYING || state == RECORD_ORPHAN)
		return true;
	return state == RECORD_LIVE && blocks_is_rooted(&pool->blocks, block);
}

static void look_for_holder(struct collector *collector, uint32_t block)
{
	const struct pool *pool = collector->pool;

	/* Without links it is no part of anything; it will be touched with the first one to it. */
	if ((pool->blocks.links_from[block] || pool->blocks.links_to[block]) && is_root(pool, block))
		mark_add(&collector->mark, block);
}

static void look_for_garbage(struct collector *collector, uint32_t block)
{
	struct pool *pool = collector->pool;

	if (!pool->blocks.links_to[block] || mark_is_marked(&collector->mark, block) ||
	    record_state(blocks_word(&pool->blocks, block)) != RECORD_LIVE)
		return;
	assert(!is_root(pool, block)); /* or it would have been marked */
	condemned_add(pool, block);
}

static void decide(struct collector *collector)
{
	collector->marking = false;
	collector->collection.marked = collector->mark.count;
	mark_end(&collector->mark);
	if (condemned_is_empty(&collector->condemned)) {
		collector->phase = COLLECTOR_ENDS;
		return;
	}
	commit(&collector->pool->state_header->collection, STATE_COLLECTED);
	collector->phase = COLLECTOR_FREES;
}

static void give_up(struct collector *collector)
{
	collector->marking = false;
	mark_end(&collector->mark);
	collector->held_by_page = true;
	collector->result = -EIO;
	collector->phase = COLLECTOR_RESCUES;
}

/* Reads the next session's page, or decides. Returns what that was worth, in steps. */
static unsigned look_at_page(struct collector *collector)
{
	struct session *session = sessions_from(&collector->pool->sessions, collector->cursor);

	if (!session || condemned_is_empty(&collector->condemned)) {
		decide(collector);
		return 1;
	}
	collector->cursor = session->number + 1;
	if (session->hold_page == HOLD_PAGE_NONE)
		return 1;
	/* Between the words, which say DYING, and the slots. */
	atomic_thread_fence(memory_order_seq_cst);
	if (dying_look_at(session) < 0)
		give_up(collector);
	return PAGE_STEPS;
}

static void free_some(struct collector *collector)
{
	if (!condemned_is_empty(&collector->condemned)) {
		condemned_step(collector->pool);
		return;
	}
	commit(&collector->pool->state_header->collection, 0);
	collector->phase = COLLECTOR_ENDS;
}

/* Returns what it was worth: a step or several. */
static unsigned step(struct collector *collector)
{
	if (collector->marking && !mark_is_done(&collector->mark)) {
		uint32_t link = mark_step(&collector->mark);
		if (link)
			reached(collector->pool, link - 1);
		return 1;
	}
	switch (collector->phase) {
	case COLLECTOR_MARKS:
	case COLLECTOR_CONDEMNS:
		if (collector->cursor == collector->end) {
			collector->cursor = 0;
			collector->phase++;
		} else if (collector->phase == COLLECTOR_MARKS) {
			look_for_holder(collector, collector->cursor++);
		} else {
			look_for_garbage(collector, collector->cursor++);
		}
		return 1;
	case COLLECTOR_LOOKS: return look_at_page(collector);
	case COLLECTOR_FREES: free_some(collector); return 1;
	case COLLECTOR_RESCUES:
		if (condemned_is_empty(&collector->condemned))
			collector->phase = COLLECTOR_ENDS;
		else
			condemned_rescue(collector->pool, collector->condemned.whole - 1);
		return 1;
	case COLLECTOR_ENDS:
	case COLLECTOR_RESTS: break;
	}
	return collector->slice_steps;
}

static bool is_under_way(const struct collector *collector)
{
	return collector->phase != COLLECTOR_RESTS && collector->phase != COLLECTOR_ENDS;
}

/* ---- Runs ------------------------------------------------------------------------------------------------------- */

static void tell(struct collector *collector)
{
	uint64_t run = collector->run;
	struct collection collection = collector->collection; /* whoever is told may have another begin */
	int result = collector->result;
	struct collector_waiter *waiter;

	while ((waiter = collector->first) && waiter->run <= run) {
		collector_leave(collector, waiter);
		waiter->ended(waiter, &collection, result);
	}
}

static void rest(struct collector *collector)
{
	uv_idle_stop(&collector->slices);
	uv_timer_stop(&collector->timer);
}

static void timer_passed(uv_timer_t *timer)
{
	struct collector *collector = timer->data;

	if (collector->phase == COLLECTOR_RESTS)
		begin(collector, false);
	else
		go_on(collector);
}

/* The next run by itself, if there is a reason. */
static void schedule(struct collector *collector)
{
	if (collector->phase != COLLECTOR_RESTS || collector->stopped || !collector->loop ||
	    !(collector->suspected || collector->held_by_page) || uv_is_active((uv_handle_t *)&collector->timer))
		return;
	uint64_t due = collector->ended_ns + AUTO_SHARE * collector->collection.duration_ns, now = uv_hrtime();
	uint64_t pause = due <= now ? 0 : (due - now) / 1000000;
	uv_timer_start(&collector->timer, timer_passed, pause > AUTO_MS ? pause : AUTO_MS, 0);
}

static void finish(struct collector *collector)
{
	struct pool *pool = collector->pool;
	struct collection *collection = &collector->collection;

	collector->ended_ns = uv_hrtime();
	collection->freed = collector->condemned.freed;
	collection->freed_bytes = collector->condemned.freed_bytes;
	collection->duration_ns = collector->ended_ns - collector->started_ns;
	if (collection->freed)
		log_info("pool %s: %llu blocks were held by circles of links alone: freed, after %llu us in %llu slices", pool->name,
		         (unsigned long long)collection->freed, (unsigned long long)(collection->duration_ns / 1000),
		         (unsigned long long)collection->slices);
	collector->phase = COLLECTOR_RESTS;
	rest(collector);
	bool again = collector->wanted && !collector->stopped;
	collector->wanted = false;
	wait_queue_collected(&pool->wait_queue, again ? collector->arrivals : UINT64_MAX);
	tell(collector);
	if (collector->phase != COLLECTOR_RESTS)
		return; /* one who was told has begun the next */
	if (again || collector->first)
		begin(collector, true);
	else
		schedule(collector);
}

static void slice(struct collector *collector)
{
	uint64_t start = uv_hrtime(), took;

	do {
		for (unsigned steps = 0; steps < collector->slice_steps && is_under_way(collector);)
			steps += step(collector);
		took = uv_hrtime() - start;
	} while (is_under_way(collector) && took < collector->slice_ns);
	collector->collection.slices++;
	if (took > collector->collection.longest_ns)
		collector->collection.longest_ns = took;
	pool_publish_counters(collector->pool);
	if (collector->phase == COLLECTOR_ENDS)
		finish(collector);
}

static void turn(uv_idle_t *idle)
{
	slice(idle->data);
}

/* A slice now that its time has come, and the next in a millisecond. */
static void go_on(struct collector *collector)
{
	uv_timer_start(&collector->timer, timer_passed, 1, 0);
	slice(collector);
}

static void hurry(struct collector *collector)
{
	if (collector->stopped || collector->hurried)
		return;
	collector->hurried = true;
	uv_timer_stop(&collector->timer);
	uv_idle_start(&collector->slices, turn);
}

static void begin(struct collector *collector, bool hurried)
{
	struct pool *pool = collector->pool;
	const struct mark_graph graph = {pool->blocks.links_from, pool->links.of_from, pool->links.records};

	if (collector->stopped)
		return;
	collector->run++;
	collector->collection = (struct collection){0};
	collector->started_ns = uv_hrtime();
	collector->arrivals = pool->wait_queue.arrivals;
	collector->suspected = collector->held_by_page = false;
	collector->cursor = 0;
	collector->end = pool->link_count ? pool->blocks.table.used : 0;
	condemned_begin(&collector->condemned);
	collector->result = mark_begin(&collector->mark, &graph, pool->blocks.table.capacity);
	collector->marking = collector->result == 0;
	collector->phase = collector->marking ? COLLECTOR_MARKS : COLLECTOR_ENDS;
	collector->held_by_page = !collector->marking; /* it is tried again */
	collector->hurried = false;
	if (hurried)
		hurry(collector);
	else
		uv_timer_start(&collector->timer, timer_passed, 1, 0);
}

/* ---- From outside ----------------------------------------------------------------------------------------------- */

void collector_suspect(struct pool *pool)
{
	struct collector *collector = &pool->collector;

	if (collector->suspected)
		return;
	collector->suspected = true;
	schedule(collector);
}

int collector_wait(struct collector *collector, struct collector_waiter *waiter)
{
	if (collector->stopped)
		return -ECANCELED;
	if (collector->waiters == COLLECTOR_WAITERS_MAX)
		return -EDQUOT;
	waiter->run = collector->run + 1;
	waiter->next = NULL;
	waiter->previous = collector->last;
	if (collector->last)
		collector->last->next = waiter;
	else
		collector->first = waiter;
	collector->last = waiter;
	collector->waiters++;
	if (collector->phase == COLLECTOR_RESTS)
		begin(collector, true);
	else
		hurry(collector);
	return 0;
}

void collector_leave(struct collector *collector, struct collector_waiter *waiter)
{
	if (waiter->previous)
		waiter->previous->next = waiter->next;
	else
		collector->first = waiter->next;
	if (waiter->next)
		waiter->next->previous = waiter->previous;
	else
		collector->last = waiter->previous;
	collector->waiters--;
}

/* Has the circle that a page held been looked at so long ago that it may be worth it again? */
static bool is_worth_it(const struct collector *collector)
{
	return collector->suspected ||
	       (collector->held_by_page && uv_hrtime() - collector->ended_ns > WANTED_SHARE * collector->collection.duration_ns);
}

bool collector_want_memory(struct pool *pool)
{
	struct collector *collector = &pool->collector;

	if (collector->stopped || !collector->loop)
		return false;
	if (collector->phase != COLLECTOR_RESTS) {
		collector->wanted = collector->wanted || collector->suspected; /* what happened since it began is the next one's */
		hurry(collector);
	} else if (is_worth_it(collector)) {
		begin(collector, true);
	} else {
		return false;
	}
	wait_queue_await_collection(&pool->wait_queue);
	return true;
}

void collector_rescue(struct pool *pool, uint32_t block)
{
	struct collector *collector = &pool->collector;

	collector_suspect(pool);
	if (collector->marking)
		collector_touch(pool, block);
	else if (!collector_has_decided(pool))
		condemned_rescue(pool, block);
}

void collector_found_held(struct pool *pool, uint32_t block)
{
	struct collector *collector = &pool->collector;

	if (!collector->marking)
		return; /* nobody can have got it since it was decided */
	collector->held_by_page = true;
	collector_touch(pool, block);
}

void collector_dropped(struct pool *pool, uint32_t block)
{
	/* Before that is decided its end is left to the decision, or to its rescue. */
	if (collector_has_decided(pool) && blocks_is_unheld(&pool->blocks, block))
		condemned_unheld(pool, block);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

bool collector_adopt(struct pool *pool, uint32_t block)
{
	if (atomic_load_explicit(&pool->state_header->collection, memory_order_relaxed) != STATE_COLLECTED)
		return false;
	condemned_adopt(pool, block);
	pool->collector.phase = COLLECTOR_FREES;
	return true;
}

void collector_recover(struct pool *pool)
{
	pool->collector.suspected = pool->link_count > 0;
	if (pool->collector.phase == COLLECTOR_RESTS &&
	    atomic_load_explicit(&pool->state_header->collection, memory_order_relaxed))
		commit(&pool->state_header->collection, 0);
}

int collector_init(struct collector *collector, struct pool *pool)
{
	*collector = (struct collector){.pool = pool, .slice_ns = SLICE_NS, .slice_steps = SLICE_STEPS};
	int result = uv_timer_init(pool->loop, &collector->timer);

	if (result == 0)
		result = uv_idle_init(pool->loop, &collector->slices);
	if (result < 0)
		return result;
	collector->timer.data = collector->slices.data = collector;
	collector->loop = pool->loop;
	return 0;
}

void collector_start(struct collector *collector)
{
	collector->started_ns = uv_hrtime();
	if (collector->phase == COLLECTOR_FREES)
		hurry(collector);
	else
		schedule(collector);
}

void collector_stop(struct collector *collector)
{
	if (!collector->loop)
		return;
	collector->stopped = true;
	rest(collector);
}

void collector_close(struct collector *collector)
{
	if (!collector->loop)
		return;
	mark_end(&collector->mark);
	uv_close((uv_handle_t *)&collector->timer, NULL);
	uv_close((uv_handle_t *)&collector->slices, NULL);
	collector->loop = NULL;
}
