/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon does to hold pages that others can make long: to write to one, or to remove it, waits for whoever else is at the file in the
 * kernel, and to remove it takes as long as it is large. So all of that is done on libuv's thread pool, in the order in which it was asked for, by
 * one thread at a time. Reading waits for nobody (hold_page.h). Owned by the pool; loop thread only.
 */
#ifndef SERVER_HOLD_PAGE_LANE_H
#define SERVER_HOLD_PAGE_LANE_H

#include <stdint.h>
#include <uv.h>

struct pool;

/* Lives with whoever asks, until `done` was called, from a turn of the loop of its own. */
struct hold_page_job {
	void (*done)(struct hold_page_job *job);
	int fd; /* of the page; or HOLD_PAGE_LOST */
	uint32_t
		session; /* it is closed, and the file of this session removed; 0: its client is to hear the daemon, hold_page_notify() */

	/* The lane's own. */
	const char *pool;
	struct hold_page_job *next;
};

/* All zeros: nothing is asked for. */
struct hold_page_lane {
	struct hold_page_job *away;           /* on the thread pool */
	struct hold_page_job *waiting, *last; /* for the next time */
	uv_work_t work;
};

void hold_page_lane_add(struct pool *pool, struct hold_page_job *job);

#endif
