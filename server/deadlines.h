/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ends at a time: the deadlines of a pool, and the one timer of the loop that tells when the first of them has passed. Owned by the pool;
 * loop thread only.
 *
 * A deadline is a time of the kernel's CLOCK_BOOTTIME in milliseconds: it goes on while the machine sleeps, nobody sets it, and a pool does not
 * outlive the boot that it counts from. In a time namespace that clock is shifted (time_namespaces(7)), and the next daemon may run in
 * another one: the tables have what the machine's own clock shows.
 */
#ifndef SERVER_DEADLINES_H
#define SERVER_DEADLINES_H

#include <uv.h>

#include "priority_heap.h"

/* The longest time to live, in milliseconds: 30 days. As shmbuddy.h says: SHMB_TTL_MAX_MS. */
#define DEADLINES_TTL_MAX (UINT64_C(30) * 24 * 60 * 60 * 1000)

/* Whose deadlines there are: a record of one of these tables has one deadline or none. */
enum deadline_kind { DEADLINE_TICKET, DEADLINE_LEASE, DEADLINE_KINDS };

struct deadlines {
	struct priority_heap heap;      /* of records by their deadlines: what an item is, item_of() says */
	uint32_t *places;               /* the heap's */
	uint32_t start[DEADLINE_KINDS]; /* the first item of each kind */
	int64_t shift_ns;               /* of this process's clock against the machine's */
	/* One step towards the end of what has come to its deadline; the last one takes the deadline out. */
	void (*expire)(void *context, enum deadline_kind kind, uint32_t index);
	void *context;
	uv_timer_t timer;
	uv_loop_t *loop; /* NULL: not initialised */
};

int deadlines_init(struct deadlines *deadlines, uv_loop_t *loop, const uint32_t capacity[DEADLINE_KINDS]);

/* From now on `expire` is called for what is due. Before, and after deadlines_stop, deadlines are kept and nothing expires. */
void deadlines_start(struct deadlines *deadlines, void (*expire)(void *context, enum deadline_kind kind, uint32_t index),
                     void *context);
void deadlines_stop(struct deadlines *deadlines);

/* Closes its timer; the loop must run once more before deadlines_deinit. Nothing if it was never initialised. */
void deadlines_close(struct deadlines *deadlines);
void deadlines_deinit(struct deadlines *deadlines);

/* The time, and the time that lies at least `ttl_ms` ahead. */
uint64_t deadlines_now(const struct deadlines *deadlines);
uint64_t deadlines_after(const struct deadlines *deadlines, uint64_t ttl_ms);

/* The record's deadline from now on; it may have had another. Nothing is removed if it has none. */
void deadlines_set(struct deadlines *deadlines, enum deadline_kind kind, uint32_t index, uint64_t due);
void deadlines_remove(struct deadlines *deadlines, enum deadline_kind kind, uint32_t index);

#endif
