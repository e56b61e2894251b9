/* SPDX-License-Identifier: Apache-2.0 */
/* The heap of deadlines: see deadline_heap.h. */
#include "deadline_heap.h"

#include <assert.h>
#include <stddef.h>

#include "region.h"

static size_t capacity_of(const struct deadline_heap *heap)
{
	size_t capacity = 0;

	for (unsigned kind = 0; kind < DEADLINE_KINDS; kind++)
		capacity += heap->capacity[kind];
	return capacity;
}

int deadline_heap_init(struct deadline_heap *heap, const uint32_t capacity[DEADLINE_KINDS])
{
	int result = 0;

	*heap = (struct deadline_heap){0};
	for (unsigned kind = 0; kind < DEADLINE_KINDS && result == 0; kind++) {
		heap->capacity[kind] = capacity[kind];
		result = region_new(capacity[kind] * sizeof *heap->places[kind], (void **)&heap->places[kind]);
	}
	if (result == 0)
		result = region_new(capacity_of(heap) * sizeof *heap->entries, (void **)&heap->entries);
	return result;
}

void deadline_heap_deinit(struct deadline_heap *heap)
{
	region_free(heap->entries, capacity_of(heap) * sizeof *heap->entries);
	for (unsigned kind = 0; kind < DEADLINE_KINDS; kind++)
		region_free(heap->places[kind], heap->capacity[kind] * sizeof *heap->places[kind]);
	*heap = (struct deadline_heap){0};
}

static void put(struct deadline_heap *heap, uint32_t at, struct deadline entry)
{
	heap->entries[at] = entry;
	heap->places[entry.kind][entry.index] = at + 1;
}

/* The place `at` is empty: the entry goes there, or as far up from there as it is due before its parents. */
static void rise(struct deadline_heap *heap, uint32_t at, struct deadline entry)
{
	while (at > 0 && entry.due < heap->entries[(at - 1) / 2].due) {
		put(heap, at, heap->entries[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(heap, at, entry);
}

/* The same downwards. */
static void sink(struct deadline_heap *heap, uint32_t at, struct deadline entry)
{
	for (uint32_t child; (child = 2 * at + 1) < heap->count; at = child) {
		if (child + 1 < heap->count && heap->entries[child + 1].due < heap->entries[child].due)
			child++;
		if (heap->entries[child].due >= entry.due)
			break;
		put(heap, at, heap->entries[child]);
	}
	put(heap, at, entry);
}

/* One of both does nothing but put it. */
static void settle(struct deadline_heap *heap, uint32_t at, struct deadline entry)
{
	if (at > 0 && entry.due < heap->entries[(at - 1) / 2].due)
		rise(heap, at, entry);
	else
		sink(heap, at, entry);
}

void deadline_heap_set(struct deadline_heap *heap, enum deadline_kind kind, uint32_t index, uint64_t due)
{
	assert(index < heap->capacity[kind]);
	uint32_t place = heap->places[kind][index];

	settle(heap, place ? place - 1 : heap->count++, (struct deadline){due, index, kind});
}

void deadline_heap_remove(struct deadline_heap *heap, enum deadline_kind kind, uint32_t index)
{
	assert(index < heap->capacity[kind]);
	uint32_t place = heap->places[kind][index];

	if (!place)
		return;
	heap->places[kind][index] = 0;
	heap->count--;
	if (place - 1 < heap->count)
		settle(heap, place - 1, heap->entries[heap->count]);
}

const struct deadline *deadline_heap_first(const struct deadline_heap *heap)
{
	return heap->count ? &heap->entries[0] : NULL;
}

bool deadline_heap_is_valid(const struct deadline_heap *heap)
{
	for (uint32_t i = 0; i < heap->count; i++) {
		const struct deadline *entry = &heap->entries[i];
		if (entry->kind >= DEADLINE_KINDS || entry->index >= heap->capacity[entry->kind] ||
		    heap->places[entry->kind][entry->index] != i + 1)
			return false;
		if (i > 0 && entry->due < heap->entries[(i - 1) / 2].due)
			return false;
	}
	return true;
}
