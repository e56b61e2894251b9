/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: every character there is, by an encoder of the test's own, and the forms that RFC 3629 forbids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* Writes any value up to 0x1fffff in `size` bytes, shortest or not. */
static void encode(uint32_t character, size_t size, char *out_bytes)
{
	const uint8_t marks[] = {0, 0x00, 0xc0, 0xe0, 0xf0};

	for (size_t i = size - 1; i > 0; i--) {
		out_bytes[i] = (char)(0x80 | (character & 0x3f));
		character >>= 6;
	}
	out_bytes[0] = (char)(marks[size] | character);
}

static size_t shortest(uint32_t character)
{
	return character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
}

/* Every value in every length that can hold it: only the shortest form of a real character counts. */
static void test_every_character(void **state)
{
	const uint32_t ends[] = {0, 0x80, 0x800, 0x10000, 0x200000};

	(void)state;
	for (size_t size = 1; size <= 4; size++) {
		for (uint32_t character = 0; character < ends[size]; character++) {
			bool good = size == shortest(character) && character <= 0x10ffff && (character < 0xd800 || character > 0xdfff);
			uint32_t seen = UINT32_MAX;
			char bytes[5] = "";
			size_t used;

			encode(character, size, bytes);
			used = utf8_next(bytes, sizeof(bytes), &seen);
			if (used != (good ? size : 0) || seen != (good ? character : UINT32_MAX))
				fail_msg("U+%04X in %zu bytes: %zu bytes, U+%04X", character, size, used, seen);
		}
	}
}

/* Each byte of a character that is missing or is no continuation makes it invalid. Lengths are exact, for the sanitizers. */
static void test_broken_characters(void **state)
{
	const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa7"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t size = i + 2;
		uint32_t seen = UINT32_MAX;

		for (size_t cut = 0; cut < size; cut++) {
			char *bytes = malloc(cut + 1);

			assert_non_null(bytes);
			memcpy(bytes + 1, characters[i], cut);
			assert_int_equal(utf8_next(bytes + 1, cut, &seen), 0);
			free(bytes);
		}
		for (size_t at = 1; at < size; at++) {
			for (unsigned value = 0; value < 256; value++) {
				char bytes[4];

				memcpy(bytes, characters[i], size);
				bytes[at] = (char)value;
				if (value < 0x80 || value > 0xbf)
					assert_int_equal(utf8_next(bytes, size, &seen), 0);
			}
		}
		assert_int_equal(seen, UINT32_MAX);
	}
}

static void test_first_bytes(void **state)
{
	(void)state;
	for (unsigned value = 0x80; value < 256; value++) {
		bool may_start = value >= 0xc2 && value <= 0xf4;
		char bytes[4] = {(char)value, (char)0x90, (char)0x90, (char)0x90};
		uint32_t seen;

		if (value == 0xe0 || value == 0xf4) /* the second byte has narrower bounds here */
			bytes[1] = (char)(value == 0xe0 ? 0xa0 : 0x80);
		assert_int_equal(utf8_next(bytes, 4, &seen) > 0, may_start);
	}
}

static void test_is_valid(void **state)
{
	const char mixed[] = "a\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa7z";

	(void)state;
	assert_true(utf8_is_valid(NULL, 0));
	assert_true(utf8_is_valid("", 0));
	assert_true(utf8_is_valid(mixed, sizeof(mixed) - 1));
	for (size_t length = 0; length < sizeof(mixed); length++) {
		bool boundary = length <= 2 || length == 4 || length == 7 || length >= 11;

		assert_int_equal(utf8_is_valid(mixed, length), boundary);
	}
	assert_false(utf8_is_valid("ok\xff", 3));
	assert_false(utf8_is_valid("\xff"
	                           "ok",
	                           3));
	assert_false(utf8_is_valid("\xed\xa0\x80", 3)); /* surrogate */
	assert_false(utf8_is_valid("\xc0\xaf", 2));     /* overlong */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_broken_characters),
		cmocka_unit_test(test_first_bytes),
		cmocka_unit_test(test_is_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
