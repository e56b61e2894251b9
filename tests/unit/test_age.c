/* SPDX-License-Identifier: Apache-2.0 */
/* Ages: the two largest units, at each edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/cli/age.h"

static void test_between(void **state)
{
	(void)state;
	assert_true(age_between(5, 12) == 7);
	assert_true(age_between(5, 5) == 0);
	assert_true(age_between(12, 5) == 0); /* the clock was set back */
	assert_true(age_between(0, UINT64_MAX) == UINT64_MAX);
}

static void test_format(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = {
		{0, "0s"},       {59, "59s"},     {60, "1m00s"},     {192, "3m12s"},   {3599, "59m59s"},
		{3600, "1h00m"}, {7505, "2h05m"}, {86399, "23h59m"}, {86400, "1d00h"}, {41 * 86400 + 7 * 3600 + 3599, "41d07h"},
	};
	char text[AGE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		age_format(cases[i].seconds * UINT64_C(1000000000) + 999999999, text); /* cut off, not rounded */
		assert_string_equal(text, cases[i].text);
	}
	age_format(UINT64_MAX, text);
	assert_string_equal(text, "213503d23h");
}

static void test_format_left(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {{0, "0s"}, {1, "1ms"}, {450, "450ms"}, {999, "999ms"}, {1000, "1s"}, {1999, "1s"}, {7505999, "2h05m"}};
	char text[AGE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		age_format_left(cases[i].ms, text);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_between),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
