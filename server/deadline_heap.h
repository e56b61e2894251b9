/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines in the order in which they come: a binary heap (J. Williams, "Algorithm 232: Heapsort", CACM 1964) that knows where each entry
 * stands, so that one can be changed or taken out. An entry belongs to a record of one of several tables, which has one deadline or none;
 * who it is, kind and index say. Adding, changing and removing cost O(log n), the first one O(1). Pure: no clock, no loop.
 */
#ifndef SERVER_DEADLINE_HEAP_H
#define SERVER_DEADLINE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* Whose deadlines there are. */
enum deadline_kind { DEADLINE_TICKET, DEADLINE_LEASE, DEADLINE_KINDS };

struct deadline {
	uint64_t due; /* in whatever unit the owner counts */
	uint32_t index;
	uint32_t kind; /* enum deadline_kind */
};

struct deadline_heap {
	struct deadline *entries; /* the children of i are 2i + 1 and 2i + 2, and none is due before it */
	uint32_t count;
	uint32_t *places[DEADLINE_KINDS];  /* by kind and index: place in `entries` plus one; 0: no deadline */
	uint32_t capacity[DEADLINE_KINDS]; /* indexes of each kind */
};

/* -ENOMEM: only deadline_heap_deinit may follow. Memory costs what is used of it. */
int deadline_heap_init(struct deadline_heap *heap, const uint32_t capacity[DEADLINE_KINDS]);
void deadline_heap_deinit(struct deadline_heap *heap);

/* The record's deadline from now on; it may have had another. */
void deadline_heap_set(struct deadline_heap *heap, enum deadline_kind kind, uint32_t index, uint64_t due);

/* Nothing if the record has none. */
void deadline_heap_remove(struct deadline_heap *heap, enum deadline_kind kind, uint32_t index);

/* The earliest one, valid until the heap is changed; NULL: there is none. */
const struct deadline *deadline_heap_first(const struct deadline_heap *heap);

/* Is each entry where it is said to be, and none due before its parent? For tests and assertions. */
bool deadline_heap_is_valid(const struct deadline_heap *heap);

#endif
