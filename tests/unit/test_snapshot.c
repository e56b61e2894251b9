/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of one moment: a reader is caught between two records, or between its passes, and finds the pool changed; and a writer
 * in another process moves blocks about as fast as it can. A plain walk is fooled by the same, which shows that the tests
 * would notice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "client/session.h"
#include "tests/unit/view_object.h"

#define PAGE 4096
#define MAX_BLOCKS 4096
#define MAX_NAMES 64
#define BEHIND 60      /* a block record on the second page of the table */
#define NAME_BEHIND 20 /* a name record on the second page of its table */
#define ROUNDS 20000

static struct view_object object;
static shmb_session *session;
static bool memory_is_out;

/* Stands before libc's. */
void *reallocarray(void *memory, size_t count, size_t size)
{
	if (memory_is_out) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(memory, count * size);
}

static int setup(void **state)
{
	(void)state;
	view_object_make(&object, MAX_BLOCKS, MAX_NAMES);
	assert_int_equal(view_object_connect(&object, &session), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memory_is_out = false;
	shmb_close(session);
	view_object_remove(&object);
	return 0;
}

/* ---- What a list has -------------------------------------------------------------------------------------------- */

static shmb_block_info *list(size_t *out_count)
{
	shmb_block_info *blocks = NULL;

	assert_int_equal(shmb_list_blocks(session, &blocks, out_count), 0);
	return blocks;
}

/* Its place in a list, or -1. */
static long place_of(const shmb_block_info *blocks, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (blocks[i].handle.id == id)
			return (long)i;
	return -1;
}

static int by_offset(const void *left, const void *right)
{
	uint64_t a = ((const shmb_block_info *)left)->offset, b = ((const shmb_block_info *)right)->offset;

	return (a > b) - (a < b);
}

static bool overlap(shmb_block_info *blocks, size_t count)
{
	if (count)
		qsort(blocks, count, sizeof *blocks, by_offset);
	for (size_t i = 1; i < count; i++)
		if (blocks[i - 1].offset + blocks[i - 1].granted > blocks[i].offset)
			return true;
	return false;
}

static void test_still(void **state)
{
	shmb_block_info *blocks;
	shmb_name_info *names;
	size_t count = 99;

	(void)state;
	free(list(&count));
	assert_int_equal(count, 0);
	assert_int_equal(shmb_list_names(session, &names, &count), 0);
	assert_int_equal(count, 0);
	free(names);

	view_object_use(&object, 1000, 3);
	for (uint32_t i = 0; i < 1000; i += 2)
		view_object_set_block(&object, i, i + 1, i * 4096, 4096);
	object.blocks[2].word = record_word(3, 0, RECORD_FREEING); /* still there */
	object.blocks[4].word = record_word(5, 0, RECORD_PENDING); /* not there yet */
	view_object_free_block(&object, 6);
	view_object_drop_owner(&object, 8);
	blocks = list(&count);
	assert_int_equal(count, 498);
	assert_int_equal(blocks[1].handle.id, 3);
	assert_int_equal(blocks[1].handle.index, 2);
	assert_int_equal(blocks[1].handle.incarnation, 5);
	assert_int_equal(blocks[1].offset, 2 * 4096);
	assert_int_equal(blocks[1].owner, 3);
	assert_string_equal(blocks[1].tag, "3");
	assert_int_equal(blocks[2].handle.id, 9);
	assert_int_equal(blocks[2].owner, 0);
	assert_int_equal(place_of(blocks, count, 999), 497);
	free(blocks);

	view_object_set_name(&object, 0, 2000, "first");
	view_object_set_name(&object, 2, 2001, "second");
	assert_int_equal(shmb_list_names(session, &names, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(names[0].name, "first");
	assert_string_equal(names[1].name, "second");
	free(names);
}

static void test_refusals(void **state)
{
	shmb_block_info *blocks = (shmb_block_info *)&object;
	shmb_name_info *names = (shmb_name_info *)&object;
	size_t count = 99;

	(void)state;
	assert_int_equal(shmb_list_blocks(NULL, &blocks, &count), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_list_blocks(session, NULL, &count), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_list_blocks(session, &blocks, NULL), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_list_names(session, NULL, &count), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_list_names(session, &names, NULL), -SHMB_E_INVALID_ARGUMENT);
	view_object_use(&object, 100, 2);
	view_object_set_block(&object, 70, 71, 0, 64);
	object.blocks[70].offset++;
	assert_int_equal(shmb_list_blocks(session, &blocks, &count), -SHMB_E_CORRUPT);
	assert_non_null(strstr(shmb_last_error(), "block 70"));
	view_object_set_name(&object, 1, 72, "name");
	object.names[1].name[0] = 'N';
	assert_int_equal(shmb_list_names(session, &names, &count), -SHMB_E_CORRUPT);
	assert_non_null(strstr(shmb_last_error(), "name 1"));
	memory_is_out = true;
	assert_int_equal(shmb_list_blocks(session, &blocks, &count), -SHMB_E_SYSTEM);
	assert_non_null(strstr(shmb_last_error(), "cannot list the blocks: "));
	assert_int_equal(count, 99); /* nothing is written where it fails */
	assert_ptr_equal(blocks, &object);
	assert_ptr_equal(names, &object);
}

/* ---- Caught in the middle --------------------------------------------------------------------------------------- */

static uint8_t *closed_page;
static void (*in_the_middle)(void);

static void caught(int number)
{
	signal(number, SIG_DFL);
	if (mprotect(closed_page, PAGE, PROT_READ) < 0)
		abort();
	in_the_middle();
}

/* The page of the session's own mapping in which a record of ours lies. */
static uint8_t *page_of(const void *record)
{
	uint64_t at = (uint64_t)((const uint8_t *)record - object.base);

	return (uint8_t *)session->mapping->view_base + at / PAGE * PAGE;
}

/* `act` runs when the reader gets to that page. */
static void catch_reader_at(const void *record, void (*act)(void))
{
	closed_page = page_of(record);
	in_the_middle = act;
	if (signal(SIGSEGV, caught) == SIG_ERR || mprotect(closed_page, PAGE, PROT_NONE) < 0)
		abort();
}

/* Record 0 has its range no more; a record behind it has. */
static void move_block(void)
{
	view_object_free_block(&object, 0);
	view_object_set_block(&object, BEHIND, 500, 0, 4096);
}

static void recycle_block(void)
{
	move_block();
	view_object_set_block(&object, 0, 501, 8192, 4096);
}

static void let_go(void)
{
	view_object_drop_owner(&object, 0);
}

static void make_blocks(void)
{
	view_object_use(&object, 100, 0);
	view_object_set_block(&object, 0, 1, 0, 4096);
	view_object_set_block(&object, 1, 2, 4096, 4096);
	view_object_set_block(&object, BEHIND + 1, 3, 1 << 20, 4096);
}

static void test_moved_under_a_walk(void **state)
{
	shmb_block_info seen[8];
	uint32_t cursor = 0;
	size_t count = 0;

	(void)state;
	make_blocks();
	catch_reader_at(&object.blocks[BEHIND], move_block);
	while (shmb_next_block(session, &cursor, &seen[count]) == 1)
		count++;
	assert_int_equal(count, 4);
	assert_true(overlap(seen, count)); /* which is why there are lists */
}

static void test_moved_under_a_list(void **state)
{
	shmb_block_info *blocks;
	size_t count;

	(void)state;
	make_blocks();
	catch_reader_at(&object.blocks[BEHIND], move_block);
	blocks = list(&count);
	assert_int_equal(count, 3);
	assert_int_equal(place_of(blocks, count, 1), -1);
	assert_int_equal(place_of(blocks, count, 2), 0); /* both of these lived all the while */
	assert_int_equal(place_of(blocks, count, 500), 1);
	assert_int_equal(place_of(blocks, count, 3), 2);
	assert_false(overlap(blocks, count));
	free(blocks);
}

/* The record lives again, as another block: that was not there in the first pass. */
static void test_recycled_under_a_list(void **state)
{
	shmb_block_info *blocks;
	size_t count;

	(void)state;
	make_blocks();
	catch_reader_at(&object.blocks[BEHIND], recycle_block);
	blocks = list(&count);
	assert_int_equal(count, 3);
	assert_int_equal(place_of(blocks, count, 1), -1);
	assert_int_equal(place_of(blocks, count, 501), -1);
	assert_false(overlap(blocks, count));
	free(blocks);
}

static void test_owner_lets_go(void **state)
{
	shmb_block_info *blocks;
	size_t count;

	(void)state;
	make_blocks();
	catch_reader_at(&object.blocks[BEHIND], let_go);
	blocks = list(&count);
	assert_int_equal(count, 3);
	assert_int_equal(blocks[0].handle.id, 1);
	assert_int_equal(blocks[0].owner, 0);
	free(blocks);
}

/* In the second pass: whatever comes to be has come too late, and what goes before its turn is left out. */
static void move_back(void)
{
	view_object_free_block(&object, BEHIND + 1);
	view_object_set_block(&object, 2, 502, 1 << 20, 4096);
}

static void close_first_page(void)
{
	catch_reader_at(&object.blocks[0], move_back);
}

static void test_moved_in_the_second_pass(void **state)
{
	shmb_block_info *blocks;
	size_t count;

	(void)state;
	make_blocks();
	catch_reader_at(&object.blocks[BEHIND], close_first_page);
	blocks = list(&count);
	assert_int_equal(count, 2);
	assert_int_equal(place_of(blocks, count, 1), 0);
	assert_int_equal(place_of(blocks, count, 2), 1);
	free(blocks);
	blocks = list(&count);
	assert_int_equal(count, 3);
	free(blocks);
}

static void rename_block(void)
{
	view_object_free_name(&object, 0);
	view_object_set_name(&object, NAME_BEHIND, 500, "moving");
}

static void test_names(void **state)
{
	shmb_name_info *names, name;
	uint32_t cursor = 0;
	size_t count = 0;

	(void)state;
	view_object_use(&object, 0, NAME_BEHIND + 1);
	view_object_set_name(&object, 0, 1, "moving");
	view_object_set_name(&object, 1, 2, "staying");
	catch_reader_at(&object.names[NAME_BEHIND], rename_block);
	while (shmb_next_name(session, &cursor, &name) == 1)
		count++;
	assert_int_equal(count, 3); /* it stands twice */
	view_object_free_name(&object, NAME_BEHIND);
	view_object_set_name(&object, 0, 3, "moving");
	catch_reader_at(&object.names[NAME_BEHIND], rename_block);
	assert_int_equal(shmb_list_names(session, &names, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(names[0].name, "staying");
	assert_string_equal(names[1].name, "moving");
	free(names);
}

/* Replaced between its two looks it is the same name, and stands once. */
static void replace_first(void)
{
	struct name_record *record = &object.names[0];

	record->body[1] = (struct name_body){.id = 900, .block_id = 77, .offset = 10, .length = 20};
	record->body[1].checksum = name_body_checksum(&record->body[1], record->first_id);
	atomic_store_explicit(&record->word, record_word(900, 1, RECORD_LIVE), memory_order_release);
}

static void test_replaced_name(void **state)
{
	shmb_name_info *names;
	size_t count = 0;

	(void)state;
	view_object_use(&object, 0, NAME_BEHIND + 1);
	view_object_set_name(&object, 0, 1, "moving");
	view_object_set_name(&object, NAME_BEHIND, 2, "staying");
	catch_reader_at(&object.names[NAME_BEHIND], replace_first);
	assert_int_equal(shmb_list_names(session, &names, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(names[0].name, "moving");
	assert_int_equal(names[0].block, 77);
	assert_int_equal(names[0].offset, 10);
	assert_int_equal(names[0].length, 20);
	free(names);
}

/* A name that goes to the end of its block is as long as the block says. Without the block it is none. */
static void test_length_of_a_name(void **state)
{
	struct name_record *record = &object.names[0];
	uint32_t cursor = 0;
	shmb_name_info name;

	(void)state;
	view_object_use(&object, 4, 1);
	view_object_set_block(&object, 3, 30, 4096, 128);
	view_object_set_name(&object, 0, 1, "tail");
	record->body[0] = (struct name_body){.id = 1, .block_id = 30, .block = 3, .offset = 100};
	record->body[0].checksum = name_body_checksum(&record->body[0], 1);
	assert_int_equal(shmb_next_name(session, &cursor, &name), 1);
	assert_int_equal(name.offset, 100);
	assert_int_equal(name.length, 28);
	view_object_free_block(&object, 3);
	cursor = 0;
	assert_int_equal(shmb_next_name(session, &cursor, &name), 0);
	view_object_set_block(&object, 3, 31, 4096, 128);
	cursor = 0;
	assert_int_equal(shmb_next_name(session, &cursor, &name), 0);
	object.counters->block_records = 3; /* never looked at beyond */
	cursor = 0;
	assert_int_equal(shmb_next_name(session, &cursor, &name), 0);
}

static void test_filter(void **state)
{
	static const struct {
		const char *prefix, *pattern;
		size_t count;
		const char *first;
	} cases[] = {
		{NULL, NULL, 3, "cam/left"}, {"cam/", NULL, 2, "cam/left"},    {"", "*", 3, "cam/left"},
		{NULL, "*t", 2, "cam/left"}, {"cam/", "*/r*", 1, "cam/right"}, {"x", NULL, 0, NULL},
		{NULL, "cam", 0, NULL},      {NULL, "mi[a-d]", 1, "mic"},
	};

	(void)state;
	view_object_use(&object, 0, 3);
	view_object_set_name(&object, 0, 1, "cam/left");
	view_object_set_name(&object, 1, 2, "cam/right");
	view_object_set_name(&object, 2, 3, "mic");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const shmb_name_filter filter = {cases[i].prefix, cases[i].pattern};
		shmb_name_info *names = NULL;
		size_t count = 99;
		assert_int_equal(shmb_match_names(session, &filter, &names, &count), 0);
		assert_int_equal(count, cases[i].count);
		if (count)
			assert_string_equal(names[0].name, cases[i].first);
		free(names);
	}
}

/* ---- A writer in another process -------------------------------------------------------------------------------- */

#define RECORDS 100 /* that it writes to */
#define STAYING 10  /* and as many that stay as they are, between them */
#define SIZE 4096

/* One block that covers the place of two, then two in its place, in records of every part of the table. */
static void churn(void)
{
	uint64_t id = 1000;

	for (uint32_t n = 0;; n++) {
		uint32_t place = n % (RECORDS / 2), first = place, second = RECORDS - 1 - place, third = RECORDS + STAYING + place;
		uint64_t offset = UINT64_C(1) << 20 | place * 2 * SIZE;

		view_object_free_block(&object, first);
		view_object_free_block(&object, second);
		view_object_set_block(&object, third, id++, offset, 2 * SIZE);
		view_object_free_block(&object, third);
		view_object_set_block(&object, first, id++, offset, SIZE);
		view_object_set_block(&object, second, id++, offset + SIZE, SIZE);
	}
}

static void test_beside_a_writer(void **state)
{
	pid_t parent = getpid(), writer;
	size_t changed = 0, before = 0;

	(void)state;
	view_object_use(&object, 2 * RECORDS, 0);
	for (uint32_t i = 0; i < STAYING; i++)
		view_object_set_block(&object, RECORDS + i, i + 1, i * SIZE, SIZE);
	fflush(NULL);
	writer = fork();
	if (writer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			churn();
		_exit(1);
	}
	for (int round = 0; round < ROUNDS; round++) {
		size_t count;
		shmb_block_info *blocks = list(&count);

		for (uint64_t id = 1; id <= STAYING; id++)
			assert_true(place_of(blocks, count, id) >= 0);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(strtoull(blocks[i].tag, NULL, 10), blocks[i].handle.id);
		assert_false(overlap(blocks, count));
		changed += count != before;
		before = count;
		free(blocks);
	}
	assert_int_equal(kill(writer, SIGKILL), 0);
	assert_int_equal(waitpid(writer, NULL, 0), writer);
	assert_true(changed > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_still, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved_under_a_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved_under_a_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recycled_under_a_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner_lets_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moved_in_the_second_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaced_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_length_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beside_a_writer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
