/* SPDX-License-Identifier: Apache-2.0 */
/* The table of links: see links.h. */
#include "links.h"

#include <stddef.h>

#include "checksum.h"
#include "commit.h"
#include "region.h"
#include "shared_object.h"

/* Bytes of records committed at a time: 341 links. */
#define LINKS_STEP 16384

int links_init(struct links *links, const struct shared_object *state, uint64_t at, uint32_t capacity)
{
	*links = (struct links){.records = (struct link_record *)((uint8_t *)state->base + at)};
	int result = table_init(&links->table, state, at, sizeof(struct link_record), capacity, LINKS_STEP);

	if (result == 0)
		result = region_new(capacity * sizeof *links->of_from, (void **)&links->of_from);
	if (result == 0)
		result = region_new(capacity * sizeof *links->of_to, (void **)&links->of_to);
	if (result == 0)
		result = pair_index_init(&links->by_ends, capacity);
	if (result < 0)
		links_deinit(links);
	return result;
}

void links_deinit(struct links *links)
{
	uint32_t capacity = links->table.capacity;

	region_free(links->of_from, capacity * sizeof *links->of_from);
	region_free(links->of_to, capacity * sizeof *links->of_to);
	pair_index_deinit(&links->by_ends);
	table_deinit(&links->table);
	*links = (struct links){0};
}

uint32_t link_checksum(const struct link_record *record)
{
	const uint8_t *first = (const uint8_t *)&record->from;

	return checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first));
}

void links_write(struct links *links, uint32_t index, const struct link_record *content)
{
	struct link_record *record = &links->records[index];

	record->from = content->from;
	record->to = content->to;
	record->from_id = content->from_id;
	record->to_id = content->to_id;
	record->session = content->session;
	record->uid = content->uid;
	record->checksum = link_checksum(record);
	commit(&record->word, RECORD_PENDING);
}

void links_set_state(struct links *links, uint32_t index, enum record_state state)
{
	commit(&links->records[index].word, state);
	if (state == RECORD_FREE)
		table_give(&links->table, index);
}
