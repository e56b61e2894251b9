/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Condemned blocks: see condemned.h. When they end, the links go first, each in one store, and then a block, as soon as nothing has a link to it: so
 * no record of a link ever names a block that is not there, but those that the cascade knows of (links.h), which it drops as ever.
 */
#include "condemned.h"

#include <assert.h>

#include "cascade.h"
#include "lifetime.h"
#include "pool.h"

static void take_out(struct pool *pool, uint32_t block)
{
	struct condemned *condemned = &pool->collector.condemned;

	/* Only the first of a list needs to know in which it is. */
	index_list_remove(pool->blocks.owned, condemned->bare == block + 1 ? &condemned->bare : &condemned->whole, block);
}

void condemned_begin(struct condemned *condemned)
{
	assert(condemned_is_empty(condemned));
	*condemned = (struct condemned){0};
}

void condemned_adopt(struct pool *pool, uint32_t block)
{
	dying_know(pool, block);
	index_list_push(pool->blocks.owned, &pool->collector.condemned.whole, block);
}

void condemned_add(struct pool *pool, uint32_t block)
{
	blocks_condemn(&pool->blocks, block);
	condemned_adopt(pool, block);
}

void condemned_rescue(struct pool *pool, uint32_t block)
{
	take_out(pool, block);
	dying_forget(pool, block);
	blocks_set_state(&pool->blocks, block, RECORD_LIVE);
	lifetime_free_unheld(pool, block);
}

static void end(struct pool *pool, uint32_t block)
{
	struct condemned *condemned = &pool->collector.condemned;

	condemned->freed++;
	condemned->freed_bytes += blocks_body(&pool->blocks, block)->granted;
	take_out(pool, block);
	dying_forget(pool, block);
	dying_free(pool, block);
}

void condemned_unheld(struct pool *pool, uint32_t block)
{
	if (!pool->blocks.links_from[block])
		end(pool, block);
}

void condemned_step(struct pool *pool)
{
	struct condemned *condemned = &pool->collector.condemned;

	if (!condemned->whole) {
		/* All that hold these are on their way. */
		assert(pool->links.loose);
		cascade_step(pool, 1);
		return;
	}
	uint32_t block = condemned->whole - 1, link = pool->blocks.links_from[block];
	if (link) {
		/* Whatever loses this link is left to itself by it no more than it was before: no reason for another run. */
		bool suspected = pool->collector.suspected;
		lifetime_drop_link(pool, link - 1);
		pool->collector.suspected = suspected;
	} else if (blocks_is_unheld(&pool->blocks, block)) {
		end(pool, block);
	} else {
		take_out(pool, block);
		index_list_push(pool->blocks.owned, &condemned->bare, block);
	}
}
