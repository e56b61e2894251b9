/* SPDX-License-Identifier: Apache-2.0 */
/* The map's cells: how many, how full, and that every byte of a block is counted once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "client/cli/shade.h"

#define MIB (UINT64_C(1) << 20)

/* calloc is asked for more than there can be, and is to return NULL under a sanitizer too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static struct shade make(uint64_t segment, uint64_t unit, size_t capacity)
{
	struct shade shade;

	assert_int_equal(shade_init(segment, unit, capacity, &shade), 0);
	return shade;
}

static void test_cell_size(void **state)
{
	static const struct {
		uint64_t segment, unit;
		size_t capacity;
		uint64_t cell_size;
		size_t count;
	} cases[] = {
		{1024, 16, 1000, 16, 64},                               /* never less than a unit */
		{1024, 16, 64, 16, 64},                                 /* just fits */
		{1024, 16, 63, 32, 32},                                 /* one too many */
		{1024, 16, 1, 1024, 1},                                 /* a single cell */
		{1040, 16, 32, 64, 17},                                 /* the last one is short: 16 bytes */
		{10, 64, 5, 64, 1},                                     /* a unit larger than the segment */
		{1, 1, 1, 1, 1},                                        /* the smallest */
		{3 * MIB, 64, 1, 3 * MIB, 1},                           /* doubling would go past the segment */
		{UINT64_C(1) << 40, 64, 1024, UINT64_C(1) << 30, 1024}, /* 1 TiB */
		{UINT64_MAX, 1, 1, UINT64_MAX, 1},                      /* no overflow at the end of the range */
		{UINT64_MAX, 1, 2, UINT64_C(1) << 63, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shade shade = make(cases[i].segment, cases[i].unit, cases[i].capacity);
		uint64_t sum = 0;

		assert_true(shade.cell_size == cases[i].cell_size);
		assert_true(shade.count == cases[i].count);
		for (size_t cell = 0; cell < shade.count; cell++)
			sum += shade_cell_length(&shade, cell);
		assert_true(sum == cases[i].segment);
		shade_deinit(&shade);
	}
}

static void test_no_memory(void **state)
{
	struct shade shade = {0};

	(void)state;
	assert_int_equal(shade_init(UINT64_MAX, 1, SIZE_MAX / 2, &shade), -ENOMEM);
	assert_null(shade.used);
}

static void test_add(void **state)
{
	struct shade shade = make(1000, 1, 10); /* cells of 128 bytes, the last one of 104 */

	(void)state;
	assert_true(shade.cell_size == 128 && shade.count == 8);
	shade_add(&shade, 0, 0); /* nothing */
	assert_true(shade.used[0] == 0);
	shade_add(&shade, 100, 200); /* over three cells */
	assert_true(shade.used[0] == 28 && shade.used[1] == 128 && shade.used[2] == 44 && shade.used[3] == 0);
	shade_add(&shade, 384, 1);
	shade_add(&shade, 511, 1); /* both ends of one cell */
	assert_true(shade.used[2] == 44 && shade.used[3] == 2 && shade.used[4] == 0);
	shade_add(&shade, 999, 1); /* the last byte */
	assert_true(shade.used[7] == 1);
	shade_deinit(&shade);
}

static void test_add_outside(void **state)
{
	struct shade shade = make(1000, 1, 10);

	(void)state;
	shade_add(&shade, 1000, 1);
	shade_add(&shade, UINT64_MAX, UINT64_MAX);
	for (size_t i = 0; i < shade.count; i++)
		assert_true(shade.used[i] == 0);
	shade_add(&shade, 990, UINT64_MAX); /* its end would overflow */
	assert_true(shade.used[7] == 10);
	shade_add(&shade, 0, 5000);
	shade_add(&shade, 0, 5000); /* counted twice, yet no cell is fuller than it is long */
	for (size_t i = 0; i < shade.count; i++)
		assert_true(shade.used[i] == shade_cell_length(&shade, i));
	shade_deinit(&shade);
}

/* Random blocks that do not overlap, against a map with one byte a byte. */
static void test_model(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 200; round++) {
		uint64_t segment = 1 + (uint64_t)rand_r(&seed) % 5000, unit = UINT64_C(1) << (rand_r(&seed) % 7);
		struct shade shade = make(segment, unit, 1 + (size_t)rand_r(&seed) % 300);
		unsigned char *bytes = calloc(segment, 1);

		assert_non_null(bytes);
		for (uint64_t at = 0; at < segment;) {
			uint64_t length = 1 + (uint64_t)rand_r(&seed) % 300;

			if (length > segment - at)
				length = segment - at;
			if (rand_r(&seed) % 2) {
				shade_add(&shade, at, length);
				for (uint64_t i = at; i < at + length; i++)
					bytes[i] = 1;
			}
			at += length;
		}
		for (size_t cell = 0; cell < shade.count; cell++) {
			uint64_t used = 0;

			for (uint64_t i = 0; i < shade_cell_length(&shade, cell); i++)
				used += bytes[cell * shade.cell_size + i];
			assert_true(shade.used[cell] == used);
		}
		free(bytes);
		shade_deinit(&shade);
	}
}

static void test_level(void **state)
{
	static const struct {
		uint64_t used;
		unsigned level;
	} cases[] = {{0, 0}, {1, 1}, {100, 1}, {101, 2}, {200, 2}, {201, 3}, {299, 3}, {300, 4}};
	struct shade shade = make(300, 300, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		shade.used[0] = cases[i].used;
		assert_int_equal(shade_level(&shade, 0), cases[i].level);
	}
	shade_deinit(&shade);

	shade = make(130, 128, 2); /* the last cell has two bytes */
	shade.used[1] = 1;
	assert_int_equal(shade_level(&shade, 1), 3);
	shade.used[1] = 2;
	assert_int_equal(shade_level(&shade, 1), 4);
	shade_deinit(&shade);
}

static void test_line_cells(void **state)
{
	(void)state;
	assert_true(shade_line_cells(1) == 1);
	assert_true(shade_line_cells(2) == 2);
	assert_true(shade_line_cells(3) == 2);
	assert_true(shade_line_cells(63) == 32);
	assert_true(shade_line_cells(64) == 64);
	assert_true(shade_line_cells(10000) == 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cell_size),   cmocka_unit_test(test_no_memory), cmocka_unit_test(test_add),
		cmocka_unit_test(test_add_outside), cmocka_unit_test(test_model),     cmocka_unit_test(test_level),
		cmocka_unit_test(test_line_cells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
