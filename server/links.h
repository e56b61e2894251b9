/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of links: a block holds another, so that structures live and die together. One record for each pair, or none. Owned by the pool,
 * which keeps the lists of links from a block and to it; loop thread only.
 */
#ifndef SERVER_LINKS_H
#define SERVER_LINKS_H

#include <stdint.h>

#include "index_list.h"
#include "pair_index.h"
#include "state_layout.h"
#include "table.h"

struct links {
	struct table table;
	struct link_record *records;
	struct index_link *of_from; /* list of the links from one block; its head is in `blocks` */
	struct index_link *of_to;   /* list of the links to one block; its head is in `blocks` */
	struct pair_index by_ends;  /* the live ones by both blocks */
	uint32_t loose; /* head of the list of blocks that are free and still have links, in the links of `blocks.owned` */
};

int links_init(struct links *links, const struct shared_object *state, uint64_t at, uint32_t capacity);
void links_deinit(struct links *links);

/* Writes a link, PENDING, at an index from table_take. */
void links_write(struct links *links, uint32_t index, const struct link_record *content);

/* Moves it to another state. To FREE, its index is given back as well. */
void links_set_state(struct links *links, uint32_t index, enum record_state state);

/* Over what never changes in a link's life. */
uint32_t link_checksum(const struct link_record *record);

static inline enum record_state links_state(const struct links *links, uint32_t index)
{
	return (enum record_state)atomic_load_explicit(&links->records[index].word, memory_order_relaxed);
}

#endif
