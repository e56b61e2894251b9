/* SPDX-License-Identifier: Apache-2.0 */
/* Everything compared: see comparison.h. */
#include "tests/integration/model/comparison.h"

#include <string.h>

#include "cleanup.h"
#include "tests/integration/model/adrift.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/rest.h"
#include "tests/support/pool_session.h"

#define PATIENCE_NS UINT64_C(30000000000)

/* Holders are asked for by request: of one block in so many. */
#define HOLDERS_SHARE 4

static void compare_block(const struct known_block *block, const shmb_block_info *info)
{
	const struct actor *owner = block->owner == NOBODY ? NULL : &model.actors[block->owner];

	MODEL_EQUAL(info->handle.index, block->block.handle.index);
	MODEL_EQUAL(info->handle.incarnation, block->block.handle.incarnation);
	MODEL_EQUAL(info->offset, block->block.offset);
	MODEL_EQUAL(info->size, block->block.size);
	MODEL_EQUAL(info->granted, block->block.granted);
	MODEL_EQUAL(info->uid, block->uid);
	MODEL_EQUAL(info->owner, owner ? owner->session : 0);
	MODEL_CHECK(strcmp(info->tag, block->tag) == 0);
	MODEL_EQUAL(info->sealed, block->sealed);
	MODEL_EQUAL(info->cached, block->cached);
	known_block_check_metadata(block);
}

static void compare_blocks(void)
{
	CLEANUP_FREE shmb_block_info *infos = NULL;
	size_t count, found = 0;

	MODEL_CHECK(shmb_list_blocks(model.watcher, &infos, &count) == 0);
	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		const struct known_block *block = &model.blocks[i];
		size_t at = 0;
		if (!block->live)
			continue;
		while (at < count && infos[at].handle.id != block->block.handle.id)
			at++;
		if (at == count)
			model_fail(__FILE__, __LINE__, "block %" PRIu64 " is not listed", block->block.handle.id);
		compare_block(block, &infos[at]);
		known_block_check_bytes(block);
		found++;
	}
	if (model.script.alone)
		MODEL_EQUAL(found, count);
}

static void compare_names(void)
{
	CLEANUP_FREE shmb_name_info *infos = NULL;
	char prefix[64], text[64];
	size_t count;

	snprintf(prefix, sizeof prefix, "%s/", model.script.prefix);
	MODEL_CHECK(shmb_match_names(model.watcher, &(shmb_name_filter){.prefix = prefix}, &infos, &count) == 0);
	MODEL_EQUAL(count, known_name_count());
	for (int i = 0; i < KNOWN_NAMES; i++) {
		const struct known_name *name = &model.names[i];
		size_t at = 0;
		if (!name->block)
			continue;
		known_name_text(name, text);
		while (at < count && strcmp(infos[at].name, text) != 0)
			at++;
		if (at == count)
			model_fail(__FILE__, __LINE__, "name %s is not listed", text);
		MODEL_EQUAL(infos[at].block, name->block->block.handle.id);
		MODEL_EQUAL(infos[at].offset, name->offset);
		MODEL_EQUAL(infos[at].length, known_name_bytes(name));
		MODEL_EQUAL(infos[at].uid, name->uid);
	}
}

static void compare_holders(const struct known_block *block)
{
	uint64_t id = block->block.handle.id;
	CLEANUP_FREE shmb_holder_info *infos = NULL;
	shmb_lifetime lifetime;
	size_t count, at = 0;
	int result;

	while ((result = shmb_list_holders(model.watcher, id, &infos, &count)) == -SHMB_E_LIMIT)
		usleep(20000); /* it was asked too often of late, by all models together */
	MODEL_EQUAL(result, 0);
	for (int i = 0; i < ACTORS; i++) {
		const struct actor *actor = &model.actors[i];
		if (!known_block_holds(block, actor))
			continue;
		for (at = 0; at < count && infos[at].session != actor->session;)
			at++;
		if (at == count)
			model_fail(__FILE__, __LINE__, "session %u should hold block %" PRIu64, (unsigned)actor->session, id);
		MODEL_EQUAL(infos[at].references, known_block_holds(block, actor));
		MODEL_EQUAL(infos[at].allocated, block->owner == i);
		MODEL_EQUAL(infos[at].uid, actor->uid);
		infos[at].references = 0;
	}
	for (at = 0; at < count; at++)
		MODEL_EQUAL(infos[at].references, 0);
	MODEL_CHECK(shmb_get_lifetime(model.watcher, id, &lifetime) == 0);
	MODEL_EQUAL(lifetime.tickets, block->tickets);
	MODEL_EQUAL(lifetime.links, block->links_to);
	MODEL_CHECK(lifetime.expires_ms <= block->ttl_ms && !lifetime.expires_ms == !block->ttl_ms);
}

static void compare_clients(void)
{
	CLEANUP_FREE shmb_client_info *infos = NULL;
	size_t count;

	MODEL_CHECK(shmb_list_clients(model.watcher, &infos, &count) == 0);
	if (model.script.alone)
		MODEL_EQUAL(count, actor_count() + 1);
	for (int i = 0; i < ACTORS; i++) {
		const struct actor *actor = &model.actors[i];
		uint64_t bytes = 0;
		size_t at = 0;
		if (!actor->there)
			continue;
		while (at < count && infos[at].session != actor->session)
			at++;
		if (at == count)
			model_fail(__FILE__, __LINE__, "session %u is not listed", (unsigned)actor->session);
		for (int k = 0; k < KNOWN_BLOCKS; k++)
			bytes += model.blocks[k].live && model.blocks[k].owner == i ? model.blocks[k].block.granted : 0;
		MODEL_EQUAL(infos[at].bytes, bytes);
		MODEL_EQUAL(infos[at].uid, actor->uid);
		MODEL_EQUAL(infos[at].access, actor->read_only ? SHMB_READ_ONLY : SHMB_READ_WRITE);
	}
}

/* The longest free buddy, out of what lives. */
static uint64_t longest_free(void)
{
	static uint8_t taken[MODEL_POOL / MODEL_UNIT];
	uint64_t longest = MODEL_POOL / MODEL_UNIT;

	memset(taken, 0, sizeof taken);
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].live)
			memset(&taken[model.blocks[i].block.offset / MODEL_UNIT], 1, model.blocks[i].block.granted / MODEL_UNIT);
	while (longest & (longest - 1))
		longest &= longest - 1; /* the largest power of two that it has */
	for (; longest; longest /= 2)
		for (uint64_t at = 0; at + longest <= MODEL_POOL / MODEL_UNIT; at += longest)
			if (!memchr(&taken[at], 1, longest))
				return longest * MODEL_UNIT;
	return 0;
}

static void compare_free(void)
{
	uint64_t expected = longest_free(), started = pool_session_now_ns();
	shmb_status status;

	/* What is on its way back to the kernel is missing for a moment. */
	do {
		MODEL_CHECK(shmb_get_status(model.watcher, &status) == 0);
	} while (status.longest_free != expected && pool_session_now_ns() - started < PATIENCE_NS);
	MODEL_EQUAL(status.longest_free, expected);
	MODEL_EQUAL(status.free, MODEL_POOL - known_block_used());
	MODEL_EQUAL(status.evictions, model.evicted);
	MODEL_EQUAL(status.allocations - status.frees, known_block_count());
}

static void compare_records(void)
{
	struct model_recount recount;
	uint64_t holds = 0;

	for (int i = 0; i < KNOWN_BLOCKS; i++)
		for (int k = 0; k < ACTORS && model.blocks[i].live; k++)
			holds += known_block_holds(&model.blocks[i], &model.actors[k]);
	model_ask(MODEL_RECOUNT, &recount, sizeof recount);
	MODEL_EQUAL(recount.links, known_link_count());
	MODEL_EQUAL(recount.holds, holds);
}

void comparison_make(void)
{
	adrift_collect();
	rest_await();
	compare_blocks();
	compare_names();
	compare_clients();
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].live && model_one_in(HOLDERS_SHARE))
			compare_holders(&model.blocks[i]);
	if (!model.script.alone)
		return;
	compare_free();
	compare_records();
	known_account_compare();
}
