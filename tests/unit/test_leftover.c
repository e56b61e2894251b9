/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a former daemon left: real pools under a name of this process, whole, half made, ephemeral, foreign and damaged. Each is
 * served, thrown away or refused by name, and what is refused is not changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/leftover.h"
#include "server/log.h"
#include "server/pool.h"
#include "server/state_header.h"
#include "server/state_layout.h"
#include "tests/unit/captured.h"
#include "view.h"

#define UNIT 4096
#define SIZE (UINT64_C(16) * UNIT)
#define MAX_SIZE (UINT64_C(64) * UNIT)
#define PAGE 4096

static char name[32];
static struct pool pool; /* as pool_open has it when it asks */
static struct pool_options options;
static struct captured said;
static enum leftover kind;

static void look_at_it(void)
{
	uint64_t size;

	pool = (struct pool){.segment_read_write = -1, .segment_read_only = -1, .unit = 1, .size = 1, .grown_size = 1};
	strcpy(pool.name, name);
	shared_object_init(&pool.segment, name, "");
	shared_object_init(&pool.view, name, ".view");
	shared_object_init(&pool.state, name, ".state");
	assert_int_equal(shared_object_lock(&pool.state, &size), 0);
}

static void look_away(void)
{
	shared_object_deinit(&pool.segment);
	shared_object_deinit(&pool.view);
	shared_object_deinit(&pool.state);
}

static int setup(void **state)
{
	static uv_loop_t loop;

	(void)state;
	snprintf(name, sizeof name, "unit-leftover-%d", (int)getpid());
	log_open(LOG_LEVEL_INFO);
	options = (struct pool_options){
		.name = name, .size = SIZE, .max_size = MAX_SIZE, .unit = UNIT, .max_names = 16, .max_sessions = 4};
	if (uv_loop_init(&loop) < 0 || pool_open(&loop, &options, &pool) < 0)
		return -1;
	pool_close(&pool);
	if (uv_loop_close(&loop) < 0)
		return -1;
	look_at_it();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	look_away();
	shared_object_unlink(&pool.segment);
	shared_object_unlink(&pool.view);
	shared_object_unlink(&pool.state);
	return 0;
}

static int examine(void)
{
	uint64_t size = (uint64_t)lseek(pool.state.fd, 0, SEEK_END);

	kind = (enum leftover)99;
	captured_begin(&said, stderr);
	int result = leftover_examine(&pool, &options, size, &kind);
	captured_end(&said);
	return result;
}

static int open_it(void)
{
	captured_begin(&said, stderr);
	int result = leftover_open(&pool);
	captured_end(&said);
	return result;
}

static void expect_said(const char *words)
{
	if (!strstr(said.text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, said.text);
}

static void expect_refused(int result, const char *words)
{
	expect_said(words);
	expect_said(name);
	expect_said(", or throw it away with --discard");
	assert_int_equal(result, -EUCLEAN);
}

static void expect_kind(enum leftover expected)
{
	int result = examine();

	if (result < 0)
		fail_msg("%d: %s", result, said.text);
	assert_int_equal(kind, expected);
}

/* The whole way of a daemon that starts now to a pool that can be served. */
static void expect_served(uint64_t size)
{
	look_away();
	look_at_it();
	expect_kind(LEFTOVER_ADOPT);
	assert_string_equal(said.text, "");
	assert_int_equal(pool.unit, UNIT);
	assert_int_equal(pool.size, size);
	int result = open_it();
	if (result < 0)
		fail_msg("%d: %s", result, said.text);
	assert_int_equal(pool.header->incarnation, pool.incarnation);
	assert_int_equal(atomic_load(&pool.header->daemon_pid), getpid());
	assert_ptr_equal(pool.counters, (uint8_t *)pool.view.base + VIEW_COUNTERS_AT);
}

/* ---- Headers, changed and put back ------------------------------------------------------------------------------ */

static struct state_header state_header(void)
{
	struct state_header header;

	assert_int_equal(pread(pool.state.fd, &header, sizeof header, 0), sizeof header);
	return header;
}

static void put_state_header(struct state_header header, bool with_checksum)
{
	if (with_checksum)
		header.checksum = state_header_checksum(&header);
	assert_int_equal(pwrite(pool.state.fd, &header, sizeof header, 0), sizeof header);
}

static struct view_header view_header(void)
{
	int fd = shm_open(pool.view.name, O_RDWR, 0);
	struct view_header header;

	assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
	close(fd);
	return header;
}

static void put_view_header(struct view_header header)
{
	int fd = shm_open(pool.view.name, O_RDWR, 0);

	header.checksum = view_header_checksum(&header);
	assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
	close(fd);
}

static void set_end(const struct shared_object *object, uint64_t end)
{
	int fd = shm_open(object->name, O_RDWR, 0);

	assert_int_equal(ftruncate(fd, (off_t)end), 0);
	close(fd);
}

static uint64_t end_of(const struct shared_object *object)
{
	int fd = shm_open(object->name, O_RDWR, 0);
	off_t end = lseek(fd, 0, SEEK_END);

	close(fd);
	return (uint64_t)end;
}

/* ---- Kinds ------------------------------------------------------------------------------------------------------ */

static void test_served(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		expect_served(SIZE);
}

static void test_nothing(void **state)
{
	struct state_header header = state_header();

	(void)state;
	/* Half made: without its magic, or not even a header long. */
	atomic_store(&header.magic, 0);
	put_state_header(header, true);
	expect_kind(LEFTOVER_NONE);
	assert_int_equal(ftruncate(pool.state.fd, sizeof header - 1), 0);
	expect_kind(LEFTOVER_NONE);
	assert_int_equal(ftruncate(pool.state.fd, 0), 0);
	expect_kind(LEFTOVER_NONE);
	options.discard = true;
	expect_kind(LEFTOVER_NONE);
	assert_string_equal(said.text, "");
}

static void test_ephemeral(void **state)
{
	struct state_header header = state_header();

	(void)state;
	atomic_store(&header.lasts, STATE_EPHEMERAL);
	put_state_header(header, true);
	expect_kind(LEFTOVER_NONE);
	expect_said("it was ephemeral");
	/* The word alone does not throw a pool away: its header must be whole. */
	header.unit ^= 1;
	put_state_header(header, false);
	expect_refused(examine(), "is damaged: look at it");
}

static void test_discard(void **state)
{
	struct state_header header = state_header();

	(void)state;
	options.discard = true;
	expect_kind(LEFTOVER_DISCARD);
	/* What cannot be served as well. */
	header.layout_version++;
	put_state_header(header, false);
	expect_kind(LEFTOVER_DISCARD);
	atomic_store(&header.magic, 1);
	put_state_header(header, false);
	expect_kind(LEFTOVER_DISCARD);
}

static void test_unreadable(void **state)
{
	int fd = pool.state.fd;

	(void)state;
	pool.state.fd = -1;
	captured_begin(&said, stderr);
	int result = leftover_examine(&pool, &options, SIZE, &kind);
	captured_end(&said);
	pool.state.fd = fd;
	assert_int_equal(result, -EBADF);
}

/* ---- The state's header ----------------------------------------------------------------------------------------- */

#define WRONG(words, with_checksum, change)                                                                                 \
	do {                                                                                                                    \
		struct state_header header = whole;                                                                                 \
		change;                                                                                                             \
		put_state_header(header, with_checksum);                                                                            \
		expect_refused(examine(), words);                                                                                   \
	} while (0)

static void test_wrong_state_header(void **state)
{
	struct state_header whole = state_header();
	char versions[128];

	(void)state;
	snprintf(versions, sizeof versions,
	         "what is there has layout version %u, this daemon knows %u: start the shmbuddyd that made it",
	         STATE_LAYOUT_VERSION + 1, STATE_LAYOUT_VERSION);
	WRONG("is no pool of this program: look at it", true, atomic_store(&header.magic, STATE_MAGIC ^ 1));
	WRONG(versions, true, header.layout_version = STATE_LAYOUT_VERSION + 1);
	WRONG("comes from another boot of the machine, and its processes are gone", true, header.boot_id[15] ^= 1);
	WRONG("is damaged", false, header.boot_id[15] ^= 1);
	WRONG("is damaged", true, header.pool[0] ^= 1);
	WRONG("is damaged", true, header.extent *= 2);
	WRONG("is damaged", true, atomic_store(&header.lasts, 0));
	WRONG("is damaged", true, atomic_store(&header.size, 0));
	WRONG("is damaged", true, atomic_store(&header.size, SIZE + 1));
	WRONG("is damaged", true, atomic_store(&header.size, MAX_SIZE + UNIT));
	put_state_header(whole, false);
	expect_served(SIZE);
}

/* ---- Wishes ----------------------------------------------------------------------------------------------------- */

static void test_wishes_that_fit(void **state)
{
	(void)state;
	options.size_given = options.unit_given = options.max_size_given = true;
	expect_served(SIZE);
	/* What is not asked for is as it is. */
	options.size_given = options.unit_given = options.max_size_given = false;
	options.unit = 64;
	options.size = 1;
	options.max_size = 2;
	expect_kind(LEFTOVER_ADOPT);
	assert_int_equal(pool.size, SIZE);
	assert_int_equal(pool.grown_size, SIZE);
	/* Larger, in its own units, up to the most. */
	options.size_given = true;
	for (options.size = SIZE; options.size <= MAX_SIZE; options.size += UNIT) {
		expect_kind(LEFTOVER_ADOPT);
		assert_int_equal(pool.unit, UNIT);
		assert_int_equal(pool.size, SIZE);
		assert_int_equal(pool.grown_size, options.size);
	}
}

static void test_wishes_that_do_not_fit(void **state)
{
	(void)state;
	options.unit_given = true;
	options.unit = 64;
	expect_refused(examine(), "it was made with --min-block 4K: start it with that");
	options.unit_given = false;
	options.size_given = true;
	options.size = SIZE - UNIT;
	expect_refused(examine(), "it has a size of 64K, and does not shrink to 60K: start it with --size 64K or more");
	options.size = MAX_SIZE + UNIT;
	expect_refused(examine(),
	               "it has a size of 64K and was made with --max-size 256K: start it with a --size up to 256K, not 260K");
	options.size = SIZE + 64; /* a figure that would be rounded is given in bytes */
	expect_refused(examine(), "was made with --min-block 4K: start it with a --size that is a multiple of that, not 65600");
	options.size = SIZE;
	options.max_size_given = true;
	options.max_size = 2 * MAX_SIZE;
	expect_refused(examine(), "it was made with --max-size 256K, which stays: start it with that, or without");
	options.max_size = MAX_SIZE;
	expect_served(SIZE);
}

/* ---- The objects ------------------------------------------------------------------------------------------------ */

static void expect_not_opened(const char *words)
{
	look_away(); /* its size is found out with the lock */
	look_at_it();
	expect_kind(LEFTOVER_ADOPT);
	expect_refused(open_it(), words);
}

static void test_wrong_ends(void **state)
{
	const struct shared_object *const objects[] = {&pool.segment, &pool.view, &pool.state};
	const uint64_t segment = end_of(&pool.segment);

	(void)state;
	assert_int_equal(segment, SIZE);
	for (size_t i = 0; i < 3; i++) {
		uint64_t end = end_of(objects[i]);
		set_end(objects[i], end - PAGE);
		expect_not_opened("somebody has cut or grown it");
		set_end(objects[i], (i ? end : MAX_SIZE) + PAGE);
		expect_not_opened("somebody has cut or grown it");
		set_end(objects[i], end);
	}
	/* A growth that was killed leaves it longer. */
	for (uint64_t end = SIZE; end <= MAX_SIZE; end += PAGE) {
		set_end(&pool.segment, end);
		expect_served(SIZE);
		assert_int_equal(end_of(&pool.segment), end);
	}
}

static void test_missing_and_foreign(void **state)
{
	const struct shared_object *const objects[] = {&pool.segment, &pool.view};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char path[SHARED_OBJECT_NAME_MAX + 16], aside[64];
		snprintf(path, sizeof path, "/dev/shm%s", objects[i]->name);
		snprintf(aside, sizeof aside, "/dev/shm/shmbuddy.%s.aside", name);
		assert_int_equal(rename(path, aside), 0);
		expect_not_opened("is gone, and nothing can be served without it");
		int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		expect_not_opened("is not the one that belongs to it: put that back");
		assert_int_equal(fchmod(fd, 0644), 0);
		look_away();
		look_at_it();
		expect_kind(LEFTOVER_ADOPT);
		assert_int_equal(open_it(), -EPERM);
		expect_said("cannot open /shmbuddy.");
		close(fd);
		assert_int_equal(rename(aside, path), 0);
	}
	expect_served(SIZE);
}

#define WRONG_VIEW(words, change)                                                                                           \
	do {                                                                                                                    \
		struct view_header header = whole;                                                                                  \
		change;                                                                                                             \
		put_view_header(header);                                                                                            \
		expect_not_opened(words);                                                                                           \
	} while (0)

static void test_wrong_view_header(void **state)
{
	struct view_header whole = view_header();

	(void)state;
	WRONG_VIEW("it was never finished: nothing is in it", atomic_store(&header.magic, 0));
	WRONG_VIEW("is damaged: look at it", atomic_store(&header.magic, 1));
	WRONG_VIEW("is damaged: look at it", header.incarnation ^= 1);
	WRONG_VIEW("is damaged: look at it", header.unit /= 2);
	WRONG_VIEW("is damaged: look at it", header.max_size += UNIT);
	WRONG_VIEW("is damaged: look at it", header.max_blocks += 4096);
	WRONG_VIEW("is damaged: look at it", atomic_store(&header.size, SIZE + UNIT));
	put_view_header(whole);
	expect_served(SIZE);
}

/* The state comes first: a view that says less is one that a growth did not get to. */
static void test_view_behind(void **state)
{
	struct state_header header = state_header();

	(void)state;
	atomic_store(&header.size, 2 * SIZE);
	put_state_header(header, false);
	expect_not_opened("somebody has cut or grown it"); /* the segment comes before both */
	set_end(&pool.segment, 2 * SIZE);
	expect_served(2 * SIZE);
}

/* ---- What people are told --------------------------------------------------------------------------------------- */

static void test_describe(void **state)
{
	char text[LEFTOVER_TEXT_MAX];
	struct view_counters counters = {.used = 3 * SIZE / 2, .blocks = 12, .names = 5};
	int fd = shm_open(pool.view.name, O_RDWR, 0);

	(void)state;
	leftover_describe(&pool, text);
	assert_string_equal(text, "0 blocks (0), 0 names");
	assert_int_equal(pwrite(fd, &counters, sizeof counters, VIEW_COUNTERS_AT), sizeof counters);
	leftover_describe(&pool, text);
	assert_string_equal(text, "12 blocks (96K), 5 names");
	/* The longest that there may be. */
	memset(&counters, 0xff, sizeof counters);
	assert_int_equal(pwrite(fd, &counters, sizeof counters, VIEW_COUNTERS_AT), sizeof counters);
	leftover_describe(&pool, text);
	assert_non_null(strstr(text, "18446744073709551615 names"));
	assert_int_equal(ftruncate(fd, VIEW_COUNTERS_AT + 8), 0);
	leftover_describe(&pool, text);
	assert_string_equal(text, "its view cannot be read");
	assert_int_equal(ftruncate(fd, 0), 0);
	leftover_describe(&pool, text);
	assert_string_equal(text, "its view cannot be read");
	assert_int_equal(pwrite(fd, "something else", 14, 0), 14);
	leftover_describe(&pool, text);
	assert_string_equal(text, "its view cannot be read");
	close(fd);
	shared_object_unlink(&pool.view);
	leftover_describe(&pool, text);
	assert_string_equal(text, "its view cannot be read");
	pool.state.size = 0; /* it was never finished */
	leftover_describe(&pool, text);
	assert_string_equal(text, "nothing that was ever used");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_served),
		TEST(test_nothing),
		TEST(test_ephemeral),
		TEST(test_discard),
		TEST(test_unreadable),
		TEST(test_wrong_state_header),
		TEST(test_wishes_that_fit),
		TEST(test_wishes_that_do_not_fit),
		TEST(test_wrong_ends),
		TEST(test_missing_and_foreign),
		TEST(test_wrong_view_header),
		TEST(test_view_behind),
		TEST(test_describe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
