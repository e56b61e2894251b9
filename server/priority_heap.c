/* SPDX-License-Identifier: Apache-2.0 */
/* The heap: see priority_heap.h. */
#include "priority_heap.h"

#include <assert.h>
#include <stddef.h>

#include "region.h"

int priority_heap_init(struct priority_heap *heap, uint32_t *places, uint32_t capacity)
{
	*heap = (struct priority_heap){.capacity = capacity};
	heap->places = places;
	return region_new(capacity * sizeof *heap->entries, (void **)&heap->entries);
}

void priority_heap_deinit(struct priority_heap *heap)
{
	while (heap->count)
		heap->places[heap->entries[--heap->count].item] = 0;
	region_free(heap->entries, heap->capacity * sizeof *heap->entries);
	*heap = (struct priority_heap){0};
}

static void put(struct priority_heap *heap, uint32_t at, struct heap_entry entry)
{
	heap->entries[at] = entry;
	heap->places[entry.item] = at + 1;
}

/* The place `at` is empty: the entry goes there, or as far up from there as its key is smaller than its parents'. */
static void rise(struct priority_heap *heap, uint32_t at, struct heap_entry entry)
{
	while (at > 0 && entry.key < heap->entries[(at - 1) / 2].key) {
		put(heap, at, heap->entries[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(heap, at, entry);
}

/* The same downwards. */
static void sink(struct priority_heap *heap, uint32_t at, struct heap_entry entry)
{
	for (uint32_t child; (child = 2 * at + 1) < heap->count; at = child) {
		if (child + 1 < heap->count && heap->entries[child + 1].key < heap->entries[child].key)
			child++;
		if (heap->entries[child].key >= entry.key)
			break;
		put(heap, at, heap->entries[child]);
	}
	put(heap, at, entry);
}

/* One of both does nothing but put it. */
static void settle(struct priority_heap *heap, uint32_t at, struct heap_entry entry)
{
	if (at > 0 && entry.key < heap->entries[(at - 1) / 2].key)
		rise(heap, at, entry);
	else
		sink(heap, at, entry);
}

void priority_heap_set(struct priority_heap *heap, uint32_t item, uint64_t key)
{
	assert(item < heap->capacity);
	uint32_t place = heap->places[item];

	settle(heap, place ? place - 1 : heap->count++, (struct heap_entry){key, item});
}

void priority_heap_remove(struct priority_heap *heap, uint32_t item)
{
	assert(item < heap->capacity);
	uint32_t place = heap->places[item];

	if (!place)
		return;
	assert(place <= heap->count && heap->entries[place - 1].item == item);
	heap->places[item] = 0;
	heap->count--;
	if (place - 1 < heap->count)
		settle(heap, place - 1, heap->entries[heap->count]);
}

uint64_t priority_heap_key(const struct priority_heap *heap, uint32_t item)
{
	return heap->entries[heap->places[item] - 1].key;
}

const struct heap_entry *priority_heap_first(const struct priority_heap *heap)
{
	return heap->count ? &heap->entries[0] : NULL;
}

bool priority_heap_is_valid(const struct priority_heap *heap)
{
	for (uint32_t i = 0; i < heap->count; i++) {
		const struct heap_entry *entry = &heap->entries[i];
		if (entry->item >= heap->capacity || heap->places[entry->item] != i + 1)
			return false;
		if (i > 0 && entry->key < heap->entries[(i - 1) / 2].key)
			return false;
	}
	return true;
}
