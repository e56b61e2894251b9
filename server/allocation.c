/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for blocks: see allocation.h; the order of the stores is told in state_layout.h. */
#include "allocation.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "charge.h"
#include "cleanup.h"
#include "clock.h"
#include "errors.h"
#include "lifetime.h"
#include "pool.h"
#include "reclaim.h"
#include "session.h"
#include "shmbuddy.pb-c.h"
#include "size.h"

int allocation_new(size_t count, bool batch, struct allocation **out_allocation)
{
	/* Not calloc: it passes by malloc's fast path, and the lists are written before they are read. */
	struct allocation *allocation =
		malloc(sizeof *allocation + count * (sizeof *allocation->ranges + sizeof *allocation->sizes));

	if (!allocation)
		return -ENOMEM;
	*allocation = (struct allocation){.count = count, .batch = batch};
	allocation->operation = batch ? SLOT_ALLOCATE_BATCH : SLOT_ALLOCATE;
	allocation->ranges = (struct commit_range *)(allocation + 1);
	allocation->sizes = (uint64_t *)(allocation->ranges + count);
	allocation->indexes = &allocation->index;
	if (batch)
		allocation->indexes = allocation->kept = malloc(count * sizeof *allocation->kept);
	if (!allocation->indexes) {
		free(allocation);
		return -ENOMEM;
	}
	*out_allocation = allocation;
	return 0;
}

void allocation_free(struct allocation *allocation)
{
	free(allocation->kept);
	free(allocation);
}

static void release(struct pool *pool, const struct commit_range *ranges, size_t count)
{
	while (count--)
		reclaim_release(pool->reclaim, &ranges[count]);
}

static void release_all(struct allocation *allocation)
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

static int refused_by_kernel(struct allocation *allocation)
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
	release_all(allocation);
	return -ENOSPC;
}

/* The last word on an allocation that did not get its answer at once. */
static void finish(struct allocation *allocation, int result)
{
	admission_leave(&allocation->admission);
	struct session *session = allocation->slot.session;
	uint32_t slot = allocation->slot.index; /* `finished` frees the allocation */

	session->deferred[slot] = NULL; /* whatever ends the session now has nothing to cancel */
	session->pool->events.acting = session->number;
	allocation->finished(allocation, result);
	session->pool->events.acting = 0;
	session_arrive(session, slot);
}

static void committed(struct commit_job *job, int result)
{
	struct allocation *allocation = (struct allocation *)job; /* its first member */

	admission_unreserve(&allocation->admission);
	if (allocation->slot.session->dead) {
		release_all(allocation);
		result = -ECANCELED;
	} else if (result < 0) {
		result = refused_by_kernel(allocation);
	}
	finish(allocation, result);
}

/* Others of the same user come while the kernel is asked. */
static void reserve(struct allocation *allocation)
{
	struct admission *admission = &allocation->admission;

	admission->bytes = 0;
	for (size_t i = 0; i < allocation->count; i++)
		admission->bytes += allocation->ranges[i].length;
	admission_reserve(admission);
}

/* What was found. 1: it is committed. 0: the committer has it. -ENOSPC: refused. */
static int commit_found(struct allocation *allocation)
{
	allocation->job.ranges = allocation->ranges;
	allocation->job.range_count = allocation->count;
	allocation->job.done = committed;
	int result = committer_ensure(&allocation->slot.session->pool->committer, &allocation->job);
	if (result == 0)
		reserve(allocation);
	return result < 0 ? refused_by_kernel(allocation) : result;
}

/* ---- Waiting ---------------------------------------------------------------------------------------------------- */

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

/* What of its quotas stands in its way. False: nothing. The refusal says it, should it come to that. */
static bool is_stopped(struct allocation *allocation, bool newcomer, struct account_obstacle *out_obstacle)
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

	return is_stopped(allocation, false, &obstacle) ? -ENOMEM : find(allocation);
}

static bool is_found(void *context)
{
	return find_allowed(context) == 0;
}

/* Would it do if all idle cache blocks went, wherever they lie? */
static bool may_evict(const struct allocation *allocation)
{
	const struct pool *pool = allocation->slot.session->pool;

	return pool->cache.bytes && total_size(allocation) <= pool->cache.bytes + buddy_free_units(&pool->buddy) * pool->unit;
}

/*
 * Finds memory, if need be what is free but for a look at the hold pages, or when idle cache blocks have gone. 0, -ENOMEM, or -EAGAIN:
 * there is none yet, and more can go.
 */
static int find_all(struct allocation *allocation)
{
	struct pool *pool = allocation->slot.session->pool;
	int result = find(allocation);

	while (result < 0 && dying_hurry(pool))
		result = find_allowed(allocation);
	if (result == 0 || !may_evict(allocation))
		return result;
	enum eviction_result evicted = eviction_run(pool, CACHE_ANYBODY, is_found, allocation);
	if (evicted == EVICTION_ENOUGH)
		return 0;
	return evicted == EVICTION_MORE ? -EAGAIN : -ENOMEM;
}

static bool is_let_in(void *context)
{
	struct account_obstacle obstacle;

	return !is_stopped(context, true, &obstacle);
}

/* What the user's own cache blocks are charged with, it can have for this. */
static bool make_room_in_account(struct allocation *allocation, const struct account_obstacle *obstacle)
{
	struct session *session = allocation->slot.session;
	const struct allocation_refusal *refusal = &allocation->refusal;
	uint64_t idle = cache_bytes(&session->pool->cache, session->user->uid), missing = refusal->granted;

	if (obstacle->never || obstacle->set_aside || obstacle->limit == ACCOUNT_OF_SESSION)
		return false;
	/* Not in vain: what is missing is that much. */
	if (obstacle->limit == ACCOUNT_OF_OTHERS)
		missing += refusal->quota - buddy_free_units(&session->pool->buddy) * session->pool->unit;
	else if (obstacle->kind == QUOTA_BYTES)
		missing += refusal->used - refusal->quota;
	else
		missing = 1;
	if (idle == 0 || (int64_t)missing > (int64_t)idle)
		return false;
	return eviction_run(session->pool, session->user->uid, is_let_in, allocation) == EVICTION_ENOUGH;
}

static struct allocation *of_waiter(struct waiter *waiter)
{
	return (struct allocation *)((char *)waiter - offsetof(struct allocation, waiter));
}

static bool take(struct waiter *waiter)
{
	struct allocation *allocation = of_waiter(waiter);
	struct account_obstacle obstacle;

	return !is_stopped(allocation, false, &obstacle) && find_all(allocation) == 0;
}

/* Memory may be there, and its quota is used up by others of its user meanwhile: it waits for that, and stands in nobody's way. */
static bool step_aside(struct waiter *waiter)
{
	struct allocation *allocation = of_waiter(waiter);
	struct account_obstacle obstacle;

	if (!is_stopped(allocation, false, &obstacle) || (allocation->wait_ms && !admission_can_wait(&allocation->admission)))
		return false;
	wait_queue_leave(waiter);
	if (allocation->wait_ms)
		admission_wait(&allocation->admission, &obstacle); /* it can */
	else
		finish(allocation, -ENOMEM);
	return true;
}

/* There may be room; it is another's, who came before. */
static int refuse_set_aside(struct allocation *allocation)
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

static void ended(struct waiter *waiter, int result)
{
	struct allocation *allocation = of_waiter(waiter);

	if (result == 0) {
		result = commit_found(allocation);
		if (result == 0)
			return;
		finish(allocation, result > 0 ? 0 : result);
		return;
	}
	if (result == -EBUSY)
		refuse_set_aside(allocation);
	allocation->refusal.waited_ms = allocation->wait_ms;
	finish(allocation, -ENOMEM);
}

static void cancel(struct deferred *deferred, bool lost)
{
	struct allocation *allocation = (struct allocation *)((char *)deferred - offsetof(struct allocation, deferred));

	if (wait_queue_leave(&allocation->waiter) || account_line_leave(&allocation->admission.waiter))
		finish(allocation, -ECANCELED);
	else if (!lost)
		committer_cancel(&allocation->job);
}

/* False: an empty pool would not have room for it either. */
static bool count_demand(struct allocation *allocation)
{
	const struct pool *pool = allocation->slot.session->pool;
	struct demand *demand = &allocation->waiter.demand;
	uint64_t aligned_units = allocation->alignment / pool->unit, bytes;

	*demand = (struct demand){0};
	for (size_t i = 0; i < allocation->count; i++) {
		if (size_round_up(allocation->sizes[i], pool->unit, &bytes) < 0 ||
		    demand_add(demand, bytes / pool->unit, aligned_units) < 0)
			return false;
	}
	return demand_fits_empty(demand, buddy_units(&pool->buddy));
}

/* 0, unless it is to wait and may not: -EDQUOT, with the sentence; -ENOMEM: its time is over. */
static int begin_wait(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX])
{
	struct admission *admission = &allocation->admission;

	if (!allocation->wait_ms)
		return 0;
	if (!admission->waits && charge_check(allocation->slot.session, QUOTA_WAITERS, out_text))
		return -EDQUOT;
	admission_begin_wait(admission, allocation->wait_ms);
	return admission_left(admission) ? 0 : -ENOMEM;
}

/* A quota stops it. 0: it waits for room there. -ENOMEM, -EDQUOT: it does not. */
static int wait_for_account(struct allocation *allocation, const struct account_obstacle *obstacle,
                            char out_text[CHARGE_TEXT_MAX])
{
	if (obstacle->never || !allocation->wait_ms)
		return -ENOMEM;
	int result = begin_wait(allocation, out_text);
	if (result == 0)
		result = admission_wait(&allocation->admission, obstacle);
	return result == -ETIMEDOUT ? -ENOMEM : result;
}

/* There is no room, or what there is, is set aside. 0: it waits. -ENOMEM, -EDQUOT: it does not. */
static int wait_for_memory(struct allocation *allocation, bool set_aside, char out_text[CHARGE_TEXT_MAX])
{
	struct wait_queue *queue = &allocation->slot.session->pool->wait_queue;

	if (set_aside)
		refuse_set_aside(allocation);
	if (set_aside && !allocation->wait_ms)
		return -ENOMEM;
	int result = begin_wait(allocation, out_text);
	if (result < 0)
		return result;
	collector_want_memory(allocation->slot.session->pool); /* who waits for it, or not at all, waits for that at least */
	allocation->waiter.take = take;
	allocation->waiter.step_aside = step_aside;
	allocation->waiter.ended = ended;
	return wait_queue_join(queue, &allocation->waiter, allocation->wait_ms ? admission_left(&allocation->admission) : 0);
}

/* 1: found and committed. 0: it waits, for room or for the committer. -ENOMEM, -ENOSPC, -EDQUOT: refused. */
static int look_for_memory(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX])
{
	struct wait_queue *queue = &allocation->slot.session->pool->wait_queue;
	struct account_obstacle obstacle;

	if (is_stopped(allocation, true, &obstacle) && !make_room_in_account(allocation, &obstacle))
		return wait_for_account(allocation, &obstacle, out_text);
	bool set_aside = wait_queue_is_set_aside(queue);
	int result = set_aside ? -ENOMEM : find_all(allocation);

	if (result == 0) {
		wait_queue_overtake(queue);
		if (allocation->admission.bytes)
			admission_overtake(&allocation->admission); /* it has been counted: there are quotas */
		return commit_found(allocation);
	}
	if (result == -EAGAIN)
		eviction_begin(allocation->slot.session->pool);
	if (!count_demand(allocation)) {
		find(allocation); /* it fails, and says for which block */
		allocation->refusal.never = true;
		return -ENOMEM;
	}
	return wait_for_memory(allocation, set_aside, out_text);
}

static struct allocation *of_account_waiter(struct account_waiter *waiter)
{
	return (struct allocation *)((char *)waiter - offsetof(struct allocation, admission.waiter));
}

/* Its account has room, or its time is over: a look, the last one in that case. It may wait again, elsewhere. */
static void look_again(struct allocation *allocation)
{
	char text[CHARGE_TEXT_MAX];
	int result = look_for_memory(allocation, text);

	if (result == 0)
		return;
	if (result < 0 && !admission_left(&allocation->admission))
		allocation->refusal.waited_ms = allocation->wait_ms;
	finish(allocation, result > 0 ? 0 : result == -ENOSPC ? -ENOSPC : -ENOMEM);
}

static bool turn(struct account_waiter *waiter)
{
	struct allocation *allocation = of_account_waiter(waiter);
	struct account_obstacle obstacle;

	if (is_stopped(allocation, false, &obstacle) && obstacle.line == waiter->line)
		return false;
	account_line_leave(waiter);
	look_again(allocation);
	return true;
}

static void timed_out(struct account_waiter *waiter)
{
	look_again(of_account_waiter(waiter));
}

/* More blocks than the pool has records: no free helps. */
static int refuse_too_many(struct allocation *allocation)
{
	allocation->refusal = (struct allocation_refusal){
		.requested = total_size(allocation),
		.batch = total_size(allocation),
		.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__BLOCKS,
		.never = true,
	};
	return -ENOMEM;
}

int allocation_start(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX])
{
	struct session *session = allocation->slot.session;

	if (allocation->count > session->pool->blocks.table.capacity)
		return refuse_too_many(allocation);
	allocation->admission.session = session;
	allocation->admission.blocks = allocation->count;
	allocation->admission.waiter.turn = turn;
	allocation->admission.waiter.timed_out = timed_out;
	int result = look_for_memory(allocation, out_text);
	if (result == 0) {
		allocation->deferred.cancel = cancel;
		session_depart(session, allocation->slot.index, &allocation->deferred);
	} else if (result < 0) {
		admission_leave(&allocation->admission);
	}
	return result;
}

/* The records' pages and indexes, so that nothing can fail once the first record is written. */
static int prepare(struct allocation *allocation, struct publication *out_publication, uint32_t *out_lease,
                   uint32_t *out_metadata, char out_text[PUBLICATION_TEXT_MAX])
{
	struct session *session = allocation->slot.session;
	struct pool *pool = session->pool;
	const struct publication_wish wish = {allocation->name, allocation->name_length, allocation->replace, session};
	int error = allocation->name_length ? publication_check(pool, &wish, out_text) : 0, result;

	if (error)
		return error;
	result = table_prepare(&pool->blocks.table, (uint32_t)allocation->count);
	if (result < 0) {
		allocation->refusal = (struct allocation_refusal){
			.requested = allocation->sizes[0],
			.granted = allocation->ranges[0].length,
			.limit =
				result == -EDQUOT ? SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__BLOCKS : SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL,
		};
		return ERROR_OUT_OF_MEMORY;
	}
	if (allocation->metadata_length) {
		uint32_t metadata;
		if (table_take(&pool->metadata.table, &metadata) < 0) {
			snprintf(out_text, PUBLICATION_TEXT_MAX, "%s", METADATA_LIMIT_TEXT);
			return ERROR_LIMIT;
		}
		*out_metadata = metadata + 1;
	}
	if (allocation->ttl_ms) {
		uint32_t lease;
		if (table_take(&pool->leases.table, &lease) < 0)
			error = ERROR_LIMIT;
		else
			*out_lease = lease + 1;
	}
	if (!error && allocation->name_length)
		error = publication_prepare(pool, &wish, out_publication, out_text);
	if (error) {
		metadata_give(&pool->metadata, *out_metadata);
		if (*out_lease)
			table_give(&pool->leases.table, *out_lease - 1);
	}
	return error;
}

int allocation_write(struct allocation *allocation, char out_text[PUBLICATION_TEXT_MAX])
{
	const struct slot *slot = &allocation->slot;
	struct session *session = slot->session;
	struct pool *pool = session->pool;
	uint64_t now = clock_realtime_ns();
	struct publication publication = {0};
	uint32_t lease = 0, metadata = 0;
	int error = prepare(allocation, &publication, &lease, &metadata, out_text);

	if (error) {
		release_all(allocation);
		slot_refuse(slot, allocation->operation, (uint32_t)error);
		return error;
	}
	struct slot_record *record = slot_begin(slot, allocation->operation);
	uint64_t id = pool_take_ids(pool, (uint32_t)allocation->count);
	if (metadata)
		metadata_write(&pool->metadata, metadata - 1, id, allocation->metadata, allocation->metadata_length);
	for (size_t i = 0; i < allocation->count; i++) {
		int taken = table_take(&pool->blocks.table, &allocation->indexes[i]);
		assert(taken == 0);
		(void)taken;
		blocks_write(&pool->blocks, allocation->indexes[i],
		             &(struct block_content){
						 .id = id + i,
						 .offset = allocation->ranges[i].offset,
						 .size = allocation->sizes[i],
						 .granted = allocation->ranges[i].length,
						 .created_ns = now,
						 .owner = session->number,
						 .uid = session->record->uid,
						 .metadata = metadata,
						 .tag = allocation->tag,
						 .tag_length = allocation->tag_length,
						 .shared = publication.name != 0,
					 });
	}
	if (publication.name) {
		publication_write(pool, &publication,
		                  &(struct name_content){
							  .id = pool_take_ids(pool, 1),
							  .block = allocation->indexes[0],
							  .block_id = id,
							  .created_ns = now,
							  .session = session_key(session),
							  .uid = session->record->uid,
							  .name = allocation->name,
							  .name_length = allocation->name_length,
						  },
		                  record);
	}
	if (lease) {
		record->deadline = deadlines_after(&pool->deadlines, allocation->ttl_ms);
		leases_write(&pool->leases, lease - 1, allocation->indexes[0], id, record->deadline);
	}
	record->id = id;
	record->block = allocation->indexes[0];
	record->count = (uint32_t)allocation->count;
	record->lease = lease;
	slot_decide(slot);
	for (size_t i = 0; i < allocation->count; i++)
		lifetime_add_owner(session, allocation->indexes[i]);
	if (publication.name)
		publication_apply(pool, &publication);
	if (lease)
		lifetime_add_lease(pool, lease - 1, record->deadline);
	slot_done(slot);
	session->batches[slot->index] = take_pointer(&allocation->kept);
	return 0;
}
