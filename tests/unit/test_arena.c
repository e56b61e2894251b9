/* SPDX-License-Identifier: Apache-2.0 */
/* The arena: alignment, growth, its limit, and what a reset gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arena.h"

static void test_inline(void **state)
{
	struct arena arena;
	uint8_t *first, *second;

	(void)state;
	arena_init(&arena, 1 << 20);
	first = arena_take(&arena, 1);
	second = arena_take(&arena, 17);
	assert_ptr_equal(first, arena.inline_bytes);
	assert_ptr_equal(second, first + ARENA_ALIGNMENT);
	assert_non_null(arena_take(&arena, ARENA_INLINE - 3 * ARENA_ALIGNMENT)); /* the rest, exactly */
	assert_int_equal(arena.taken, 0);
	arena_reset(&arena);
	assert_ptr_equal(arena_take(&arena, ARENA_INLINE), first);
	assert_int_equal(arena.taken, 0);
	arena_deinit(&arena);
}

/* Random sizes: everything is aligned, keeps what was written, and overlaps nothing. */
static void test_growth(void **state)
{
	struct arena arena;
	struct {
		uint8_t *bytes;
		size_t size;
	} taken[200];

	(void)state;
	srand(7);
	arena_init(&arena, SIZE_MAX);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 200; i++) {
			taken[i].size = (size_t)rand() % (i % 10 == 0 ? 100000 : 300);
			taken[i].bytes = arena_take(&arena, taken[i].size);
			assert_non_null(taken[i].bytes);
			assert_int_equal((uintptr_t)taken[i].bytes % ARENA_ALIGNMENT, 0);
			memset(taken[i].bytes, (int)i, taken[i].size);
		}
		for (size_t i = 0; i < 200; i++)
			for (size_t j = 0; j < taken[i].size; j++)
				assert_int_equal(taken[i].bytes[j], (uint8_t)i);
		arena_reset(&arena);
		assert_int_equal(arena.taken, 0);
		assert_null(arena.pieces);
	}
	arena_deinit(&arena);
}

static void test_limit(void **state)
{
	struct arena arena;
	size_t total = 0;

	(void)state;
	arena_init(&arena, 100000);
	assert_null(arena_take(&arena, 100000)); /* the piece has a head as well */
	assert_null(arena_take(&arena, SIZE_MAX));
	assert_null(arena_take(&arena, SIZE_MAX - ARENA_ALIGNMENT));
	assert_int_equal(arena.taken, 0);
	while (arena_take(&arena, 1000))
		total += 1000;
	assert_true(arena.taken <= 100000);
	assert_true(total > 80000); /* the limit is used, not feared */
	assert_non_null(arena_take(&arena, 0));
	arena_reset(&arena);
	assert_non_null(arena_take(&arena, 90000));
	arena_deinit(&arena);
	assert_null(arena.pieces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inline),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
