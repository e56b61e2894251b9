/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the one record of a table that stands for a pair of numbers: the reference of a session to a block, say. Private and derived;
 * grows by one bucket with each record (linear hashing: W. Litwin, "Linear hashing: a new tool for file and table addressing", VLDB
 * 1980), so that no addition ever has to rehash all. Keyed at random: nobody can choose pairs that collide. Loop thread only.
 */
#ifndef SERVER_PAIR_INDEX_H
#define SERVER_PAIR_INDEX_H

#include <stdint.h>

struct pair_index {
	uint64_t seed;
	uint64_t *pairs;   /* by record */
	uint32_t *next;    /* by record: link (index plus one) to the next in its bucket */
	uint32_t *buckets; /* link to the first */
	uint32_t capacity; /* records */
	uint32_t mask;     /* of the buckets before this round of splitting: a power of two, less one */
	uint32_t split;    /* the next to be split: those below have been, in this round */
};

/* For records with indexes below `capacity`, at least 1. -errno: only pair_index_deinit may follow. */
int pair_index_init(struct pair_index *index, uint32_t capacity);
void pair_index_deinit(struct pair_index *index);

/* The pair is not there yet; the record stands for no other. */
void pair_index_add(struct pair_index *index, uint32_t record, uint32_t left, uint32_t right);
void pair_index_remove(struct pair_index *index, uint32_t record);

/* The record, plus one; 0: there is none. */
uint32_t pair_index_find(const struct pair_index *index, uint32_t left, uint32_t right);

#endif
