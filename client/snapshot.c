/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All blocks, or all names, as they were at one moment, beside a daemon that goes on. One walk would not do: a block that was
 * seen may be freed, and its range given to another one that the walk meets later. So the records are collected twice:
 *
 *   1. Every record that lives is copied, with its id.
 *   2. Each of those is read again. Those that live, with the same id, are kept.
 *
 * An id is never handed out twice and a dead record does not come back, so whatever is kept lived from its first look to its
 * second: at the moment between the passes, all of it did. Whatever lived during the whole call is found by both.
 *
 * That no two of them overlap needs no more than acquire loads, on any machine. Say that A was freed to make room for B: the
 * daemon stores A's death before B's life (commit.h of the daemon; both are releases). Whoever kept both has loaded B alive in the
 * first pass, an acquire, and A alive in the second, which comes after: but then A's death was before it, and it would have
 * seen that. The same holds for a name that was taken away and given anew. One that is replaced stays the same name, by its first id.
 *
 * Two passes, never more: a busy daemon makes the list shorter, not the call longer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "inspect.h"
#include "name_filter.h"

/* Room for this many at first. */
#define FIRST_ROOM 64

/* What is collected. */
struct kind {
	const char *plural;
	size_t size; /* bytes of an item */
	uint32_t (*records)(const struct view *view);
	int (*read)(const struct shmb_session *session, uint32_t index, void *out_item, uint64_t *out_id); /* as inspect_name */
};

/* Where an item was seen, and as whom. */
struct sighting {
	uint64_t id;
	uint32_t index;
};

struct collection {
	const struct kind *kind;
	const shmb_name_filter *filter; /* of names; NULL: all */
	uint8_t *items;                 /* `count` of the kind's size; malloc */
	struct sighting *sightings;
	size_t count, room;
};

static int grow(struct collection *collection)
{
	size_t room = collection->room ? 2 * collection->room : FIRST_ROOM;
	void *items = reallocarray(collection->items, room, collection->kind->size);
	void *sightings;

	if (!items)
		return -ENOMEM;
	collection->items = items;
	sightings = reallocarray(collection->sightings, room, sizeof *collection->sightings);
	if (!sightings)
		return -ENOMEM;
	collection->sightings = sightings;
	collection->room = room;
	return 0;
}

static void *item_at(const struct collection *collection, size_t at)
{
	return collection->items + at * collection->kind->size;
}

static int collect(const struct shmb_session *session, struct collection *collection)
{
	const struct kind *kind = collection->kind;
	uint32_t end = kind->records(&session->mapping->view);

	for (uint32_t index = 0; index < end; index++) {
		uint64_t id;
		int r;

		if (collection->count == collection->room && grow(collection) < 0)
			return last_error_system(ENOMEM, "cannot list the %s", kind->plural);
		r = kind->read(session, index, item_at(collection, collection->count), &id);
		if (r > 0 && collection->filter)
			r = name_filter_takes(collection->filter,
			                      ((const shmb_name_info *)item_at(collection, collection->count))->name);
		if (r < 0)
			return r;
		if (r > 0)
			collection->sightings[collection->count++] = (struct sighting){.id = id, .index = index};
	}
	return 0;
}

/* The second pass. What is kept is as it is now: what may change about an item while it lives may have (a block's owner, what a name stands for). */
static int keep(const struct shmb_session *session, struct collection *collection)
{
	size_t kept = 0;

	for (size_t i = 0; i < collection->count; i++) {
		const struct sighting *sighting = &collection->sightings[i];
		uint64_t id;
		int r = collection->kind->read(session, sighting->index, item_at(collection, kept), &id);

		if (r < 0)
			return r;
		if (r > 0 && id == sighting->id)
			kept++;
	}
	collection->count = kept;
	return 0;
}

static int list(shmb_session *session, const struct kind *kind, const shmb_name_filter *filter, void **out_items,
                size_t *out_count)
{
	struct collection collection = {.kind = kind, .filter = filter};
	int r = session_enter_view(session);

	if (r < 0)
		return r;
	r = collect(session, &collection);
	if (r == 0)
		r = keep(session, &collection);
	free(collection.sightings);
	if (r < 0) {
		free(collection.items);
		return r;
	}
	*out_items = collection.items;
	*out_count = collection.count;
	return 0;
}

static int read_block(const struct shmb_session *session, uint32_t index, void *out_item, uint64_t *out_id)
{
	shmb_block_info *block = out_item;
	int r = inspect_block(session, index, block);

	if (r > 0)
		*out_id = block->handle.id;
	return r;
}

static int read_name(const struct shmb_session *session, uint32_t index, void *out_item, uint64_t *out_id)
{
	return inspect_name(session, index, out_item, out_id);
}

int shmb_list_blocks(shmb_session *session, shmb_block_info **out_blocks, size_t *out_count)
{
	static const struct kind blocks = {"blocks", sizeof(shmb_block_info), inspect_block_records, read_block};
	void *items;
	int r;

	if (!out_blocks || !out_count)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_blocks ? "out_count" : "out_blocks");
	r = list(session, &blocks, NULL, &items, out_count);
	if (r == 0)
		*out_blocks = items;
	return r;
}

int shmb_list_names(shmb_session *session, shmb_name_info **out_names, size_t *out_count)
{
	return shmb_match_names(session, NULL, out_names, out_count);
}

int shmb_match_names(shmb_session *session, const shmb_name_filter *filter, shmb_name_info **out_names, size_t *out_count)
{
	static const struct kind names = {"names", sizeof(shmb_name_info), inspect_name_records, read_name};
	void *items;
	int r;

	if (!out_names || !out_count)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_names ? "out_count" : "out_names");
	r = list(session, &names, filter, &items, out_count);
	if (r == 0)
		*out_names = items;
	return r;
}
