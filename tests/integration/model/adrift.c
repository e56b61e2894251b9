/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only circles hold: see adrift.h. The daemon decides for all blocks of a circle, and all that only they hold, at once; from then on their handles
 * are stale, while one after the other goes. So what is seen of one is true of whatever holds it, and of what nothing else holds.
 */
#include "tests/integration/model/adrift.h"

#include <stddef.h>

#include "tests/integration/model/model.h"

bool adrift_has(const struct known_block *block)
{
	bool reached[KNOWN_BLOCKS];

	if (!block->live || !block->links_to)
		return false;
	known_link_mark(reached);
	return !reached[known_block_number(block)];
}

static bool is_gone(const struct known_block *block)
{
	shmb_block_info info;
	int result = shmb_find_block(model.watcher, block->block.handle.id, &info);

	MODEL_CHECK(result == 0 || result == -SHMB_E_NO_SUCH_BLOCK);
	return result < 0;
}

void adrift_look(void)
{
	bool reached[KNOWN_BLOCKS];

	if (!known_link_count())
		return;
	known_link_mark(reached);
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].live && !reached[i] && is_gone(&model.blocks[i])) {
			model.collected[0]++;
			known_block_lose(&model.blocks[i]);
		}
}

void adrift_look_for_evicted(void)
{
	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		if (!known_block_is_idle(&model.blocks[i]) || !is_gone(&model.blocks[i]))
			continue;
		MODEL_CHECK(model.allocating);
		known_block_evict(&model.blocks[i]);
		i = -1; /* another, which it held, may be idle by that, and gone as well */
	}
}

void adrift_hear(const struct mail *mail)
{
	struct known_block *block = known_block_find(mail->handle.id), *to = known_block_find(mail->to.id);

	if (mail->result != -SHMB_E_STALE_HANDLE && mail->result != -SHMB_E_NO_SUCH_BLOCK)
		return;
	if (block && adrift_has(block))
		known_block_lose(block);
	else if (block && to && adrift_has(to))
		known_block_lose(to);
}

/* Blocks with links that something else than circles holds. */
static uint64_t count_marked(const bool reached[])
{
	uint64_t count = 0;

	for (int i = 0; i < KNOWN_BLOCKS; i++)
		count += reached[i] && (model.blocks[i].links_to || known_link_begins(&model.blocks[i]));
	return count;
}

void adrift_judge(const shmb_collection *collection)
{
	bool reached[KNOWN_BLOCKS];
	uint64_t blocks = 0, bytes = 0;

	known_link_mark(reached);
	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		if (!model.blocks[i].live || reached[i])
			continue;
		MODEL_CHECK(is_gone(&model.blocks[i]));
		blocks++;
		bytes += model.blocks[i].block.granted;
	}
	if (model.script.alone && !model.killing) {
		/* A run that was under way, by the daemon itself, may have taken some of them. */
		MODEL_CHECK(collection->freed <= blocks && collection->freed_bytes <= bytes);
		MODEL_CHECK(!collection->freed == !collection->freed_bytes);
		MODEL_CHECK(collection->freed != blocks || collection->freed_bytes == bytes);
		/* Links of what has ended may be on their way still. */
		MODEL_CHECK(collection->marked >= count_marked(reached) && collection->marked <= known_block_count() - blocks);
		MODEL_CHECK(collection->longest_us <= collection->duration_us);
	}
	model.collected[1] += blocks;
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].live && !reached[i])
			known_block_lose(&model.blocks[i]);
}

void adrift_collect(void)
{
	shmb_collection collection;

	MODEL_CHECK(shmb_collect(model.watcher, &collection) == 0);
	adrift_judge(&collection);
}
