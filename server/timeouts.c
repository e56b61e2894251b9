/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timeouts: see timeouts.h. A pairing heap: M. Fredman, R. Sedgewick, D. Sleator, R. Tarjan, "The pairing heap: a new form of
 * self-adjusting heap", Algorithmica 1 (1986). A node has a list of children, none of which is earlier than it.
 */
#include "timeouts.h"

#include <assert.h>
#include <stddef.h>

/* Told in one turn of the loop: each may bring an answer of some microseconds. */
#define SLICE 64

static void look(uv_timer_t *timer);

/* ---- The heap --------------------------------------------------------------------------------------------------- */

/* The later one becomes a child of the other. Both are roots. */
static struct timeout *meld(struct timeout *one, struct timeout *other)
{
	if (!one || !other)
		return one ? one : other;
	struct timeout *above = other->at < one->at ? other : one, *below = above == one ? other : one;

	below->previous = above;
	below->next = above->child;
	if (below->next)
		below->next->previous = below;
	above->child = below;
	return above;
}

/* One root of a list of siblings: melded in pairs from the left, then all together from the right. */
static struct timeout *meld_all(struct timeout *siblings)
{
	struct timeout *pairs = NULL, *root = NULL;

	while (siblings) {
		struct timeout *one = siblings, *other = one->next;
		siblings = other ? other->next : NULL;
		one->next = one->previous = NULL;
		if (other)
			other->next = other->previous = NULL;
		one = meld(one, other);
		one->next = pairs;
		pairs = one;
	}
	while (pairs) {
		struct timeout *one = pairs;
		pairs = one->next;
		one->next = NULL;
		root = meld(root, one);
	}
	return root;
}

static void take_out(struct timeouts *timeouts, struct timeout *timeout)
{
	struct timeout *children = meld_all(timeout->child);

	if (timeout == timeouts->first) {
		timeouts->first = children;
	} else {
		if (timeout->previous->child == timeout)
			timeout->previous->child = timeout->next;
		else
			timeout->previous->next = timeout->next;
		if (timeout->next)
			timeout->next->previous = timeout->previous;
		timeouts->first = meld(timeouts->first, children);
	}
	timeout->child = timeout->next = timeout->previous = NULL;
	timeout->running = false;
}

/* ---- The timer -------------------------------------------------------------------------------------------------- */

/* Until the first is due, and never earlier: the loop's own milliseconds are rounded down. */
static void schedule(struct timeouts *timeouts)
{
	uint64_t now = uv_hrtime();

	if (!timeouts->first) {
		uv_timer_stop(&timeouts->timer);
		return;
	}
	uv_update_time(timeouts->loop);
	uv_timer_start(&timeouts->timer, look, timeouts->first->at <= now ? 0 : (timeouts->first->at - now) / 1000000 + 1, 0);
}

static void look(uv_timer_t *timer)
{
	struct timeouts *timeouts = timer->data;
	uint64_t now = uv_hrtime();

	for (unsigned i = 0; i < SLICE && timeouts->first && timeouts->first->at <= now; i++) {
		struct timeout *timeout = timeouts->first;
		take_out(timeouts, timeout);
		timeout->passed(timeout);
	}
	schedule(timeouts);
}

void timeouts_init(struct timeouts *timeouts, uv_loop_t *loop)
{
	*timeouts = (struct timeouts){.loop = loop};
	uv_timer_init(loop, &timeouts->timer);
	timeouts->timer.data = timeouts;
}

void timeouts_deinit(struct timeouts *timeouts)
{
	assert(!timeouts->first);
	if (timeouts->loop)
		uv_close((uv_handle_t *)&timeouts->timer, NULL);
	timeouts->loop = NULL;
}

void timeouts_start(struct timeouts *timeouts, struct timeout *timeout, uint32_t ms)
{
	assert(!timeout->running);
	timeout->at = uv_hrtime() + (uint64_t)ms * 1000000;
	timeout->running = true;
	timeout->child = timeout->next = timeout->previous = NULL;
	timeouts->first = meld(timeouts->first, timeout);
	if (timeouts->first == timeout)
		schedule(timeouts);
}

void timeouts_stop(struct timeouts *timeouts, struct timeout *timeout)
{
	if (!timeout->running)
		return;
	take_out(timeouts, timeout);
	if (!timeouts->first) /* else the timer wakes too early, and finds that out */
		uv_timer_stop(&timeouts->timer);
}
