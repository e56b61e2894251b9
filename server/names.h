/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of names and its public index in the view. Owned by the pool; loop thread only. A name holds its block; the
 * pool keeps the block's list of names.
 */
#ifndef SERVER_NAMES_H
#define SERVER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index_list.h"
#include "table.h"
#include "view_layout.h"

struct names {
	struct table table;
	struct name_record *records;
	_Atomic uint32_t *buckets;
	uint32_t bucket_count;
	uint32_t *previous;          /* link: the record before in its chain of the name index; 0: it is the first */
	struct index_link *of_block; /* list of the names of one block; its head is in `blocks` */
};

/* What a new name says. */
struct name_content {
	uint64_t id, block_id, offset, length, created_ns;
	uint32_t block, uid;
	const char *name; /* name_length bytes that name_check has passed */
	size_t name_length;
};

/* Commits the whole name index, 4 bytes a bucket. */
int names_init(struct names *names, const struct shared_object *view, const struct view_header *header);
void names_deinit(struct names *names);

/* -ENOENT, or the index of the live name. */
int names_find(const struct names *names, const char *name, size_t length, uint32_t *out_index);

/* Writes a record, still invisible (PENDING), at an index from table_take, and links it into the name index. */
void names_write(struct names *names, uint32_t index, const struct name_content *content);

/* Puts a record at the start of its chain. */
void names_link(struct names *names, uint32_t index);

/* Makes a pending name visible. */
void names_set_live(struct names *names, uint32_t index);

/* Makes a name invisible, takes it out of the index, and gives its index back. */
void names_drop(struct names *names, uint32_t index);

#endif
