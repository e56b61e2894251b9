/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may change of a block while it lives. A sealed one does not: a stray write to it faults where it happens, and the bytes stay. Metadata
 * come back with the block, whole, to whoever reads the view. A size changes in place where that can be, and never under somebody who holds the
 * block. All of it is there again after a daemon was killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"

#define POOL (UINT64_C(16) << 20)
#define HOLD_BY_PAGE 5 /* acquisitions, after which a session has a hold page */

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_block block;
static struct raw_session raw = RAW_SESSION_CLOSED;
static Shmbuddy__V1__Handle raw_block;

static void start(void)
{
	daemon_fixture_start_lasting(&fixture, NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
}

static int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	raw_session_close(&raw);
	daemon_fixture_stop(&fixture);
	return 0;
}

static void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, NULL);
}

static void recount(void)
{
	static struct recount counted;

	recount_pool(fixture.pool, &counted);
}

static void allocate(uint64_t size, const char *name)
{
	assert_ok(shmb_alloc(session, size, &(shmb_alloc_options){.name = name, .tag = "changes"}, &block));
	pattern_write(block.data, block.size, block.handle.id);
}

/* ---- Sealing ---------------------------------------------------------------------------------------------------- */

/* Does this process get so far as to read, or write, a byte there? write(2) and read(2) say so without a signal. */
static bool can_read(const void *address)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	ssize_t done = write(ends[1], address, 1);
	assert_true(done == 1 || errno == EFAULT);
	close(ends[0]);
	close(ends[1]);
	return done == 1;
}

static bool can_write(void *address)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], address, 1), 1);
	ssize_t done = read(ends[0], address, 1);
	assert_true(done == 1 || errno == EFAULT);
	close(ends[0]);
	close(ends[1]);
	return done == 1;
}

static void write_astray(int control, const void *argument)
{
	shmb_block found;

	(void)control;
	(void)argument;
	signal(SIGSEGV, SIG_DFL); /* no sanitizer's */
	CLIENT_CHECK(shmb_lookup(session, "sealed", &found) == 0 && found.sealed);
	CLIENT_CHECK(pattern_matches(found.data, found.size, found.handle.id));
	((volatile uint8_t *)found.data)[found.size - 1] ^= 0xff;
}

static void test_stray_write(void **state)
{
	struct client_process process;
	shmb_block found;

	(void)state;
	start();
	allocate(10000, "sealed");
	assert_false(block.sealed);
	assert_ok(shmb_seal(session, block.handle));
	client_process_start(&process, write_astray, NULL);
	assert_int_equal(client_process_reap(&process), -SIGSEGV);
	assert_true(pattern_matches(block.data, block.size, block.handle.id));

	/* The address that was there before stays writable; whatever is given out from now on is not. */
	assert_true(can_write(block.data));
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_true(found.sealed && found.data != block.data && can_read(found.data) && !can_write(found.data));
	assert_ptr_equal(found.data, shmb_pointer_read_only(session, block.offset));
	assert_ptr_equal(block.data, shmb_pointer(session, block.offset));
	assert_ok(shmb_lookup(other, "sealed", &found));
	assert_true(found.sealed && !can_write(found.data));
	assert_ptr_equal(found.data, shmb_pointer_read_only(other, block.offset));
	pool_session_recount(session);
}

static void test_seal(void **state)
{
	shmb_block_info info;
	shmb_block again;
	bool moved;

	(void)state;
	start();
	allocate(1000, NULL);
	assert_refused(shmb_seal(session, (shmb_handle){0}), INVALID_ARGUMENT);
	assert_refused(shmb_seal(other, block.handle), NOT_HELD);
	assert_ok(shmb_find_block(session, block.handle.id, &info));
	assert_false(info.sealed);
	assert_ok(shmb_seal(session, block.handle));
	assert_ok(shmb_seal(session, block.handle));
	assert_refused(shmb_resize(session, block.handle, 500, &again, &moved), SEALED);
	assert_refused(shmb_resize(session, block.handle, 5000, &again, &moved), SEALED);
	assert_refused(shmb_set_metadata(session, block.handle, "x", 1), SEALED);
	assert_ok(shmb_publish(session, block.handle, "sealed"));
	restart();
	assert_ok(shmb_ping(session));
	assert_ok(shmb_find_block(session, block.handle.id, &info));
	assert_true(info.sealed && info.size == 1000 && info.owner);
	assert_refused(shmb_resize(session, block.handle, 500, &again, &moved), SEALED);
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_lookup(other, "sealed", &again));
	assert_true(again.sealed && pattern_matches(again.data, again.size, block.handle.id));
	assert_ok(shmb_unpublish(session, "sealed"));
	assert_ok(shmb_seal(other, again.handle)); /* by who holds it, whoever allocated it */
	assert_ok(shmb_free(other, again.handle));
	assert_refused(shmb_seal(session, block.handle), STALE_HANDLE);
	/* A block that comes to lie there is not. */
	allocate(1000, NULL);
	assert_false(block.sealed);
	assert_true(can_write(block.data));
	recount();
}

/* Held by its page, too: acquired and looked up without a request. */
static void test_seal_by_page(void **state)
{
	shmb_block found = {0};

	(void)state;
	start();
	allocate(1000, "paged");
	for (int i = 0; i < 2 * HOLD_BY_PAGE; i++) {
		assert_ok(shmb_acquire(other, block.handle, &found));
		assert_true(!found.sealed && can_write(found.data));
	}
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_unpublish(session, "paged"));
	assert_ok(shmb_seal(other, block.handle));
	for (int i = 0; i < 2 * HOLD_BY_PAGE; i++)
		assert_ok(shmb_free(other, block.handle));
	assert_refused(shmb_free(other, block.handle), STALE_HANDLE);

	allocate(1000, "paged");
	assert_ok(shmb_seal(session, block.handle));
	for (int i = 0; i < 2 * HOLD_BY_PAGE; i++) {
		assert_ok(i % 2 ? shmb_acquire(other, block.handle, &found) : shmb_lookup(other, "paged", &found));
		assert_true(found.sealed && !can_write(found.data) && found.size == 1000);
	}
	assert_ok(shmb_publish(other, block.handle, "again"));
}

/* A range of a sealed block has its address in the read-only mapping, which may be made for it. */
static void test_sealed_range(void **state)
{
	shmb_block found;

	(void)state;
	start();
	allocate(10000, NULL);
	assert_ok(shmb_publish_with(session, block.handle, "range", &(shmb_publish_options){.offset = 4000, .length = 500}));
	assert_ok(shmb_seal(session, block.handle));
	/* The first sealed block that a session meets, it meets by a request; the next session by its page. */
	assert_ok(shmb_alloc(session, 100, &(shmb_alloc_options){.name = "open"}, &found));
	for (int by_page = 0; by_page < 2; by_page++) {
		for (int i = 0; i < 2 * HOLD_BY_PAGE * by_page; i++)
			assert_ok(shmb_lookup(other, "open", &found));
		assert_ok(shmb_lookup(other, "range", &found));
		assert_true(found.sealed && found.offset == block.offset + 4000 && found.size == 500);
		assert_ptr_equal(found.data, shmb_pointer_read_only(other, found.offset));
		assert_true(can_read(found.data) && !can_write(found.data));
		assert_memory_equal(found.data, (uint8_t *)block.data + 4000, 500);
		shmb_close(other);
		other = pool_session_open(&fixture);
	}
}

static void test_addresses(void **state)
{
	const uint8_t *read_only;
	uint64_t offset = 0;

	(void)state;
	start();
	allocate(5000, NULL);
	assert_ok(shmb_offset(session, (uint8_t *)block.data + 7, &offset));
	assert_int_equal(offset, block.offset + 7);
	read_only = shmb_pointer_read_only(session, block.offset);
	assert_non_null(read_only);
	assert_memory_equal(read_only, block.data, 5000);
	assert_ok(shmb_offset(session, read_only + 8, &offset));
	assert_int_equal(offset, block.offset + 8);
	assert_ok(shmb_offset(session, (uint8_t *)block.data + 9, &offset));
	assert_int_equal(offset, block.offset + 9);
	assert_refused(shmb_offset(session, &offset, &offset), INVALID_ARGUMENT);
	assert_refused(shmb_offset(session, read_only - block.offset + POOL, &offset), INVALID_ARGUMENT);
	assert_null(shmb_pointer_read_only(session, POOL));
	assert_non_null(shmb_pointer_read_only(session, POOL - 1));
	/* Aligned as the other. */
	assert_int_equal((uintptr_t)shmb_pointer_read_only(session, 0) % POOL, (uintptr_t)shmb_pointer(session, 0) % POOL);
}

/* The descriptor of a session that may only read is read-only, so that no mapping of it can be made writable. */
static void test_reader_cannot_make_it_writable(void **state)
{
	shmb_block found;
	bool moved;

	(void)state;
	start();
	shmb_close(other);
	other = pool_session_open_read_only(&fixture);
	allocate(10000, "sealed");
	assert_ok(shmb_seal(session, block.handle));
	assert_ok(shmb_lookup(other, "sealed", &found));
	assert_true(found.sealed);
	assert_ptr_equal(found.data, shmb_pointer(other, found.offset));
	assert_ptr_equal(found.data, shmb_pointer_read_only(other, found.offset));
	void *page = (void *)((uintptr_t)found.data & ~(uintptr_t)4095);
	assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);
	assert_false(can_write(found.data));
	assert_refused(shmb_seal(other, found.handle), READ_ONLY);
	assert_refused(shmb_set_metadata(other, found.handle, "x", 1), READ_ONLY);
	assert_refused(shmb_resize(other, found.handle, 5, &found, &moved), READ_ONLY);
}

/* A child inherits neither mapping; its own session makes its own. */
static void test_fork(void **state)
{
	shmb_block found;
	int status;

	(void)state;
	start();
	allocate(10000, "sealed");
	assert_ok(shmb_seal(session, block.handle));
	assert_ok(shmb_acquire(session, block.handle, &found));
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		int ends[2];
		shmb_block own;
		CLIENT_CHECK(pipe(ends) == 0);
		CLIENT_CHECK(write(ends[1], block.data, 1) == -1 && errno == EFAULT);
		CLIENT_CHECK(write(ends[1], found.data, 1) == -1 && errno == EFAULT);
		CLIENT_CHECK(mmap(found.data, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
		             MAP_FAILED); /* reserved */
		CLIENT_CHECK(shmb_lookup(session, "sealed", &own) == 0 && own.sealed && own.data != found.data);
		CLIENT_CHECK(pattern_matches(own.data, own.size, own.handle.id));
		CLIENT_CHECK(write(ends[1], found.data, 1) == -1 && errno == EFAULT);
		shmb_close(session);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(can_read(found.data) && can_read(block.data));
}

/* Both mappings go with the session. */
static void test_end_of_session(void **state)
{
	uint32_t number = 0;
	shmb_block found;

	(void)state;
	start();
	allocate(10000, "sealed");
	assert_ok(shmb_seal(session, block.handle));
	assert_ok(shmb_lookup(other, "sealed", &found));
	uint8_t *writable = shmb_pointer(other, found.offset);
	assert_ok(shmb_session_number(other, &number));
	assert_ok(shmb_end_session(session, number, false));
	assert_refused(shmb_ping(other), SESSION_ENDED);
	assert_false(can_read(found.data));
	assert_false(can_read(writable));
	assert_refused(shmb_lookup(other, "sealed", &found), SESSION_ENDED);
	shmb_close(other);
	other = pool_session_open(&fixture);
	assert_ok(shmb_lookup(other, "sealed", &found));
	assert_true(can_read(found.data));
	const void *gone = found.data;
	shmb_close(other);
	other = NULL;
	assert_false(can_read(gone));
}

/* ---- Metadata --------------------------------------------------------------------------------------------------- */

static void expect_metadata(shmb_session *reader, shmb_handle handle, const void *expected, size_t size)
{
	uint8_t bytes[SHMB_METADATA_MAX];
	size_t length = 777;

	assert_ok(shmb_get_metadata(reader, handle, bytes, sizeof bytes, &length));
	assert_int_equal(length, size);
	if (size)
		assert_memory_equal(bytes, expected, size);
}

static void test_metadata(void **state)
{
	uint8_t most[SHMB_METADATA_MAX + 1], small[3];
	shmb_handle former, foreign;
	size_t size = 777;

	(void)state;
	start();
	pattern_write(most, sizeof most, 1);
	shmb_alloc_options options = {.name = "shaped", .metadata = "float32 [3, 5]", .metadata_size = 14};
	assert_ok(shmb_alloc(session, 100, &options, &block));
	expect_metadata(other, block.handle, "float32 [3, 5]", 14); /* held or not */
	assert_refused(shmb_set_metadata(other, block.handle, "x", 1), NOT_HELD);
	assert_ok(shmb_set_metadata(session, block.handle, most, SHMB_METADATA_MAX));
	expect_metadata(other, block.handle, most, SHMB_METADATA_MAX);
	assert_refused(shmb_get_metadata(other, block.handle, small, sizeof small, &size), INVALID_ARGUMENT);
	assert_int_equal(size, 777);
	assert_refused(shmb_set_metadata(session, block.handle, most, SHMB_METADATA_MAX + 1), INVALID_ARGUMENT);
	assert_refused(shmb_set_metadata(session, block.handle, NULL, 1), INVALID_ARGUMENT);
	expect_metadata(other, block.handle, most, SHMB_METADATA_MAX);
	restart();
	assert_ok(shmb_ping(session));
	expect_metadata(session, block.handle, most, SHMB_METADATA_MAX);
	assert_ok(shmb_set_metadata(session, block.handle, "", 1)); /* a NUL is a byte */
	expect_metadata(other, block.handle, "", 1);
	assert_ok(shmb_set_metadata(session, block.handle, NULL, 0));
	expect_metadata(other, block.handle, NULL, 0);
	assert_ok(shmb_get_metadata(session, block.handle, NULL, 0, &size));
	assert_int_equal(size, 0);

	options.metadata_size = SHMB_METADATA_MAX + 1;
	assert_refused(shmb_alloc(session, 100, &options, &block), INVALID_ARGUMENT);
	options = (shmb_alloc_options){.metadata_size = 1};
	assert_refused(shmb_alloc(session, 100, &options, &block), INVALID_ARGUMENT);
	options.metadata = "x";
	assert_refused(shmb_alloc_batch(session, &(uint64_t){64}, 1, &options, &block), INVALID_ARGUMENT);

	/* Of another life. */
	former = foreign = block.handle;
	foreign.incarnation++;
	assert_ok(shmb_unpublish(session, "shaped"));
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_get_metadata(session, former, small, sizeof small, &size), STALE_HANDLE);
	assert_refused(shmb_get_metadata(session, foreign, small, sizeof small, &size), OTHER_POOL);
	foreign = former;
	foreign.index = UINT32_MAX;
	assert_refused(shmb_get_metadata(session, foreign, small, sizeof small, &size), STALE_HANDLE);
	assert_refused(shmb_get_metadata(session, (shmb_handle){0}, small, sizeof small, &size), INVALID_ARGUMENT);
	assert_refused(shmb_get_metadata(session, former, NULL, 1, &size), INVALID_ARGUMENT);
	assert_refused(shmb_get_metadata(session, former, small, sizeof small, NULL), INVALID_ARGUMENT);
}

/* As many as the table takes, and then again: nothing is lost of it, whether blocks go, change, or a daemon is killed. */
static void test_full_table(void **state)
{
	shmb_alloc_options options = {.metadata = "some", .metadata_size = 4};
	shmb_block blocks[8], more;

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--max-names", "8", NULL);
	session = pool_session_open(&fixture);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++)
			assert_ok(shmb_alloc(session, 100, i % 2 ? &options : NULL, &blocks[i]));
		for (int i = 0; i < 8; i += 2)
			assert_ok(shmb_set_metadata(session, blocks[i].handle, "some", 4));
		assert_refused(shmb_alloc(session, 100, &options, &more), LIMIT);
		assert_refused(shmb_set_metadata(session, blocks[0].handle, "else", 4), LIMIT);
		options.name = "named";
		assert_refused(shmb_alloc(session, 100, &options, &more), LIMIT);
		options.name = NULL;
		assert_ok(shmb_set_metadata(session, blocks[0].handle, NULL, 0));
		assert_ok(shmb_set_metadata(session, blocks[1].handle, "else", 4));
		if (round == 1)
			restart();
		assert_ok(shmb_set_metadata(session, blocks[0].handle, "more", 4));
		for (int i = 2; i < 8; i++)
			expect_metadata(session, blocks[i].handle, "some", 4);
		for (int i = 0; i < 8; i++)
			assert_ok(shmb_free(session, blocks[i].handle));
	}
	pool_session_assert_empty(session, POOL);
}

static void test_metadata_offline(void **state)
{
	shmb_session *offline;

	(void)state;
	start();
	allocate(100, "kept");
	assert_ok(shmb_set_metadata(session, block.handle, "shape", 5));
	assert_ok(shmb_seal(session, block.handle));
	daemon_fixture_kill(&fixture);
	assert_ok(shmb_connect(&(shmb_connect_options){.pool = fixture.pool, .access = SHMB_OFFLINE}, &offline));
	expect_metadata(offline, block.handle, "shape", 5);
	expect_metadata(session, block.handle, "shape", 5); /* no round trip */
	shmb_block_info info;
	assert_ok(shmb_find_block(offline, block.handle.id, &info));
	assert_true(info.sealed);
	assert_null(shmb_pointer_read_only(offline, 0));
	shmb_close(offline);
	daemon_fixture_restart(&fixture, NULL);
}

#define VERSIONS 3000

/* Reads, beside one who changes them all the time: each time whole ones, and never older than before. */
static void read_versions(int control, const void *argument)
{
	const shmb_handle *handle = argument;
	shmb_session *own;
	uint64_t seen = 0;

	CLIENT_CHECK(shmb_connect(&(shmb_connect_options){.socket_path = fixture.socket_path}, &own) == 0);
	CLIENT_CHECK(client_process_say(control, "", 1));
	while (seen < VERSIONS) {
		uint64_t words[SHMB_METADATA_MAX / sizeof(uint64_t)];
		size_t size;
		CLIENT_CHECK(shmb_get_metadata(own, *handle, words, sizeof words, &size) == 0);
		for (size_t i = 1; i < size / sizeof words[0]; i++)
			CLIENT_CHECK(words[i] == words[0]);
		CLIENT_CHECK(size == 0 || (words[0] >= seen && size == (1 + words[0] % 32) * sizeof words[0]));
		if (size)
			seen = words[0];
	}
	shmb_close(own);
}

static void test_metadata_beside_a_writer(void **state)
{
	struct client_process process;
	char ready;

	(void)state;
	start();
	allocate(100, NULL);
	client_process_start(&process, read_versions, &block.handle);
	client_process_receive(&process, &ready, 1);
	for (uint64_t version = 1; version <= VERSIONS; version++) {
		uint64_t words[SHMB_METADATA_MAX / sizeof(uint64_t)];
		size_t count = 1 + version % 32;
		for (size_t i = 0; i < count; i++)
			words[i] = version;
		assert_ok(shmb_set_metadata(session, block.handle, words, count * sizeof words[0]));
	}
	assert_int_equal(client_process_reap(&process), 0);
}

/* ---- Size ------------------------------------------------------------------------------------------------------- */

static shmb_block resized;
static bool moved;

static void resize(uint64_t size, bool expect_moved)
{
	uint64_t id = block.handle.id, kept = size < block.size ? size : block.size;

	assert_ok(shmb_resize(session, block.handle, size, &resized, &moved));
	assert_int_equal(moved, expect_moved);
	assert_int_equal(resized.size, size);
	if (moved) {
		assert_true(resized.handle.id > id);
		pattern_write(resized.data, resized.size, resized.handle.id);
		assert_true(pattern_matches(block.data, block.size, id));
		assert_ok(shmb_free(session, block.handle));
	} else {
		assert_int_equal(resized.handle.id, id);
		assert_true(resized.offset == block.offset && resized.data == block.data);
		assert_true(pattern_matches(block.data, kept, id));
		pattern_write(resized.data, resized.size, id);
	}
	block = resized;
	recount();
}

static void test_shrink_and_grow(void **state)
{
	shmb_block behind;

	(void)state;
	start();
	allocate(100000, NULL);
	assert_int_equal(pool_session_status(session).used, 131072);
	resize(100001, false);
	resize(131072, false);
	resize(40000, false);
	assert_int_equal(block.granted, 65536);
	assert_int_equal(pool_session_status(session).used, 65536);
	assert_int_equal(pool_session_status(session).requested, 40000);
	resize(1, false);
	assert_int_equal(pool_session_status(session).used, block.granted);
	assert_int_equal(pool_session_status(session).longest_free, POOL / 2);
	resize(5000, false);
	resize(3 << 20, false); /* committed first */
	assert_int_equal(pool_session_status(session).used, 4 << 20);
	restart();
	assert_ok(shmb_ping(session));
	recount();
	resize(20000, false);
	/* What is in the way has it moved. */
	assert_ok(shmb_alloc(session, 32768, NULL, &behind));
	assert_int_equal(behind.offset, block.offset + 32768);
	resize(32769, true);
	assert_int_equal(block.granted, 65536);
	assert_ok(shmb_free(session, behind.handle));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* A block that is moved takes tag and metadata along, and is refused where there is no room; the old one stays in any case. */
static void test_moved(void **state)
{
	shmb_alloc_options options = {.name = "named", .tag = "mine", .metadata = "shape", .metadata_size = 5};
	shmb_block behind, found;
	shmb_block_info info;
	shmb_oom oom;

	(void)state;
	start();
	assert_ok(shmb_alloc(session, 64, &options, &block));
	assert_ok(shmb_alloc(session, 64, NULL, &behind));
	assert_ok(shmb_resize(session, block.handle, 1000, &resized, &moved));
	assert_true(moved && resized.handle.id != block.handle.id && resized.size == 1000);
	expect_metadata(other, resized.handle, "shape", 5);
	assert_ok(shmb_find_block(session, resized.handle.id, &info));
	assert_string_equal(info.tag, "mine");
	assert_true(info.owner && info.size == 1000);
	assert_ok(shmb_lookup(other, "named", &found));
	assert_true(found.handle.id == block.handle.id && found.size == 64);
	assert_refused(shmb_resize(session, block.handle, POOL, &resized, &moved), OUT_OF_MEMORY);
	assert_true(shmb_out_of_memory(&oom) && oom.requested == POOL && oom.limit == SHMB_OOM_SEGMENT);
	assert_refused(shmb_resize(session, block.handle, UINT64_MAX, &resized, &moved), OUT_OF_MEMORY);
	assert_refused(shmb_resize(session, block.handle, 0, &resized, &moved), INVALID_ARGUMENT);
	assert_refused(shmb_resize(session, block.handle, 100, NULL, &moved), INVALID_ARGUMENT);
	assert_refused(shmb_resize(session, block.handle, 100, &resized, NULL), INVALID_ARGUMENT);
	assert_ok(shmb_find_block(session, block.handle.id, &info));
	assert_int_equal(info.size, 64);
	recount();
}

/* Nobody's block shrinks under him, however he holds it. What else stands in the way: test_shrink.c. */
static void test_in_use(void **state)
{
	shmb_block found;

	(void)state;
	start();
	allocate(4096, "whole");
	assert_refused(shmb_resize(other, block.handle, 100, &resized, &moved), NOT_HELD);
	assert_ok(shmb_lookup(other, "whole", &found));
	assert_ok(shmb_unpublish(session, "whole"));
	assert_refused(shmb_resize(session, block.handle, 100, &resized, &moved), IN_USE); /* a reference */
	assert_refused(shmb_resize(other, block.handle, 100, &resized, &moved), IN_USE);   /* the owner */
	assert_ok(shmb_resize(other, block.handle, 8192, &resized, &moved));               /* larger is no matter */
	assert_false(moved);
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_resize(session, block.handle, 4096, &resized, &moved)); /* held twice, by the same session */
	for (int i = 0; i < HOLD_BY_PAGE; i++)
		assert_ok(shmb_acquire(other, block.handle, &found));
	for (int i = 0; i < HOLD_BY_PAGE; i++) {
		assert_refused(shmb_resize(session, block.handle, 100, &resized, &moved), IN_USE);
		assert_ok(shmb_free(other, block.handle));
	}
	assert_ok(shmb_acquire(other, block.handle, &found)); /* by the page alone */
	assert_refused(shmb_resize(session, block.handle, 100, &resized, &moved), IN_USE);
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_resize(session, block.handle, 100, &resized, &moved));
	assert_int_equal(pool_session_status(session).used, 128);
	recount();
}

/* ---- Word by word ----------------------------------------------------------------------------------------------- */

static const uint8_t metadata_bytes[SHMB_METADATA_MAX + 1];

static void open_raw(void)
{
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&raw, 65536, NULL, &raw_block), 0);
}

/* The library would not say such things. */
static void test_bad_requests(void **state)
{
	Shmbuddy__V1__Request *request;

	(void)state;
	start();
	open_raw();
	assert_int_equal(raw_session_call(&raw, raw_request_seal(NULL)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_set_metadata(NULL, metadata_bytes, 5)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_set_metadata(&raw_block, metadata_bytes, sizeof metadata_bytes)),
	                 SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(NULL, 5)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&raw_block, 0)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&raw_block, UINT64_MAX)), SHMB_E_OUT_OF_MEMORY);
	request = raw_request_allocate(64, NULL);
	request->allocate->metadata = (ProtobufCBinaryData){sizeof metadata_bytes, (uint8_t *)(uintptr_t)metadata_bytes};
	assert_int_equal(raw_session_call(&raw, request), SHMB_E_INVALID_ARGUMENT);
	Shmbuddy__V1__Handle wrong = raw_block;
	wrong.index = UINT32_MAX;
	assert_int_equal(raw_session_call(&raw, raw_request_seal(&wrong)), SHMB_E_STALE_HANDLE);
	wrong = raw_block;
	wrong.incarnation++;
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&wrong, 5)), SHMB_E_OTHER_POOL);
	recount();
	raw_session_close(&raw);
}

/* A block comes back with its metadata, and says that it is sealed. */
static void test_what_a_reply_says(void **state)
{
	Shmbuddy__V1__Reply *reply;

	(void)state;
	start();
	open_raw();
	assert_int_equal(raw_session_call(&raw, raw_request_set_metadata(&raw_block, metadata_bytes, 77)), 0);
	assert_int_equal(raw_session_call(&raw, raw_request_seal(&raw_block)), 0);
	for (int again = 0; again < 2; again++) {
		reply = raw_session_send(&raw, 3, 1, raw_request_acquire(&raw_block));
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_BLOCK);
		assert_true(reply->block->sealed && reply->block->metadata.len == 77);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	raw_session_close(&raw);
}

static size_t add_frame(uint8_t *frames, size_t at, uint32_t slot, Shmbuddy__V1__Request *request)
{
	request->slot = slot;
	request->sequence = 1;
	size_t size = shmbuddy__v1__request__pack(request, frames + at + FRAME_HEADER);
	frame_put_header((uint32_t)size, frames + at);
	return at + FRAME_HEADER + size;
}

/* The block is to grow by what must be committed first; `meanwhile` comes with it, and is done before. Both answers' status. */
static void grow_while(Shmbuddy__V1__Request *meanwhile, Shmbuddy__V1__Reply **out_grown)
{
	uint8_t frames[1024];
	Shmbuddy__V1__Reply *reply;
	size_t size = add_frame(frames, 0, 5, raw_request_resize(&raw_block, POOL / 2));

	size = add_frame(frames, size, 6, meanwhile);
	assert_int_equal(raw_client_send_bytes(&raw.client, frames, size), 0);
	assert_int_equal(raw_client_receive_reply(&raw.client, &reply), 0);
	assert_int_equal(reply->slot, 6);
	assert_int_equal(reply->status, 0);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_receive_reply(&raw.client, out_grown), 0);
	assert_int_equal((*out_grown)->slot, 5);
}

enum { GONE, SEALED, SMALLER, LARGER, WITHIN, CASES };

static void test_changes_while_committing(void **state)
{
	static const int expected[CASES] = {SHMB_E_STALE_HANDLE, SHMB_E_SEALED};
	static const uint64_t sizes[CASES] = {[SMALLER] = 100, [LARGER] = 100000, [WITHIN] = 65535};

	(void)state;
	for (int i = 0; i < CASES; i++) {
		Shmbuddy__V1__Reply *reply;
		start();
		open_raw();
		Shmbuddy__V1__Request meanwhile = i == GONE     ? *raw_request_free(&raw_block)
		                                  : i == SEALED ? *raw_request_seal(&raw_block)
		                                                : *raw_request_resize(&raw_block, sizes[i]);
		Shmbuddy__V1__Resize resize;
		if (i >= SMALLER) {
			/* The growth is a resize too. */
			resize = *meanwhile.resize;
			meanwhile.resize = &resize;
		}
		grow_while(&meanwhile, &reply);
		assert_int_equal(reply->status, expected[i]);
		if (!expected[i]) {
			assert_int_equal(reply->resized->block->size, POOL / 2);
			assert_int_equal(reply->resized->block->handle->id, raw_block.id);
			assert_false(reply->resized->moved);
		}
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		recount();
		raw_session_close(&raw);
		pool_session_await_clients(session, 2);
		pool_session_assert_empty(session, POOL);
		tear_down(state);
	}
}

/* Its client dies while its memory is committed. */
static void test_death_while_growing(void **state)
{
	Shmbuddy__V1__Request *request;

	(void)state;
	start();
	for (int i = 0; i < 10; i++) {
		open_raw();
		request = raw_request_resize(&raw_block, POOL);
		request->slot = 5;
		request->sequence = 1;
		assert_int_equal(raw_client_send_request(&raw.client, request), 0);
		raw_session_close(&raw);
		pool_session_await_clients(session, 2);
		pool_session_assert_empty(session, POOL);
	}
}

/* A daemon that is killed meanwhile has done it, or its successor does. */
static void test_kill_while_growing(void **state)
{
	Shmbuddy__V1__Reply *reply;

	(void)state;
	start();
	open_raw();
	Shmbuddy__V1__Request *request = raw_request_resize(&raw_block, POOL);
	request->slot = 5;
	request->sequence = 1;
	assert_int_equal(raw_client_send_request(&raw.client, request), 0);
	restart();
	assert_int_equal(raw_session_resume(&raw, fixture.socket_path), 0);
	for (int again = 0; again < 2; again++) {
		reply = raw_session_send(&raw, 5, 1, raw_request_resize(&raw_block, POOL));
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_RESIZED);
		assert_true(reply->resized->block->size == POOL && !reply->resized->moved);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	assert_ok(shmb_ping(session));
	assert_ok(shmb_ping(other));
	recount();
	raw_session_close(&raw);
	pool_session_await_clients(session, 2);
}

/* The read-only mapping is one, whichever threads meet a sealed block first. */
static void *look_up_sealed(void *argument)
{
	for (int i = 0; i < 50; i++) {
		shmb_block found;
		uint64_t offset;
		if (shmb_lookup(session, "sealed", &found) < 0 || !found.sealed ||
		    !pattern_matches(found.data, found.size, found.handle.id) || shmb_offset(session, found.data, &offset) < 0 ||
		    offset != found.offset || shmb_pointer_read_only(session, offset) != found.data ||
		    shmb_free(session, found.handle) < 0)
			return argument;
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	void *failed;

	(void)state;
	start();
	allocate(10000, "sealed");
	assert_ok(shmb_seal(session, block.handle));
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_up_sealed, &block), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
}

/* ---- Beside others ---------------------------------------------------------------------------------------------- */

#define ENOUGH 300 /* of shrinks that were refused, and of those that were not */
#define ROUNDS_MAX 1000000

struct board {
	shmb_handle handle;
	_Atomic bool over;
	_Atomic uint64_t taken;
};
static struct board *board;

/* Takes hold of the block by its page, again and again, and looks whether its size stays while it is held. */
static void hold_and_look(int control, const void *argument)
{
	shmb_session *own;

	(void)argument;
	CLIENT_CHECK(shmb_connect(&(shmb_connect_options){.socket_path = fixture.socket_path}, &own) == 0);
	CLIENT_CHECK(client_process_say(control, "", 1));
	while (!atomic_load(&board->over)) {
		shmb_block found;
		shmb_block_info info;
		CLIENT_CHECK(shmb_acquire(own, board->handle, &found) == 0);
		for (int looks = 0; looks < 5; looks++) {
			CLIENT_CHECK(shmb_find_block(own, board->handle.id, &info) == 0);
			CLIENT_CHECK(info.size >= found.size && info.granted >= found.granted);
		}
		CLIENT_CHECK(shmb_free(own, board->handle) == 0);
		/* Now and then nobody holds it. */
		for (uint64_t idle = atomic_fetch_add(&board->taken, 1) % 5 * 5000; idle; idle--)
			atomic_load(&board->over);
	}
	shmb_close(own);
}

static void test_shrink_beside_hold_pages(void **state)
{
	struct client_process process;
	unsigned refused = 0, shrunk = 0;
	char ready;

	(void)state;
	start();
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(board != MAP_FAILED);
	allocate(8192, NULL);
	board->handle = block.handle;
	client_process_start(&process, hold_and_look, NULL);
	client_process_receive(&process, &ready, 1);
	for (int round = 0; (shrunk < ENOUGH || refused < ENOUGH) && round < ROUNDS_MAX; round++) {
		int result = shmb_resize(session, block.handle, round % 2 ? 8192 : 100, &resized, &moved);
		assert_true(result == 0 || result == -SHMB_E_IN_USE);
		assert_true(result < 0 || !moved);
		refused += result < 0;
		shrunk += result == 0 && round % 2 == 0;
	}
	atomic_store(&board->over, true);
	assert_int_equal(client_process_reap(&process), 0);
	print_message("%u shrinks refused, %u done, beside %llu holds\n", refused, shrunk,
	              (unsigned long long)atomic_load(&board->taken));
	munmap(board, sizeof *board);
	pool_session_await_clients(session, 2);
	recount();
}

/* Freed memory is clean, and so is the tail that a block gets back. */
static void test_zeroed(void **state)
{
	static const uint8_t zeros[65536];

	(void)state;
	daemon_fixture_start(&fixture, "--zero", "on-free", NULL);
	session = pool_session_open(&fixture);
	allocate(65536, NULL);
	memset(block.data, 0xff, 65536);
	assert_ok(shmb_resize(session, block.handle, 4096, &resized, &moved));
	pool_session_await_used(session, 4096);
	/* While it is being cleaned it is not there to grow into. */
	do {
		assert_ok(shmb_resize(session, block.handle, 65536, &resized, &moved));
		if (moved)
			assert_ok(shmb_free(session, resized.handle));
	} while (moved);
	assert_memory_equal((uint8_t *)resized.data + 4096, zeros, 65536 - 4096);
	assert_int_equal(((uint8_t *)resized.data)[4095], 0xff);
}

#define TEST(function) cmocka_unit_test_teardown(function, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stray_write),
		TEST(test_seal),
		TEST(test_seal_by_page),
		TEST(test_sealed_range),
		TEST(test_addresses),
		TEST(test_reader_cannot_make_it_writable),
		TEST(test_fork),
		TEST(test_threads),
		TEST(test_end_of_session),
		TEST(test_metadata),
		TEST(test_full_table),
		TEST(test_metadata_offline),
		TEST(test_metadata_beside_a_writer),
		TEST(test_shrink_and_grow),
		TEST(test_moved),
		TEST(test_in_use),
		TEST(test_bad_requests),
		TEST(test_what_a_reply_says),
		TEST(test_changes_while_committing),
		TEST(test_death_while_growing),
		TEST(test_kill_while_growing),
		TEST(test_shrink_beside_hold_pages),
		TEST(test_zeroed),
	};

	return cmocka_run_group_tests_name("block_changes", tests, NULL, NULL);
}
