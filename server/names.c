/* SPDX-License-Identifier: Apache-2.0 */
/* The table of names: see names.h, and view_layout.h for what readers rely on. */
#include "names.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "commit.h"
#include "hash.h"
#include "region.h"
#include "shared_object.h"
#include "view.h"

/* Bytes of records committed at a time: 160 names. */
#define NAMES_STEP 65536

int names_init(struct names *names, const struct shared_object *view, const struct view_header *header)
{
	uint8_t *base = view->base;

	*names = (struct names){
		.records = (struct name_record *)(base + header->names_at),
		.buckets = (_Atomic uint32_t *)(base + VIEW_INDEX_AT),
		.bucket_count = header->name_buckets,
	};
	int result =
		table_init(&names->table, view, header->names_at, sizeof(struct name_record), header->max_names, NAMES_STEP);
	if (result == 0)
		result = region_new(header->max_names * sizeof *names->of_block, (void **)&names->of_block);
	if (result == 0)
		result = region_new(header->max_names * sizeof *names->previous, (void **)&names->previous);
	if (result == 0)
		result = region_new(header->max_names * sizeof *names->next, (void **)&names->next);
	if (result == 0)
		result = region_new(header->name_buckets * sizeof *names->first, (void **)&names->first);
	if (result == 0)
		result = keyed_hash_init(&names->hash);
	/* All of the index, once: readers look into any bucket, and a read of a hole would make the kernel back it, or kill them. */
	if (result == 0)
		result = shared_object_commit(view, VIEW_INDEX_AT, header->names_at - VIEW_INDEX_AT);
	if (result < 0)
		names_deinit(names);
	return result;
}

void names_deinit(struct names *names)
{
	region_free(names->of_block, names->table.capacity * sizeof *names->of_block);
	region_free(names->previous, names->table.capacity * sizeof *names->previous);
	region_free(names->next, names->table.capacity * sizeof *names->next);
	region_free(names->first, names->bucket_count * sizeof *names->first);
	table_deinit(&names->table);
	*names = (struct names){0};
}

static uint32_t bucket_of(const struct names *names, uint64_t hash)
{
	return (uint32_t)hash & (names->bucket_count - 1);
}

/* The start of its chain in the daemon's own index. */
static uint32_t *chain_of(const struct names *names, const char *name, size_t length)
{
	return &names->first[keyed_hash_of(&names->hash, name, length) & (names->bucket_count - 1)];
}

int names_find(const struct names *names, const char *name, size_t length, uint32_t *out_index)
{
	for (uint32_t link = *chain_of(names, name, length); link; link = names->next[link - 1]) {
		const struct name_record *record = &names->records[link - 1];
		if (record->name_length == length && memcmp(record->name, name, length) == 0 &&
		    record_is_live(names_word(names, link - 1))) {
			*out_index = link - 1;
			return 0;
		}
	}
	return -ENOENT;
}

void names_know(struct names *names, uint32_t index)
{
	const struct name_record *record = &names->records[index];
	uint32_t *first = chain_of(names, record->name, record->name_length);

	names->next[index] = *first;
	*first = index + 1;
}

static void forget(struct names *names, uint32_t index)
{
	const struct name_record *record = &names->records[index];
	uint32_t *place = chain_of(names, record->name, record->name_length);

	while (*place != index + 1)
		place = &names->next[*place - 1];
	*place = names->next[index];
}

void names_link(struct names *names, uint32_t index)
{
	struct name_record *record = &names->records[index];
	_Atomic uint32_t *bucket = &names->buckets[bucket_of(names, record->hash)];
	uint32_t next = atomic_load_explicit(bucket, memory_order_relaxed);
	names->previous[index] = 0;
	if (next)
		names->previous[next - 1] = index + 1;
	atomic_store_explicit(&record->next, next, memory_order_relaxed);
	atomic_store_explicit(bucket, index + 1, memory_order_release);
}

static void write_body(struct name_record *record, unsigned which, const struct name_content *content)
{
	struct name_body *body = &record->body[which];

	*body = (struct name_body){
		.id = content->id,
		.block_id = content->block_id,
		.offset = content->range.offset,
		.length = content->range.length,
		.created_ns = content->created_ns,
		.session = content->session,
		.block = content->block,
		.uid = content->uid,
	};
	body->checksum = name_body_checksum(body, record->first_id);
}

void names_write(struct names *names, uint32_t index, const struct name_content *content)
{
	struct name_record *record = &names->records[index];

	assert(content->name_length < sizeof record->name);
	record->name_length = (uint32_t)content->name_length;
	record->hash = hash_of(content->name, content->name_length);
	record->first_id = content->id;
	memset(record->name, 0, sizeof record->name);
	memcpy(record->name, content->name, content->name_length);
	record->checksum = name_record_checksum(record);
	write_body(record, 0, content);
	commit(&record->word, record_word(content->id, 0, RECORD_PENDING));
	names_know(names, index);
	names_link(names, index);
}

void names_set_live(struct names *names, uint32_t index)
{
	commit(&names->records[index].word, record_with_state(names_word(names, index), RECORD_LIVE));
}

void names_write_next(struct names *names, uint32_t index, const struct name_content *content)
{
	write_body(&names->records[index], !record_body(names_word(names, index)), content);
}

void names_replace(struct names *names, uint32_t index)
{
	struct name_record *record = &names->records[index];
	unsigned next = !record_body(names_word(names, index));

	commit(&record->word, record_word(record->body[next].id, next, RECORD_LIVE));
}

/* Out of the public one. However long its chain is: somebody may have chosen names for it to be long. */
static void unlink_from_index(struct names *names, uint32_t index)
{
	uint32_t previous = names->previous[index];
	uint32_t next = atomic_load_explicit(&names->records[index].next, memory_order_relaxed);
	_Atomic uint32_t *place =
		previous ? &names->records[previous - 1].next : &names->buckets[bucket_of(names, names->records[index].hash)];

	assert(atomic_load_explicit(place, memory_order_relaxed) == index + 1);
	atomic_store_explicit(place, next, memory_order_release);
	if (next)
		names->previous[next - 1] = previous;
}

void names_drop(struct names *names, uint32_t index)
{
	commit(&names->records[index].word, record_with_state(names_word(names, index), RECORD_FREE));
	forget(names, index);
	unlink_from_index(names, index);
	table_give(&names->table, index);
}
