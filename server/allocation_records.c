/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records that an allocation becomes: see allocation.h. All that can fail is done before the first of them is written; the order of the stores
 * is told in state_layout.h.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "allocation.h"
#include "allocation_memory.h"
#include "cleanup.h"
#include "clock.h"
#include "errors.h"
#include "lifetime.h"
#include "pool.h"
#include "shmbuddy.pb-c.h"

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
		allocation_release(allocation);
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
