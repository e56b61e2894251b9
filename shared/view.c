/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a view: see view.h for the promises, view_layout.h for the layout and its rules. */
#include "view.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "checksum.h"
#include "hash.h"

/* A record that changes under a reader this often in a row is being torn by something else than the daemon. */
#define VIEW_READ_ATTEMPTS 64

static uint64_t round_up(uint64_t value, uint64_t step)
{
	return (value + step - 1) / step * step;
}

void view_geometry(uint32_t max_blocks, uint32_t max_names, struct view_geometry *out_geometry)
{
	/* One bucket a name: chains of one on average when the table is full. */
	uint32_t buckets = 1;
	while (buckets < max_names && buckets < UINT32_C(1) << 31)
		buckets *= 2;
	out_geometry->name_buckets = buckets;
	out_geometry->names_at = round_up(VIEW_INDEX_AT + (uint64_t)buckets * sizeof(uint32_t), 4096);
	out_geometry->blocks_at = round_up(out_geometry->names_at + (uint64_t)max_names * sizeof(struct name_record), 4096);
	out_geometry->metadata_at = round_up(out_geometry->blocks_at + (uint64_t)max_blocks * sizeof(struct block_record), 4096);
	out_geometry->view_size =
		round_up(out_geometry->metadata_at + (uint64_t)max_names * sizeof(struct metadata_record), 4096);
}

uint32_t view_header_checksum(const struct view_header *header)
{
	const uint8_t *first = (const uint8_t *)&header->layout_version;
	return checksum_of(first, (size_t)((const uint8_t *)&header->checksum - first));
}

/* The id goes in by exclusive or: a body left over from a former life of its record never passes for one of this life. */
static uint32_t with_id(uint32_t checksum, uint64_t id)
{
	return checksum ^ (uint32_t)id ^ (uint32_t)(id >> 32) * UINT32_C(0x9e3779b1);
}

uint32_t block_record_checksum(const struct block_record *record, uint64_t id)
{
	const uint8_t *first = (const uint8_t *)&record->offset;
	return with_id(checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first)), id);
}

uint32_t block_body_checksum(const struct block_body *body, uint64_t id)
{
	return with_id(checksum_of(body, offsetof(struct block_body, checksum)), id);
}

uint32_t name_record_checksum(const struct name_record *record)
{
	const uint8_t *first = (const uint8_t *)&record->name_length;
	uint32_t fields = checksum_of(first, (size_t)((const uint8_t *)record->body - first));
	uint32_t name = checksum_of(record->name, sizeof record->name);
	return fields ^ (name << 1 | name >> 31);
}

uint32_t name_body_checksum(const struct name_body *body, uint64_t first_id)
{
	return with_id(checksum_of(body, offsetof(struct name_body, checksum)), first_id);
}

uint32_t metadata_checksum(const struct metadata_record *record)
{
	uint32_t fields = checksum_of(record, offsetof(struct metadata_record, checksum));
	uint32_t bytes = checksum_of(record->bytes, sizeof record->bytes);
	return fields ^ (bytes << 1 | bytes >> 31);
}

int view_open(const void *base, uint64_t size, struct view *out_view)
{
	const uint8_t *bytes = base;
	const struct view_header *header = base;
	struct view_geometry geometry;

	if (size < VIEW_INDEX_AT)
		return -EBADMSG;
	uint64_t magic = atomic_load_explicit(&header->magic, memory_order_acquire);
	if (magic == 0)
		return -EAGAIN;
	if (magic != VIEW_MAGIC)
		return -EBADMSG;
	if (header->layout_version != VIEW_LAYOUT_VERSION)
		return -EPROTONOSUPPORT;
	if (header->checksum != view_header_checksum(header))
		return -EBADMSG;
	uint64_t size_managed = atomic_load_explicit(&header->size, memory_order_relaxed);
	view_geometry(header->max_blocks, header->max_names, &geometry);
	if (header->name_buckets != geometry.name_buckets || header->names_at != geometry.names_at ||
	    header->blocks_at != geometry.blocks_at || header->metadata_at != geometry.metadata_at ||
	    header->view_size != geometry.view_size || header->view_size > size)
		return -EBADMSG;
	if (header->unit < 16 || (header->unit & (header->unit - 1)) || size_managed > header->max_size ||
	    size_managed < header->unit || !memchr(header->pool, 0, sizeof header->pool))
		return -EBADMSG;

	out_view->header = header;
	out_view->counters = (const struct view_counters *)(bytes + VIEW_COUNTERS_AT);
	out_view->buckets = (const _Atomic uint32_t *)(bytes + VIEW_INDEX_AT);
	out_view->names = (const struct name_record *)(bytes + header->names_at);
	out_view->blocks = (const struct block_record *)(bytes + header->blocks_at);
	out_view->metadata = (const struct metadata_record *)(bytes + header->metadata_at);
	return 0;
}

/* Copies `size` bytes of a record if its word is still `*word`; reloads `*word` and answers false if not. */
static bool copy_while(const _Atomic uint64_t *at, uint64_t *word, void *out_copy, const void *record, size_t size)
{
	memcpy(out_copy, record, size);
	atomic_thread_fence(memory_order_acquire);
	uint64_t now = atomic_load_explicit(at, memory_order_relaxed);
	if (now == *word)
		return true;
	*word = atomic_load_explicit(at, memory_order_acquire);
	return false;
}

/* The whole record of a live block, and its word at that moment. As view_read_block. */
static int copy_block(const struct view *view, uint32_t index, struct block_record *out_copy, uint64_t *out_word)
{
	if (index >= view->header->max_blocks)
		return 0;
	const struct block_record *record = &view->blocks[index];
	uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);
	for (int attempt = 0; attempt < VIEW_READ_ATTEMPTS; attempt++) {
		if (!record_is_live(word))
			return 0;
		if (!copy_while(&record->word, &word, out_copy, record, sizeof *out_copy))
			continue;
		uint64_t id = record_id(word);
		const struct block_body *body = &out_copy->body[record_body(word)];
		/* A mismatch may be a body that was rewritten and flipped back meanwhile: look again before calling it corrupt. */
		if (out_copy->checksum != block_record_checksum(out_copy, id) || body->checksum != block_body_checksum(body, id))
			continue;
		if (out_copy->offset > view->header->max_size || body->granted > view->header->max_size - out_copy->offset ||
		    body->size > body->granted || out_copy->tag[sizeof out_copy->tag - 1])
			return -EBADMSG;
		*out_word = word;
		return 1;
	}
	return -EBADMSG;
}

int view_read_block(const struct view *view, uint32_t index, struct view_block *out_block)
{
	struct block_record copy;
	uint64_t word;
	int result = copy_block(view, index, &copy, &word);

	if (result <= 0)
		return result;
	const struct block_body *body = &copy.body[record_body(word)];
	*out_block = (struct view_block){
		.id = record_id(word),
		.offset = copy.offset,
		.size = body->size,
		.granted = body->granted,
		.created_ns = copy.created_ns,
		.owner = body->owner,
		.uid = copy.uid,
		.flags = body->flags,
		.metadata = body->metadata,
	};
	memcpy(out_block->tag, copy.tag, sizeof copy.tag);
	return 1;
}

/*
 * The metadata record of this link, while the block's word names it. A record that was recycled is not this block's, or torn; or it was written for
 * this block again, and then what it says counts if its body does.
 */
static bool copy_metadata(const struct view *view, uint32_t index, uint64_t word, uint32_t link,
                          struct metadata_record *out_copy)
{
	uint64_t used = atomic_load_explicit(&view->counters->metadata_records, memory_order_acquire);

	if (link > used || link > view->header->max_names)
		return false;
	memcpy(out_copy, &view->metadata[link - 1], sizeof *out_copy);
	atomic_thread_fence(memory_order_acquire);
	uint64_t now = atomic_load_explicit(&view->blocks[index].word, memory_order_relaxed);
	return record_id(now) == record_id(word) && record_body(now) == record_body(word) &&
	       out_copy->block_id == record_id(word) && out_copy->length <= sizeof out_copy->bytes &&
	       out_copy->checksum == metadata_checksum(out_copy);
}

int view_read_metadata(const struct view *view, uint32_t index, uint64_t id, uint8_t out_bytes[METADATA_MAX],
                       uint32_t *out_length)
{
	for (int attempt = 0; attempt < VIEW_READ_ATTEMPTS; attempt++) {
		struct metadata_record copy = {.length = 0};
		struct block_record block;
		uint64_t word;
		int result = copy_block(view, index, &block, &word);

		if (result <= 0)
			return result;
		if (record_id(word) != id)
			return 0;
		uint32_t link = block.body[record_body(word)].metadata;
		if (link && !copy_metadata(view, index, word, link, &copy))
			continue;
		memcpy(out_bytes, copy.bytes, copy.length);
		*out_length = copy.length;
		return 1;
	}
	return -EBADMSG;
}

int view_read_name(const struct view *view, uint32_t index, struct view_name *out_name)
{
	struct name_record copy;

	if (index >= view->header->max_names)
		return 0;
	const struct name_record *record = &view->names[index];
	uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);
	for (int attempt = 0; attempt < VIEW_READ_ATTEMPTS; attempt++) {
		if (!record_is_live(word))
			return 0;
		if (!copy_while(&record->word, &word, &copy, record, sizeof copy))
			continue;
		const struct name_body *body = &copy.body[record_body(word)];
		if (copy.checksum != name_record_checksum(&copy) || body->checksum != name_body_checksum(body, copy.first_id) ||
		    body->id != record_id(word))
			continue;
		if (copy.name_length >= sizeof copy.name || copy.name[copy.name_length] || body->block >= view->header->max_blocks)
			return -EBADMSG;
		*out_name = (struct view_name){
			.id = body->id,
			.first_id = copy.first_id,
			.block_id = body->block_id,
			.offset = body->offset,
			.length = body->length,
			.created_ns = body->created_ns,
			.block = body->block,
			.uid = body->uid,
		};
		memcpy(out_name->name, copy.name, sizeof copy.name);
		return 1;
	}
	return -EBADMSG;
}

int view_find_name(const struct view *view, const char *name, size_t length, uint32_t *out_index)
{
	uint64_t hash = hash_of(name, length);
	uint32_t bucket = (uint32_t)hash & (view->header->name_buckets - 1);
	uint32_t link = atomic_load_explicit(&view->buckets[bucket], memory_order_acquire);

	/* A chain longer than the table has been recycled under us, or is corrupt: either way the daemon knows better. */
	for (uint32_t steps = 0; link && link <= view->header->max_names && steps < view->header->max_names; steps++) {
		uint32_t index = link - 1;
		const struct name_record *record = &view->names[index];
		struct view_name found;
		if (record->hash == hash && view_read_name(view, index, &found) == 1 && strlen(found.name) == length &&
		    memcmp(found.name, name, length) == 0) {
			*out_index = index;
			return 1;
		}
		link = atomic_load_explicit(&record->next, memory_order_acquire);
	}
	return 0;
}

/* Where the record of a name leads to, if it is that of this name. 1, or 0: it is not, or does not live any more. */
static int read_named(const struct view *view, uint32_t index, const char *name, size_t length, uint64_t hash,
                      struct view_named *out_named)
{
	const struct name_record *record = &view->names[index];
	uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);

	for (int attempt = 0; attempt < VIEW_READ_ATTEMPTS; attempt++) {
		if (record_state(word) != RECORD_LIVE || record->hash != hash || record->name_length != length ||
		    length >= sizeof record->name || memcmp(record->name, name, length) != 0)
			return 0;
		const struct name_body *body = &record->body[record_body(word)];
		struct view_named named = {word, body->block_id, body->offset, body->length, index, body->block};
		atomic_thread_fence(memory_order_acquire);
		/* An id is never used twice: with the same word it was the same publication all the while. */
		if (atomic_load_explicit(&record->word, memory_order_relaxed) == word) {
			*out_named = named;
			return 1;
		}
		word = atomic_load_explicit(&record->word, memory_order_acquire);
	}
	return 0;
}

int view_find_named(const struct view *view, const char *name, size_t length, struct view_named *out_named)
{
	uint64_t hash = hash_of(name, length);
	uint32_t bucket = (uint32_t)hash & (view->header->name_buckets - 1);
	uint32_t link = atomic_load_explicit(&view->buckets[bucket], memory_order_acquire);

	for (uint32_t steps = 0; link && link <= view->header->max_names && steps < view->header->max_names; steps++) {
		if (read_named(view, link - 1, name, length, hash, out_named))
			return 1;
		link = atomic_load_explicit(&view->names[link - 1].next, memory_order_acquire);
	}
	return 0;
}
