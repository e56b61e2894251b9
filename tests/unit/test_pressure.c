/* SPDX-License-Identifier: Apache-2.0 */
/* Memory pressure: each mark upwards and downwards, pools of any size, and what the option takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/pressure.h"

static void each_mark_is_told_once(void **state)
{
	struct pressure pressure;

	(void)state;
	pressure_init(&pressure, 1000, 80, 95);
	assert_false(pressure_update(&pressure, 0));
	assert_false(pressure_update(&pressure, 799));
	assert_true(pressure_update(&pressure, 800));
	assert_int_equal(pressure.level, PRESSURE_LOW);
	assert_false(pressure_update(&pressure, 949));
	assert_true(pressure_update(&pressure, 950));
	assert_int_equal(pressure.level, PRESSURE_HIGH);
	assert_false(pressure_update(&pressure, 1000));
}

static void a_pool_that_breathes_at_a_mark_is_not_told_of(void **state)
{
	struct pressure pressure;

	(void)state;
	pressure_init(&pressure, 1000, 80, 95);
	assert_true(pressure_update(&pressure, 800));
	for (unsigned i = 0; i < 10; i++) {
		assert_false(pressure_update(&pressure, 750));
		assert_false(pressure_update(&pressure, 820));
	}
	assert_true(pressure_update(&pressure, 749));
	assert_int_equal(pressure.level, PRESSURE_NONE);
	assert_false(pressure_update(&pressure, 799));
	assert_true(pressure_update(&pressure, 950));
	assert_false(pressure_update(&pressure, 900));
	assert_true(pressure_update(&pressure, 899));
	assert_int_equal(pressure.level, PRESSURE_LOW);
	/* Two levels at once, either way. */
	assert_true(pressure_update(&pressure, 0));
	assert_int_equal(pressure.level, PRESSURE_NONE);
	assert_true(pressure_update(&pressure, 1000));
	assert_int_equal(pressure.level, PRESSURE_HIGH);
	assert_true(pressure_update(&pressure, 0));
	assert_int_equal(pressure.level, PRESSURE_NONE);
}

static void any_size_has_marks_in_order(void **state)
{
	static const uint64_t sizes[] = {16, 64, 1024, UINT64_C(1) << 30, UINT64_C(1) << 62};
	struct pressure pressure;

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (unsigned low = 1; low < 100; low++) {
			pressure_init(&pressure, sizes[i], low, low + 1);
			assert_true(pressure.up[0] > 0 && pressure.up[0] <= pressure.up[1] && pressure.up[1] <= sizes[i]);
			assert_true(pressure.down[0] <= pressure.down[1] && pressure.down[0] > 0 && pressure.down[0] <= pressure.up[0]);
			assert_false(pressure_update(&pressure, 0));
			assert_true(pressure_update(&pressure, sizes[i]));
			assert_int_equal(pressure.level, PRESSURE_HIGH);
			assert_true(pressure_update(&pressure, 0));
			assert_int_equal(pressure.level, PRESSURE_NONE);
		}
	}
}

static void the_option_takes_two_numbers_in_order(void **state)
{
	static const char *const wrong[] = {"",       "80",     "80,",    ",95",   "95,80", "80,80",  "0,95",
	                                    "80,101", "80 ,95", "80,95,", "80;95", "-1,95", "80,95%", "1000,1001"};
	unsigned low = 1, high = 2;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(pressure_parse(wrong[i], &low, &high), -EINVAL);
	assert_true(low == 1 && high == 2);
	assert_int_equal(pressure_parse("80,95", &low, &high), 0);
	assert_true(low == 80 && high == 95);
	assert_int_equal(pressure_parse("1,100", &low, &high), 0);
	assert_true(low == 1 && high == 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mark_is_told_once),
		cmocka_unit_test(a_pool_that_breathes_at_a_mark_is_not_told_of),
		cmocka_unit_test(any_size_has_marks_in_order),
		cmocka_unit_test(the_option_takes_two_numbers_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
