/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an allocation gets at memory: see allocation_memory.h.
 *
 * In this order: what is free; what is free but for a look at the hold pages (dying.h); what idle cache blocks have (eviction.h). What quotas do not
 * let it have, or what is guaranteed to others, it does not take, and that is asked again whenever something has become free
 * meanwhile. Circles of links are the collector's, whom an allocation waits for (allocation.c).
 */
#include "allocation_memory.h"

#include <errno.h>

#include "dying.h"
#include "pool.h"
#include "reclaim.h"
#include "shmbuddy.pb-c.h"
#include "size.h"

static void release(struct pool *pool, const struct commit_range *ranges, size_t count)
{
	while (count--)
		reclaim_release(pool->reclaim, &ranges[count]);
}

void allocation_release(struct allocation *allocation)
{
	release(allocation->slot.session->pool, allocation->ranges, allocation->count);
}

/* Bytes that the segment would set aside for a request; 0 where that is more than the pool has. */
static uint64_t would_grant(const struct pool *pool, uint64_t size)
{
	uint64_t units;

	if (size_round_up(size, pool->unit, &units) < 0 || units > UINT64_C(1) << 62)
		return 0;
	uint64_t granted = buddy_rounded(units / pool->unit) * pool->unit;
	return granted <= pool->size ? granted : 0;
}

/* Bytes asked for, all blocks together; sizes near 2^64 stop at it. */
static uint64_t total_size(const struct allocation *allocation)
{
	uint64_t total = 0;

	for (size_t i = 0; i < allocation->count; i++) {
		if (__builtin_add_overflow(total, allocation->sizes[i], &total))
			return UINT64_MAX;
	}
	return total;
}

static int find(struct allocation *allocation)
{
	struct pool *pool = allocation->slot.session->pool;
	uint64_t aligned_units = allocation->alignment > pool->unit ? allocation->alignment / pool->unit : 1;

	for (size_t i = 0; i < allocation->count; i++) {
		uint64_t size = allocation->sizes[i], bytes, offset, granted;
		int result = -ENOMEM;

		if (size_round_up(size, pool->unit, &bytes) == 0)
			result = buddy_allocate(&pool->buddy, bytes / pool->unit, aligned_units, &offset, &granted);
		if (result < 0) {
			allocation->refusal = (struct allocation_refusal){
				.requested = size,
				.granted = would_grant(pool, size),
				.batch = allocation->batch ? total_size(allocation) : 0,
				.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SEGMENT,
			};
			release(pool, allocation->ranges, i);
			return -ENOMEM;
		}
		allocation->ranges[i] = (struct commit_range){offset * pool->unit, granted * pool->unit};
		reclaim_handed_out(pool->reclaim, &allocation->ranges[i]);
	}
	return 0;
}

/* ---- Refusals --------------------------------------------------------------------------------------------------- */

int allocation_refuse_by_kernel(struct allocation *allocation)
{
	uint64_t granted = 0;

	for (size_t i = 0; i < allocation->count; i++)
		granted += allocation->ranges[i].length;
	allocation->refusal = (struct allocation_refusal){
		.requested = total_size(allocation),
		.granted = granted,
		.batch = allocation->batch ? total_size(allocation) : 0,
		.kernel_free = allocation->job.kernel_free,
		.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL,
	};
	allocation_release(allocation);
	return -ENOSPC;
}

int allocation_refuse_too_many(struct allocation *allocation)
{
	allocation->refusal = (struct allocation_refusal){
		.requested = total_size(allocation),
		.batch = total_size(allocation),
		.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__BLOCKS,
		.never = true,
	};
	return -ENOMEM;
}

int allocation_refuse_set_aside(struct allocation *allocation)
{
	allocation->refusal = (struct allocation_refusal){
		.requested = total_size(allocation),
		.granted = would_grant(allocation->slot.session->pool, total_size(allocation)),
		.batch = allocation->batch ? total_size(allocation) : 0,
		.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SEGMENT,
		.set_aside = true,
	};
	return -ENOMEM;
}

/* Bytes that all blocks together would be granted. */
static uint64_t total_granted(const struct allocation *allocation)
{
	uint64_t total = 0;

	for (size_t i = 0; i < allocation->count; i++)
		total += would_grant(allocation->slot.session->pool, allocation->sizes[i]);
	return total;
}

/* A quota stops it, or what is guaranteed to others. */
static int refuse_by_account(struct allocation *allocation, const struct account_obstacle *obstacle)
{
	const struct session *session = allocation->slot.session;
	const struct accounts *accounts = &session->pool->accounts;
	const struct account *account = obstacle->limit == ACCOUNT_OF_SESSION ? &session->account : &session->user->account;
	struct allocation_refusal *refusal = &allocation->refusal;

	*refusal = (struct allocation_refusal){
		.requested = total_size(allocation),
		.granted = allocation->admission.bytes,
		.batch = allocation->batch ? total_size(allocation) : 0,
		.limit = obstacle->limit == ACCOUNT_OF_SESSION ? SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SESSION
	             : obstacle->limit == ACCOUNT_OF_USER  ? SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__USER
	                                                   : SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__GUARANTEE,
		.set_aside = obstacle->set_aside,
		.never = obstacle->never,
		.kind = obstacle->kind,
		.quota = account->quota->limit[obstacle->kind],
		.used = account->used[obstacle->kind],
		.used_blocks = account->used[QUOTA_BLOCKS],
	};
	if (obstacle->limit == ACCOUNT_OF_OTHERS) {
		refusal->quota = accounts_promised_to_others(accounts, session->user);
		refusal->used = refusal->used_blocks = 0;
	}
	return -ENOMEM;
}

/* ---- Looking for it --------------------------------------------------------------------------------------------- */

bool allocation_is_stopped(struct allocation *allocation, bool newcomer, struct account_obstacle *out_obstacle)
{
	struct session *session = allocation->slot.session;

	if (!accounts_limit_memory(&session->pool->accounts, &session->account, session->user))
		return false;
	allocation->admission.bytes = total_granted(allocation);
	*out_obstacle = admission_check(&allocation->admission, newcomer);
	if (!out_obstacle->line)
		return false;
	refuse_by_account(allocation, out_obstacle);
	return true;
}

/* What has become free meanwhile may be guaranteed to others. */
static int find_allowed(struct allocation *allocation)
{
	struct account_obstacle obstacle;

	return allocation_is_stopped(allocation, false, &obstacle) ? -ENOMEM : find(allocation);
}

/* What is not there in sum is not looked for: that is asked after each block that goes. */
static bool is_found(void *context)
{
	const struct pool *pool = ((struct allocation *)context)->slot.session->pool;

	return total_size(context) <= buddy_free_units(&pool->buddy) * pool->unit && find_allowed(context) == 0;
}

/* Would it do if all idle cache blocks went, wherever they lie? What is guaranteed to others is theirs. */
static bool may_evict(const struct allocation *allocation)
{
	const struct session *session = allocation->slot.session;
	const struct pool *pool = session->pool;
	uint64_t bytes = 0;

	for (size_t i = 0; i < allocation->count && pool->cache.bytes; i++) {
		uint64_t granted = would_grant(pool, allocation->sizes[i]);
		if (!granted)
			return false; /* no pool of this size has it */
		bytes += granted;
	}
	if (!bytes)
		return false;
	if (pool->accounts.unmet && bytes > accounts_unmet(session->user))
		bytes += accounts_promised_to_others(&pool->accounts, session->user);
	return bytes <= pool->cache.bytes + (buddy_free_units(&pool->buddy) + pool->withheld.units) * pool->unit;
}

int allocation_find(struct allocation *allocation)
{
	struct pool *pool = allocation->slot.session->pool;
	int result = find(allocation);

	while (result < 0 && dying_hurry(pool))
		result = find_allowed(allocation);
	if (result == 0 || !may_evict(allocation))
		return result;
	struct eviction_search search = eviction_new_search(pool);
	enum eviction_result evicted = eviction_run(pool, CACHE_ANYBODY, &search, is_found, allocation);
	if (evicted == EVICTION_ENOUGH)
		return 0;
	return evicted == EVICTION_MORE ? -EAGAIN : -ENOMEM;
}

/* Somebody who is stopped, or was. */
struct stopped {
	struct allocation *allocation;
	bool newcomer;
};

static bool is_let_in(void *context)
{
	const struct stopped *stopped = context;
	struct account_obstacle obstacle;

	return !allocation_is_stopped(stopped->allocation, stopped->newcomer, &obstacle);
}

/* Would it do if all of the cache blocks went that may? Else they would go in vain. */
static bool would_do(const struct allocation *allocation, const struct account_obstacle *obstacle)
{
	const struct session *session = allocation->slot.session;
	const struct allocation_refusal *refusal = &allocation->refusal;
	const struct pool *pool = session->pool;
	uint64_t own = cache_bytes(&pool->cache, session->user->uid);

	if (obstacle->never || obstacle->set_aside || obstacle->limit == ACCOUNT_OF_SESSION)
		return false;
	if (obstacle->limit == ACCOUNT_OF_OTHERS)
		return refusal->quota + refusal->granted <=
		       pool->cache.bytes + (buddy_free_units(&pool->buddy) + pool->withheld.units) * pool->unit;
	return obstacle->kind == QUOTA_BYTES ? refusal->used + refusal->granted <= refusal->quota + own : own > 0;
}

/* Each is tried once: those that were idle when it came, and those that have become so since. */
static void count_candidates(struct allocation *allocation)
{
	const struct pool *pool = allocation->slot.session->pool;
	const struct cache *cache = &pool->cache;

	if (!allocation->evicts)
		allocation->evictable = eviction_new_search(pool);
	else
		allocation->evictable.left += cache->appearances - allocation->evict_seen;
	if (allocation->evictable.left > cache->blocks)
		allocation->evictable.left = cache->blocks;
	allocation->evict_seen = cache->appearances;
	allocation->evicts = true;
}

enum eviction_result allocation_make_room(struct allocation *allocation, const struct account_obstacle *obstacle,
                                          bool newcomer)
{
	struct session *session = allocation->slot.session;
	struct stopped stopped = {allocation, newcomer};

	if (!would_do(allocation, obstacle))
		return EVICTION_NONE;
	count_candidates(allocation);
	return eviction_run(session->pool, obstacle->limit == ACCOUNT_OF_OTHERS ? CACHE_ANYBODY : session->user->uid,
	                    &allocation->evictable, is_let_in, &stopped);
}

bool allocation_count_demand(struct allocation *allocation)
{
	const struct pool *pool = allocation->slot.session->pool;
	struct demand *demand = &allocation->waiter.demand;
	uint64_t aligned_units = allocation->alignment / pool->unit, bytes;
	bool fits = true;

	*demand = (struct demand){0};
	for (size_t i = 0; i < allocation->count && fits; i++)
		fits = size_round_up(allocation->sizes[i], pool->unit, &bytes) == 0 &&
		       demand_add(demand, bytes / pool->unit, aligned_units) == 0;
	if (fits && demand_fits_empty(demand, buddy_units(&pool->buddy)))
		return true;
	find(allocation); /* it fails, and says for which block */
	allocation->refusal.never = true;
	return false;
}
