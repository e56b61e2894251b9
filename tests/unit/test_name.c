/* SPDX-License-Identifier: Apache-2.0 */
/* Names, tags, names of pools and of programs: which pass, and what is made of those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "name.h"
#include "shmbuddy.h"

_Static_assert(NAME_LENGTH_MAX == SHMB_NAME_MAX, "name");
_Static_assert(TAG_LENGTH_MAX == SHMB_TAG_MAX, "tag");
_Static_assert(POOL_NAME_LENGTH_MAX == SHMB_POOL_NAME_MAX, "pool");
_Static_assert(PROGRAM_LENGTH_MAX == SHMB_PROGRAM_MAX, "program");

typedef int check(const char *bytes, size_t length);

static int check_text(check *function, const char *text)
{
	return function(text, strlen(text));
}

static void assert_lengths(check *function, size_t least, size_t most)
{
	char text[300];

	memset(text, 'x', sizeof(text));
	for (size_t length = 0; length <= sizeof(text); length++)
		assert_int_equal(function(text, length), length >= least && length <= most ? 0 : -EINVAL);
	assert_int_equal(function(NULL, 0), least == 0 ? 0 : -EINVAL);
}

static void test_lengths(void **state)
{
	(void)state;
	assert_lengths(name_check, 1, SHMB_NAME_MAX);
	assert_lengths(tag_check, 0, SHMB_TAG_MAX);
	assert_lengths(pool_name_check, 1, SHMB_POOL_NAME_MAX);
	assert_lengths(program_check, 0, SHMB_PROGRAM_MAX);
}

/* The same characters for all three: all but the controls, and no byte that is not UTF-8, wherever it stands. */
static void test_characters(void **state)
{
	check *const functions[] = {name_check, tag_check, program_check};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (unsigned value = 0; value < 256; value++) {
			char bytes[3] = {'a', (char)value, 'z'};
			bool good = value >= 0x20 && value < 0x7f;

			assert_int_equal(functions[i](bytes, 3), good ? 0 : -EINVAL);
			assert_int_equal(functions[i](bytes, 2), good ? 0 : -EINVAL);
			assert_int_equal(functions[i](bytes + 1, 1), good ? 0 : -EINVAL);
		}
		for (unsigned value = 0x80; value <= 0xbf; value++) {
			char bytes[2] = {(char)0xc2, (char)value}; /* U+0080 to U+00BF */

			assert_int_equal(functions[i](bytes, 2), value > 0x9f ? 0 : -EINVAL);
		}
		assert_int_equal(check_text(functions[i], "caf\xc3\xa9 \xf0\x9f\x90\xa7"), 0);
		assert_int_equal(check_text(functions[i], "\xed\xa0\x80"), -EINVAL);
		assert_int_equal(functions[i]("\xc3\xa9", 1), -EINVAL);
	}
}

static void test_reserved_names(void **state)
{
	(void)state;
	assert_int_equal(check_text(name_check, "//"), -EINVAL);
	assert_int_equal(check_text(name_check, "//host/frame"), -EINVAL);
	assert_int_equal(check_text(name_check, "/"), 0);
	assert_int_equal(check_text(name_check, "/frame"), 0);
	assert_int_equal(check_text(name_check, "frame//"), 0);
	assert_int_equal(check_text(name_check, "a//b"), 0);
	assert_int_equal(name_check("//", 1), 0); /* the length counts */
	assert_int_equal(check_text(tag_check, "//"), 0);
	assert_int_equal(check_text(program_check, "//"), 0);
}

static void test_pool_characters(void **state)
{
	const char digits_and_letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	(void)state;
	for (unsigned value = 0; value < 256; value++) {
		char bytes[3] = {(char)value, (char)value, 'x'};
		bool alphanumeric = value != 0 && strchr(digits_and_letters, (int)value) != NULL;
		bool inside = alphanumeric || value == '_' || value == '-';

		assert_int_equal(pool_name_check(bytes, 1), alphanumeric ? 0 : -EINVAL);
		bytes[0] = 'x';
		assert_int_equal(pool_name_check(bytes, 2), inside ? 0 : -EINVAL);
		assert_int_equal(pool_name_check(bytes, 3), inside ? 0 : -EINVAL);
	}
	assert_int_equal(check_text(pool_name_check, "default"), 0);
	assert_int_equal(check_text(pool_name_check, "../escape"), -EINVAL);
}

static void assert_cleaned(const char *bytes, size_t length, size_t capacity, const char *expected)
{
	char text[40];

	memset(text, '#', sizeof(text));
	assert_int_equal(name_clean(bytes, length, capacity, text), strlen(expected));
	assert_string_equal(text, expected);
	for (size_t i = capacity; i < sizeof(text); i++)
		assert_int_equal(text[i], '#');
}

static void test_clean(void **state)
{
	(void)state;
	assert_cleaned(NULL, 0, 1, "");
	assert_cleaned("abc", 3, 1, "");
	assert_cleaned("abc", 3, 3, "ab");
	assert_cleaned("abc", 3, 4, "abc");
	assert_cleaned("a\nb\0c\x7f", 6, 32, "a?b?c?");
	assert_cleaned("\xc2\x85|\xc2\xa0", 5, 32, "?|\xc2\xa0"); /* one mark for a control character of two bytes */
	assert_cleaned("\xff\xfe", 2, 32, "??");
	assert_cleaned("\xe2\x82", 2, 32, "??");              /* cut off */
	assert_cleaned("\xe2\x82\xac", 3, 4, "\xe2\x82\xac"); /* whole */
	assert_cleaned("\xe2\x82\xac", 3, 3, "");             /* not cut in its middle */
	assert_cleaned("a\xc3\xa9z", 4, 3, "a");
}

/* Whatever two bytes stand between letters, the result passes for a program's name and keeps the letters. */
static void test_clean_is_printable(void **state)
{
	(void)state;
	for (unsigned pair = 0; pair < 65536; pair++) {
		char bytes[4] = {'a', (char)(pair >> 8), (char)pair, 'z'}, text[8];
		size_t length = name_clean(bytes, sizeof(bytes), sizeof(text), text);

		if (program_check(text, length) != 0 || text[0] != 'a' || text[length - 1] != 'z' || length < 3 || length > 4 ||
		    text[length] != '\0')
			fail_msg("%04x", pair);
		if (program_check(bytes, sizeof(bytes)) == 0)
			assert_memory_equal(text, bytes, sizeof(bytes));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),         cmocka_unit_test(test_characters), cmocka_unit_test(test_reserved_names),
		cmocka_unit_test(test_pool_characters), cmocka_unit_test(test_clean),      cmocka_unit_test(test_clean_is_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
