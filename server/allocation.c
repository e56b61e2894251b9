/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for blocks: see allocation.h; the order of the stores is told in state_layout.h. */
#include "allocation.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

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
	uint64_t granted = (UINT64_C(1) << size_order_for(units / pool->unit)) * pool->unit;
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
	struct session *session = allocation->slot.session;
	uint32_t slot = allocation->slot.index; /* `finished` frees the allocation */

	session->deferred[slot] = NULL; /* whatever ends the session now has nothing to cancel */
	allocation->finished(allocation, result);
	session_arrive(session, slot);
}

static void committed(struct commit_job *job, int result)
{
	struct allocation *allocation = (struct allocation *)job; /* its first member */

	if (allocation->slot.session->dead) {
		release_all(allocation);
		result = -ECANCELED;
	} else if (result < 0) {
		result = refused_by_kernel(allocation);
	}
	finish(allocation, result);
}

/* What was found. 1: it is committed. 0: the committer has it. -ENOSPC: refused. */
static int commit_found(struct allocation *allocation)
{
	allocation->job.ranges = allocation->ranges;
	allocation->job.range_count = allocation->count;
	allocation->job.done = committed;
	int result = committer_ensure(&allocation->slot.session->pool->committer, &allocation->job);
	return result < 0 ? refused_by_kernel(allocation) : result;
}

/* ---- Waiting ---------------------------------------------------------------------------------------------------- */

/* Finds memory, if need be what is free but for a look at the hold pages. */
static int find_all(struct allocation *allocation)
{
	int result = find(allocation);

	while (result < 0 && dying_hurry(allocation->slot.session->pool))
		result = find(allocation);
	return result;
}

static bool take(struct waiter *waiter)
{
	return find_all((struct allocation *)((char *)waiter - offsetof(struct allocation, waiter))) == 0;
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
	struct allocation *allocation = (struct allocation *)((char *)waiter - offsetof(struct allocation, waiter));

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

	if (wait_queue_leave(&allocation->waiter))
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

/* There is no room, or what there is, is set aside. 0: it waits. -ENOMEM, -EDQUOT: it does not. */
static int wait_for_memory(struct allocation *allocation, bool set_aside)
{
	struct wait_queue *queue = &allocation->slot.session->pool->wait_queue;

	if (set_aside && !allocation->wait_ms)
		return refuse_set_aside(allocation);
	collector_want_memory(allocation->slot.session->pool); /* who waits for it, or not at all, waits for that at least */
	allocation->waiter.take = take;
	allocation->waiter.ended = ended;
	return wait_queue_join(queue, &allocation->waiter, allocation->wait_ms);
}

/* 1: found and committed. 0: it waits, for room or for the committer. -ENOMEM, -ENOSPC, -EDQUOT: refused. */
static int look_for_memory(struct allocation *allocation)
{
	struct wait_queue *queue = &allocation->slot.session->pool->wait_queue;
	bool set_aside = wait_queue_is_set_aside(queue);

	if (!set_aside && find_all(allocation) == 0) {
		wait_queue_overtake(queue);
		return commit_found(allocation);
	}
	if (!count_demand(allocation)) {
		find(allocation); /* it fails, and says for which block */
		allocation->refusal.never = true;
		return -ENOMEM;
	}
	return wait_for_memory(allocation, set_aside);
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

int allocation_start(struct allocation *allocation)
{
	struct session *session = allocation->slot.session;

	if (allocation->count > session->pool->blocks.table.capacity)
		return refuse_too_many(allocation);
	int result = look_for_memory(allocation);
	if (result == 0) {
		allocation->deferred.cancel = cancel;
		session_depart(session, allocation->slot.index, &allocation->deferred);
	}
	return result;
}

/* The records' pages and indexes, so that nothing can fail once the first record is written. */
static int prepare(struct allocation *allocation, struct publication *out_publication, uint32_t *out_lease,
                   char out_text[PUBLICATION_TEXT_MAX])
{
	struct session *session = allocation->slot.session;
	struct pool *pool = session->pool;
	const struct publication_wish wish = {allocation->name, allocation->name_length, allocation->replace,
	                                      session->record->uid};
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
	if (allocation->ttl_ms) {
		uint32_t lease;
		if (table_take(&pool->leases.table, &lease) < 0)
			return ERROR_LIMIT;
		*out_lease = lease + 1;
	}
	if (allocation->name_length)
		error = publication_prepare(pool, &wish, out_publication, out_text);
	if (error && *out_lease)
		table_give(&pool->leases.table, *out_lease - 1);
	return error;
}

int allocation_write(struct allocation *allocation, char out_text[PUBLICATION_TEXT_MAX])
{
	const struct slot *slot = &allocation->slot;
	struct session *session = slot->session;
	struct pool *pool = session->pool;
	enum slot_operation operation = allocation->batch ? SLOT_ALLOCATE_BATCH : SLOT_ALLOCATE;
	uint64_t now = clock_realtime_ns();
	struct publication publication = {0};
	uint32_t lease = 0;
	int error = prepare(allocation, &publication, &lease, out_text);

	if (error) {
		release_all(allocation);
		slot_refuse(slot, operation, (uint32_t)error);
		return error;
	}
	struct slot_record *record = slot_begin(slot, operation);
	uint64_t id = pool_take_ids(pool, (uint32_t)allocation->count);
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
