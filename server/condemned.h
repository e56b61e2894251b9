/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocks that nothing but links hold, and those from one another: DYING and marked as condemned (view_layout.h), until a look at the hold pages
 * has said whether one of them is held after all. Then they are rescued, one by one, or end, all together. Owned by the collector, which
 * tells the story; loop thread only.
 */
#ifndef SERVER_CONDEMNED_H
#define SERVER_CONDEMNED_H

#include <stdbool.h>
#include <stdint.h>

struct pool;

struct condemned {
	uint32_t whole; /* head of the list of those that may have links to others; in `blocks.owned` */
	uint32_t bare;  /* of those that have none any more, and end when nothing has one to them */
	uint64_t freed; /* ended since the last condemned_begin */
	uint64_t freed_bytes;
};

/* Counts from 0 again. There are none. */
void condemned_begin(struct condemned *condemned);

static inline bool condemned_is_empty(const struct condemned *condemned)
{
	return !condemned->whole && !condemned->bare;
}

/* A live block that has no owner becomes one of them, in one store. */
void condemned_add(struct pool *pool, uint32_t block);

/* For recovery: a former daemon had it among them. */
void condemned_adopt(struct pool *pool, uint32_t block);

/* It lives on, in one store; or is DYING as any other, if nothing is known to hold it. */
void condemned_rescue(struct pool *pool, uint32_t block);

/* They end: one link less, or a block. The set is not empty. */
void condemned_step(struct pool *pool);

/* While they end, the last known holder of one has gone. */
void condemned_unheld(struct pool *pool, uint32_t block);

#endif
