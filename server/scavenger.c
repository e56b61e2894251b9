/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scavenger: see scavenger.h.
 *
 * Happy path. Something is freed: the timer starts. One delay later a walk through the free blocks marks the committed pages that it finds
 * as idle; a delay after that the next walk finds them idle still and has them punched. An allocation takes its pages out of
 * the idle set, which is all that it pays. So a page goes back between one and two delays after it was freed, and one that is used again and
 * again never does. When a walk has found nothing and nothing was freed meanwhile, it sleeps.
 *
 * The walk goes by order, from the highest down, in slices. An allocation in the middle of it splits blocks, whose halves go to lower
 * orders, where the walk has yet to come; a release merges them upwards, and then something was freed and there is another walk. Only
 * blocks of at least a page are looked at: a free page is a free block, or lies in one, as blocks are aligned to their size. The one exception
 * is the page at the end of a segment that is no whole number of pages.
 *
 * Punching a run: its units are taken from the allocator (withheld.h), so that nobody gets them; its pages are unmarked; the piece goes
 * to the kernel on the committer's lane, where nothing is committed meanwhile (the window of a small commit may reach into free
 * pages, and would mark what is about to go); then the units are free again. While somebody is about to be given memory, or waits for what
 * is on its way back, nothing is taken; who waits for others to free something does not keep memory from going back.
 *
 * Killed before the first unmarking: nothing has happened. Killed between unmarking and the end of the punch: pages are unmarked and
 * backed, which a commit leaves too when it is killed between fallocate and mark. They are no danger, as nothing unmarked is handed
 * out without a commit, but they are lost to the machine. Pages that were committed and never written do not show in SEEK_DATA; what shows
 * is the sum: the segment has more blocks than pages are marked. Then the first walk punches whatever is free and unmarked as well. A
 * hole costs next to nothing, so its runs may be long, as long as few pages can be hidden in it. Killed there, the next start does it again.
 *
 * A punch that fails leaves pages that are unmarked and perhaps backed: as above. They are free, and the next commit takes them as they are.
 */
#include "scavenger.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "log.h"
#include "pool.h"
#include "size.h"
#include "state_layout.h"

/* Stretches of pages looked at in one turn of the loop: about 50 microseconds. */
#define SLICE 256

/* Pages of a stretch at most: the bits of so many are looked at in a few microseconds. */
#define STRETCH_PAGES 65536

/* Milliseconds until a walk that met such a one goes on. */
#define PAUSE 10

#define PIECE_PAGES (COMMIT_PIECE_BYTES / STATE_EXTENT)

static void walk(uv_timer_t *timer);

int scavenger_init(struct scavenger *scavenger, struct pool *pool)
{
	*scavenger = (struct scavenger){.pool = pool};
	int result = page_set_init(&scavenger->idle, pool->extents.pages);
	if (result < 0)
		return result;
	uv_timer_init(pool->loop, &scavenger->timer);
	scavenger->timer.data = scavenger;
	scavenger->state = SCAVENGER_OFF;
	return 0;
}

void scavenger_deinit(struct scavenger *scavenger)
{
	if (scavenger->state != SCAVENGER_CLOSED)
		uv_close((uv_handle_t *)&scavenger->timer, NULL);
	scavenger->state = SCAVENGER_CLOSED;
	page_set_deinit(&scavenger->idle);
}

/* The page in which a unit starts, and the unit in which a page does. */
static uint64_t page_of(const struct scavenger *scavenger, uint64_t unit)
{
	return unit * scavenger->pool->unit / STATE_EXTENT;
}

static uint64_t unit_of(const struct scavenger *scavenger, uint64_t page)
{
	return page * STATE_EXTENT / scavenger->pool->unit;
}

/* ---- The walk --------------------------------------------------------------------------------------------------- */

/* The smallest order whose blocks are whole pages. */
static unsigned lowest_order(const struct scavenger *scavenger)
{
	return scavenger->pool->unit >= STATE_EXTENT ? 0 : size_order_for(STATE_EXTENT / scavenger->pool->unit);
}

static void sleep_until(struct scavenger *scavenger, enum scavenger_state state, uint64_t ms)
{
	scavenger->state = state;
	uv_timer_start(&scavenger->timer, walk, ms, 0);
}

static void begin(struct scavenger *scavenger)
{
	scavenger->freed = scavenger->found = false;
	scavenger->order = BUDDY_ORDERS - 1;
	scavenger->cursor = 0;
}

void scavenger_wake(struct scavenger *scavenger)
{
	sleep_until(scavenger, SCAVENGER_WAITS, scavenger->delay_ms);
}

static void end(struct scavenger *scavenger)
{
	scavenger->strays = false;
	if (scavenger->delay_ms == SCAVENGER_NEVER)
		scavenger->state = SCAVENGER_OFF;
	else if (scavenger->found || scavenger->freed)
		scavenger_wake(scavenger);
	else
		scavenger->state = SCAVENGER_ASLEEP;
}

/* Puts pages of a free block into the piece. A unit of several pages is taken with the first of its runs. */
static void take(struct scavenger *scavenger, uint64_t from, uint64_t end, bool marked)
{
	struct pool *pool = scavenger->pool;
	struct commit_piece *piece = &scavenger->piece;
	uint64_t offset = unit_of(scavenger, from), last = (end * STATE_EXTENT + pool->unit - 1) / pool->unit;

	if (last > buddy_units(&pool->buddy))
		last = buddy_units(&pool->buddy);
	if (piece->count && offset + 1 == scavenger->taken[piece->count - 1].end)
		offset++;
	scavenger->taken[piece->count].offset = offset;
	scavenger->taken[piece->count].end = last;
	if (offset < last)
		withheld_take(&pool->withheld, offset, last - offset);
	if (marked)
		extents_mark(&pool->extents, from, end, false);
	page_set_remove(&scavenger->idle, from, end);
	piece->runs[piece->count++] = (struct commit_range){from * STATE_EXTENT, (end - from) * STATE_EXTENT};
	scavenger->found = true;
}

/*
 * Looks at the next pages of a free block, at least one: takes them, or marks them, or leaves them. Returns where it stopped; `end` less
 * where the piece was full.
 */
static uint64_t look_at(struct scavenger *scavenger, uint64_t from, uint64_t end, uint64_t *room)
{
	struct pool *pool = scavenger->pool;
	uint64_t gap, gap_end, pages = *room;

	if (end - from > STRETCH_PAGES && !scavenger->strays)
		end = from + STRETCH_PAGES;
	if (!extents_next_gap(&pool->extents, from, end, &gap, &gap_end))
		gap = gap_end = end;
	if (gap == from) {
		if (!scavenger->strays)
			return gap_end;
		pages = scavenger->stray_pages;
		end = gap_end - from < pages ? gap_end : from + pages;
		*room = *room > end - from ? *room - (end - from) : 0;
		take(scavenger, from, end, false);
		return end;
	}
	if (scavenger->delay_ms == SCAVENGER_NEVER)
		return gap;
	uint64_t fresh = page_set_next(&scavenger->idle, from, gap, false);
	if (fresh > from) {
		end = fresh - from < pages ? fresh : from + pages;
		*room -= end - from;
		take(scavenger, from, end, true);
		return end;
	}
	end = page_set_next(&scavenger->idle, from, gap, true);
	page_set_add(&scavenger->idle, from, end);
	scavenger->found = true;
	return end;
}

/*
 * The pages of the next free block from the cursor on; after the lowest order, the page that the segment's end cuts. False: the walk is
 * over.
 */
static bool next_pages(struct scavenger *scavenger, uint64_t *out_from, uint64_t *out_end)
{
	const struct buddy *buddy = &scavenger->pool->buddy;
	unsigned lowest = lowest_order(scavenger);
	uint64_t units = buddy_units(buddy), tail = units >> lowest << lowest;

	/* Below 0 the order is a very large number. */
	for (; scavenger->order >= lowest && scavenger->order < BUDDY_ORDERS; scavenger->order--, scavenger->cursor = 0) {
		uint64_t start = buddy_next_free(buddy, scavenger->order, unit_of(scavenger, scavenger->cursor));
		if (start == BUDDY_NONE)
			continue;
		*out_from = page_of(scavenger, start);
		*out_end = page_of(scavenger, start + (UINT64_C(1) << scavenger->order));
		if (*out_from < scavenger->cursor)
			*out_from = scavenger->cursor;
		return true;
	}
	if (tail == units || scavenger->cursor > page_of(scavenger, tail) || !buddy_is_free(buddy, tail, units - tail))
		return false;
	*out_from = page_of(scavenger, tail);
	*out_end = *out_from + 1;
	return true;
}

/* ---- The piece -------------------------------------------------------------------------------------------------- */

static void complain(struct scavenger *scavenger)
{
	const struct commit_piece *piece = &scavenger->piece;
	char size[SIZE_TEXT_MAX];

	if (scavenger->complained)
		return;
	scavenger->complained = true;
	size_format(piece->runs[piece->finished].length, size);
	log_warning("pool %s: cannot give %s of free memory back to the kernel: %s; it is used again as it is",
	            scavenger->pool->name, size, strerror(-piece->result));
}

static void punched(struct commit_piece *piece)
{
	struct scavenger *scavenger = (struct scavenger *)((char *)piece - offsetof(struct scavenger, piece));
	struct pool *pool = scavenger->pool;

	if (piece->result < 0)
		complain(scavenger);
	for (size_t i = 0; i < piece->count; i++) {
		uint64_t offset = scavenger->taken[i].offset, last = scavenger->taken[i].end;
		if (offset < last)
			withheld_give(&pool->withheld, offset, last - offset);
	}
	pool_publish_counters(pool);
	if (scavenger->state == SCAVENGER_AWAY)
		sleep_until(scavenger, SCAVENGER_WALKS, 0);
}

/* One slice of the walk. */
static void walk(uv_timer_t *timer)
{
	struct scavenger *scavenger = timer->data;
	struct pool *pool = scavenger->pool;
	uint64_t room = PIECE_PAGES, from, end_of_block;
	bool more = true;

	if (scavenger->state == SCAVENGER_WAITS)
		begin(scavenger);
	scavenger->state = SCAVENGER_WALKS;
	if (wait_queue_is_busy(&pool->wait_queue)) {
		sleep_until(scavenger, SCAVENGER_WALKS, PAUSE);
		return;
	}
	scavenger->piece.count = 0;
	for (unsigned i = 0; i < SLICE && room && scavenger->piece.count < COMMIT_PIECE_RUNS && more; i++) {
		more = next_pages(scavenger, &from, &end_of_block);
		if (more)
			scavenger->cursor = look_at(scavenger, from, end_of_block, &room);
	}
	if (scavenger->piece.count) {
		scavenger->state = SCAVENGER_AWAY;
		committer_run(&pool->committer, &scavenger->piece);
	} else if (more) {
		sleep_until(scavenger, SCAVENGER_WALKS, 0);
	} else {
		end(scavenger);
	}
}

/* ---- Start and stop --------------------------------------------------------------------------------------------- */

void scavenger_start(struct scavenger *scavenger, uint64_t delay_ms, uint64_t stray_pages)
{
	scavenger->delay_ms = delay_ms;
	scavenger->piece.action = COMMIT_PUNCH;
	scavenger->piece.done = punched;
	scavenger->strays = stray_pages > 0;
	scavenger->stray_pages = stray_pages;
	if (scavenger->strays) {
		begin(scavenger);
		sleep_until(scavenger, SCAVENGER_WALKS, 0);
		return;
	}
	scavenger->freed = scavenger->pool->extents.committed > 0;
	end(scavenger);
}

void scavenger_stop(struct scavenger *scavenger)
{
	if (scavenger->state == SCAVENGER_CLOSED)
		return;
	scavenger->state = SCAVENGER_OFF;
	uv_timer_stop(&scavenger->timer);
}
