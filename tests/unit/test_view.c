/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view: a hand-made one in memory, then what a reader must not be fooled by: headers that are half made, foreign or
 * damaged, every single flipped bit, records that change while they are read, and chains that lead round in circles.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "checksum.h"
#include "hash.h"
#include "view.h"

#define MAX_BLOCKS 50
#define MAX_NAMES 20
#define MAX_SIZE 65536
#define PAGE 4096

/* Records that lie across two pages, so that a reader can be caught in the middle. */
#define BLOCK_ACROSS 36
#define NAME_ACROSS 9
#define METADATA_ACROSS 15

struct fixture {
	uint8_t *base;
	uint64_t size;
	struct view_header *header;
	struct name_record *names;
	struct block_record *blocks;
	struct metadata_record *metadata;
	_Atomic uint32_t *buckets;
	struct view view;
};
static struct fixture fixture;

static void seal_header(void)
{
	fixture.header->checksum = view_header_checksum(fixture.header);
}

static void make_block(uint32_t index, uint64_t id, unsigned body)
{
	struct block_record *record = &fixture.blocks[index];

	record->offset = 4096;
	record->created_ns = 77;
	record->uid = 1000;
	strcpy(record->tag, "a tag");
	record->checksum = block_record_checksum(record, id);
	record->body[body] = (struct block_body){.size = 100, .granted = 128, .owner = 3};
	record->body[body].checksum = block_body_checksum(&record->body[body], id);
	record->word = record_word(id, body, RECORD_LIVE);
}

static void set_name_body(uint32_t index, unsigned which, uint64_t id, uint32_t block)
{
	struct name_body *body = &fixture.names[index].body[which];

	*body = (struct name_body){
		.id = id, .block_id = block + 10, .offset = 8, .length = 16, .created_ns = 77, .block = block, .uid = 1000};
	body->checksum = name_body_checksum(body, fixture.names[index].first_id);
}

/* The block's metadata, and a body that names it. */
static void make_metadata(uint32_t block, uint32_t index, const char *text)
{
	struct block_record *record = &fixture.blocks[block];
	uint64_t id = record_id(record->word);
	unsigned body = !record_body(record->word);

	fixture.metadata[index] = (struct metadata_record){.block_id = id, .length = (uint32_t)strlen(text)};
	memcpy(fixture.metadata[index].bytes, text, strlen(text));
	fixture.metadata[index].checksum = metadata_checksum(&fixture.metadata[index]);
	record->body[body] = record->body[!body];
	record->body[body].metadata = index + 1;
	record->body[body].checksum = block_body_checksum(&record->body[body], id);
	record->word ^= RECORD_BODY;
	((struct view_counters *)(fixture.base + VIEW_COUNTERS_AT))->metadata_records = MAX_NAMES;
}

static void make_name(uint32_t index, uint64_t id, const char *name)
{
	struct name_record *record = &fixture.names[index];

	record->hash = hash_of(name, strlen(name));
	record->first_id = id;
	record->name_length = (uint32_t)strlen(name);
	strcpy(record->name, name);
	record->checksum = name_record_checksum(record);
	set_name_body(index, 0, id, 1);
	record->word = record_word(id, 0, RECORD_LIVE);
	_Atomic uint32_t *bucket = &fixture.buckets[record->hash & (fixture.header->name_buckets - 1)];
	record->next = *bucket;
	*bucket = index + 1;
}

static int setup(void **state)
{
	struct view_geometry geometry;

	view_geometry(MAX_BLOCKS, MAX_NAMES, &geometry);
	fixture.size = geometry.view_size;
	fixture.base = mmap(NULL, fixture.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(fixture.base != MAP_FAILED);
	fixture.header = (struct view_header *)fixture.base;
	fixture.buckets = (_Atomic uint32_t *)(fixture.base + VIEW_INDEX_AT);
	fixture.names = (struct name_record *)(fixture.base + geometry.names_at);
	fixture.blocks = (struct block_record *)(fixture.base + geometry.blocks_at);
	fixture.metadata = (struct metadata_record *)(fixture.base + geometry.metadata_at);
	*fixture.header = (struct view_header){
		.layout_version = VIEW_LAYOUT_VERSION,
		.incarnation = 5,
		.pool = "default",
		.unit = 64,
		.max_size = MAX_SIZE,
		.view_size = geometry.view_size,
		.names_at = geometry.names_at,
		.blocks_at = geometry.blocks_at,
		.metadata_at = geometry.metadata_at,
		.name_buckets = geometry.name_buckets,
		.max_names = MAX_NAMES,
		.max_blocks = MAX_BLOCKS,
		.max_sessions = 10,
		.size = MAX_SIZE,
	};
	seal_header();
	fixture.header->magic = VIEW_MAGIC;
	make_block(1, 11, 0);
	make_name(2, 12, "camera");
	assert_int_equal(view_open(fixture.base, fixture.size, &fixture.view), 0);
	*state = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(fixture.base, fixture.size);
}

static void test_geometry(void **state)
{
	struct view_geometry g;

	(void)state;
	view_geometry(1, 1, &g);
	assert_int_equal(g.name_buckets, 1);
	assert_int_equal(g.names_at, VIEW_INDEX_AT + PAGE);
	assert_int_equal(g.blocks_at, VIEW_INDEX_AT + 2 * PAGE);
	assert_int_equal(g.metadata_at, VIEW_INDEX_AT + 3 * PAGE);
	assert_int_equal(g.view_size, VIEW_INDEX_AT + 4 * PAGE);
	view_geometry(1, 1024, &g);
	assert_int_equal(g.name_buckets, 1024);
	view_geometry(1, 1025, &g);
	assert_int_equal(g.name_buckets, 2048);
	assert_int_equal(g.names_at, VIEW_INDEX_AT + 2 * PAGE);
	view_geometry(UINT32_MAX, UINT32_MAX, &g);
	assert_int_equal(g.name_buckets, UINT32_C(1) << 31);
	assert_true(g.names_at >= VIEW_INDEX_AT + (UINT64_C(4) << 31));
	assert_true(g.blocks_at >= g.names_at + UINT32_MAX * sizeof(struct name_record));
	assert_true(g.metadata_at >= g.blocks_at + UINT32_MAX * sizeof(struct block_record));
	assert_true(g.view_size >= g.metadata_at + UINT32_MAX * sizeof(struct metadata_record));
}

static void test_open(void **state)
{
	(void)state;
	assert_ptr_equal(fixture.view.header, fixture.base);
	assert_ptr_equal(fixture.view.counters, fixture.base + VIEW_COUNTERS_AT);
	assert_ptr_equal(fixture.view.buckets, fixture.buckets);
	assert_ptr_equal(fixture.view.names, fixture.names);
	assert_ptr_equal(fixture.view.blocks, fixture.blocks);
}

static int reopen(uint64_t size)
{
	struct view view = {0}, untouched = {0};
	int result = view_open(fixture.base, size, &view);

	if (result < 0)
		assert_memory_equal(&view, &untouched, sizeof view);
	return result;
}

static void test_open_refuses(void **state)
{
	struct view_header good = *fixture.header, *header = fixture.header;

	(void)state;
	assert_int_equal(reopen(0), -EBADMSG);
	assert_int_equal(reopen(VIEW_INDEX_AT - 1), -EBADMSG);
	assert_int_equal(reopen(VIEW_INDEX_AT), -EBADMSG); /* cut off: its tables are missing */
	assert_int_equal(reopen(fixture.size - 1), -EBADMSG);
	assert_int_equal(reopen(fixture.size + PAGE), 0);
	header->magic = 0;
	assert_int_equal(reopen(fixture.size), -EAGAIN);
	header->magic = VIEW_MAGIC + 1;
	assert_int_equal(reopen(fixture.size), -EBADMSG);
	header->magic = VIEW_MAGIC;
	header->layout_version++; /* its checksum may mean anything by then */
	assert_int_equal(reopen(fixture.size), -EPROTONOSUPPORT);
	*header = good;
	header->checksum++;
	assert_int_equal(reopen(fixture.size), -EBADMSG);
	*header = good;

/* Wrong, and sealed all the same: the checksum is no signature. */
#define WRONG(field, value)                                                                                                 \
	header->field = (value);                                                                                                \
	seal_header();                                                                                                          \
	assert_int_equal(reopen(fixture.size), -EBADMSG);                                                                       \
	*header = good
	WRONG(name_buckets, good.name_buckets * 2);
	WRONG(names_at, good.names_at + PAGE);
	WRONG(blocks_at, good.blocks_at - PAGE);
	WRONG(metadata_at, good.metadata_at - PAGE);
	WRONG(view_size, good.view_size - PAGE);
	WRONG(max_blocks, UINT32_MAX);
	WRONG(max_names, UINT32_MAX);
	WRONG(unit, 0);
	WRONG(unit, 8);
	WRONG(unit, 48);
	WRONG(unit, 2 * MAX_SIZE);
	WRONG(max_size, MAX_SIZE - 1);
#undef WRONG
	memset(header->pool, 'p', sizeof header->pool);
	seal_header();
	assert_int_equal(reopen(fixture.size), -EBADMSG);
	*header = good;
	header->size = MAX_SIZE + 1;
	assert_int_equal(reopen(fixture.size), -EBADMSG);
	header->size = 63;
	assert_int_equal(reopen(fixture.size), -EBADMSG);
	header->size = 64; /* may grow */
	assert_int_equal(reopen(fixture.size), 0);
}

/* Each flipped bit of the header is refused, but for those of the two fields that change while the daemon runs. */
static void test_header_bit_by_bit(void **state)
{
	const struct view_header *header = fixture.header;
	struct view before = fixture.view;

	(void)state;
	for (size_t bit = 0; bit < sizeof *header * 8; bit++) {
		fixture.base[bit / 8] ^= (uint8_t)(1u << bit % 8);
		int result = reopen(fixture.size);
		if (bit / 8 < offsetof(struct view_header, daemon_pid)) {
			assert_true(result == -EBADMSG || result == -EPROTONOSUPPORT);
		} else if (result == 0) {
			struct view view;
			assert_int_equal(view_open(fixture.base, fixture.size, &view), 0);
			assert_memory_equal(&view, &before, sizeof view);
		} else {
			assert_int_equal(result, -EBADMSG);
			assert_true(header->size > MAX_SIZE || header->size < 64);
		}
		fixture.base[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(reopen(fixture.size), 0);
}

static void test_read_block(void **state)
{
	struct view_block block, expected = {11, 4096, 100, 128, 77, 3, 1000, 0, 0, "a tag"};

	(void)state;
	for (unsigned body = 0; body < 2; body++) {
		make_block(1, 11, body);
		memset(&block, 0, sizeof block);
		assert_int_equal(view_read_block(&fixture.view, 1, &block), 1);
		assert_memory_equal(&block, &expected, sizeof block);
	}
	fixture.blocks[1].word = record_word(11, 1, RECORD_FREEING);
	assert_int_equal(view_read_block(&fixture.view, 1, &block), 1);
	fixture.blocks[1].word = record_word(11, 1, RECORD_PENDING);
	assert_int_equal(view_read_block(&fixture.view, 1, &block), 0);
	fixture.blocks[1].word = record_word(11, 1, RECORD_FREE);
	assert_int_equal(view_read_block(&fixture.view, 1, &block), 0);
	assert_int_equal(view_read_block(&fixture.view, 0, &block), 0); /* never used */
	assert_int_equal(view_read_block(&fixture.view, MAX_BLOCKS, &block), 0);
	assert_int_equal(view_read_block(&fixture.view, UINT32_MAX, &block), 0);
}

static int read_metadata(uint32_t index, uint64_t id, char out_text[METADATA_MAX + 1])
{
	uint32_t length = 0;
	int result = view_read_metadata(&fixture.view, index, id, (uint8_t *)out_text, &length);

	out_text[length] = 0;
	return result;
}

static void test_read_metadata(void **state)
{
	struct view_counters *counters = (struct view_counters *)(fixture.base + VIEW_COUNTERS_AT);
	char text[METADATA_MAX + 1];

	(void)state;
	assert_int_equal(read_metadata(1, 11, text), 1);
	assert_string_equal(text, "");
	make_metadata(1, 3, "a shape");
	assert_int_equal(read_metadata(1, 11, text), 1);
	assert_string_equal(text, "a shape");
	make_metadata(1, 4, "another");
	assert_int_equal(read_metadata(1, 11, text), 1);
	assert_string_equal(text, "another");
	assert_int_equal(read_metadata(1, 12, text), 0);
	assert_int_equal(read_metadata(2, 11, text), 0);
	assert_int_equal(read_metadata(MAX_BLOCKS, 11, text), 0);

	/* Nobody looks where no record can be. */
	counters->metadata_records = 4;
	assert_int_equal(read_metadata(1, 11, text), -EBADMSG);
	counters->metadata_records = UINT64_MAX;
	assert_int_equal(read_metadata(1, 11, text), 1);
	make_block(1, 11, 0);
	fixture.blocks[1].body[0].metadata = MAX_NAMES + 1;
	fixture.blocks[1].body[0].checksum = block_body_checksum(&fixture.blocks[1].body[0], 11);
	assert_int_equal(read_metadata(1, 11, text), -EBADMSG);
	fixture.blocks[1].body[0].checksum ^= 1;
	assert_int_equal(read_metadata(1, 11, text), -EBADMSG);
}

static void test_metadata_bit_by_bit(void **state)
{
	uint8_t *record = (uint8_t *)&fixture.metadata[3];
	char text[METADATA_MAX + 1];

	(void)state;
	make_metadata(1, 3, "a shape");
	for (size_t bit = 0; bit < sizeof(struct metadata_record) * 8; bit++) {
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(read_metadata(1, 11, text), -EBADMSG);
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(read_metadata(1, 11, text), 1);
}

static void test_read_name(void **state)
{
	struct view_name name, expected = {12, 12, 11, 8, 16, 77, 1, 1000, "camera"};

	(void)state;
	memset(&name, 0, sizeof name);
	assert_int_equal(view_read_name(&fixture.view, 2, &name), 1);
	assert_memory_equal(&name, &expected, sizeof name);
	assert_int_equal(view_read_name(&fixture.view, 0, &name), 0);
	assert_int_equal(view_read_name(&fixture.view, MAX_NAMES, &name), 0);
	assert_int_equal(view_read_name(&fixture.view, UINT32_MAX, &name), 0);
}

/* The other body counts, and brings the id of a publication of its own. */
static void test_read_replaced_name(void **state)
{
	struct view_name name, expected = {33, 12, 12, 8, 16, 77, 2, 1000, "camera"};
	struct view_named named;

	(void)state;
	memset(&name, 0, sizeof name);
	set_name_body(2, 1, 33, 2);
	assert_int_equal(view_find_named(&fixture.view, "camera", 6, &named), 1);
	assert_int_equal(named.block_id, 11);
	fixture.names[2].word = record_word(33, 1, RECORD_LIVE);
	assert_int_equal(view_read_name(&fixture.view, 2, &name), 1);
	assert_memory_equal(&name, &expected, sizeof name);
	assert_int_equal(view_find_named(&fixture.view, "camera", 6, &named), 1);
	assert_int_equal(named.word, record_word(33, 1, RECORD_LIVE));
	assert_int_equal(named.block_id, 12);
	assert_int_equal(named.block, 2);
	assert_int_equal(named.index, 2);
	assert_int_equal(named.offset, 8);
	assert_int_equal(named.length, 16);
	fixture.names[2].word = record_word(34, 1, RECORD_LIVE); /* which is not that of the body */
	assert_int_equal(view_read_name(&fixture.view, 2, &name), -EBADMSG);
	fixture.names[2].body[1].checksum ^= 1;
	fixture.names[2].word = record_word(33, 1, RECORD_LIVE);
	assert_int_equal(view_read_name(&fixture.view, 2, &name), -EBADMSG);
}

/* A flipped bit is refused, or the record is not alive any more, or what is read is what it was. */
static void test_block_bit_by_bit(void **state)
{
	struct view_block block, before;
	uint8_t *record = (uint8_t *)&fixture.blocks[1];
	unsigned refused = 0, dead = 0, same = 0;

	(void)state;
	memset(&before, 0, sizeof before);
	assert_int_equal(view_read_block(&fixture.view, 1, &before), 1);
	for (size_t bit = 0; bit < sizeof(struct block_record) * 8; bit++) {
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(&block, 0, sizeof block);
		int result = view_read_block(&fixture.view, 1, &block);
		if (result == 1) {
			same++;
			assert_memory_equal(&block, &before, sizeof block);
			/* The other body, the state FREEING, and three bits of the word that mean nothing. */
			assert_true(bit / 8 >= offsetof(struct block_record, body[1]) || bit == 0 || (bit >= 4 && bit < 7));
		} else {
			refused += result == -EBADMSG;
			dead += result == 0;
			assert_true(result == -EBADMSG || (result == 0 && bit >= 1 && bit < 4));
		}
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(same, sizeof(struct block_body) * 8 + 4);
	assert_int_equal(dead, 3);
	assert_int_equal(refused, sizeof(struct block_record) * 8 - same - dead);
}

static void test_name_bit_by_bit(void **state)
{
	struct view_name name, before;
	uint8_t *record = (uint8_t *)&fixture.names[2];
	unsigned same = 0, dead = 0, refused = 0;

	(void)state;
	memset(&before, 0, sizeof before);
	assert_int_equal(view_read_name(&fixture.view, 2, &before), 1);
	for (size_t bit = 0; bit < sizeof(struct name_record) * 8; bit++) {
		size_t byte = bit / 8;
		record[byte] ^= (uint8_t)(1u << bit % 8);
		memset(&name, 0, sizeof name);
		int result = view_read_name(&fixture.view, 2, &name);
		if (result == 1) {
			same++;
			assert_memory_equal(&name, &before, sizeof name);
			/* The link, the other body, what is reserved or padding, FREEING, and bits of the word that a name does not use. */
			assert_true((byte >= 8 && byte < 12) || (byte >= 92 && byte < 160) || byte >= 420 || bit == 0 ||
			            (bit >= 4 && bit < 7));
		} else {
			refused += result == -EBADMSG;
			dead += result == 0;
			assert_true(result == -EBADMSG || (result == 0 && bit >= 1 && bit < 4));
		}
		record[byte] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(same, 8 * (4 + 4 + sizeof(struct name_body) + 4) + 4);
	assert_int_equal(dead, 3);
	assert_int_equal(refused, sizeof(struct name_record) * 8 - same - dead);
}

/* Sealed, and impossible all the same. */
static void test_block_out_of_bounds(void **state)
{
	struct block_record *record = &fixture.blocks[1], good = *record;
	struct view_block block;

	(void)state;
#define SEALED(field, value, expected)                                                                                      \
	record->field = (value);                                                                                                \
	record->checksum = block_record_checksum(record, 11);                                                                   \
	record->body[0].checksum = block_body_checksum(&record->body[0], 11);                                                   \
	assert_int_equal(view_read_block(&fixture.view, 1, &block), expected);                                                  \
	*record = good
	SEALED(offset, MAX_SIZE - 128, 1);
	SEALED(offset, MAX_SIZE - 127, -EBADMSG);
	SEALED(offset, MAX_SIZE + 1, -EBADMSG);
	SEALED(offset, UINT64_MAX, -EBADMSG);
	SEALED(body[0].granted, MAX_SIZE - 4096, 1);
	SEALED(body[0].granted, MAX_SIZE - 4095, -EBADMSG);
	SEALED(body[0].granted, UINT64_MAX, -EBADMSG);
	SEALED(body[0].size, 128, 1);
	SEALED(body[0].size, 129, -EBADMSG);
	SEALED(tag[14], 'x', 1);
	SEALED(tag[15], 'x', -EBADMSG);
#undef SEALED
}

static void test_name_out_of_bounds(void **state)
{
	struct name_record *record = &fixture.names[2], good = *record;
	struct view_name name;

	(void)state;
#define SEALED(field, value, expected)                                                                                      \
	record->field = (value);                                                                                                \
	record->checksum = name_record_checksum(record);                                                                        \
	record->body[0].checksum = name_body_checksum(&record->body[0], 12);                                                    \
	assert_int_equal(view_read_name(&fixture.view, 2, &name), expected);                                                    \
	*record = good
	SEALED(name_length, 256, -EBADMSG);
	SEALED(name_length, UINT32_MAX, -EBADMSG);
	SEALED(name_length, 255, 1); /* the NUL is there: no harm */
	SEALED(name_length, 5, -EBADMSG);
	SEALED(body[0].block, MAX_BLOCKS - 1, 1);
	SEALED(body[0].block, MAX_BLOCKS, -EBADMSG);
	SEALED(body[0].id, 13, -EBADMSG); /* the word says 12 */
#undef SEALED
}

/* A body that was left over from another life of the record. */
static void test_body_of_another_life(void **state)
{
	struct view_block block;

	(void)state;
	make_block(1, 11, 0);
	struct block_body old = fixture.blocks[1].body[0];
	make_block(1, 13, 0);
	assert_int_equal(view_read_block(&fixture.view, 1, &block), 1);
	fixture.blocks[1].body[0] = old;
	assert_int_equal(view_read_block(&fixture.view, 1, &block), -EBADMSG);
	/* Ids that differ in their upper half alone. */
	make_block(1, UINT64_C(1) << 40, 0);
	old = fixture.blocks[1].body[0];
	make_block(1, UINT64_C(1) << 41, 0);
	assert_true(old.checksum != fixture.blocks[1].body[0].checksum);
}

static uint32_t find(const char *name)
{
	uint32_t index = UINT32_MAX;
	int result = view_find_name(&fixture.view, name, strlen(name), &index);

	assert_int_equal(result, index != UINT32_MAX);
	return index;
}

static void test_find(void **state)
{
	(void)state;
	assert_int_equal(find("camera"), 2);
	assert_int_equal(find("camerb"), UINT32_MAX);
	assert_int_equal(find(""), UINT32_MAX);
	fixture.names[2].word = record_word(12, 0, RECORD_PENDING);
	assert_int_equal(find("camera"), UINT32_MAX);
}

/* Same hash, as far as the records say, but another name. */
static void test_find_compares(void **state)
{
	struct name_record *record = &fixture.names[2];

	(void)state;
	strcpy(record->name, "cameras");
	record->name_length = 7;
	record->checksum = name_record_checksum(record);
	assert_int_equal(find("camera"), UINT32_MAX);
	strcpy(record->name, "camels");
	record->name_length = 6;
	record->checksum = name_record_checksum(record);
	assert_int_equal(find("camera"), UINT32_MAX);
}

static void test_chains(void **state)
{
	uint32_t bucket = (uint32_t)hash_of("camera", 6) & (fixture.header->name_buckets - 1);

	(void)state;
	/* Two records of another bucket before it: a reader has strayed. */
	make_name(3, 13, "mic");
	make_name(4, 14, "lens");
	fixture.buckets[bucket] = 4;
	fixture.names[3].next = 5;
	fixture.names[4].next = 3;
	assert_int_equal(find("camera"), 2);
	/* Round in circles, with and without the name in the circle. */
	fixture.names[4].next = 4;
	assert_int_equal(find("camera"), UINT32_MAX);
	fixture.names[3].next = 4; /* a record that follows itself */
	assert_int_equal(find("camera"), UINT32_MAX);
	/* Out of the table. */
	fixture.names[3].next = MAX_NAMES + 1;
	assert_int_equal(find("camera"), UINT32_MAX);
	fixture.names[3].next = UINT32_MAX;
	assert_int_equal(find("camera"), UINT32_MAX);
	fixture.buckets[bucket] = MAX_NAMES + 1;
	assert_int_equal(find("camera"), UINT32_MAX);
	/* All records in one chain, which is as long as a chain can be: the last one is found. */
	for (uint32_t i = 0; i < MAX_NAMES; i++)
		fixture.names[i].next = i + 2;
	fixture.names[MAX_NAMES - 1].next = 0;
	fixture.names[1].next = 4;
	fixture.names[MAX_NAMES - 1].next = 3;
	fixture.names[2].next = 0;
	fixture.buckets[bucket] = 1;
	assert_int_equal(find("camera"), 2);
}

/*
 * A record that changes between the two looks at its word: its second page cannot be read, and the signal of the first read
 * there stands for the daemon, which has its say in the middle of the copy.
 */
static void (*in_the_middle)(void);
static uint8_t *closed_page;

static void caught(int number)
{
	signal(number, SIG_DFL);
	if (mprotect(closed_page, PAGE, PROT_READ | PROT_WRITE) < 0)
		abort();
	in_the_middle();
}

static void catch_reader_at(uint8_t *page, void (*act)(void))
{
	assert_int_equal((uintptr_t)page % PAGE, 0);
	closed_page = page;
	in_the_middle = act;
	assert_true(signal(SIGSEGV, caught) != SIG_ERR);
	assert_int_equal(mprotect(page, PAGE, PROT_NONE), 0);
}

static void recycle_block(void)
{
	make_block(BLOCK_ACROSS, 22, 1);
}

static void free_block(void)
{
	fixture.blocks[BLOCK_ACROSS].word = record_word(21, 0, RECORD_FREE);
}

static void recycle_name(void)
{
	make_name(NAME_ACROSS, 24, "another");
}

static void replace_name(void)
{
	set_name_body(NAME_ACROSS, 1, 31, 2);
	fixture.names[NAME_ACROSS].word = record_word(31, 1, RECORD_LIVE);
}

static void free_name(void)
{
	fixture.names[NAME_ACROSS].word = record_word(23, 0, RECORD_FREE);
}

/* Its former metadata is recycled, for itself, and does not count yet. */
static void rewrite_metadata(void)
{
	struct metadata_record *record = &fixture.metadata[METADATA_ACROSS];

	make_metadata(1, 2, "second");
	memcpy(record->bytes, "third!", 6);
	record->checksum = metadata_checksum(record);
}

/* Its body changes twice. */
static void set_metadata_twice(void)
{
	make_metadata(1, 2, "second");
	make_metadata(1, METADATA_ACROSS, "third!");
}

static void free_block_with_metadata(void)
{
	fixture.blocks[1].word = record_word(11, 0, RECORD_FREE);
}

static void recycle_block_with_metadata(void)
{
	make_block(1, 99, 0);
}

static void test_metadata_changes_while_read(void **state)
{
	uint8_t *behind = (uint8_t *)fixture.metadata + PAGE;
	char text[METADATA_MAX + 1];

	(void)state;
	assert_true((uint8_t *)&fixture.metadata[METADATA_ACROSS] < behind);
	assert_true((uint8_t *)&fixture.metadata[METADATA_ACROSS + 1] > behind);
	make_metadata(1, METADATA_ACROSS, "first");
	catch_reader_at(behind, rewrite_metadata);
	assert_int_equal(read_metadata(1, 11, text), 1);
	assert_string_equal(text, "second");
	make_metadata(1, METADATA_ACROSS, "first");
	catch_reader_at(behind, set_metadata_twice);
	assert_int_equal(read_metadata(1, 11, text), 1);
	assert_string_equal(text, "third!");
	catch_reader_at(behind, free_block_with_metadata);
	assert_int_equal(read_metadata(1, 11, text), 0);
	make_block(1, 11, 0);
	make_metadata(1, METADATA_ACROSS, "first");
	catch_reader_at(behind, recycle_block_with_metadata);
	assert_int_equal(read_metadata(1, 11, text), 0);
}

static void test_changes_while_read(void **state)
{
	uint8_t *behind_block = (uint8_t *)fixture.blocks + PAGE, *behind_name = (uint8_t *)fixture.names + PAGE;
	struct view_block block;
	struct view_name name;

	(void)state;
	make_block(BLOCK_ACROSS, 21, 0);
	assert_true((uint8_t *)&fixture.blocks[BLOCK_ACROSS] < behind_block);
	assert_true((uint8_t *)&fixture.blocks[BLOCK_ACROSS + 1] > behind_block);
	catch_reader_at(behind_block, recycle_block);
	assert_int_equal(view_read_block(&fixture.view, BLOCK_ACROSS, &block), 1);
	assert_int_equal(block.id, 22);
	make_block(BLOCK_ACROSS, 21, 0);
	catch_reader_at(behind_block, free_block);
	assert_int_equal(view_read_block(&fixture.view, BLOCK_ACROSS, &block), 0);

	make_name(NAME_ACROSS, 23, "one");
	assert_true((uint8_t *)&fixture.names[NAME_ACROSS] < behind_name);
	assert_true((uint8_t *)&fixture.names[NAME_ACROSS + 1] > behind_name);
	catch_reader_at(behind_name, recycle_name);
	assert_int_equal(view_read_name(&fixture.view, NAME_ACROSS, &name), 1);
	assert_int_equal(name.id, 24);
	assert_string_equal(name.name, "another");
	make_name(NAME_ACROSS, 23, "one");
	catch_reader_at(behind_name, replace_name);
	assert_int_equal(view_read_name(&fixture.view, NAME_ACROSS, &name), 1);
	assert_int_equal(name.id, 31);
	assert_int_equal(name.first_id, 23);
	assert_int_equal(name.block_id, 12);
	make_name(NAME_ACROSS, 23, "one");
	catch_reader_at(behind_name, free_name);
	assert_int_equal(view_read_name(&fixture.view, NAME_ACROSS, &name), 0);
}

/* A wrong checksum once is looked at again: it may have been a body that was rewritten and flipped back. */
static checksum_function *real_checksum;
static int lies_left;

static uint32_t lying_checksum(const void *bytes, size_t length)
{
	return real_checksum(bytes, length) ^ (lies_left && lies_left-- ? 1u : 0u);
}

static void test_torn_once(void **state)
{
	struct view_block block;
	struct view_name name;

	(void)state;
	real_checksum = checksum_choose(false);
	checksum_implementation = lying_checksum;
	lies_left = 1;
	assert_int_equal(view_read_block(&fixture.view, 1, &block), 1);
	assert_int_equal(lies_left, 0);
	lies_left = 1;
	assert_int_equal(view_read_name(&fixture.view, 2, &name), 1);
	assert_int_equal(lies_left, 0);
	lies_left = 1000; /* for ever */
	assert_int_equal(view_read_block(&fixture.view, 1, &block), -EBADMSG);
	lies_left = 1000;
	assert_int_equal(view_read_name(&fixture.view, 2, &name), -EBADMSG);
	assert_true(lies_left > 0); /* it gives up */
	lies_left = 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geometry), TEST(test_open),
		TEST(test_open_refuses),         TEST(test_header_bit_by_bit),
		TEST(test_read_block),           TEST(test_read_name),
		TEST(test_block_bit_by_bit),     TEST(test_name_bit_by_bit),
		TEST(test_block_out_of_bounds),  TEST(test_name_out_of_bounds),
		TEST(test_body_of_another_life), TEST(test_find),
		TEST(test_find_compares),        TEST(test_chains),
		TEST(test_changes_while_read),   TEST(test_torn_once),
		TEST(test_read_replaced_name),   TEST(test_read_metadata),
		TEST(test_metadata_bit_by_bit),  TEST(test_metadata_changes_while_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
