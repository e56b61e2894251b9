/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache blocks that nobody uses: sealed blocks which the pool keeps although nobody holds them, until their memory is needed
 * (eviction.h). What of them is known, and in which order they were used. Owned by the pool; loop thread only. The story is told in cache.c.
 */
#ifndef SERVER_CACHE_H
#define SERVER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "priority_heap.h"

struct pool;

/* Names of one block that eviction takes away; a block with more of them stays. */
#define CACHE_NAMES_MAX 64

/* The idle cache blocks of one user. */
struct cache_user {
	uint32_t uid;
	uint64_t bytes;              /* set aside for them */
	struct priority_heap blocks; /* by their last use */
	struct cache_user *next;
};

struct cache {
	struct pool *pool;
	uint32_t *places;                                    /* of all heaps: a block is in one at most */
	uint32_t capacity;                                   /* records of blocks */
	struct cache_user *users;                            /* who have any, in no order */
	uint64_t blocks, bytes;                              /* of all users */
	uint64_t clock;                                      /* of the last use */
	uint64_t appearances;                                /* how often a block became idle */
	void (*appeared)(struct pool *pool, uint32_t block); /* a block has become idle; NULL: nobody wants to know */
};

/* -ENOMEM. */
int cache_init(struct cache *cache, struct pool *pool, uint32_t max_blocks);
/* Nothing if it was never initialised. */
void cache_deinit(struct cache *cache);

/*
 * A holder of the block has come or gone: if it is a cache block that nothing but names and its time to live stand for, it is idle from
 * now on, last used now; else it is not. Cheap where nothing changes. A block in the middle of its end is not idle.
 */
void cache_settle(struct pool *pool, uint32_t block);

/* A name of the block has gone: an idle one without any, which nobody finds any more, is the next to go. */
void cache_unnamed(struct pool *pool, uint32_t block);

/* For recovery, once all holders are known: the same, last used when it was made. */
void cache_adopt(struct pool *pool, uint32_t block);

/*
 * The idle block of `uid`, or with CACHE_ANYBODY of the user who has the most, and more than is guaranteed to it, that was not used for longest:
 * taken out. Users all of whose blocks were used since the clock was `since` come after the others. False: there is none.
 */
#define CACHE_ANYBODY UINT64_MAX
bool cache_take(struct cache *cache, uint64_t uid, uint64_t since, uint32_t *out_block, uint64_t *out_used);

/* It was taken, and stays: last used then. */
void cache_give_back(struct cache *cache, uint32_t block, uint64_t used);

/* Now, in uses: more than at any use before. */
uint64_t cache_tick(struct cache *cache);

/* What a hold page says was used, hold_layout.h: `count` entries of its trail. */
void cache_follow(struct cache *cache, const uint64_t *trail, uint32_t count);

/* Bytes that the user's idle blocks have, or with CACHE_ANYBODY everybody's. */
uint64_t cache_bytes(const struct cache *cache, uint64_t uid);

/* Do its sums and orders agree with what it has? For tests. */
bool cache_is_valid(const struct cache *cache);

#endif
