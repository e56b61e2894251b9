/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, from the kernel and from a kernel that is interrupted, gives little, or refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "random.h"

/* What the next calls of getrandom do: an errno each, or at most so many bytes each as a negative number. */
static const int *script;
static unsigned calls;

/* Stands before libc's. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
	calls++;
	if (script && *script > 0) {
		errno = *script++;
		return -1;
	}
	if (script && *script < 0 && length > (size_t) - *script)
		length = (size_t) - *script++;
	return syscall(SYS_getrandom, buffer, length, flags);
}

static void start(const int *steps)
{
	script = steps;
	calls = 0;
}

/* All bytes are filled and none beyond: each is seen to change, in at most 64 fills (chance of a miss: 256^-64 a byte). */
static void assert_fills(size_t size)
{
	uint8_t bytes[1000], changed[1000] = {0};

	for (int round = 0; round < 64; round++) {
		memset(bytes, 0x5a, sizeof(bytes));
		assert_int_equal(random_bytes(bytes, size), 0);
		for (size_t i = 0; i < sizeof(bytes); i++)
			changed[i] |= bytes[i] != 0x5a;
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(changed[i], i < size);
}

static void test_fills(void **state)
{
	(void)state;
	start(NULL);
	assert_fills(1);
	assert_fills(16);
	assert_fills(999);
}

static void test_nothing(void **state)
{
	(void)state;
	start(NULL);
	assert_int_equal(random_bytes(NULL, 0), 0);
	assert_int_equal(calls, 0);
}

static void test_never_the_same(void **state)
{
	uint8_t one[16], other[16];

	(void)state;
	start(NULL);
	assert_int_equal(random_bytes(one, sizeof(one)), 0);
	assert_int_equal(random_bytes(other, sizeof(other)), 0);
	assert_memory_not_equal(one, other, sizeof(one));
}

/* Interrupted and served in pieces, it still fills all of it, and the pieces do not lie on each other. */
static void test_pieces(void **state)
{
	const int steps[] = {EINTR, -5, EINTR, EINTR, -1, 0};
	uint8_t changed[32] = {0};

	(void)state;
	for (int round = 0; round < 64; round++) {
		uint8_t bytes[32] = {0};

		start(steps);
		assert_int_equal(random_bytes(bytes, sizeof(bytes)), 0);
		assert_int_equal(calls, 6);
		for (size_t i = 0; i < sizeof(bytes); i++)
			changed[i] |= bytes[i];
	}
	for (size_t i = 0; i < sizeof(changed); i++)
		assert_int_not_equal(changed[i], 0);
}

static void test_refused(void **state)
{
	const int at_once[] = {ENOSYS, 0}, later[] = {-3, EFAULT, 0};
	uint8_t bytes[16];

	(void)state;
	start(at_once);
	assert_int_equal(random_bytes(bytes, sizeof(bytes)), -ENOSYS);
	start(later);
	assert_int_equal(random_bytes(bytes, sizeof(bytes)), -EFAULT);
	assert_int_equal(calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fills),  cmocka_unit_test(test_nothing), cmocka_unit_test(test_never_the_same),
		cmocka_unit_test(test_pieces), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
