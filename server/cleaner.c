/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cleaner: see cleaner.h.
 *
 * Dirty memory is kept in a second allocator beside the pool's: a unit that is free in `dirty` is dirty, and taken in the pool's. So what
 * is freed goes there in one release, without memory of its own and however large it is, neighbours become one, and no unit can be
 * in both. Little, a page at most, is cleaned on the spot: a system call of a microsecond. All else goes to the kernel in pieces, on
 * the committer's lane, and then over to the pool's allocator. Until then it is withheld (withheld.h): not used, and waited for.
 *
 * Cleaning goes round the segment by address, so that what is dirty now has been cleaned after one round, whatever is freed meanwhile.
 *
 * A range is cleaned by zeros that are written: cheaper than to punch it and commit it again (commit_piece.c). Where its pages are
 * not marked, it is punched: a killed daemon may have left them backed and full, and to write to them would back them unmarked.
 *
 * A start on a pool that is there cannot know what is clean: a former daemon may have had another policy, or was killed between the free
 * and the zeros. So all free memory is dirty then. The two allocators change places, which takes no time: the pool's starts without
 * a free unit, and gets them as they are cleaned, while clients are served. In this first round whole pages are punched; for
 * what nobody uses, that is cheapest, and wanted, unless the pool is committed up front.
 *
 * Killed at any point: nothing of this is in the tables but marks, and those are cleared before a punch. The next start with this policy
 * cleans everything again. What was never handed to a client (a refused allocation, a window that was committed) is not dirty.
 *
 * The kernel refuses (somebody has punched the segment, and then filled /dev/shm): what was not cleaned stays dirty and withheld; nobody
 * waits for it; it is tried again every second.
 */
#include "cleaner.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "log.h"
#include "pool.h"
#include "region.h"
#include "size.h"
#include "state_layout.h"

/* Bytes that are cleaned on the spot, at most. */
#define SMALL 4096

/* Milliseconds until the kernel is asked again. */
#define RETRY 1000

int cleaner_init(struct cleaner *cleaner, struct pool *pool, void (*freed)(struct cleaner *cleaner))
{
	uint64_t units = pool->grown_size / pool->unit; /* it may be about to grow */

	*cleaner = (struct cleaner){.pool = pool, .freed = freed};
	int result = region_new(buddy_footprint(units), &cleaner->memory);
	if (result < 0)
		return result;
	buddy_init(&cleaner->dirty, cleaner->memory, units);
	buddy_reserve(&cleaner->dirty, 0, units);
	uv_timer_init(pool->loop, &cleaner->timer);
	cleaner->timer.data = cleaner;
	return 0;
}

void cleaner_deinit(struct cleaner *cleaner)
{
	if (!cleaner->memory)
		return;
	uv_close((uv_handle_t *)&cleaner->timer, NULL);
	region_free(cleaner->memory, buddy_footprint(cleaner->pool->grown_size / cleaner->pool->unit));
	cleaner->memory = NULL;
}

/* ---- The piece -------------------------------------------------------------------------------------------------- */

/* The first dirty run of units at or after `from`, as one block of `dirty` has it. */
static bool next_dirty(const struct cleaner *cleaner, uint64_t from, uint64_t *out_start, uint64_t *out_end)
{
	uint64_t first = BUDDY_NONE, end = 0;

	for (uint64_t left = cleaner->dirty.orders; left; left &= left - 1) {
		unsigned order = (unsigned)__builtin_ctzll(left);
		uint64_t start = buddy_next_free(&cleaner->dirty, order, from);
		if (start >= first)
			continue;
		first = start;
		end = start + (UINT64_C(1) << order);
	}
	*out_start = first > from ? first : from;
	*out_end = end;
	return first != BUDDY_NONE;
}

static uint64_t pages_to(const struct pool *pool, uint64_t unit)
{
	return (unit * pool->unit + STATE_EXTENT - 1) / STATE_EXTENT;
}

/* What is done to dirty units from `start` on, and up to where; at least one unit. */
static enum commit_action choose(const struct cleaner *cleaner, uint64_t start, uint64_t end, uint64_t room,
                                 uint64_t *out_stop)
{
	const struct pool *pool = cleaner->pool;
	uint64_t page = start * pool->unit / STATE_EXTENT, last = pages_to(pool, end), gap, gap_end;
	uint64_t page_units = pool->unit < STATE_EXTENT ? STATE_EXTENT / pool->unit : 1;

	if (!extents_next_gap(&pool->extents, page, last, &gap, &gap_end))
		gap = gap_end = last;
	uint64_t marked = gap == last ? end : gap * STATE_EXTENT / pool->unit;
	if (marked > start) {
		uint64_t most = room > pool->unit ? room / pool->unit : 1;
		*out_stop = marked - start > most ? start + most : marked;
		if (!cleaner->stale || pool->up_front || start % page_units || *out_stop - start < page_units)
			return COMMIT_ZERO;
		*out_stop -= (*out_stop - start) % page_units;
		return COMMIT_PUNCH;
	}
	if (gap_end - page > cleaner->hole_pages)
		gap_end = page + cleaner->hole_pages;
	/*
	 * Whole pages: nobody may be given a part of one while it waits to be punched. No block touches a page that is not marked, so it is
	 * one block here, or lies in one; but for the page that the segment's end cuts, whose blocks go together.
	 */
	*out_stop = (gap_end * STATE_EXTENT + pool->unit - 1) / pool->unit;
	if (*out_stop > buddy_units(&cleaner->dirty))
		*out_stop = buddy_units(&cleaner->dirty);
	return COMMIT_PUNCH;
}

static void add(struct cleaner *cleaner, uint64_t start, uint64_t stop)
{
	struct pool *pool = cleaner->pool;
	struct commit_piece *piece = &cleaner->piece;
	struct commit_range range = {start * pool->unit, (stop - start) * pool->unit};

	int taken = buddy_reserve(&cleaner->dirty, start, stop - start);
	assert(taken == 0);
	(void)taken;
	if (piece->action == COMMIT_PUNCH) {
		uint64_t from = range.offset / STATE_EXTENT, end = pages_to(pool, stop);
		extents_mark(&pool->extents, from, end, false);
		range = (struct commit_range){from * STATE_EXTENT, (end - from) * STATE_EXTENT};
	}
	cleaner->taken[piece->count].offset = start;
	cleaner->taken[piece->count].end = stop;
	piece->runs[piece->count++] = range;
	cleaner->cursor = stop;
}

/* Fills the piece with what comes next on the way round. Nothing: all is clean. */
static void fill(struct cleaner *cleaner)
{
	struct commit_piece *piece = &cleaner->piece;
	uint64_t room = COMMIT_PIECE_BYTES, start, end, stop;

	piece->count = 0;
	while (room && piece->count < COMMIT_PIECE_RUNS) {
		if (!next_dirty(cleaner, cleaner->cursor, &start, &end)) {
			cleaner->stale = false;
			if (cleaner->cursor == 0)
				return;
			cleaner->cursor = 0;
			continue;
		}
		enum commit_action action = choose(cleaner, start, end, room, &stop);
		if (piece->count && piece->action != action)
			return;
		piece->action = action;
		add(cleaner, start, stop);
		uint64_t bytes = (stop - start) * cleaner->pool->unit;
		room -= bytes < room ? bytes : room;
	}
}

static void go_on(struct cleaner *cleaner)
{
	if (cleaner->away || cleaner->paused || cleaner->stopped)
		return;
	fill(cleaner);
	if (cleaner->piece.count == 0)
		return;
	cleaner->away = true;
	committer_run(&cleaner->pool->committer, &cleaner->piece);
}

static void retry(uv_timer_t *timer)
{
	struct cleaner *cleaner = timer->data;

	cleaner->paused = false;
	withheld_set_stuck(&cleaner->pool->withheld, 0);
	go_on(cleaner);
}

static void pause_after(struct cleaner *cleaner, int error)
{
	struct pool *pool = cleaner->pool;
	uint64_t units = buddy_free_units(&cleaner->dirty);
	char size[SIZE_TEXT_MAX];

	cleaner->paused = true;
	withheld_set_stuck(&pool->withheld, units);
	if (!cleaner->stopped)
		uv_timer_start(&cleaner->timer, retry, RETRY, 0);
	if (cleaner->complained)
		return;
	cleaner->complained = true;
	size_format(units * pool->unit, size);
	log_error(
		"pool %s: cannot clean %s of freed memory: %s; it is withheld until that succeeds, which is tried every second: see "
		"whether /dev/shm is full",
		pool->name, size, strerror(-error));
}

static void cleaned(struct commit_piece *piece)
{
	struct cleaner *cleaner = (struct cleaner *)((char *)piece - offsetof(struct cleaner, piece));
	struct pool *pool = cleaner->pool;

	cleaner->away = false;
	for (size_t i = 0; i < piece->count; i++) {
		uint64_t offset = cleaner->taken[i].offset, units = cleaner->taken[i].end - offset;
		if (i < piece->finished)
			withheld_give(&pool->withheld, offset, units);
		else
			buddy_release(&cleaner->dirty, offset, units);
	}
	cleaner->freed(cleaner);
	if (piece->result < 0)
		pause_after(cleaner, piece->result);
	else
		go_on(cleaner);
	pool_publish_counters(pool);
}

/* ---- Start, stop, and what is freed ----------------------------------------------------------------------------- */

void cleaner_start(struct cleaner *cleaner, bool stale, uint64_t hole_pages)
{
	struct pool *pool = cleaner->pool;

	if (!cleaner->memory)
		return;
	cleaner->on = true;
	cleaner->piece.done = cleaned;
	cleaner->hole_pages = hole_pages;
	if (!stale)
		return;
	struct buddy free_units = pool->buddy;
	void *memory = pool->buddy_memory;
	pool->buddy = cleaner->dirty;
	pool->buddy_memory = cleaner->memory;
	cleaner->dirty = free_units;
	cleaner->memory = memory;
	withheld_keep(&pool->withheld, buddy_free_units(&cleaner->dirty));
	cleaner->stale = true;
	go_on(cleaner);
}

void cleaner_stop(struct cleaner *cleaner)
{
	cleaner->stopped = true;
	if (cleaner->memory)
		uv_timer_stop(&cleaner->timer);
}

bool cleaner_takes(struct cleaner *cleaner, const struct commit_range *range)
{
	struct pool *pool = cleaner->pool;

	if (!cleaner->on)
		return false;
	if (range->length <= SMALL && commit_piece_zero(pool->segment.fd, range) == 0)
		return false;
	withheld_keep(&pool->withheld, range->length / pool->unit);
	buddy_release(&cleaner->dirty, range->offset / pool->unit, range->length / pool->unit);
	if (cleaner->paused)
		withheld_set_stuck(&pool->withheld, buddy_free_units(&cleaner->dirty));
	go_on(cleaner);
	return true;
}
