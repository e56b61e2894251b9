/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of references: one record for each session and block that it holds beyond having allocated it, with a count.
 * Owned by the pool, which keeps the lists by block and by session; loop thread only.
 */
#ifndef SERVER_REFERENCES_H
#define SERVER_REFERENCES_H

#include <stdint.h>

#include "index_list.h"
#include "pair_index.h"
#include "state_layout.h"
#include "table.h"

struct references {
	struct table table;
	struct reference_record *records;
	struct index_link *of_block;   /* list of the references to one block; its head is in `blocks` */
	struct index_link *of_session; /* list of the references of one session; its head is in the session */
	struct pair_index by_holder;   /* the live ones by session and block: thousands may hold one block */
};

int references_init(struct references *references, const struct shared_object *state, uint64_t at, uint32_t capacity);
void references_deinit(struct references *references);

/* Writes a reference with count 1, PENDING, at an index from table_take. */
void references_write(struct references *references, uint32_t index, uint32_t session, uint32_t block, uint64_t block_id);

/* The same LIVE at once, for a session that is nobody's yet. */
void references_write_live(struct references *references, uint32_t index, uint32_t session, uint32_t block,
                           uint64_t block_id);

/* Over what never changes in a reference's life. */
uint32_t reference_checksum(const struct reference_record *record);

/* Changes what the word says. To state FREE, its index is given back as well. */
void references_set(struct references *references, uint32_t index, uint32_t count, uint32_t next, enum record_state state);

static inline uint64_t references_word(const struct references *references, uint32_t index)
{
	return atomic_load_explicit(&references->records[index].word, memory_order_relaxed);
}

#endif
