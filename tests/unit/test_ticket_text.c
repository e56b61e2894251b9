/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets as text: known ones, a thousand random ones there and back, and everything that a slip of the hand makes of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/unit/draw.h"

#define LENGTH (SHMB_TICKET_TEXT_MAX - 1)
#define FIRST_DIGIT 6

static shmb_ticket random_ticket(void)
{
	shmb_ticket ticket;

	for (size_t i = 0; i < sizeof ticket.token; i++)
		ticket.token[i] = (uint8_t)draw(256);
	return ticket;
}

static void expect_refused(const char *text, const char *why)
{
	shmb_ticket ticket = {{42}}, untouched = ticket;

	assert_int_equal(shmb_ticket_parse(text, &ticket), -SHMB_E_INVALID_ARGUMENT);
	assert_non_null(strstr(shmb_last_error(), why));
	assert_memory_equal(&ticket, &untouched, sizeof ticket);
}

/* Computed by another program, from the definitions. */
static void test_known(void **state)
{
	shmb_ticket ticket = {{0}}, parsed;
	char text[SHMB_TICKET_TEXT_MAX];

	(void)state;
	for (unsigned i = 0; i < sizeof ticket.token; i++)
		ticket.token[i] = (uint8_t)(i * 17);
	shmb_ticket_format(ticket, text);
	assert_string_equal(text, "shmb1-008j4ct4ank7f24snaxwsqfezx4dztc2");
	assert_int_equal(shmb_ticket_parse(text, &parsed), 0);
	assert_memory_equal(&parsed, &ticket, sizeof ticket);
}

static void test_there_and_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		shmb_ticket ticket = random_ticket(), parsed;
		char text[SHMB_TICKET_TEXT_MAX];

		shmb_ticket_format(ticket, text);
		assert_int_equal(strlen(text), LENGTH);
		assert_int_equal(shmb_ticket_parse(text, &parsed), 0);
		assert_memory_equal(&parsed, &ticket, sizeof ticket);
		/* As people may write it. */
		for (unsigned k = FIRST_DIGIT; k < LENGTH; k++)
			text[k] = text[k] == '1' ? "lLiI"[draw(4)] : text[k] == '0' ? "oO"[draw(2)] : (char)toupper(text[k]);
		assert_int_equal(shmb_ticket_parse(text, &parsed), 0);
		assert_memory_equal(&parsed, &ticket, sizeof ticket);
	}
}

static void test_mistyped(void **state)
{
	static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
	char text[SHMB_TICKET_TEXT_MAX];

	(void)state;
	shmb_ticket_format(random_ticket(), text);
	for (unsigned k = FIRST_DIGIT; k < LENGTH; k++) {
		char right = text[k];
		for (const char *wrong = alphabet; *wrong; wrong++) {
			text[k] = *wrong;
			if (*wrong != right)
				expect_refused(text, "mistyped: its checksum");
		}
		for (const char *never = "u-_ .\n\x80"; *never; never++) {
			text[k] = *never;
			expect_refused(text, "mistyped: its character");
		}
		text[k] = right;
		if (k + 1 < LENGTH && text[k] != text[k + 1]) {
			text[k] = text[k + 1];
			text[k + 1] = right;
			expect_refused(text, "mistyped: its checksum");
			text[k + 1] = text[k];
			text[k] = right;
		}
	}
}

static void test_no_ticket(void **state)
{
	char text[SHMB_TICKET_TEXT_MAX + 1];
	(void)state;
	expect_refused("", "begin with shmb1-");
	expect_refused("shmb1", "begin with shmb1-");
	expect_refused("shmb1-", "not whole");
	expect_refused("photo", "begin with shmb1-");
	shmb_ticket_format(random_ticket(), text);
	text[LENGTH] = '0';
	text[LENGTH + 1] = '\0';
	expect_refused(text, "not whole");
	text[LENGTH - 1] = '\0';
	expect_refused(text, "not whole");
	expect_refused(NULL, "text is NULL");
	assert_int_equal(shmb_ticket_parse(text, NULL), -SHMB_E_INVALID_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_mistyped),
		cmocka_unit_test(test_no_ticket),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
