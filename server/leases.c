/* SPDX-License-Identifier: Apache-2.0 */
/* The table of leases: see leases.h. */
#include "leases.h"

#include <assert.h>
#include <stddef.h>

#include "checksum.h"
#include "commit.h"
#include "shared_object.h"

/* Bytes of records committed at a time: 682 leases. */
#define LEASES_STEP 16384

int leases_init(struct leases *leases, const struct shared_object *state, uint64_t at, uint32_t capacity)
{
	*leases = (struct leases){.records = (struct lease_record *)((uint8_t *)state->base + at)};
	return table_init(&leases->table, state, at, sizeof(struct lease_record), capacity, LEASES_STEP);
}

void leases_deinit(struct leases *leases)
{
	table_deinit(&leases->table);
	*leases = (struct leases){0};
}

uint64_t lease_word(uint64_t deadline, enum record_state state)
{
	assert(deadline <= LEASE_DEADLINE_MAX);
	if (state == RECORD_FREE)
		return 0;
	uint64_t word = deadline << 24 | (uint64_t)state;
	return word | (uint64_t)(checksum_of(&word, sizeof word) & 0xffff) << 8;
}

uint32_t lease_checksum(const struct lease_record *record)
{
	const uint8_t *first = (const uint8_t *)&record->block_id;

	return checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first));
}

void leases_write(struct leases *leases, uint32_t index, uint32_t block, uint64_t block_id, uint64_t deadline)
{
	struct lease_record *record = &leases->records[index];

	record->block_id = block_id;
	record->block = block;
	record->checksum = lease_checksum(record);
	commit(&record->word, lease_word(deadline, RECORD_PENDING));
}

void leases_set(struct leases *leases, uint32_t index, uint64_t deadline)
{
	commit(&leases->records[index].word, lease_word(deadline, deadline ? RECORD_LIVE : RECORD_FREE));
	if (!deadline)
		table_give(&leases->table, index);
}
