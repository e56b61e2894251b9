/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes: what is read, what is refused, what is written, and the arithmetic at its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "size.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define PIB (UINT64_C(1) << 50)

struct parsed {
	const char *text;
	uint64_t bytes;
};

static void test_parse(void **state)
{
	const struct parsed cases[] = {
		{"0", 0},
		{"10", 10},
		{"007", 7},
		{"18446744073709551615", UINT64_MAX},
		{"64K", 64 * KIB},
		{"64k", 64 * KIB},
		{"3M", 3 * MIB},
		{"3m", 3 * MIB},
		{"2G", 2 * GIB},
		{"2g", 2 * GIB},
		{"5T", 5 * TIB},
		{"5t", 5 * TIB},
		{"7P", 7 * PIB},
		{"7p", 7 * PIB},
		{"4KiB", 4 * KIB},
		{"4kiB", 4 * KIB},
		{"2MB", 2 * MIB},
		{"0P", 0},
		{"1.5G", GIB + GIB / 2},
		{"1.50GiB", GIB + GIB / 2},
		{"0.5K", 512},
		{"0.0K", 0},
		{"1.1K", 1126},                     /* 1126.4 */
		{"0.0009K", 0},                     /* 0.9216 */
		{"0.000976562499999999K", 0},       /* just below one byte */
		{"0.000976562500000000K", 1},       /* one byte */
		{"0.999999999999999999P", PIB - 1}, /* PIB - 0.0011 */
		{"1.000000000000001P", PIB + 1},    /* PIB + 1.1259 */
		{"16383P", 16383 * PIB},
		{"16383.999999999999999999P", UINT64_MAX},
		{"18014398509481983K", 18014398509481983 * KIB},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 12345;
		int result = size_parse(cases[i].text, &bytes);

		if (result != 0 || bytes != cases[i].bytes)
			print_error("\"%s\": %d, %ju\n", cases[i].text, result, (uintmax_t)bytes);
		assert_int_equal(result, 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void test_parse_refuses(void **state)
{
	const char *const garbage[] = {
		"",
		" ",
		" 1",
		"1 ",
		"1 K",
		"-1",
		"+1",
		"K",
		".5K",
		"1.K",
		"1.",
		"1.5",
		"1.5B",
		"1B",
		"1iB",
		"1Ki",
		"1KB ",
		"1KiBB",
		"1Kib",
		"1KI",
		"1Kb",
		"1KK",
		"1E",
		"1X",
		"0x10",
		"1,5G",
		"1.5.5G",
		"1e3",
		"ten",
		"1.x",
		"1.5 K",
		"1.-5K",
		"1@",
		"1[",
		"1`",
		"1{",
		"1/",
		"1:",
		"/",
		":",
		"1.0000000000000000000K",   /* 19 digits */
		"99999999999999999999999X", /* garbage comes before too large */
		"99999999999999999999999.5",
	};
	const char *const over[] = {
		"18446744073709551616",
		"18446744073709551620",
		"99999999999999999999999",
		"18014398509481984K",
		"16384P",
		"16384.5P",
		"17179869184G",
		"99999999999999999999999K",
		"184467440737095516150",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		uint64_t bytes = 12345;
		int result = size_parse(garbage[i], &bytes);

		if (result != -EINVAL)
			print_error("\"%s\": %d\n", garbage[i], result);
		assert_int_equal(result, -EINVAL);
		assert_int_equal(bytes, 12345);
	}
	for (size_t i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
		uint64_t bytes = 12345;
		int result = size_parse(over[i], &bytes);

		if (result != -ERANGE)
			print_error("\"%s\": %d\n", over[i], result);
		assert_int_equal(result, -ERANGE);
		assert_int_equal(bytes, 12345);
	}
}

static void test_format(void **state)
{
	const struct parsed cases[] = {
		{"0", 0},
		{"1", 1},
		{"1023", 1023},
		{"1K", 1024},
		{"1K", 1025},   /* 1.001: no ".0" */
		{"1K", 1075},   /* 1.0498 */
		{"1.1K", 1076}, /* 1.0508 */
		{"1.5K", 1536},
		{"1.9K", 1996}, /* 1.9492 */
		{"2K", 1997},   /* 1.9502 */
		{"64K", 64 * KIB},
		{"9.8M", 9 * MIB + 8 * MIB / 10},
		{"10M", 10 * MIB - 1},
		{"1.5G", GIB + GIB / 2},
		{"1023.9K", MIB - 52}, /* 1023.9492 */
		{"1M", MIB - 51},      /* 1023.9502 */
		{"1M", MIB - 1},
		{"1M", MIB},
		{"1G", GIB - 1},
		{"1T", TIB - 1},
		{"1P", PIB - 1},
		{"1023.9T", PIB - TIB / 10},
		{"1024P", 1024 * PIB},
		{"16383.9P", 16383 * PIB + 9 * (PIB / 10)},
		{"16384P", UINT64_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[SIZE_TEXT_MAX];

		memset(text, 'x', sizeof(text));
		size_format(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
	}
}

/* Written and read again, a size is off by half a tenth of its unit at most; a whole number of units is exact. */
static void test_format_then_parse(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 60; shift++) {
		for (uint64_t top = 1; top < 64; top++) {
			uint64_t bytes = (top << shift) >> 3, back, unit = 1;
			char text[SIZE_TEXT_MAX];

			while (unit < PIB && bytes / unit >= 1024)
				unit *= 1024;
			size_format(bytes, text);
			assert_int_equal(size_parse(text, &back), 0);
			assert_true((back > bytes ? back - bytes : bytes - back) <= unit / 20 + 1);
			if (bytes % unit == 0)
				assert_int_equal(back, bytes);
		}
	}
}

static void test_format_exact(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0"},
		{1000, "1000"},
		{64 << 10, "64K"},
		{3 << 19, "1.5M"},
		{(1 << 20) + 1, "1048577"}, /* which size_format calls 1M */
		{1088 << 10, "1088K"},      /* 1.0625M */
		{UINT64_C(1025) << 50, "1025P"},
		{(UINT64_C(1) << 40) + (1 << 20), "1048577M"},
		{UINT64_MAX, "18446744073709551615"},
	};
	char text[SIZE_EXACT_MAX];
	uint64_t read = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_format_exact(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(size_parse(text, &read), 0);
		assert_true(read == cases[i].bytes);
	}
}

static void test_powers_of_two(void **state)
{
	(void)state;
	assert_false(size_is_power_of_two(0));
	assert_false(size_is_power_of_two(3));
	assert_false(size_is_power_of_two(UINT64_MAX));
	for (unsigned order = 0; order < 64; order++) {
		uint64_t power = UINT64_C(1) << order;

		assert_true(size_is_power_of_two(power));
		assert_int_equal(size_order_for(power), order);
		assert_int_equal(size_order_for(power + 1), order + 1);
		if (order > 1) {
			assert_false(size_is_power_of_two(power - 1));
			assert_int_equal(size_order_for(power - 1), order);
		}
	}
	assert_int_equal(size_order_for(0), 0);
	assert_int_equal(size_order_for(UINT64_MAX), 64);
}

static void test_round_up(void **state)
{
	const uint64_t half = UINT64_C(1) << 63;
	uint64_t rounded = 12345;

	(void)state;
	assert_int_equal(size_round_up(UINT64_MAX, 2, &rounded), -ERANGE);
	assert_int_equal(size_round_up(half + 1, half, &rounded), -ERANGE);
	assert_int_equal(rounded, 12345);
	assert_int_equal(size_round_up(0, 4096, &rounded), 0);
	assert_int_equal(rounded, 0);
	assert_int_equal(size_round_up(1, 4096, &rounded), 0);
	assert_int_equal(rounded, 4096);
	assert_int_equal(size_round_up(4096, 4096, &rounded), 0);
	assert_int_equal(rounded, 4096);
	assert_int_equal(size_round_up(4097, 4096, &rounded), 0);
	assert_int_equal(rounded, 8192);
	assert_int_equal(size_round_up(UINT64_MAX, 1, &rounded), 0);
	assert_int_equal(rounded, UINT64_MAX);
	assert_int_equal(size_round_up(UINT64_MAX - 1, 2, &rounded), 0);
	assert_int_equal(rounded, UINT64_MAX - 1);
	assert_int_equal(size_round_up(half, half, &rounded), 0);
	assert_int_equal(rounded, half);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),        cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_format),       cmocka_unit_test(test_format_then_parse),
		cmocka_unit_test(test_format_exact), cmocka_unit_test(test_powers_of_two),
		cmocka_unit_test(test_round_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
