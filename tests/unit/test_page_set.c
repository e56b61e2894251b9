/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pages against a byte for each, and what it does without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "server/page_set.h"
#include "tests/unit/draw.h"
#include "tests/unit/failing_region.h"

#define PAGES 1000

static void test_against_model(void **state)
{
	struct page_set set;
	bool model[PAGES] = {0};

	(void)state;
	assert_int_equal(page_set_init(&set, PAGES), 0);
	page_set_remove(&set, 0, PAGES);
	for (int round = 0; round < 3000; round++) {
		uint64_t from = draw(PAGES + 1), end = draw(PAGES + 1), count = 0, expected;
		bool in = draw(2);
		if (draw(2) && from + 70 < PAGES)
			end = from + draw(70);
		if (in)
			page_set_add(&set, from, end);
		else
			page_set_remove(&set, from, end);
		for (uint64_t page = from; page < end; page++)
			model[page] = in;
		for (uint64_t page = 0; page < PAGES; page++)
			count += model[page];
		assert_int_equal(set.count, count);
		from = draw(PAGES);
		end = from + draw(PAGES + 1 - from);
		in = draw(2);
		for (expected = from; expected < end && model[expected] != in;)
			expected++;
		assert_int_equal(page_set_next(&set, from, end, in), expected);
	}
	page_set_deinit(&set);
	page_set_deinit(&set);
	assert_int_equal(regions_open, 0);
}

static void test_no_memory(void **state)
{
	struct page_set set;

	(void)state;
	regions_until_failure = 0;
	assert_int_equal(page_set_init(&set, PAGES), -ENOMEM);
	page_set_deinit(&set);
	assert_int_equal(regions_open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_no_memory),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
