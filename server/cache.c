/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache blocks that nobody uses: see cache.h.
 *
 * A cache block says so in its record (BLOCK_CACHED), next to its being sealed. The flag holds it as a name does. When nothing else
 * does but names and a time to live, it is idle: it stands here until somebody takes hold of it, or eviction takes it. All of this is derived,
 * and made anew from the records when a daemon starts.
 *
 * Order. Time is counted in uses: each use of a cache block by a request is a tick. The clock never runs behind the ids of blocks, and stands in
 * the view: so a restart goes on from there, and blocks whose last use nobody remembers any more count as used when they were made. Holds
 * by hold pages ask nobody; when they end, they leave the block's index and the clock in their page's trail, which is read before
 * something is evicted. So the order is that of least recent use, whichever way it was used; a session's trail forgets the oldest of uses that are
 * many. What a client writes there itself can make a block look used, as using it could, and nothing look unused.
 *
 * Fairness. Eviction takes from the user who has the most in idle blocks, then again: nobody's cache pushes a smaller one out. From a user who has
 * no more than what is guaranteed to it, others get nothing.
 */
#include "cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "hold_layout.h"
#include "log.h"
#include "pool.h"
#include "region.h"

int cache_init(struct cache *cache, struct pool *pool, uint32_t max_blocks)
{
	*cache = (struct cache){.pool = pool, .capacity = max_blocks};
	cache->clock = atomic_load_explicit(&pool->header->use_clock, memory_order_relaxed);
	return region_new(max_blocks * sizeof *cache->places, (void **)&cache->places);
}

static void drop_user(struct cache_user *user)
{
	priority_heap_deinit(&user->blocks);
	free(user);
}

void cache_deinit(struct cache *cache)
{
	while (cache->users) {
		struct cache_user *user = cache->users;
		cache->users = user->next;
		drop_user(user);
	}
	region_free(cache->places, cache->capacity * sizeof *cache->places);
	*cache = (struct cache){0};
}

static struct cache_user *find_user(const struct cache *cache, uint32_t uid)
{
	struct cache_user *user = cache->users;

	while (user && user->uid != uid)
		user = user->next;
	return user;
}

static struct cache_user *make_user(struct cache *cache, uint32_t uid)
{
	struct cache_user *user = calloc(1, sizeof *user);

	if (!user || priority_heap_init(&user->blocks, cache->places, cache->capacity) < 0) {
		free(user);
		return NULL;
	}
	user->uid = uid;
	user->next = cache->users;
	cache->users = user;
	return user;
}

/* Whose it is, for the sake of fairness: the user's who allocated it. */
static uint32_t user_of(const struct cache *cache, uint32_t block)
{
	return cache->pool->blocks.records[block].uid;
}

static uint64_t size_of(const struct cache *cache, uint32_t block)
{
	return blocks_body(&cache->pool->blocks, block)->granted;
}

static bool is_idle(const struct blocks *blocks, uint32_t block)
{
	return blocks_is_cached(blocks, block) && record_state(blocks_word(blocks, block)) == RECORD_LIVE &&
	       blocks_body(blocks, block)->owner == 0 && blocks->references[block] == 0 && blocks->tickets[block] == 0 &&
	       blocks->links_to[block] == 0;
}

uint64_t cache_tick(struct cache *cache)
{
	uint64_t now = cache->clock + 1;

	cache->clock = now < cache->pool->next_id ? cache->pool->next_id : now;
	atomic_store_explicit(&cache->pool->header->use_clock, cache->clock, memory_order_relaxed);
	return cache->clock;
}

void cache_give_back(struct cache *cache, uint32_t block, uint64_t used)
{
	struct cache_user *user = find_user(cache, user_of(cache, block));

	if (!user && !(user = make_user(cache, user_of(cache, block)))) {
		log_error("pool %s: no memory to remember that block %llu may be evicted: it stays until it is used once more",
		          cache->pool->name, (unsigned long long)record_id(blocks_word(&cache->pool->blocks, block)));
		return;
	}
	priority_heap_set(&user->blocks, block, used);
	user->bytes += size_of(cache, block);
	cache->bytes += size_of(cache, block);
	cache->blocks++;
}

static void take_out(struct cache *cache, struct cache_user *user, uint32_t block)
{
	struct cache_user **link = &cache->users;

	priority_heap_remove(&user->blocks, block);
	user->bytes -= size_of(cache, block);
	cache->bytes -= size_of(cache, block);
	cache->blocks--;
	if (user->blocks.count)
		return;
	while (*link != user)
		link = &(*link)->next;
	*link = user->next;
	drop_user(user);
}

static void add(struct cache *cache, uint32_t block)
{
	cache_give_back(cache, block, cache_tick(cache));
	cache->appearances++;
	if (cache->appeared)
		cache->appeared(cache->pool, block);
}

void cache_settle(struct pool *pool, uint32_t block)
{
	struct cache *cache = &pool->cache;
	bool idle = is_idle(&pool->blocks, block), known = cache->places[block] != 0;

	if (idle && !known)
		add(cache, block);
	else if (!idle && known)
		take_out(cache, find_user(cache, user_of(cache, block)), block);
}

void cache_unnamed(struct pool *pool, uint32_t block)
{
	struct cache *cache = &pool->cache;

	if (cache->places[block] && !pool->blocks.names[block])
		priority_heap_set(&find_user(cache, user_of(cache, block))->blocks, block, 0);
}

void cache_adopt(struct pool *pool, uint32_t block)
{
	if (is_idle(&pool->blocks, block))
		cache_give_back(&pool->cache, block, record_id(blocks_word(&pool->blocks, block)));
}

/* What is guaranteed to a user is not taken from it. */
static bool may_give(const struct cache *cache, const struct cache_user *user)
{
	const struct user *account = accounts_find(&cache->pool->accounts, user->uid);

	return !account || account->account.used[QUOTA_BYTES] > account->guarantee;
}

/* Who has nothing that was not used since then comes last: in an eviction that began then it was tried, and is held. */
static struct cache_user *richest(const struct cache *cache, uint64_t since)
{
	struct cache_user *found = NULL, *last = NULL;

	for (struct cache_user *user = cache->users; user; user = user->next) {
		struct cache_user **place = priority_heap_first(&user->blocks)->key <= since ? &found : &last;
		if ((!*place || user->bytes > (*place)->bytes) && may_give(cache, user))
			*place = user;
	}
	return found ? found : last;
}

bool cache_take(struct cache *cache, uint64_t uid, uint64_t since, uint32_t *out_block, uint64_t *out_used)
{
	struct cache_user *user = uid == CACHE_ANYBODY ? richest(cache, since) : find_user(cache, (uint32_t)uid);

	if (!user)
		return false;
	const struct heap_entry first = *priority_heap_first(&user->blocks);
	take_out(cache, user, first.item);
	*out_block = first.item;
	*out_used = first.key;
	return true;
}

void cache_follow(struct cache *cache, const uint64_t *trail, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t block = hold_trail_block(trail[i]);
		if (!trail[i] || block >= cache->capacity || !cache->places[block])
			continue;
		struct priority_heap *heap = &find_user(cache, user_of(cache, block))->blocks;
		uint64_t used = hold_trail_used(trail[i], cache->clock);
		if (used > priority_heap_key(heap, block))
			priority_heap_set(heap, block, used);
	}
}

uint64_t cache_bytes(const struct cache *cache, uint64_t uid)
{
	const struct cache_user *user = uid == CACHE_ANYBODY ? NULL : find_user(cache, (uint32_t)uid);

	if (uid == CACHE_ANYBODY)
		return cache->bytes;
	return user ? user->bytes : 0;
}

bool cache_is_valid(const struct cache *cache)
{
	uint64_t blocks = 0, bytes = 0;

	for (const struct cache_user *user = cache->users; user; user = user->next) {
		uint64_t sum = 0;
		if (!priority_heap_is_valid(&user->blocks) || user->blocks.count == 0)
			return false;
		for (uint32_t i = 0; i < user->blocks.count; i++) {
			uint32_t block = user->blocks.entries[i].item;
			if (!is_idle(&cache->pool->blocks, block) || user_of(cache, block) != user->uid ||
			    user->blocks.entries[i].key > cache->clock)
				return false;
			sum += size_of(cache, block);
		}
		if (sum != user->bytes)
			return false;
		blocks += user->blocks.count;
		bytes += sum;
	}
	return blocks == cache->blocks && bytes == cache->bytes;
}
