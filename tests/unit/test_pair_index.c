/* SPDX-License-Identifier: Apache-2.0 */
/* The index of pairs: against a simple model at random; from the highest record down, as a takeover fills it; full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "server/pair_index.h"
#include "tests/unit/draw.h"

#define RECORDS 300
#define LEFT 20
#define RIGHT 40

static void test_against_model(void **state)
{
	struct pair_index index;
	uint32_t record_of[LEFT][RIGHT] = {{0}}; /* plus one */
	struct {
		uint32_t left, right;
		bool used;
	} records[RECORDS] = {{0}};

	(void)state;
	assert_int_equal(pair_index_init(&index, RECORDS), 0);
	for (int step = 0; step < 100000; step++) {
		uint32_t record = (uint32_t)draw(RECORDS), left = (uint32_t)draw(LEFT), right = (uint32_t)draw(RIGHT);
		assert_int_equal(pair_index_find(&index, left, right), record_of[left][right]);
		if (records[record].used) {
			pair_index_remove(&index, record);
			record_of[records[record].left][records[record].right] = 0;
			records[record].used = false;
		} else if (!record_of[left][right]) {
			pair_index_add(&index, record, left, right);
			record_of[left][right] = record + 1;
			records[record].left = left;
			records[record].right = right;
			records[record].used = true;
		}
	}
	for (uint32_t left = 0; left < LEFT; left++) {
		for (uint32_t right = 0; right < RIGHT; right++)
			assert_int_equal(pair_index_find(&index, left, right), record_of[left][right]);
	}
	pair_index_deinit(&index);
}

static void test_from_the_highest_down(void **state)
{
	const uint32_t count = 20000;
	struct pair_index index;

	(void)state;
	assert_int_equal(pair_index_init(&index, count), 0);
	for (uint32_t record = count; record-- > 0;)
		pair_index_add(&index, record, record, count - record);
	for (uint32_t record = 0; record < count; record++) {
		assert_int_equal(pair_index_find(&index, record, count - record), record + 1);
		assert_int_equal(pair_index_find(&index, record, count - record + 1), 0);
	}
	for (uint32_t record = 0; record < count; record++)
		pair_index_remove(&index, record);
	for (uint32_t record = 0; record < count; record++)
		assert_int_equal(pair_index_find(&index, record, count - record), 0);
	pair_index_deinit(&index);
}

/* No bucket holds much more than its share, however the pairs are chosen: one session and many blocks, say. */
static void test_spread(void **state)
{
	const uint32_t count = 1 << 14;
	struct pair_index index;
	uint32_t longest = 0;

	(void)state;
	assert_int_equal(pair_index_init(&index, count), 0);
	for (uint32_t record = 0; record < count; record++)
		pair_index_add(&index, record, 7, record << 8);
	for (uint32_t bucket = 0; bucket < count; bucket++) {
		uint32_t length = 0;
		for (uint32_t link = index.buckets[bucket]; link; link = index.next[link - 1])
			length++;
		if (length > longest)
			longest = length;
	}
	assert_in_range(longest, 1, 16); /* 7 or 8 are to be expected */
	pair_index_deinit(&index);
}

static void test_smallest(void **state)
{
	struct pair_index index;

	(void)state;
	assert_int_equal(pair_index_init(&index, 1), 0);
	pair_index_add(&index, 0, UINT32_MAX, UINT32_MAX);
	assert_int_equal(pair_index_find(&index, UINT32_MAX, UINT32_MAX), 1);
	pair_index_remove(&index, 0);
	assert_int_equal(pair_index_find(&index, UINT32_MAX, UINT32_MAX), 0);
	pair_index_deinit(&index);
	pair_index_deinit(&index); /* of nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_from_the_highest_down),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_smallest),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
