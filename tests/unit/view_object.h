/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view of a pool that no daemon serves: made by hand in /dev/shm, where the library finds it, and backed only as far as a
 * daemon would have. Whoever makes it removes it. Needs cmocka's headers before it.
 */
#ifndef TESTS_VIEW_OBJECT_H
#define TESTS_VIEW_OBJECT_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "shmbuddy.h"
#include "view.h"

#define VIEW_OBJECT_UNIT 64
#define VIEW_OBJECT_POOL_SIZE (UINT64_C(1) << 30)

struct view_object {
	char pool[48], path[96];
	int fd;
	uint64_t size;
	uint8_t *base; /* writable */
	struct view_header *header;
	struct view_counters *counters;
	struct name_record *names;
	struct block_record *blocks;
	struct metadata_record *metadata;
};

static inline void view_object_commit(struct view_object *object, uint64_t from, uint64_t length)
{
	assert_int_equal(fallocate(object->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)length), 0);
}

/* Without a block or a name. */
static inline void view_object_make(struct view_object *object, uint32_t max_blocks, uint32_t max_names)
{
	static unsigned number;
	struct view_geometry geometry;

	view_geometry(max_blocks, max_names, &geometry);
	*object = (struct view_object){.size = geometry.view_size};
	snprintf(object->pool, sizeof object->pool, "unit-view-%ld-%u", (long)getpid(), number++);
	snprintf(object->path, sizeof object->path, "/dev/shm/shmbuddy.%s.view", object->pool);
	object->fd = open(object->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(object->fd >= 0);
	assert_int_equal(ftruncate(object->fd, (off_t)object->size), 0);
	view_object_commit(object, 0, geometry.names_at);
	object->base = mmap(NULL, object->size, PROT_READ | PROT_WRITE, MAP_SHARED, object->fd, 0);
	assert_true(object->base != MAP_FAILED);
	object->header = (struct view_header *)object->base;
	object->counters = (struct view_counters *)(object->base + VIEW_COUNTERS_AT);
	object->names = (struct name_record *)(object->base + geometry.names_at);
	object->blocks = (struct block_record *)(object->base + geometry.blocks_at);
	object->metadata = (struct metadata_record *)(object->base + geometry.metadata_at);
	*object->header = (struct view_header){
		.layout_version = VIEW_LAYOUT_VERSION,
		.incarnation = 5,
		.unit = VIEW_OBJECT_UNIT,
		.max_size = VIEW_OBJECT_POOL_SIZE,
		.view_size = geometry.view_size,
		.names_at = geometry.names_at,
		.blocks_at = geometry.blocks_at,
		.metadata_at = geometry.metadata_at,
		.name_buckets = geometry.name_buckets,
		.max_names = max_names,
		.max_blocks = max_blocks,
		.max_sessions = 10,
		.size = VIEW_OBJECT_POOL_SIZE,
	};
	strcpy(object->header->pool, object->pool);
	object->header->checksum = view_header_checksum(object->header);
	object->header->magic = VIEW_MAGIC;
}

static inline void view_object_remove(struct view_object *object)
{
	if (object->base)
		munmap(object->base, object->size);
	if (object->base && object->fd >= 0)
		close(object->fd);
	if (object->path[0])
		unlink(object->path);
	*object = (struct view_object){.fd = -1};
}

/* Bytes that the kernel backs. */
static inline uint64_t view_object_backed(const struct view_object *object)
{
	struct stat status;

	assert_int_equal(fstat(object->fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* The counters say that many records; those are backed. */
static inline void view_object_use(struct view_object *object, uint32_t blocks, uint32_t names)
{
	if (names)
		view_object_commit(object, object->header->names_at, names * sizeof *object->names);
	if (blocks)
		view_object_commit(object, object->header->blocks_at, blocks * sizeof *object->blocks);
	object->counters->name_records = names;
	object->counters->block_records = blocks;
}

/* As the daemon does it: what was there is dead first. */
static inline void view_object_free_block(struct view_object *object, uint32_t index)
{
	_Atomic uint64_t *word = &object->blocks[index].word;

	atomic_store_explicit(word, record_word(record_id(*word), 0, RECORD_FREE), memory_order_release);
	atomic_thread_fence(memory_order_release);
}

static inline void view_object_set_block(struct view_object *object, uint32_t index, uint64_t id, uint64_t offset,
                                         uint64_t granted)
{
	struct block_record *record = &object->blocks[index];

	record->offset = offset;
	record->uid = 1000;
	snprintf(record->tag, sizeof record->tag, "%llu", (unsigned long long)id);
	record->checksum = block_record_checksum(record, id);
	record->body[0] = (struct block_body){.size = granted, .granted = granted, .owner = 3};
	record->body[0].checksum = block_body_checksum(&record->body[0], id);
	atomic_store_explicit(&record->word, record_word(id, 0, RECORD_LIVE), memory_order_release);
	atomic_thread_fence(memory_order_release);
}

/* Its owner lets go of it. */
static inline void view_object_drop_owner(struct view_object *object, uint32_t index)
{
	struct block_record *record = &object->blocks[index];
	uint64_t id = record_id(record->word);
	struct block_body *idle = &record->body[1];

	*idle = record->body[0];
	idle->owner = 0;
	idle->checksum = block_body_checksum(idle, id);
	atomic_store_explicit(&record->word, record_word(id, 1, RECORD_LIVE), memory_order_release);
}

static inline void view_object_set_name(struct view_object *object, uint32_t index, uint64_t id, const char *name)
{
	struct name_record *record = &object->names[index];

	memset(record->name, 0, sizeof record->name);
	strcpy(record->name, name);
	record->name_length = (uint32_t)strlen(name);
	record->hash = hash_of(name, strlen(name));
	record->first_id = id;
	record->checksum = name_record_checksum(record);
	record->body[0] = (struct name_body){.id = id, .block_id = 1, .length = 1};
	record->body[0].checksum = name_body_checksum(&record->body[0], id);
	atomic_store_explicit(&record->word, record_word(id, 0, RECORD_LIVE), memory_order_release);
	atomic_thread_fence(memory_order_release);
}

static inline void view_object_free_name(struct view_object *object, uint32_t index)
{
	_Atomic uint64_t *word = &object->names[index].word;

	atomic_store_explicit(word, record_word(record_id(*word), 0, RECORD_FREE), memory_order_release);
	atomic_thread_fence(memory_order_release);
}

static inline int view_object_connect(const struct view_object *object, shmb_session **out_session)
{
	const shmb_connect_options options = {.pool = object->pool, .access = SHMB_OFFLINE};

	return shmb_connect(&options, out_session);
}

#endif
