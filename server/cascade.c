/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loose links: see cascade.h. A block was freed in one store; and is in the list of those whose links are nobody's (links.h). Each of them goes by a
 * store of its own, with what it held if that was the last hold: whose links are loose then. A kill in between leaves links from blocks that are
 * not there: the next daemon drops them (recovery_links.c).
 */
#include "cascade.h"

#include "lifetime.h"
#include "pool.h"

/* Links dropped in one turn of the loop: about 50 microseconds. */
#define SLICE 256

/* Drops a link of the first block; with its last one, the block's record is there for the next. */
static void drop_first(struct pool *pool)
{
	uint32_t block = pool->links.loose - 1;

	lifetime_drop_link(pool, pool->blocks.links_from[block] - 1); /* what it frees may become the first in the list */
	if (pool->blocks.links_from[block])
		return;
	index_list_remove(pool->blocks.owned, &pool->links.loose, block);
	table_give(&pool->blocks.table, block);
}

bool cascade_step(struct pool *pool, unsigned budget)
{
	while (pool->links.loose && budget--)
		drop_first(pool);
	return !pool->links.loose;
}

/* It has the loop come back at once. */
static void stay_awake(uv_idle_t *idle)
{
	(void)idle;
}

static void look(uv_prepare_t *prepare)
{
	struct cascade *cascade = prepare->data;

	if (!cascade->pool->links.loose)
		return;
	if (cascade_step(cascade->pool, SLICE))
		uv_idle_stop(&cascade->awake);
	else
		uv_idle_start(&cascade->awake, stay_awake);
	pool_publish_counters(cascade->pool);
}

void cascade_init(struct cascade *cascade, struct pool *pool)
{
	*cascade = (struct cascade){.pool = pool, .open = true};
	uv_prepare_init(pool->loop, &cascade->look); /* these two cannot fail */
	uv_idle_init(pool->loop, &cascade->awake);
	cascade->look.data = cascade;
	uv_prepare_start(&cascade->look, look);
	uv_unref((uv_handle_t *)&cascade->look);
}

void cascade_stop(struct cascade *cascade)
{
	if (!cascade->open)
		return;
	uv_close((uv_handle_t *)&cascade->look, NULL);
	uv_close((uv_handle_t *)&cascade->awake, NULL);
	cascade->open = false;
}
