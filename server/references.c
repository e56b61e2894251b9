/* SPDX-License-Identifier: Apache-2.0 */
/* The table of references: see references.h. */
#include "references.h"

#include <stddef.h>

#include "checksum.h"
#include "commit.h"
#include "region.h"
#include "shared_object.h"

/* Bytes of records committed at a time: 512 references. */
#define REFERENCES_STEP 16384

int references_init(struct references *references, const struct shared_object *state, uint64_t at, uint32_t capacity)
{
	*references = (struct references){.records = (struct reference_record *)((uint8_t *)state->base + at)};
	int result = table_init(&references->table, state, at, sizeof(struct reference_record), capacity, REFERENCES_STEP);

	if (result == 0)
		result = region_new(capacity * sizeof *references->of_block, (void **)&references->of_block);
	if (result == 0)
		result = region_new(capacity * sizeof *references->of_session, (void **)&references->of_session);
	if (result == 0)
		result = pair_index_init(&references->by_holder, capacity);
	if (result < 0)
		references_deinit(references);
	return result;
}

void references_deinit(struct references *references)
{
	uint32_t capacity = references->table.capacity;

	region_free(references->of_block, capacity * sizeof *references->of_block);
	region_free(references->of_session, capacity * sizeof *references->of_session);
	pair_index_deinit(&references->by_holder);
	table_deinit(&references->table);
	*references = (struct references){0};
}

uint32_t reference_checksum(const struct reference_record *record)
{
	const uint8_t *first = (const uint8_t *)&record->block;

	return checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first));
}

static void write_record(struct references *references, uint32_t index, uint32_t session, uint32_t block, uint64_t block_id,
                         enum record_state state)
{
	struct reference_record *record = &references->records[index];

	record->block = block;
	record->session = session;
	record->block_id = block_id;
	record->checksum = reference_checksum(record);
	commit(&record->word, REFERENCE_WORD(1, 1, state));
}

void references_write(struct references *references, uint32_t index, uint32_t session, uint32_t block, uint64_t block_id)
{
	write_record(references, index, session, block, block_id, RECORD_PENDING);
}

void references_write_live(struct references *references, uint32_t index, uint32_t session, uint32_t block,
                           uint64_t block_id)
{
	write_record(references, index, session, block, block_id, RECORD_LIVE);
}

void references_set(struct references *references, uint32_t index, uint32_t count, uint32_t next, enum record_state state)
{
	commit(&references->records[index].word, REFERENCE_WORD(count, next, state));
	if (state == RECORD_FREE)
		table_give(&references->table, index);
}
