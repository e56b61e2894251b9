/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction: idle cache blocks (cache.h) are freed because their memory is needed. Owned by the pool; loop thread only. The story is told in
 * eviction.c.
 */
#ifndef SERVER_EVICTION_H
#define SERVER_EVICTION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pool;

/* One search for what can go, which may take several calls. */
struct eviction_search {
	uint64_t left;  /* blocks that are still to be tried: each once */
	uint64_t since; /* the cache's clock, when it began: what it has tried, and found held, was used since */
};

struct eviction {
	struct pool *pool;
	uv_idle_t slices;              /* runs while somebody waits for what it frees */
	uv_timer_t again;              /* until it is tried once more for them */
	uv_loop_t *loop;               /* NULL: not initialised */
	struct eviction_search search; /* for them */
	uint64_t follow_ns;            /* uv_hrtime(), before which the trails are not read again */
	bool stopped;                  /* the daemon ends */
};

int eviction_init(struct eviction *eviction, struct pool *pool);

/* The daemon stops: nothing is evicted any more. */
void eviction_stop(struct eviction *eviction);

/* Closes its handle; the loop must run once more. Nothing if it was never initialised. */
void eviction_close(struct eviction *eviction);

enum eviction_result {
	EVICTION_ENOUGH, /* enough() said so */
	EVICTION_MORE,   /* it is not enough; there is more to be evicted, which takes further turns of the loop */
	EVICTION_NONE,   /* it is not enough, and there is nothing more */
};

/*
 * Evicts idle cache blocks of the user `uid`, or with CACHE_ANYBODY of everybody, one after the other until enough(context), which is asked
 * after each. Takes some hundred microseconds at most. What was tried counts in `search`: some are held.
 */
enum eviction_result eviction_run(struct pool *pool, uint64_t uid, struct eviction_search *search,
                                  bool (*enough)(void *context), void *context);

/* All blocks that are idle now are to be tried. */
struct eviction_search eviction_new_search(const struct pool *pool);

/* Somebody waits for memory (wait_queue.h), and something can be evicted: that is done, in turns of the loop of its own, until nobody does. */
void eviction_begin(struct pool *pool);

#endif
