/* SPDX-License-Identifier: Apache-2.0 */
/* The line that shows how far a copy has come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/cli/progress.h"

#define SECOND UINT64_C(1000000000)
#define MIB (UINT64_C(1) << 20)

static void test_line(void **state)
{
	static const struct {
		uint64_t done, total, elapsed_ns;
		const char *text;
	} cases[] = {
		{75 * MIB, 300 * MIB, 3 * SECOND, "put: 25%, 75M of 300M, 25M/s, 9s left"},
		{300 * MIB, 300 * MIB, 3 * SECOND, "put: 100%, 300M of 300M, 100M/s, 0s left"},
		{299, 300, 2 * SECOND, "put: 99%, 299 of 300, 149/s, 0s left"}, /* not 100% before the end */
		{75 * MIB, 0, 3 * SECOND, "put: 75M, 25M/s"},                   /* a length that is not known */
		{0, 300 * MIB, 3 * SECOND, "put: 0, 0/s"},                      /* no rate to tell a time from */
		{301, 300, SECOND, "put: 301, 301/s"},                          /* more than was known */
	};
	char text[PROGRESS_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		progress_line("put", cases[i].done, cases[i].total, cases[i].elapsed_ns, text);
		assert_string_equal(text, cases[i].text);
	}
	progress_line("put", 1, UINT64_MAX, UINT64_MAX, text); /* the time that is left is beyond 64 bits */
	assert_string_equal(text, "put: 0%, 1 of 16384P, 0/s, 106751d23h left");
	progress_line("put", UINT64_MAX, UINT64_MAX, 1, text); /* the rate is */
	assert_string_equal(text, "put: 100%, 16384P of 16384P, 8192P/s, 0s left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
