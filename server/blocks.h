/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of blocks: records in the view that every client reads, and beside each, privately, the lists that it is in and
 * that hang on it. Owned by the pool; loop thread only. What holds a block: its owner field, references, names, tickets, a lease, links, and that it
 * is a cache block.
 */
#ifndef SERVER_BLOCKS_H
#define SERVER_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "index_list.h"
#include "table.h"
#include "view_layout.h"

struct blocks {
	struct table table;
	struct block_record *records;
	struct index_link
		*owned;           /* list of the blocks of one owner, whose head is in the session; or, without one, of `dying` */
	uint32_t *references; /* head of the list of references to the block */
	uint32_t *names;      /* head of the list of names of the block */
	uint32_t *links_from; /* head of the list of links by which it holds others */
	uint32_t *links_to;   /* head of the list of links by which others hold it */
	uint32_t *tickets;    /* head of the list of tickets of the block */
	uint32_t *leases;     /* its lease, plus one; 0: it has none */
};

/* What a new block says. */
struct block_content {
	uint64_t id, offset, size, granted, created_ns;
	uint32_t owner; /* number of the session */
	uint32_t uid;
	uint32_t metadata; /* as in the body */
	const char *tag;   /* tag_length bytes, at most 15 */
	size_t tag_length;
	bool shared; /* hold pages may have it from the start */
};

int blocks_init(struct blocks *blocks, const struct shared_object *view, uint64_t at, uint32_t capacity);
void blocks_deinit(struct blocks *blocks);

/* Writes a record, still invisible (PENDING), at an index from table_take. */
void blocks_write(struct blocks *blocks, uint32_t index, const struct block_content *content);

/* Moves a record to another state; its body stays. To FREE, its index is given back as well. */
void blocks_set_state(struct blocks *blocks, uint32_t index, enum record_state state);

/* To FREE, and the index stays taken until it is given back (table_give). */
void blocks_free_and_keep(struct blocks *blocks, uint32_t index);

/* Fills the body that does not count. Nobody sees it. */
void blocks_fill_body(struct blocks *blocks, uint32_t index, const struct block_body *body);

/* From now on that one counts, and the record is in this state: one store. */
void blocks_flip(struct blocks *blocks, uint32_t index, enum record_state state);

/* Takes the owner away, in one store that also moves the record to another state: LIVE or DYING. */
void blocks_drop_owner(struct blocks *blocks, uint32_t index, enum record_state state);

/* A live block without an owner is DYING, and condemned (condemned.h). */
void blocks_condemn(struct blocks *blocks, uint32_t index);

/* From now on hold pages may have it. One store, or none where they may already. */
void blocks_share(struct blocks *blocks, uint32_t index);

/* It is no cache block any more: one store. */
void blocks_drop_cached(struct blocks *blocks, uint32_t index);

static inline uint64_t blocks_word(const struct blocks *blocks, uint32_t index)
{
	return atomic_load_explicit(&blocks->records[index].word, memory_order_relaxed);
}

/* The body that counts. */
static inline const struct block_body *blocks_body(const struct blocks *blocks, uint32_t index)
{
	return &blocks->records[index].body[record_body(blocks_word(blocks, index))];
}

static inline bool blocks_is_cached(const struct blocks *blocks, uint32_t index)
{
	return blocks_body(blocks, index)->flags & BLOCK_CACHED;
}

/* Is the block with this id at this index, and in use? A dying one is. */
static inline bool blocks_is_there(const struct blocks *blocks, uint32_t index, uint64_t id)
{
	if (index >= blocks->table.used)
		return false;
	uint64_t word = blocks_word(blocks, index);
	return record_id(word) == id && record_is_live(word);
}

/* Is it there, and not dying? */
static inline bool blocks_is_live(const struct blocks *blocks, uint32_t index, uint64_t id)
{
	return blocks_is_there(blocks, index, id) && record_state(blocks_word(blocks, index)) != RECORD_DYING;
}

/* Is it one of those that only links from one another hold, as far as is known? */
static inline bool blocks_is_condemned(const struct blocks *blocks, uint32_t index)
{
	return blocks_word(blocks, index) & RECORD_CONDEMNED;
}

/* Is the block known to be held by something else than links? */
static inline bool blocks_is_rooted(const struct blocks *blocks, uint32_t index)
{
	return blocks_body(blocks, index)->owner || blocks->references[index] || blocks->names[index] ||
	       blocks->tickets[index] || blocks->leases[index] || blocks_is_cached(blocks, index);
}

/* Does nothing but its owner, if it has one, hold the block? */
static inline bool blocks_is_owned_alone(const struct blocks *blocks, uint32_t index)
{
	return !blocks_is_cached(blocks, index) && blocks->references[index] == 0 && blocks->names[index] == 0 &&
	       blocks->tickets[index] == 0 && blocks->leases[index] == 0 && blocks->links_to[index] == 0;
}

/* Does nothing hold the block any more? */
static inline bool blocks_is_unheld(const struct blocks *blocks, uint32_t index)
{
	return blocks_body(blocks, index)->owner == 0 && blocks_is_owned_alone(blocks, index);
}

#endif
