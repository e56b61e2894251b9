/* SPDX-License-Identifier: Apache-2.0 */
/* The table of blocks: see blocks.h, and view_layout.h for what readers rely on. */
#include "blocks.h"

#include <assert.h>
#include <string.h>

#include "commit.h"
#include "region.h"
#include "shared_object.h"
#include "view.h"

/* Bytes of records committed at a time: 585 blocks, one short fallocate. */
#define BLOCKS_STEP 65536

int blocks_init(struct blocks *blocks, const struct shared_object *view, uint64_t at, uint32_t capacity)
{
	*blocks = (struct blocks){.records = (struct block_record *)((uint8_t *)view->base + at)};
	int result = table_init(&blocks->table, view, at, sizeof(struct block_record), capacity, BLOCKS_STEP);

	if (result == 0)
		result = region_new(capacity * sizeof *blocks->owned, (void **)&blocks->owned);
	if (result == 0)
		result = region_new(capacity * sizeof *blocks->references, (void **)&blocks->references);
	if (result == 0)
		result = region_new(capacity * sizeof *blocks->names, (void **)&blocks->names);
	if (result == 0)
		result = region_new(capacity * sizeof *blocks->links_from, (void **)&blocks->links_from);
	if (result == 0)
		result = region_new(capacity * sizeof *blocks->links_to, (void **)&blocks->links_to);
	if (result == 0)
		result = region_new(capacity * sizeof *blocks->tickets, (void **)&blocks->tickets);
	if (result == 0)
		result = region_new(capacity * sizeof *blocks->leases, (void **)&blocks->leases);
	if (result < 0)
		blocks_deinit(blocks);
	return result;
}

void blocks_deinit(struct blocks *blocks)
{
	uint32_t capacity = blocks->table.capacity;

	region_free(blocks->owned, capacity * sizeof *blocks->owned);
	region_free(blocks->references, capacity * sizeof *blocks->references);
	region_free(blocks->names, capacity * sizeof *blocks->names);
	region_free(blocks->links_from, capacity * sizeof *blocks->links_from);
	region_free(blocks->links_to, capacity * sizeof *blocks->links_to);
	region_free(blocks->tickets, capacity * sizeof *blocks->tickets);
	region_free(blocks->leases, capacity * sizeof *blocks->leases);
	table_deinit(&blocks->table);
	*blocks = (struct blocks){0};
}

void blocks_write(struct blocks *blocks, uint32_t index, const struct block_content *content)
{
	struct block_record *record = &blocks->records[index];

	assert(!record_is_live(blocks_word(blocks, index)) && content->tag_length < sizeof record->tag);
	record->offset = content->offset;
	record->created_ns = content->created_ns;
	memset(record->tag, 0, sizeof record->tag);
	memcpy(record->tag, content->tag, content->tag_length);
	record->uid = content->uid;
	record->checksum = block_record_checksum(record, content->id);
	record->body[0] = (struct block_body){
		.size = content->size,
		.granted = content->granted,
		.owner = content->owner,
		.metadata = content->metadata,
	};
	record->body[0].checksum = block_body_checksum(&record->body[0], content->id);
	commit(&record->word, record_word(content->id, 0, RECORD_PENDING) | (content->shared ? RECORD_SHARED : 0));
}

void blocks_set_state(struct blocks *blocks, uint32_t index, enum record_state state)
{
	commit(&blocks->records[index].word, record_with_state(blocks_word(blocks, index), state));
	if (state == RECORD_FREE)
		table_give(&blocks->table, index);
}

void blocks_free_and_keep(struct blocks *blocks, uint32_t index)
{
	commit(&blocks->records[index].word, record_with_state(blocks_word(blocks, index), RECORD_FREE));
}

void blocks_fill_body(struct blocks *blocks, uint32_t index, const struct block_body *body)
{
	uint64_t word = blocks_word(blocks, index);
	struct block_body *idle = &blocks->records[index].body[!record_body(word)];

	*idle = *body;
	idle->checksum = block_body_checksum(idle, record_id(word));
}

void blocks_flip(struct blocks *blocks, uint32_t index, enum record_state state)
{
	commit(&blocks->records[index].word, record_with_state(blocks_word(blocks, index) ^ RECORD_BODY, state));
}

void blocks_drop_owner(struct blocks *blocks, uint32_t index, enum record_state state)
{
	struct block_body body = *blocks_body(blocks, index);

	body.owner = 0;
	blocks_fill_body(blocks, index, &body);
	blocks_flip(blocks, index, state);
}

void blocks_drop_cached(struct blocks *blocks, uint32_t index)
{
	struct block_body body = *blocks_body(blocks, index);

	body.flags &= ~BLOCK_CACHED;
	blocks_fill_body(blocks, index, &body);
	blocks_flip(blocks, index, record_state(blocks_word(blocks, index)));
}

void blocks_condemn(struct blocks *blocks, uint32_t index)
{
	uint64_t word = blocks_word(blocks, index);

	assert(record_state(word) == RECORD_LIVE);
	commit(&blocks->records[index].word, record_with_state(word, RECORD_DYING) | RECORD_CONDEMNED);
}

void blocks_share(struct blocks *blocks, uint32_t index)
{
	uint64_t word = blocks_word(blocks, index);

	if (!(word & RECORD_SHARED))
		commit(&blocks->records[index].word, word | RECORD_SHARED);
}
