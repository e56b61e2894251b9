/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits until something is published under a name, by name. Knows nothing of names but their bytes, nor of requests. Owned by the
 * pool; loop thread only. The story is told in name_waiters.c.
 */
#ifndef SERVER_NAME_WAITERS_H
#define SERVER_NAME_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "keyed_hash.h"
#include "timeouts.h"

/* Requests that wait for names at most: with the longest names, 7 MiB. */
#define NAME_WAITERS_MAX 16384

#define NAME_WAITERS_BUCKETS 1024

/* Somebody who waits. Lives with whoever waits; all zeros but the first four fields where it does not. */
struct name_waiter {
	const char *name; /* `length` bytes, borrowed */
	size_t length;
	/* Something was published under the name. Looks for it, and leaves if that is still there. */
	void (*published)(struct name_waiter *waiter);
	/* Its time is over: it waits no more, and may be freed. */
	void (*timed_out)(struct name_waiter *waiter);

	/* The waiters' own. */
	struct name_waiters *waiters; /* NULL: it does not wait */
	uint64_t hash;
	bool due; /* its name was published, and it has not been told */
	struct timeout timeout;
	struct name_waiter *next, **place; /* in its bucket, or in the line of those who are due; `place` points here */
};

struct name_waiters {
	struct timeouts *timeouts;
	uint32_t count;
	struct keyed_hash hash; /* nobody chooses names for one bucket */
	struct name_waiter *buckets[NAME_WAITERS_BUCKETS];
	struct name_waiter *due, **due_end;
	uv_idle_t telling; /* runs while somebody is due */
	uv_loop_t *loop;   /* NULL: not initialised */
};

/* -errno: the kernel gives no random bytes. */
int name_waiters_init(struct name_waiters *waiters, uv_loop_t *loop, struct timeouts *timeouts);

/* Closes its handle; the loop must run once more. Nobody waits. Nothing if it was never initialised. */
void name_waiters_deinit(struct name_waiters *waiters);

/* Nothing is published under its name now. At least one millisecond. -EDQUOT: as many wait as may. */
int name_waiters_join(struct name_waiters *waiters, struct name_waiter *waiter, uint32_t wait_ms);

/* Waits no more, without a word. False: it did not wait. */
bool name_waiters_leave(struct name_waiter *waiter);

/* Something has just been published under the name. Nobody is called back from here. O(those who wait for it), on average. */
void name_waiters_published(struct name_waiters *waiters, const char *name, size_t length);

/* Tells the first of those who are due, now; the others are told in turns of the loop from the next one on. Between two requests. */
void name_waiters_tell(struct name_waiters *waiters);

#endif
