/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse private memory: zeroed, as large as asked, and refused where the address space has an end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/region.h"

static void test_zeroed_and_writable(void **state)
{
	const size_t size = 3 * 4096 + 5;
	uint8_t *memory;

	(void)state;
	assert_int_equal(region_new(size, (void **)&memory), 0);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(memory[i], 0);
	memset(memory, 0xa5, size);
	region_free(memory, size);
}

/* A terabyte costs the one page that is touched. */
static void test_sparse(void **state)
{
	const size_t size = (size_t)1 << 36, page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char here[2];
	uint8_t *memory;

	(void)state;
	assert_int_equal(region_new(size, (void **)&memory), 0);
	memory[size / 2] = 1;
	assert_int_equal(mincore(memory + size / 2, page, here), 0);
	assert_int_equal(here[0] & 1, 1);
	assert_int_equal(mincore(memory + size / 2 + page, page, here), 0);
	assert_int_equal(here[0] & 1, 0);
	region_free(memory, size);
	assert_int_equal(mincore(memory + size / 2, page, here), -1); /* it is gone */
	assert_int_equal(errno, ENOMEM);
}

static void test_nothing_is_a_byte(void **state)
{
	uint8_t *memory;

	(void)state;
	assert_int_equal(region_new(0, (void **)&memory), 0);
	memory[0] = 1;
	region_free(memory, 0);
	region_free(NULL, 0);
	region_free(NULL, 4096);
}

static void test_refused(void **state)
{
	void *memory = &memory;

	(void)state;
	assert_int_equal(region_new((size_t)1 << 62, &memory), -ENOMEM);
	assert_ptr_equal(memory, &memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zeroed_and_writable),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_nothing_is_a_byte),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
