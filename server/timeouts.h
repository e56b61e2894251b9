/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is to be told when a time has passed: any number of timeouts on one timer of the loop. Owned by the pool; loop thread only. To add
 * one cannot fail, takes no memory, and costs O(1); to take one away costs O(log n), amortised.
 */
#ifndef SERVER_TIMEOUTS_H
#define SERVER_TIMEOUTS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Lives with whoever waits. All zeros but `passed`: it is not running. */
struct timeout {
	void (*passed)(struct timeout *timeout); /* it has stopped, and may be started again, or freed */

	/* The heap's own. */
	bool running;
	uint64_t at;                             /* uv_hrtime() */
	struct timeout *child, *next, *previous; /* `previous`: to the left, or above */
};

struct timeouts {
	struct timeout *first; /* the earliest */
	uv_timer_t timer;      /* runs while there are any */
	uv_loop_t *loop;       /* NULL: not initialised */
};

void timeouts_init(struct timeouts *timeouts, uv_loop_t *loop);

/* Closes its handle; the loop must run once more. None may be running. Nothing if it was never initialised. */
void timeouts_deinit(struct timeouts *timeouts);

/* `passed` is called once so many milliseconds have gone, from a turn of the loop of its own. The timeout is not running. */
void timeouts_start(struct timeouts *timeouts, struct timeout *timeout, uint32_t ms);

/* Nothing if it is not running. */
void timeouts_stop(struct timeouts *timeouts, struct timeout *timeout);

#endif
