/* SPDX-License-Identifier: Apache-2.0 */
/* Which names a filter takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "client/name_filter.h"

static int takes(const char *prefix, const char *pattern, const char *name)
{
	return name_filter_takes(&(shmb_name_filter){prefix, pattern}, name);
}

static void test_all(void **state)
{
	(void)state;
	assert_int_equal(name_filter_takes(NULL, "any"), 1);
	assert_int_equal(takes(NULL, NULL, "any"), 1);
	assert_int_equal(takes("", "*", "any"), 1);
}

static void test_prefix(void **state)
{
	(void)state;
	assert_int_equal(takes("cam", NULL, "camera"), 1);
	assert_int_equal(takes("camera", NULL, "camera"), 1);
	assert_int_equal(takes("cameras", NULL, "camera"), 0);
	assert_int_equal(takes("am", NULL, "camera"), 0);
	assert_int_equal(takes("c*", NULL, "camera"), 0); /* no pattern */
	assert_int_equal(takes("c*", NULL, "c*"), 1);
}

static void test_pattern(void **state)
{
	(void)state;
	assert_int_equal(takes(NULL, "camera", "camera"), 1);
	assert_int_equal(takes(NULL, "cam", "camera"), 0); /* the whole of it */
	assert_int_equal(takes(NULL, "cam*", "camera"), 1);
	assert_int_equal(takes(NULL, "*", "a/b"), 1);
	assert_int_equal(takes(NULL, "*", ".a"), 1);
	assert_int_equal(takes(NULL, "a?b", "a/b"), 1);
	assert_int_equal(takes(NULL, "[a-c]x", "bx"), 1);
	assert_int_equal(takes(NULL, "[!a-c]x", "bx"), 0);
	assert_int_equal(takes(NULL, "a\\*", "a*"), 1);
	assert_int_equal(takes(NULL, "a\\*", "ab"), 0);
	assert_int_equal(takes(NULL, "[", "["), 1); /* half a bracket is one */
}

static void test_both(void **state)
{
	(void)state;
	assert_int_equal(takes("cam/", "*t", "cam/left"), 1);
	assert_int_equal(takes("cam/", "*t", "cam/middle"), 0);
	assert_int_equal(takes("cam/", "*t", "left"), 0);
}

/* Many stars against the longest name: it does not take for ever. */
static void test_many_stars(void **state)
{
	char pattern[202], name[256];

	(void)state;
	for (size_t i = 0; i < 200; i += 2)
		memcpy(pattern + i, "*a", 2);
	strcpy(pattern + 200, "b");
	memset(name, 'a', 255);
	name[255] = '\0';
	assert_int_equal(takes(NULL, pattern, name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),  cmocka_unit_test(test_prefix),     cmocka_unit_test(test_pattern),
		cmocka_unit_test(test_both), cmocka_unit_test(test_many_stars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
