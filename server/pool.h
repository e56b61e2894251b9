/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool: one segment with its allocator, its tables and its rules. Owned by the daemon; loop thread only.
 *
 * Starting: the lock on the state is taken before anything is read; it lasts as long as the daemon. A pool that a former daemon left is
 * adopted, and then taken over (takeover.h) and grown where a larger size is asked for (growth.h), unless it was ephemeral, was never
 * finished, or the operator wants it gone. The headers' magic is stored last, so that a half-made pool is known as such.
 */
#ifndef SERVER_POOL_H
#define SERVER_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "accounts.h"
#include "blocks.h"
#include "buddy.h"
#include "cache.h"
#include "clone.h"
#include "collector.h"
#include "committer.h"
#include "deadlines.h"
#include "dying.h"
#include "events.h"
#include "eviction.h"
#include "extents.h"
#include "hold_page_lane.h"
#include "leases.h"
#include "links.h"
#include "metadata.h"
#include "name_waiters.h"
#include "names.h"
#include "page_holds.h"
#include "payer.h"
#include "pressure.h"
#include "references.h"
#include "sessions.h"
#include "shared_object.h"
#include "tickets.h"
#include "timeouts.h"
#include "wait_queue.h"
#include "withheld.h"

struct reclaim;

struct pool_options {
	const char *name;
	uint64_t size;                                /* bytes, a multiple of `unit` */
	uint64_t max_size;                            /* bytes that it may grow to, a multiple of `unit`; 0: it stays as it is */
	uint64_t unit;                                /* bytes, a power of two from 16 */
	uint32_t max_blocks, max_names, max_sessions; /* 0: as the size gives it */
	bool size_given, max_size_given, unit_given;  /* by the operator: a leftover pool must agree, or grow */
	bool discard;                                 /* a leftover pool is thrown away */
	bool ephemeral;                               /* everything is removed at the end */
	bool overcommit;                              /* the segment may be larger than the file system that holds it */
	bool up_front;                                /* all is committed before it is served, and stays so */
	bool zero_on_free;                            /* what was freed reads as zeros before it is handed out again */
	unsigned pressure_low, pressure_high;         /* percent of the segment, pressure.h; 0: the defaults */
	const struct quotas *quotas;                  /* NULL: nothing is limited; outlives the pool */
	uint64_t return_after_ms; /* free memory goes back to the kernel after this long, or SCAVENGER_NEVER */
};

struct pool {
	uv_loop_t *loop;
	char name[64];
	bool ephemeral;
	bool up_front, zero_on_free;
	bool adopted; /* a former daemon made it: to be taken over before it is served */
	uint32_t incarnation;
	uint64_t unit, size; /* bytes */
	uint64_t grown_size; /* bytes that the allocator is made for: `size`, or what an adopted pool is to grow to (growth.h) */

	struct shared_object segment, view, state;
	int segment_read_write, segment_read_only; /* what clients are sent; -1: none */
	struct view_header *header;
	struct view_counters *counters;
	struct state_header *state_header;

	void *buddy_memory;
	struct buddy buddy;
	struct blocks blocks;
	struct names names;
	struct metadata metadata;
	struct references references;
	struct links links;
	struct tickets tickets;
	struct leases leases;
	struct deadlines deadlines; /* of both */
	struct extents extents;
	struct committer committer;
	struct withheld withheld;
	struct timeouts timeouts;
	struct wait_queue wait_queue; /* for memory */
	struct name_waiters name_waiters;
	struct page_holds page_holds;
	struct dying dying;
	struct collector collector;
	struct cache cache;
	struct eviction eviction;
	struct events events;
	struct accounts accounts; /* of users */
	struct payers payers;
	struct sessions sessions;
	struct clones clones;
	struct hold_page_lane hold_page_lane;
	struct reclaim *reclaim; /* what becomes of freed memory: the daemon makes it after the pool */

	unsigned pressure_low, pressure_high; /* percent */
	struct pressure pressure;

	uint64_t next_id;
	uint64_t requested; /* bytes asked for by the owners of the live blocks */
	uint64_t block_count, name_count, link_count;
	uint64_t unowned_blocks, unowned_bytes; /* held, but not by whoever allocated them */
};

/*
 * Makes the pool, or opens the one that a former daemon left, which is `adopted` then; logs what went wrong. -EUCLEAN: what is there
 * cannot be served, and was left as it is.
 */
int pool_open(uv_loop_t *loop, const struct pool_options *options, struct pool *out_pool);

/* Lets go of everything; an ephemeral pool is removed from the system. Nothing may be under way, and reclaim_deinit comes before. */
void pool_close(struct pool *pool);

/* Sets `count` ids aside and returns the first. They are never handed out again. */
uint64_t pool_take_ids(struct pool *pool, uint32_t count);

/* Brings the view's counters up to date (derived, and plain stores: nothing depends on them), and tells of memory pressure. */
void pool_publish_counters(struct pool *pool);

static inline void pool_count(_Atomic uint64_t *counter, uint64_t by)
{
	/* One writer: no locked instruction is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

#endif
