/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool grows to a larger --size: names, bytes and living sessions stay, and a client uses memory beyond the old end through the
 * mapping that it always had. Whatever a kill in the middle can leave is mended by the next start, and what cannot grow is refused
 * and stays as it was. test_scarce_memory.c has the /dev/shm that is too small, test_command_line.sh the start without a size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_header.h"
#include "server/state_layout.h"
#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"
#include "view.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define CANNOT_START 1
#define CANNOT_BE_SERVED 3
#define COMMITS_MAX 1000 /* no growth has so many: the counting would never end */
#define KIB UINT64_C(1024)
#define MAX_SIZE (1024 * KIB)
#define STEPS 40
#define LIMITS "--max-names", "64", "--max-sessions", "8"

static struct daemon_fixture fixture;
static struct raw_session mine = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;
static uint8_t *mapped; /* by `mine`, when the pool was made: all that it may grow to */

static void open_mine(void)
{
	raw_session_open(&mine, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	mapped = mmap(NULL, MAX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, mine.segment, 0);
	assert_ptr_not_equal(mapped, MAP_FAILED);
}

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "64K", "--max-size", "1M", LIMITS, NULL);
	open_mine();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unsetenv("SHMB_COMMIT_TRAP");
	if (mapped && mapped != MAP_FAILED)
		munmap(mapped, MAX_SIZE);
	mapped = NULL;
	raw_session_close(&mine);
	raw_session_close(&other);
	if (fixture.pid == 0)
		fixture.killed = true;
	daemon_fixture_stop(&fixture);
	return 0;
}

static void take_up_mine(void)
{
	uint64_t sequence = mine.sequence;

	assert_int_equal(raw_session_resume(&mine, fixture.socket_path), OK);
	mine.sequence = sequence;
}

/* The next daemon, with another size. */
static void restart(const char *size)
{
	if (fixture.pid)
		daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", size, NULL);
	take_up_mine();
}

static void refused(int expected, const char *text, const char *option, const char *value)
{
	if (fixture.pid)
		daemon_fixture_kill(&fixture);
	assert_int_equal(truncate(fixture.log_path, 0), 0);
	daemon_fixture_respawn(&fixture, "--size", "64K", option, value, NULL);
	int status = daemon_fixture_wait(&fixture);
	assert_true(daemon_fixture_logged(&fixture, text));
	assert_int_equal(status, expected);
}

static uint64_t size_in(const char *suffix, size_t at)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, suffix);
	uint64_t size;

	assert_int_equal(pread(fd, &size, sizeof size, (off_t)at), sizeof size);
	return size;
}

static void set_size_in(const char *suffix, size_t at, uint64_t size)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, suffix);

	assert_int_equal(pwrite(fd, &size, sizeof size, (off_t)at), sizeof size);
}

#define STATE_SIZE_AT offsetof(struct state_header, size)
#define VIEW_SIZE_AT offsetof(struct view_header, size)

static void set_end(uint64_t end)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, "");

	assert_int_equal(ftruncate(fd, (off_t)end), 0);
}

/* The segment, the state and the view agree. */
static void expect_size(uint64_t size)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, "");
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, (size + 4095) / 4096 * 4096);
	assert_int_equal(size_in(".state", STATE_SIZE_AT), size);
	assert_int_equal(size_in(".view", VIEW_SIZE_AT), size);
}

/* A named block of `mine`, full of `byte`, written through the mapping that it made at the start. */
static void make_block(uint64_t size, const char *name, uint8_t byte, uint64_t *out_offset)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&mine, 0, ++mine.sequence, raw_request_allocate(size, name));

	assert_int_equal(reply->status, OK);
	*out_offset = reply->block->offset;
	memset(mapped + reply->block->offset, byte, size);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* As a client sees them that has come just now. */
static void expect_bytes(uint64_t offset, uint64_t size, uint8_t byte)
{
	static uint8_t bytes[MAX_SIZE];

	assert_int_equal(pread(other.segment, bytes, size, (off_t)offset), size);
	for (uint64_t i = 0; i < size; i++) {
		assert_int_equal(bytes[i], byte);
		assert_int_equal(mapped[offset + i], byte);
	}
}

static void open_other(void)
{
	raw_session_close(&other);
	raw_session_open(&other, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

/* ---- Growing ---------------------------------------------------------------------------------------------------- */

static void test_living_client(void **state)
{
	static struct recount recount;
	uint64_t before, beyond;

	(void)state;
	make_block(20 * KIB, "before", 'b', &before);
	assert_int_equal(raw_session_allocate(&mine, 64 * KIB, NULL, NULL), SHMBUDDY__V1__STATUS__OUT_OF_MEMORY);
	restart("256K");
	assert_true(daemon_fixture_logged(&fixture, "grown from 64K to 256K"));
	expect_size(256 * KIB);
	assert_int_equal(mine.size, 256 * KIB);
	make_block(128 * KIB, "beyond", 'y', &beyond); /* more than there was */
	assert_true(beyond >= 64 * KIB);
	open_other();
	assert_int_equal(other.size, 256 * KIB);
	expect_bytes(before, 20 * KIB, 'b');
	expect_bytes(beyond, 128 * KIB, 'y');
	assert_int_equal(raw_session_lookup(&other, "before", NULL), OK);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 2);
	/* What was handed out beyond the old end is taken over like the rest. */
	restart("256K");
	open_other();
	expect_bytes(beyond, 128 * KIB, 'y');
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 2);
	assert_int_equal(recount.used, (32 + 128) * KIB);
}

/* A session of the library goes on by itself: what it knows of the pool is in the view. */
static void test_library(void **state)
{
	shmb_session *session = pool_session_open(&fixture);
	int outside = 0;
	uint64_t offset;

	(void)state;
	uint8_t *last = shmb_pointer(session, 64 * KIB - 1);
	assert_non_null(last);
	assert_null(shmb_pointer(session, 64 * KIB));
	assert_null(shmb_pointer(session, MAX_SIZE - 1));
	assert_refused(shmb_offset(session, last + 1, &offset), INVALID_ARGUMENT);
	assert_refused(shmb_offset(session, &outside, &offset), INVALID_ARGUMENT);
	restart("256K");
	assert_int_equal(pool_session_status(session).size, 256 * KIB);
	assert_ptr_equal(shmb_pointer(session, 64 * KIB), last + 1);
	assert_ok(shmb_offset(session, last + 1, &offset));
	assert_int_equal(offset, 64 * KIB);
	assert_non_null(shmb_pointer(session, 256 * KIB - 1));
	assert_null(shmb_pointer(session, 256 * KIB));
	last[1] = 1; /* no SIGBUS */
	shmb_close(session);
	session = pool_session_open(&fixture);
	shmb_block block;
	assert_ok(shmb_alloc(session, 128 * KIB, NULL, &block));
	memset(block.data, 1, block.size);
	shmb_close(session);
}

/* Takes all that is free, in pieces of a unit, and writes to all of it. */
static uint64_t fill(void)
{
	uint64_t count = 0;

	for (;; count++) {
		Shmbuddy__V1__Reply *reply = raw_session_send(&mine, 0, ++mine.sequence, raw_request_allocate(64, NULL));
		bool more = reply->status == OK;
		if (more)
			memset(mapped + reply->block->offset, 'f', 64);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		if (!more)
			return count;
	}
}

/* Grows at random, a unit or much at a time, to the most that there is; between, blocks of all sizes come and stay. */
static void test_many_times(void **state)
{
	const char *given = getenv("SHMB_TEST_SEED");
	uint64_t seed = given ? (uint64_t)strtoull(given, NULL, 0) : (uint64_t)getpid(), size = 64 * KIB;
	unsigned short random[3] = {(unsigned short)seed, (unsigned short)(seed >> 16), (unsigned short)(seed >> 32)};
	struct {
		uint64_t offset, size;
	} kept[STEPS];
	static struct recount recount;
	char text[32];

	(void)state;
	print_message("SHMB_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (unsigned step = 0; step < STEPS; step++) {
		kept[step].size = 1 + (uint64_t)nrand48(random) % (2 * KIB);
		snprintf(text, sizeof text, "step-%u", step);
		make_block(kept[step].size, text, (uint8_t)step, &kept[step].offset);
		size += 64 + (uint64_t)nrand48(random) % (24 * KIB) / 64 * 64;
		if (size > MAX_SIZE || step == STEPS - 1)
			size = MAX_SIZE;
		snprintf(text, sizeof text, "%llu", (unsigned long long)size);
		restart(text);
		expect_size(size);
	}
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, STEPS);
	assert_int_equal(recount.used + fill() * 64, MAX_SIZE);
	open_other();
	for (unsigned step = 0; step < STEPS; step++)
		expect_bytes(kept[step].offset, kept[step].size, (uint8_t)step);
}

/* So far that what says which pages are committed takes pages of its own, which no daemon had used. Little of it is touched. */
static void test_far(void **state)
{
	static const uint64_t far = UINT64_C(128) << 20; /* a page of `extents` speaks for that much */
	shmb_block block;
	char name[16];

	(void)state;
	raw_session_close(&mine);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_restart(&fixture, "--discard", "--overcommit", "--size", "1M", "--max-size", "1G", LIMITS, NULL);
	for (unsigned i = 0; i < 8; i++) {
		shmb_session *session = pool_session_open(&fixture);
		snprintf(name, sizeof name, "far-%u", i);
		assert_ok(shmb_alloc(session, 64, &(shmb_alloc_options){.name = name, .alignment = i ? far : 0}, &block));
		assert_int_equal(block.offset, i * far);
		memset(block.data, (int)i, block.size);
		shmb_close(session);
		daemon_fixture_kill(&fixture);
		char size[16];
		snprintf(size, sizeof size, "%lluM",
		         (unsigned long long)((i + 2) * (far >> 20) > 1024 ? 1024 : (i + 2) * (far >> 20)));
		daemon_fixture_restart(&fixture, "--overcommit", "--size", size, NULL);
	}
	shmb_session *session = pool_session_open(&fixture);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof name, "far-%u", i);
		assert_ok(shmb_lookup(session, name, &block));
		for (uint64_t k = 0; k < block.size; k++)
			assert_int_equal(((uint8_t *)block.data)[k], i);
	}
	shmb_close(session);
}

/* A pool of smaller pieces than a new one would have is started with its own size alone. */
static void test_small_pieces(void **state)
{
	(void)state;
	raw_session_close(&mine);
	daemon_fixture_stop(&fixture);
	daemon_fixture_start_lasting(&fixture, "--size", "4112", "--min-block", "16", NULL);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "4112", NULL);
	expect_size(4112);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "4128", NULL);
	expect_size(4128);
	daemon_fixture_kill(&fixture);
	daemon_fixture_respawn(&fixture, "--size", "4112", "--discard", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), CANNOT_START);
	assert_true(daemon_fixture_logged(&fixture, "is no multiple of the smallest piece, 64"));
}

/* With each policy for its memory: what is new is there to be handed out, and comes back. */
static void test_policies(void **state)
{
	static const char *const policies[][2] = {{"--zero", "on-free"}, {"--commit", "up-front"}, {"--return-after", "1ms"}};
	Shmbuddy__V1__Handle small, large;

	(void)state;
	for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
		char size[16];

		assert_int_equal(raw_session_allocate(&mine, 20000, NULL, &small), OK);
		daemon_fixture_kill(&fixture);
		snprintf(size, sizeof size, "%zuK", 256 * (i + 1));
		daemon_fixture_restart(&fixture, "--size", size, policies[i][0], policies[i][1], NULL);
		take_up_mine();
		expect_size(256 * (i + 1) * KIB);
		assert_int_equal(raw_session_free(&mine, &small), OK);
		/* All of its upper part, twice: the second time it has been had before. */
		for (int k = 0; k < 2; k++) {
			assert_int_equal(raw_session_allocate(&mine, 128 * KIB * (i + 1), NULL, &large), OK);
			assert_int_equal(raw_session_free(&mine, &large), OK);
		}
	}
}

/* From the middle of a page to its end or less, and far beyond it. */
static void test_within_a_page(void **state)
{
	(void)state;
	raw_session_close(&mine);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_restart(&fixture, "--discard", "--size", "1K", "--max-size", "1M", LIMITS, NULL);
	munmap(mapped, MAX_SIZE);
	open_mine();
	expect_size(1 * KIB);
	assert_int_equal(fill(), 16);
	restart("3K");
	expect_size(3 * KIB);
	assert_int_equal(fill(), 32);
	restart("4160"); /* a page and a unit */
	expect_size(4160);
	assert_int_equal(fill(), 17);
	restart("1M");
	expect_size(1024 * KIB);
	assert_int_equal(fill(), (1024 * KIB - 4160) / 64);
	for (uint64_t i = 0; i < MAX_SIZE; i++)
		assert_int_equal(mapped[i], 'f');
	assert_int_equal(raw_session_ping(&mine), OK);
}

/* ---- What is refused -------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	uint64_t offset;

	(void)state;
	make_block(1000, "kept", 'k', &offset);
	restart("128K");
	refused(CANNOT_BE_SERVED, "has a size of 128K, and does not shrink to 64K: start it with --size 128K or more", NULL,
	        NULL);
	expect_size(128 * KIB);
	refused(CANNOT_BE_SERVED, "was made with --max-size 1M: start it with a --size up to 1M, not 1048640", "--size",
	        "1048640");
	expect_size(128 * KIB);
	refused(CANNOT_BE_SERVED, "was made with --max-size 1M, which stays", "--max-size", "2M");
	refused(2, "--max-size 32K: must be at least --size, which is 64K", "--max-size", "32K");
	expect_size(128 * KIB);
	restart("128K");
	open_other();
	expect_bytes(offset, 1000, 'k');
}

/* The kernel does not make the segment longer: nobody is served, and nothing has changed. */
static void test_limit_of_file_sizes(void **state)
{
	const struct rlimit low = {96 * KIB, RLIM_INFINITY};
	struct rlimit before;
	uint64_t offset;

	(void)state;
	make_block(1000, "kept", 'k', &offset);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	refused(CANNOT_START, "cannot grow from 64K to 128K: File too large", "--size", "128K");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	expect_size(64 * KIB);
	restart("64K");
	restart("128K");
	open_other();
	expect_bytes(offset, 1000, 'k');
}

/* ---- Killed in the middle --------------------------------------------------------------------------------------- */

/* All that the steps of a growth can leave, made by hand; then a start with and without growing further. */
static void test_left_half_grown(void **state)
{
	static const struct {
		uint64_t end, state, view; /* KiB */
		const char *size;
		uint64_t expected;
	} left[] = {
		{256, 64, 64, "64K", 64},     /* after the segment: it ends where it should again */
		{256, 64, 64, "256K", 256},   /* goes on */
		{512, 256, 256, "300K", 300}, /* goes on to less */
		{512, 512, 300, "512K", 512}, /* after the state: it has grown */
		{1024, 600, 512, "1M", 1024}, /* both, and goes on */
	};
	uint64_t offset, beyond;

	(void)state;
	make_block(1000, "kept", 'k', &offset);
	for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
		daemon_fixture_kill(&fixture);
		set_end(left[i].end * KIB);
		set_size_in(".state", STATE_SIZE_AT, left[i].state * KIB);
		set_size_in(".view", VIEW_SIZE_AT, left[i].view * KIB);
		restart(left[i].size);
		expect_size(left[i].expected * KIB);
		open_other();
		expect_bytes(offset, 1000, 'k');
	}
	make_block(512 * KIB, NULL, 'h', &beyond);
	open_other();
	expect_bytes(beyond, 512 * KIB, 'h');
}

/* And all that they cannot. */
static void test_left_by_no_growth(void **state)
{
	static const struct {
		uint64_t end, state, view; /* bytes */
		const char *text;
	} left[] = {
		{60 * 1024, 65536, 65536, "somebody has cut or grown it"},
		{1028 * 1024, 65536, 65536, "somebody has cut or grown it"},
		{65536, 131072, 65536, "somebody has cut or grown it"},
		{65536, 131072, 131072, "somebody has cut or grown it"},
		{131072, 65536, 131072, "is damaged"},
		{65536, 65535, 65535, "is damaged"},
		{2 * 1048576, 2 * 1048576, 65536, "is damaged"},
		{65536, 0, 0, "is damaged"},
		{65536, 65536, 32, "is damaged"},
		{65536, 65536, UINT64_MAX, "is damaged"},
	};
	uint64_t offset;

	(void)state;
	make_block(1000, "kept", 'k', &offset);
	daemon_fixture_kill(&fixture);
	for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
		set_end(left[i].end);
		set_size_in(".state", STATE_SIZE_AT, left[i].state);
		set_size_in(".view", VIEW_SIZE_AT, left[i].view);
		refused(CANNOT_BE_SERVED, left[i].text, "--size", "128K");
		assert_int_equal(size_in(".state", STATE_SIZE_AT), left[i].state);
		assert_int_equal(size_in(".view", VIEW_SIZE_AT), left[i].view);
	}
	set_end(65536);
	set_size_in(".state", STATE_SIZE_AT, 65536);
	set_size_in(".view", VIEW_SIZE_AT, 65536);
	restart("64K");
	open_other();
	expect_bytes(offset, 1000, 'k');
}

/* A record that lies where the pool was not yet: the tables are checked before anything grows. */
static void test_damaged_and_to_grow(void **state)
{
	uint64_t offset, blocks_at;

	(void)state;
	make_block(1000, "kept", 'k', &offset);
	daemon_fixture_kill(&fixture);
	blocks_at = size_in(".view", offsetof(struct view_header, blocks_at));
	uint64_t block = blocks_at + offsetof(struct block_record, offset);
	set_size_in(".view", block, 128 * KIB);
	refused(CANNOT_BE_SERVED, "block record 0 ", "--size", "256K");
	expect_size(64 * KIB);
	set_size_in(".view", block, offset);
	restart("256K");
	open_other();
	expect_bytes(offset, 1000, 'k');
}

/* Stopped before each of its commits in turn; the next start goes on, or keeps what there is. */
static void test_killed_at_each_commit(void **state)
{
	uint64_t offset, trap = 0, grown = 0;
	char number[24];

	(void)state;
#ifndef SHMB_COMMIT_TRAP
	print_message("skipped: the daemon is built without SHMB_COMMIT_TRAP\n");
	skip();
#endif
	make_block(1000, "kept", 'k', &offset);
	for (;;) {
		daemon_fixture_kill(&fixture);
		set_end(64 * KIB);
		set_size_in(".state", STATE_SIZE_AT, 64 * KIB);
		set_size_in(".view", VIEW_SIZE_AT, 64 * KIB);
		assert_true(++trap < COMMITS_MAX);
		snprintf(number, sizeof number, "%llu", (unsigned long long)trap);
		assert_int_equal(setenv("SHMB_COMMIT_TRAP", number, 1), 0);
		daemon_fixture_respawn(&fixture, "--size", "256K", NULL);
		unsetenv("SHMB_COMMIT_TRAP");
		int status = daemon_fixture_comes_up(&fixture);
		if (fixture.pid)
			break;
		assert_int_equal(status, -9);
		uint64_t size = size_in(".state", STATE_SIZE_AT);
		assert_true(size == 64 * KIB || size == 256 * KIB);
		grown += size == 256 * KIB;
		restart(size == 64 * KIB && trap % 2 ? "64K" : "256K");
		expect_size(size == 64 * KIB && trap % 2 ? 64 * KIB : 256 * KIB);
		open_other();
		expect_bytes(offset, 1000, 'k');
	}
	print_message("killed at %llu commits\n", (unsigned long long)trap - 1);
	assert_true(grown > 0);
	restart("256K"); /* the trap of the last one waits for its next commit */
	expect_size(256 * KIB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_living_client),
		TEST(test_library),
		TEST(test_many_times),
		TEST(test_small_pieces),
		TEST(test_policies),
		TEST(test_within_a_page),
		TEST(test_far),
		TEST(test_refused),
		TEST(test_limit_of_file_sizes),
		TEST(test_left_half_grown),
		TEST(test_left_by_no_growth),
		TEST(test_damaged_and_to_grow),
		TEST(test_killed_at_each_commit),
	};

	return cmocka_run_group_tests_name("growth", tests, NULL, NULL);
}
