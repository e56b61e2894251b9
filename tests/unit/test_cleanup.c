/* SPDX-License-Identifier: Apache-2.0 */
/* Locals that clean up after themselves: exactly once, at the end of the scope, unless ownership has moved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void *freed;
static int frees;

static void counting_free(void *pointer)
{
	freed = pointer;
	frees += pointer != NULL;
	free(pointer);
	errno = EIO; /* so that it shows whether errno is put back */
}

#define free counting_free /* in the header alone */
#include "cleanup.h"
#undef free

static void *allocate(void)
{
	void *pointer = malloc(8);

	assert_non_null(pointer);
	frees = 0;
	freed = NULL;
	return pointer;
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void test_frees(void **state)
{
	uintptr_t expected;

	(void)state;
	{
		CLEANUP_FREE char *text = allocate();

		expected = (uintptr_t)text;
		errno = ENOENT;
		assert_int_equal(frees, 0);
	}
	assert_int_equal(frees, 1);
	assert_int_equal((uintptr_t)freed, expected);
	assert_int_equal(errno, ENOENT);
}

static void test_frees_nothing(void **state)
{
	(void)state;
	frees = 0;
	{
		CLEANUP_FREE int *none = NULL;

		assert_null(none);
	}
	assert_int_equal(frees, 0);
}

static void test_take_pointer(void **state)
{
	int *kept;

	(void)state;
	{
		CLEANUP_FREE int *number = allocate();

		*number = 42;
		kept = take_pointer(&number);
		assert_null(number);
	}
	assert_int_equal(frees, 0);
	assert_int_equal(*kept, 42);
	free(kept);
}

/* The argument is evaluated once. */
static void test_take_pointer_once(void **state)
{
	char one = '1', two = '2';
	char *places[] = {&one, &two}, **next = places;

	(void)state;
	assert_ptr_equal(take_pointer(next++), &one);
	assert_ptr_equal(next, places + 1);
	assert_null(places[0]);
	assert_ptr_equal(places[1], &two);
}

static void test_closes(void **state)
{
	int seen;

	(void)state;
	{
		CLEANUP_CLOSE int fd = open_null();

		seen = fd;
		assert_int_not_equal(fcntl(seen, F_GETFD), -1);
	}
	assert_int_equal(fcntl(seen, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

static void test_close_keeps_errno(void **state)
{
	(void)state;
	{
		CLEANUP_CLOSE int fd = open_null();

		assert_int_equal(close(fd), 0); /* so that the second close fails */
		errno = ENOENT;
	}
	assert_int_equal(errno, ENOENT);
	{
		CLEANUP_CLOSE int none = -1;

		assert_int_equal(none, -1);
		errno = ENOENT;
	}
	assert_int_equal(errno, ENOENT);
}

/* Descriptor 0 is one too. */
static void test_closes_zero(void **state)
{
	int saved = dup(0);

	(void)state;
	if (saved >= 0)
		assert_int_equal(close(0), 0);
	{
		CLEANUP_CLOSE int fd = open_null();

		assert_int_equal(fd, 0);
	}
	assert_int_equal(fcntl(0, F_GETFD), -1);
	if (saved >= 0) {
		assert_int_equal(dup2(saved, 0), 0);
		close(saved);
	}
}

static void test_take_fd(void **state)
{
	int kept;

	(void)state;
	{
		CLEANUP_CLOSE int fd = open_null();
		int before = fd;

		kept = take_fd(&fd);
		assert_int_equal(fd, -1);
		assert_int_equal(kept, before);
	}
	assert_int_not_equal(fcntl(kept, F_GETFD), -1);
	close(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frees),        cmocka_unit_test(test_frees_nothing),
		cmocka_unit_test(test_take_pointer), cmocka_unit_test(test_take_pointer_once),
		cmocka_unit_test(test_closes),       cmocka_unit_test(test_close_keeps_errno),
		cmocka_unit_test(test_closes_zero),  cmocka_unit_test(test_take_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
