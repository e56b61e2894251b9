/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed block does not change: a stray write to it faults where it happens, and the bytes stay; whoever gets it gets it read-only, in whatever
 * way, and however many threads are the first. It is sealed still after a daemon was killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/integration/block_fixture.h"
#include "tests/support/client_process.h"

#define HOLD_BY_PAGE 5 /* acquisitions, after which a session has a hold page */

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

#define TEST(function) cmocka_unit_test_teardown(function, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stray_write),  TEST(test_seal),      TEST(test_seal_by_page),
		TEST(test_sealed_range), TEST(test_addresses), TEST(test_reader_cannot_make_it_writable),
		TEST(test_fork),         TEST(test_threads),   TEST(test_end_of_session),
	};

	return cmocka_run_group_tests_name("sealing", tests, NULL, NULL);
}
