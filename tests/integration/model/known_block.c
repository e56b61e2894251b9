/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks, as the model knows them: see known_block.h. */
#include "tests/integration/model/known_block.h"

#include <string.h>

#include "tests/integration/model/adrift.h"
#include "tests/integration/model/expected_events.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/rest.h"
#include "tests/support/pattern.h"

static uint64_t count, used, requested;

int known_block_number(const struct known_block *block)
{
	return (int)(block - model.blocks);
}

struct known_block *known_block_vacancy(void)
{
	for (uint64_t tries = 0, at = model_below(KNOWN_BLOCKS); tries < KNOWN_BLOCKS; tries++, at = (at + 1) % KNOWN_BLOCKS)
		if (!model.blocks[at].live)
			return &model.blocks[at];
	return NULL;
}

struct known_block *known_block_any(void)
{
	struct known_block *block = &model.blocks[model_below(KNOWN_BLOCKS)];

	for (int tries = 0; tries < 20 && !block->live; tries++)
		block = &model.blocks[model_below(KNOWN_BLOCKS)];
	return block->block.handle.id ? block : NULL;
}

struct known_block *known_block_of(const struct actor *actor)
{
	struct known_block *block = known_block_any();

	for (int tries = 0; tries < 40 && block && !(block->live && known_block_holds(block, actor)); tries++)
		block = known_block_any();
	return block;
}

struct known_block *known_block_find(uint64_t id)
{
	for (int i = 0; i < KNOWN_BLOCKS && id; i++)
		if (model.blocks[i].block.handle.id == id)
			return &model.blocks[i];
	return NULL;
}

void known_block_add(struct known_block *place, const struct actor *actor, const shmb_block *block, const char *tag)
{
	MODEL_CHECK(!place->live && block->granted >= block->size && block->offset + block->granted <= MODEL_POOL);
	*place = (struct known_block){.block = *block, .live = true, .owner = actor_number(actor), .uid = actor->uid};
	snprintf(place->tag, sizeof place->tag, "%s", tag);
	count++;
	used += block->granted;
	requested += block->size;
	model.most = count > model.most ? count : model.most;
}

void known_block_resize(struct known_block *block, uint64_t size, uint64_t granted)
{
	used += granted - block->block.granted; /* of what becomes less the differences wrap, and the sums are right again */
	requested += size - block->block.size;
	block->block.size = size;
	block->block.granted = granted;
}

unsigned known_block_holds(const struct known_block *block, const struct actor *actor)
{
	return block->references[actor_number(actor)] + (block->owner == actor_number(actor));
}

bool known_block_is_held(const struct known_block *block)
{
	for (int i = 0; i < ACTORS; i++)
		if (known_block_holds(block, &model.actors[i]))
			return true;
	return false;
}

void known_block_let_go(struct known_block *block, const struct actor *actor)
{
	MODEL_CHECK(known_block_holds(block, actor));
	if (block->references[actor_number(actor)])
		block->references[actor_number(actor)]--;
	else
		block->owner = NOBODY;
	known_block_settle(block);
}

static void end(struct known_block *block)
{
	block->live = false;
	count--;
	used -= block->block.granted;
	requested -= block->block.size;
	expected_events_add_block(SHMB_EVENT_BLOCK_FREED, block);
	rest_expect_end(block->block.handle.id);
}

void known_block_settle(struct known_block *block)
{
	if (!block->live || known_block_is_held(block) || block->names || block->tickets || block->links_to || block->ttl_ms ||
	    block->cached)
		return;
	end(block);
	known_link_drop_from(block);
}

void known_block_lose(struct known_block *block)
{
	if (!block->live)
		return;
	end(block);
	while (block->links_to)
		known_block_lose(known_link_drop_to(block));
	known_link_drop_from(block);
}

void known_block_expire(struct known_block *block)
{
	known_name_drop_all(block);
	expected_events_add_block(SHMB_EVENT_BLOCK_EXPIRED, block);
	block->ttl_ms = 0;
	block->cached = false;
	known_block_settle(block);
}

bool known_block_is_idle(const struct known_block *block)
{
	return block->live && block->cached && !known_block_is_held(block) && !block->tickets && !block->links_to;
}

unsigned known_block_count_cached(void)
{
	unsigned cached = 0;

	for (int i = 0; i < KNOWN_BLOCKS; i++)
		cached += model.blocks[i].live && model.blocks[i].cached;
	return cached;
}

void known_block_evict(struct known_block *block)
{
	MODEL_CHECK(known_block_is_idle(block));
	model.evicted++;
	expected_events_add_block(SHMB_EVENT_BLOCK_EVICTED, block);
	known_name_drop_all(block);
	block->ttl_ms = 0;
	block->cached = false;
	known_block_settle(block);
}

void known_block_check_bytes(const struct known_block *block)
{
	const void *bytes = shmb_pointer(model.watcher, block->block.offset);
	shmb_block_info info;

	if (bytes && pattern_matches(bytes, block->block.size, block->block.handle.id))
		return;
	if (!adrift_has(block) || shmb_find_block(model.watcher, block->block.handle.id, &info) != -SHMB_E_NO_SUCH_BLOCK)
		model_fail(__FILE__, __LINE__, "block %" PRIu64 " has other bytes than were written", block->block.handle.id);
}

void known_block_check_metadata(const struct known_block *block)
{
	uint8_t bytes[SHMB_METADATA_MAX];
	size_t size;

	MODEL_CHECK(shmb_get_metadata(model.watcher, block->block.handle, bytes, sizeof bytes, &size) == 0);
	MODEL_EQUAL(size, block->metadata_size);
	MODEL_CHECK(memcmp(bytes, block->metadata, size) == 0);
}

uint64_t known_block_count(void)
{
	return count;
}

uint64_t known_block_used(void)
{
	return used;
}

uint64_t known_block_requested(void)
{
	return requested;
}
