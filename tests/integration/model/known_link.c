/* SPDX-License-Identifier: Apache-2.0 */
/* Links, as the model knows them: see known_link.h. */
#include "tests/integration/model/known_link.h"

#include <stddef.h>

#include "tests/integration/model/model.h"

static unsigned count;

struct known_link *known_link_find(const struct known_block *from, const struct known_block *to)
{
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].from == from && model.links[i].to == to && from)
			return &model.links[i];
	return NULL;
}

struct known_link *known_link_any(void)
{
	for (uint64_t tries = 0, at = model_below(KNOWN_LINKS); tries < KNOWN_LINKS; tries++, at = (at + 1) % KNOWN_LINKS)
		if (model.links[at].from)
			return &model.links[at];
	return NULL;
}

bool known_link_begins(const struct known_block *block)
{
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].from == block)
			return true;
	return false;
}

bool known_link_add(struct known_block *from, struct known_block *to, const struct actor *by)
{
	for (int i = 0; i < KNOWN_LINKS; i++) {
		if (model.links[i].from)
			continue;
		model.links[i] = (struct known_link){from, to, by->uid, actor_number(by)};
		to->links_to++;
		count++;
		return true;
	}
	return false;
}

void known_link_drop(struct known_link *link)
{
	struct known_block *to = link->to;

	*link = (struct known_link){.from = NULL};
	count--;
	to->links_to--;
	known_block_settle(to);
}

struct known_block *known_link_drop_to(struct known_block *block)
{
	for (int i = 0; i < KNOWN_LINKS; i++) {
		struct known_block *from = model.links[i].from;
		if (!from || model.links[i].to != block)
			continue;
		model.links[i] = (struct known_link){.from = NULL};
		count--;
		block->links_to--;
		return from;
	}
	model_fail(__FILE__, __LINE__, "no link leads to block %" PRIu64, block->block.handle.id);
}

void known_link_drop_from(const struct known_block *block)
{
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].from == block)
			known_link_drop(&model.links[i]);
}

void known_link_mark(bool out_reached[])
{
	bool more = true;

	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		const struct known_block *block = &model.blocks[i];
		out_reached[i] =
			block->live && (known_block_is_held(block) || block->names || block->tickets || block->ttl_ms || block->cached);
	}
	while (more) {
		more = false;
		for (int i = 0; i < KNOWN_LINKS; i++) {
			const struct known_link *link = &model.links[i];
			if (!link->from || !out_reached[known_block_number(link->from)] || out_reached[known_block_number(link->to)])
				continue;
			out_reached[known_block_number(link->to)] = true;
			more = true;
		}
	}
}

unsigned known_link_count(void)
{
	return count;
}
