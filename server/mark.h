/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks can be reached by links from those that something else holds: a mark that goes on in steps, while links come and go. Pure: it
 * reads the lists of links and knows nothing of what holds a block. Owned by the collector; loop thread only. The story is told in mark.c.
 */
#ifndef SERVER_MARK_H
#define SERVER_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "bitmap.h"
#include "index_list.h"
#include "state_layout.h"

/* What blocks hold by links, as `blocks` and `links` keep it. All borrowed. */
struct mark_graph {
	const uint32_t *links_from;        /* by block: head of the list of the links by which it holds others */
	const struct index_link *of_from;  /* by link: that list */
	const struct link_record *records; /* by link: `to` */
};

struct mark {
	struct mark_graph graph;
	uint64_t *marked;     /* bits, by block: reached */
	struct bitmap grey;   /* of these, those whose links have not been followed */
	uint32_t walk;        /* the next link, plus one, of the block whose links are being followed; 0: there is none */
	uint64_t count;       /* blocks marked */
	void *memory;         /* of the bits; NULL: none is under way */
	uint64_t memory_size; /* bytes reserved; what is touched of it is two bits a block */
};

/* Nothing is marked. For blocks with indexes below `capacity`, at least 1. -ENOMEM. */
int mark_begin(struct mark *mark, const struct mark_graph *graph, uint32_t capacity);

/* Gives the memory back. Nothing if none is under way. */
void mark_end(struct mark *mark);

static inline bool mark_is_marked(const struct mark *mark, uint32_t block)
{
	return mark->marked[block / 64] >> (block % 64) & 1;
}

/* The block is held, or has got a holder, or a link to it was made. True: it was not marked. */
bool mark_add(struct mark *mark, uint32_t block);

/* Before a link leaves its list. */
static inline void mark_link_goes(struct mark *mark, uint32_t link)
{
	index_list_step_over(mark->graph.of_from, &mark->walk, link);
}

/* Is all that is reachable marked? */
static inline bool mark_is_done(const struct mark *mark)
{
	return !mark->walk && bitmap_is_empty(&mark->grey);
}

/* Follows one link, or turns to another block; it is not done. The block that is marked by that, plus one; 0: none. */
uint32_t mark_step(struct mark *mark);

#endif
