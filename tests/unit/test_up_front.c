/* SPDX-License-Identifier: Apache-2.0 */
/* Committing a pool up front, without a daemon: all of it, what is missing, until a signal, until the file system is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/log.h"
#include "server/pool.h"
#include "server/up_front.h"
#include "tests/unit/captured.h"

#define PAGE 4096u

static uv_loop_t loop;
static struct pool pool;
static uint64_t free_bytes;     /* what the file system says; UINT64_MAX: it has no limit */
static int calls_until_refusal; /* of the segment; -1: none is refused */
static int error_of_refusal;
static unsigned calls;
static int asks_until_the_end; /* -1: it goes on */

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (fd == pool.segment.fd) {
		calls++;
		if (calls_until_refusal >= 0 && calls_until_refusal-- == 0) {
			errno = error_of_refusal;
			return -1;
		}
		assert_true(length <= 1 << 20);
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int fstatvfs(int fd, struct statvfs *out_status)
{
	(void)fd;
	memset(out_status, 0, sizeof *out_status);
	out_status->f_frsize = 1;
	out_status->f_blocks = free_bytes == UINT64_MAX ? 0 : UINT64_C(1) << 60;
	out_status->f_bavail = free_bytes;
	return 0;
}

static bool is_over(void)
{
	return asks_until_the_end >= 0 && asks_until_the_end-- == 0;
}

static int setup(void **state)
{
	char name[48];
	struct pool_options options = {.name = name, .size = (8 << 20) + 64, .unit = 64, .ephemeral = true, .up_front = true};

	(void)state;
	snprintf(name, sizeof name, "unit-up-front-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	free_bytes = UINT64_MAX;
	calls_until_refusal = asks_until_the_end = -1;
	calls = 0;
	if (uv_loop_init(&loop) < 0)
		return -1;
	return pool_open(&loop, &options, &pool);
}

static int teardown(void **state)
{
	(void)state;
	pool_close(&pool);
	return uv_loop_close(&loop);
}

static void assert_committed(uint64_t pages)
{
	struct stat status;

	assert_int_equal(pool.extents.committed, pages);
	assert_int_equal(fstat(pool.segment.fd, &status), 0);
	assert_int_equal(status.st_blocks * 512 / PAGE, pages);
}

static void test_all(void **state)
{
	(void)state;
	free_bytes = (8 << 20) + PAGE;
	assert_int_equal(up_front_commit(&pool, is_over), 0);
	assert_committed(2049);
	assert_int_equal(calls, 9);
	assert_int_equal(atomic_load(&pool.counters->committed), (8 << 20) + PAGE);
	free_bytes = 0;
	assert_int_equal(up_front_commit(&pool, is_over), 0); /* nothing is missing */
	assert_int_equal(calls, 9);
}

static void test_goes_on(void **state)
{
	(void)state;
	asks_until_the_end = 3;
	assert_int_equal(up_front_commit(&pool, is_over), -ECANCELED);
	assert_committed(3 * 256);
	assert_int_equal(up_front_commit(&pool, is_over), 0);
	assert_committed(2049);
	assert_int_equal(calls, 9);
}

static void refused(int result, const char *words)
{
	struct captured standard_error;

	captured_begin(&standard_error, stderr);
	int found = up_front_commit(&pool, is_over);
	captured_end(&standard_error);
	assert_int_equal(found, result);
	if (!strstr(standard_error.text, words))
		fail_msg("\"%s\"", standard_error.text);
}

static void test_refused(void **state)
{
	(void)state;
	free_bytes = 8 << 20;
	refused(-ENOSPC, "cannot commit its 8M up front: 8M of it are missing, and /dev/shm has 8M left: free some there");
	assert_int_equal(calls, 0);
	free_bytes = UINT64_MAX;
	calls_until_refusal = 2;
	error_of_refusal = ENOSPC;
	refused(-ENOSPC, "--commit on-alloc");
	assert_committed(512);
	calls_until_refusal = 1;
	error_of_refusal = ENOMEM;
	refused(-ENOMEM, "Cannot allocate memory: 5M of it are missing");
	assert_committed(768);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_all), TEST(test_goes_on), TEST(test_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
