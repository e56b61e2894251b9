/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines: see deadlines.h.
 *
 * The timer runs to the first deadline. Then what is due takes its steps, a slice of them in one turn of the loop; where more is due, the next
 * turn goes on, after the requests that have come meanwhile. What is taken out or put off leaves the timer as it is: it finds nothing due,
 * and runs on to what is first then.
 *
 * libuv counts by CLOCK_MONOTONIC, which stands still while the machine sleeps. So the timer never runs longer than LOOK_MS: that late, at
 * most, is noticed what has passed in a sleep. Whoever asks whether a deadline has passed looks at the clock, not at the timer.
 */
#include "deadlines.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "process.h"
#include "region.h"

/* A slice of steps, between which requests have their turn: no more of them, and no longer, which is looked at after so many. */
#define SLICE_STEPS 1024
#define SLICE_NS 250000
#define LOOK_STEPS 64

#define LOOK_MS 60000

#define NS_PER_MS 1000000

static uint64_t now_ns(const struct deadlines *deadlines)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)((int64_t)now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec - deadlines->shift_ns);
}

uint64_t deadlines_now(const struct deadlines *deadlines)
{
	return now_ns(deadlines) / NS_PER_MS;
}

uint64_t deadlines_after(const struct deadlines *deadlines, uint64_t ttl_ms)
{
	return (now_ns(deadlines) + NS_PER_MS - 1) / NS_PER_MS + ttl_ms;
}

static uint32_t item_of(const struct deadlines *deadlines, enum deadline_kind kind, uint32_t index)
{
	return deadlines->start[kind] + index;
}

static void look(uv_timer_t *timer);

/* Runs the timer to the first deadline. */
static void schedule(struct deadlines *deadlines)
{
	const struct heap_entry *first = priority_heap_first(&deadlines->heap);

	if (!first || !deadlines->expire)
		return;
	/* Never 0: libuv would run it again before anything else has its turn. */
	uint64_t now = deadlines_now(deadlines), wait = first->key > now ? first->key - now : 1;
	/* It counts from the beginning of this turn of the loop: too early by the turn's length, and then runs once more. */
	uv_timer_start(&deadlines->timer, look, wait < LOOK_MS ? wait : LOOK_MS, 0);
}

/* One step of what is due. False: nothing is. */
static bool step(struct deadlines *deadlines, uint64_t now)
{
	const struct heap_entry *first = priority_heap_first(&deadlines->heap);

	if (!first || first->key > now)
		return false;
	enum deadline_kind kind = DEADLINE_KINDS - 1;
	while (first->item < deadlines->start[kind])
		kind--;
	deadlines->expire(deadlines->context, kind, first->item - deadlines->start[kind]);
	return true;
}

static void look(uv_timer_t *timer)
{
	struct deadlines *deadlines = timer->data;
	uint64_t now = deadlines_now(deadlines), start = uv_hrtime();
	unsigned steps = 0;

	while (step(deadlines, now) && ++steps < SLICE_STEPS) {
		if (steps % LOOK_STEPS == 0 && uv_hrtime() - start >= SLICE_NS)
			break;
	}
	schedule(deadlines);
}

void deadlines_set(struct deadlines *deadlines, enum deadline_kind kind, uint32_t index, uint64_t due)
{
	uint32_t item = item_of(deadlines, kind, index);

	priority_heap_set(&deadlines->heap, item, due);
	if (priority_heap_first(&deadlines->heap)->item == item)
		schedule(deadlines);
}

void deadlines_remove(struct deadlines *deadlines, enum deadline_kind kind, uint32_t index)
{
	priority_heap_remove(&deadlines->heap, item_of(deadlines, kind, index));
}

int deadlines_init(struct deadlines *deadlines, uv_loop_t *loop, const uint32_t capacity[DEADLINE_KINDS])
{
	*deadlines = (struct deadlines){.shift_ns = process_boot_shift()};
	uint32_t records = 0;

	for (unsigned kind = 0; kind < DEADLINE_KINDS; kind++) {
		deadlines->start[kind] = records;
		records += capacity[kind];
	}
	int result = region_new(records * sizeof *deadlines->places, (void **)&deadlines->places);
	if (result == 0)
		result = priority_heap_init(&deadlines->heap, deadlines->places, records);
	if (result == 0)
		result = uv_timer_init(loop, &deadlines->timer);
	if (result < 0) {
		deadlines_deinit(deadlines);
		return result;
	}
	deadlines->timer.data = deadlines;
	deadlines->loop = loop;
	return 0;
}

void deadlines_start(struct deadlines *deadlines, void (*expire)(void *context, enum deadline_kind kind, uint32_t index),
                     void *context)
{
	deadlines->expire = expire;
	deadlines->context = context;
	schedule(deadlines);
}

void deadlines_stop(struct deadlines *deadlines)
{
	deadlines->expire = NULL;
	if (deadlines->loop)
		uv_timer_stop(&deadlines->timer);
}

void deadlines_close(struct deadlines *deadlines)
{
	if (!deadlines->loop)
		return;
	uv_close((uv_handle_t *)&deadlines->timer, NULL);
	deadlines->loop = NULL;
}

void deadlines_deinit(struct deadlines *deadlines)
{
	uint32_t records = deadlines->heap.capacity;

	priority_heap_deinit(&deadlines->heap);
	if (deadlines->places)
		region_free(deadlines->places, records * sizeof *deadlines->places);
	deadlines->places = NULL;
}
