/* SPDX-License-Identifier: Apache-2.0 */
/* Time that work may take, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/allowance.h"

#define START UINT64_C(1000000000)

static void test_spent_and_gained(void **state)
{
	struct allowance allowance;

	(void)state;
	allowance_init(&allowance, START);
	assert_true(allowance_is_left(&allowance, START));
	assert_int_equal(allowance_wait_ms(&allowance), 1);
	allowance_spend(&allowance, ALLOWANCE_MAX_NS - 1);
	assert_true(allowance_is_left(&allowance, START));
	allowance_spend(&allowance, 1);
	assert_false(allowance_is_left(&allowance, START));
	/* A nanosecond takes ten, and none of them is lost by asking. */
	for (uint64_t i = 1; i < ALLOWANCE_SHARE; i++)
		assert_false(allowance_is_left(&allowance, START + i));
	assert_true(allowance_is_left(&allowance, START + ALLOWANCE_SHARE));
}

/* Too much at once is made up for; what is not used gathers to no more than one piece. */
static void test_bounds(void **state)
{
	struct allowance allowance;
	uint64_t now = START;

	(void)state;
	allowance_init(&allowance, now);
	allowance_spend(&allowance, 4 * ALLOWANCE_MAX_NS);
	assert_false(allowance_is_left(&allowance, now));
	uint64_t wait = allowance_wait_ms(&allowance);
	assert_int_equal(wait, 3 * ALLOWANCE_MAX_NS * ALLOWANCE_SHARE / 1000000 + 1);
	assert_false(allowance_is_left(&allowance, now + (wait - 1) * 1000000));
	now += wait * 1000000;
	assert_true(allowance_is_left(&allowance, now));
	now += UINT64_C(1) << 62;
	assert_true(allowance_is_left(&allowance, now));
	allowance_spend(&allowance, ALLOWANCE_MAX_NS);
	assert_false(allowance_is_left(&allowance, now));
	for (int i = 0; i < 3; i++)
		allowance_spend(&allowance, UINT64_MAX);
	assert_false(allowance_is_left(&allowance, now));
	assert_true(allowance_is_left(&allowance, now + (UINT64_C(1) << 62)));
}

/* Whoever asks all the time and does what he may gets a tenth. */
static void test_share(void **state)
{
	struct allowance allowance;
	uint64_t now = START, spent = 0;

	(void)state;
	allowance_init(&allowance, now);
	while (now < START + UINT64_C(10000000000)) {
		now += 700;
		if (!allowance_is_left(&allowance, now))
			continue;
		allowance_spend(&allowance, 30000);
		now += 30000;
		spent += 30000;
	}
	assert_in_range(spent, 990000000, 1000000000 + ALLOWANCE_MAX_NS + 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spent_and_gained),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
