/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of names, its public index in the view, and an index of the daemon's own. Owned by the pool; loop thread only. A name holds its
 * block; the pool keeps the block's list of names.
 *
 * Whoever may publish can choose names for one place of the public index, whose hash everybody knows. So it is for readers, who bound their
 * walk and ask the daemon; and the daemon looks names up in one of its own, under a secret key.
 */
#ifndef SERVER_NAMES_H
#define SERVER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index_list.h"
#include "keyed_hash.h"
#include "table.h"
#include "view_layout.h"

struct names {
	struct table table;
	struct name_record *records;
	_Atomic uint32_t *buckets;
	uint32_t bucket_count;       /* of the public index, and of the daemon's own */
	uint32_t *previous;          /* link: the record before in its chain of the public index; 0: it is the first */
	struct keyed_hash hash;      /* of the daemon's own index: */
	uint32_t *first;             /* by bucket: link to the first record of its chain */
	uint32_t *next;              /* by record: link to the next one */
	struct index_link *of_block; /* list of the names of one block; its head is in `blocks` */
};

/* What of a block a name stands for. */
struct name_range {
	uint64_t offset, length; /* bytes; a length of 0: to the end of the block */
};

/* What a new name, or a new publication of one, says. */
struct name_content {
	uint64_t id, block_id, created_ns;
	uint64_t session; /* SESSION_KEY of the publisher */
	struct name_range range;
	uint32_t block, uid;
	const char *name; /* name_length bytes that name_check has passed; not needed where a name is replaced */
	size_t name_length;
};

/* Commits the whole public index, 4 bytes a bucket. -errno. */
int names_init(struct names *names, const struct shared_object *view, const struct view_header *header);
void names_deinit(struct names *names);

/* -ENOENT, or the index of the live name. */
int names_find(const struct names *names, const char *name, size_t length, uint32_t *out_index);

/* Writes a record, still invisible (PENDING), at an index from table_take, and links it into both indexes. */
void names_write(struct names *names, uint32_t index, const struct name_content *content);

/* A record that was found at the start is in the daemon's own index from now on; and at the start of its chain of the public one. */
void names_know(struct names *names, uint32_t index);
void names_link(struct names *names, uint32_t index);

/* Makes a pending name visible. */
void names_set_live(struct names *names, uint32_t index);

/* Writes what a live name is to stand for next, as which nobody sees it yet: into the body that does not count. */
void names_write_next(struct names *names, uint32_t index, const struct name_content *content);

/* It stands for that from now on: one store. */
void names_replace(struct names *names, uint32_t index);

/* Makes a name invisible, takes it out of both, and gives its index back. */
void names_drop(struct names *names, uint32_t index);

static inline uint64_t names_word(const struct names *names, uint32_t index)
{
	return atomic_load_explicit(&names->records[index].word, memory_order_relaxed);
}

/* The body that counts. */
static inline const struct name_body *names_body(const struct names *names, uint32_t index)
{
	return &names->records[index].body[record_body(names_word(names, index))];
}

static inline struct name_range names_range(const struct names *names, uint32_t index)
{
	const struct name_body *body = names_body(names, index);
	return (struct name_range){body->offset, body->length};
}

#endif
