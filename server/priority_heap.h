/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items by their keys, the smallest first: a binary heap (J. Williams, "Algorithm 232: Heapsort", CACM 1964) that knows where each item
 * stands, so that its key can be changed, or it can be taken out. An item is a small number, such as the index of a record. Adding,
 * changing and removing cost O(log n), the first one O(1). Pure: no clock, no loop. Belongs to one thread.
 */
#ifndef SERVER_PRIORITY_HEAP_H
#define SERVER_PRIORITY_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct heap_entry {
	uint64_t key;
	uint32_t item;
};

struct priority_heap {
	struct heap_entry *entries; /* the children of i are 2i + 1 and 2i + 2, and none has a smaller key than it */
	uint32_t *places;           /* by item: its place in `entries` plus one; 0: it is in none of the heaps that share this */
	uint32_t count, capacity;   /* items are below `capacity` */
};

/*
 * `places` has `capacity` zeros, and outlives the heap. Heaps may share it, as long as no item is to be in two of them. -ENOMEM: nothing to
 * give back. Memory costs what is used of it.
 */
int priority_heap_init(struct priority_heap *heap, uint32_t *places, uint32_t capacity);

/* Nothing if it was never initialised. */
void priority_heap_deinit(struct priority_heap *heap);

/* The item's key from now on; it may have had another in this heap. */
void priority_heap_set(struct priority_heap *heap, uint32_t item, uint64_t key);

/* Nothing if the item has none. */
void priority_heap_remove(struct priority_heap *heap, uint32_t item);

/* The item's key; it is in this heap. */
uint64_t priority_heap_key(const struct priority_heap *heap, uint32_t item);

/* The one with the smallest key, valid until the heap is changed; NULL: there is none. */
const struct heap_entry *priority_heap_first(const struct priority_heap *heap);

/* Is each entry where it is said to be, and none smaller than its parent? For tests and assertions. */
bool priority_heap_is_valid(const struct priority_heap *heap);

#endif
