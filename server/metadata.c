/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metadata: see metadata.h. */
#include "metadata.h"

#include <assert.h>
#include <string.h>

#include "shared_object.h"
#include "view.h"

/* Bytes of records committed at a time: 60 of them. */
#define METADATA_STEP 16384

int metadata_init(struct metadata *metadata, const struct shared_object *view)
{
	uint8_t *base = view->base;
	const struct view_header *header = view->base;

	*metadata = (struct metadata){
		.records = (struct metadata_record *)(base + header->metadata_at),
		.used = &((struct view_counters *)(base + VIEW_COUNTERS_AT))->metadata_records,
	};
	return table_init(&metadata->table, view, header->metadata_at, sizeof(struct metadata_record), header->max_names,
	                  METADATA_STEP);
}

void metadata_deinit(struct metadata *metadata)
{
	table_deinit(&metadata->table);
	*metadata = (struct metadata){0};
}

void metadata_write(struct metadata *metadata, uint32_t index, uint64_t block_id, const uint8_t *bytes, size_t length)
{
	struct metadata_record *record = &metadata->records[index];

	assert(length > 0 && length <= sizeof record->bytes);
	record->block_id = block_id;
	record->length = (uint32_t)length;
	memset(record->bytes, 0, sizeof record->bytes);
	memcpy(record->bytes, bytes, length);
	record->checksum = metadata_checksum(record);
	if (index >= atomic_load_explicit(metadata->used, memory_order_relaxed))
		atomic_store_explicit(metadata->used, index + 1, memory_order_relaxed);
}

void metadata_give(struct metadata *metadata, uint32_t link)
{
	if (link)
		table_give(&metadata->table, link - 1);
}
