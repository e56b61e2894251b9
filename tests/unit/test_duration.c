/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of time: what is read, what is refused, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "duration.h"

static void test_parse(void **state)
{
	const struct {
		const char *text;
		uint64_t ms;
	} cases[] = {
		{"0", 0},
		{"000", 0},
		{"0ms", 0},
		{"0h", 0},
		{"1ms", 1},
		{"500ms", 500},
		{"0500ms", 500},
		{"2s", 2000},
		{"1m", 60000},
		{"12h", 43200000},
		{"18446744073709551615ms", UINT64_MAX},
		{"18446744073709551s", UINT64_C(18446744073709551000)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t ms = 12345;
		if (duration_parse(cases[i].text, &ms) != 0 || ms != cases[i].ms)
			fail_msg("\"%s\": %ju", cases[i].text, (uintmax_t)ms);
	}
}

static void test_refuses(void **state)
{
	const char *const garbage[] = {"",
	                               " ",
	                               "1",
	                               "5",
	                               "s",
	                               "ms",
	                               "-1s",
	                               "+1s",
	                               " 1s",
	                               "1s ",
	                               "1 s",
	                               "1.5s",
	                               "1S",
	                               "1MS",
	                               "1sec",
	                               "1min",
	                               "1d",
	                               "1us",
	                               "1mss",
	                               "never",
	                               "1s1",
	                               "0x1s",
	                               "1,s",
	                               "99999999999999999999x",
	                               "99999999999999999999"};
	const char *const too_long[] = {"18446744073709551616ms", "18446744073709552s", "307445734561826m", "5124095576031h",
	                                "99999999999999999999999s"};
	uint64_t ms = 12345;

	(void)state;
	for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
		if (duration_parse(garbage[i], &ms) != -EINVAL)
			fail_msg("\"%s\"", garbage[i]);
	}
	for (size_t i = 0; i < sizeof too_long / sizeof too_long[0]; i++) {
		if (duration_parse(too_long[i], &ms) != -ERANGE)
			fail_msg("\"%s\"", too_long[i]);
	}
	assert_int_equal(ms, 12345);
}

static void test_format(void **state)
{
	const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{1, "1ms"},
		{999, "999ms"},
		{1000, "1s"},
		{1500, "1500ms"},
		{59000, "59s"},
		{60000, "1m"},
		{90000, "90s"},
		{3600000, "1h"},
		{5400000, "90m"},
		{86400000, "24h"},
		{3601000, "3601s"},
		{UINT64_MAX, "18446744073709551615ms"},
	};
	char text[DURATION_TEXT_MAX];
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		duration_format(cases[i].ms, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(duration_parse(text, &ms), 0);
		assert_int_equal(ms, cases[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
