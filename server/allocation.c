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
	struct session *session = allocation->slot.session;
	uint32_t slot = allocation->slot.index; /* `finished` frees the allocation */

	session->jobs[slot] = NULL; /* whatever ends the session now has nothing to cancel */
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

/* 1: found and committed. 0: it waits, for withheld memory or for the committer. -ENOMEM, -ENOSPC: refused. */
static int look_for_memory(struct allocation *allocation)
{
	struct pool *pool = allocation->slot.session->pool;
	int result = find(allocation);

	while (result < 0 && dying_hurry(pool))
		result = find(allocation);
	if (result < 0)
		return withheld_wait(&pool->withheld, &allocation->waiter) ? 0 : result;
	allocation->job.ranges = allocation->ranges;
	allocation->job.range_count = allocation->count;
	allocation->job.done = committed;
	result = committer_ensure(&pool->committer, &allocation->job);
	return result < 0 ? refused_by_kernel(allocation) : result;
}

/* Some of what was withheld has come back. */
static void look_again(struct withheld_waiter *waiter)
{
	struct allocation *allocation = (struct allocation *)((char *)waiter - offsetof(struct allocation, waiter));
	int result = allocation->job.cancelled ? -ECANCELED : look_for_memory(allocation);

	if (result != 0)
		finish(allocation, result < 0 ? result : 0);
}

int allocation_start(struct allocation *allocation)
{
	allocation->waiter.look = look_again;
	int result = look_for_memory(allocation);
	if (result == 0)
		session_depart(allocation->slot.session, allocation->slot.index, &allocation->job);
	return result;
}

/* The records' pages and indexes, so that nothing can fail once the first record is written. */
static int prepare(struct allocation *allocation, uint32_t *out_name, uint32_t *out_metadata)
{
	struct pool *pool = allocation->slot.session->pool;
	uint32_t taken;
	int result;

	*out_name = *out_metadata = 0;
	if (allocation->name_length && names_find(&pool->names, allocation->name, allocation->name_length, &taken) == 0)
		return ERROR_NAME_TAKEN;
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
		if (table_take(&pool->metadata.table, &taken) < 0)
			return ERROR_LIMIT;
		*out_metadata = taken + 1;
	}
	if (!allocation->name_length)
		return 0;
	if (table_take(&pool->names.table, &taken) < 0) {
		metadata_give(&pool->metadata, *out_metadata);
		return ERROR_LIMIT;
	}
	*out_name = taken + 1;
	return 0;
}

int allocation_write(struct allocation *allocation)
{
	const struct slot *slot = &allocation->slot;
	struct session *session = slot->session;
	struct pool *pool = session->pool;
	uint64_t now = clock_realtime_ns();
	uint32_t name, metadata;
	int error = prepare(allocation, &name, &metadata);

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
						 .shared = name != 0,
					 });
	}
	if (name) {
		names_write(&pool->names, name - 1,
		            &(struct name_content){
						.id = pool_take_ids(pool, 1),
						.block = allocation->indexes[0],
						.block_id = id,
						.length = allocation->sizes[0],
						.created_ns = now,
						.uid = session->record->uid,
						.name = allocation->name,
						.name_length = allocation->name_length,
					});
	}
	record->id = id;
	record->block = allocation->indexes[0];
	record->count = (uint32_t)allocation->count;
	record->name = name;
	slot_decide(slot);
	for (size_t i = 0; i < allocation->count; i++)
		lifetime_add_owner(session, allocation->indexes[i]);
	if (name)
		lifetime_add_name(pool, name - 1);
	slot_done(slot);
	session->batches[slot->index] = take_pointer(&allocation->kept);
	return 0;
}
