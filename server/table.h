/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of records in one of a pool's shared objects: which indexes are in use, and that their pages are committed before
 * the first store to them. Private to the daemon and derived; what a record says is its owner's business. Loop thread only.
 */
#ifndef SERVER_TABLE_H
#define SERVER_TABLE_H

#include <stdint.h>

struct shared_object;

struct table {
	const struct shared_object *object; /* borrowed, mapped */
	uint64_t at;                        /* where the records start, bytes */
	uint32_t stride;                    /* bytes of a record */
	uint32_t capacity;
	uint32_t used; /* indexes from here on have never been taken */
	uint32_t
		free_count; /* of the indexes that were given back; the last one given is taken first, its cache lines are warm */
	uint32_t *free; /* `capacity` of them, sparse */
	uint64_t committed; /* bytes of records that are committed */
	uint64_t step;      /* bytes committed at a time */
};

/* `step` is a multiple of the page size. */
int table_init(struct table *table, const struct shared_object *object, uint64_t at, uint32_t stride, uint32_t capacity,
               uint64_t step);
void table_deinit(struct table *table);

/* -EDQUOT: the table is full. -ENOSPC, -ENOMEM: the kernel gives no page for it. */
int table_take(struct table *table, uint32_t *out_index);

/* Like taking `count` indexes, without taking them: afterwards that many takes in a row succeed. */
int table_prepare(struct table *table, uint32_t count);

/*
 * After `used` was set from what a former daemon left: all indexes below it are in use, their pages are committed. Whoever reads the records gives
 * back, from the highest down, those that are free. The last record is left out where it reaches into a page that is not there, and that the
 * kernel has no memory for: then it was never used.
 */
void table_adopt(struct table *table);

void table_give(struct table *table, uint32_t index);

#endif
