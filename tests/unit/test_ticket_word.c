/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets on the command line and in messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "client/cli/ticket_word.h"
#include "shmbuddy.h"

static void test_is(void **state)
{
	const shmb_ticket ticket = {.token = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
	char text[SHMB_TICKET_TEXT_MAX];

	(void)state;
	shmb_ticket_format(ticket, text);
	assert_true(ticket_word_is(text));
	text[6] = 'u'; /* which tickets have not */
	assert_true(ticket_word_is(text));
	text[36] = '\0';
	assert_true(ticket_word_is(text));
	text[35] = '\0';
	assert_false(ticket_word_is(text));
	assert_false(ticket_word_is("shmb1-0123456789abcdefghjkmnpqrstvwxyz.txt"));
	assert_false(ticket_word_is(""));
	assert_false(ticket_word_is("shmb1-"));
	assert_false(ticket_word_is("photo"));
}

static void test_hide(void **state)
{
	static const struct {
		const char *text, *hidden;
	} cases[] = {
		{"", ""},
		{"name 'photo'", "name 'photo'"},
		{"opening shmb1-backup.raw: No such file", "opening shmb1-backup.raw: No such file"},
		{"shmb1-", "shmb1-"},
		{"shmb1-0123456789a", "shmb1-0123456789a"},
		{"shmb1-0123456789ab", "shmb1-…"},
		{"opening shmb1-0123456789abcdefghjkmnpqrstvwxyz: No such file", "opening shmb1-…: No such file"},
		{"'SHMB1-0123456789ABCDEFGHJKMNPQRSTVWXYZ' is no block", "'SHMB1-…' is no block"},
		{"shmb1-0123456789abcdefghjkmnpqrstvwxyz shmb1-x shmb1-0123456789abcdefg", "shmb1-… shmb1-x shmb1-…"},
		{"shmb1-shmb1-0123456789abcdefghjkmnpqrstvwxyz", "shmb1-shmb1-…"},
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "%s", cases[i].text);
		ticket_word_hide(text);
		assert_string_equal(text, cases[i].hidden);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is),
		cmocka_unit_test(test_hide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
