/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C: published vectors, both ways of computing it against one bit at a time, and the choice between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "checksum.h"

#define THREADS 4

static checksum_function *first; /* checksum_implementation as the program started */

/* Straight from the definition: polynomial 0x1EDC6F41, its bits reversed. */
static uint32_t by_bits(const uint8_t *bytes, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static int has_sse42(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("sse4.2") != 0;
#else
	return 0;
#endif
}

static void assert_vectors(checksum_function *function)
{
	/* RFC 3720, appendix B.4: the last one is an iSCSI read command. */
	const uint8_t command[48] = {0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
	uint8_t bytes[32];

	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(function(bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(function(bytes, sizeof(bytes)), 0x62a8ab43);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(function(bytes, sizeof(bytes)), 0x46dd794e);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(31 - i);
	assert_int_equal(function(bytes, sizeof(bytes)), 0x113fdb5c);
	assert_int_equal(function(command, sizeof(command)), 0xd9963a56);
	/* The check value of the usual catalogues. */
	assert_int_equal(function("123456789", 9), 0xe3069283);
	assert_int_equal(function(NULL, 0), 0);
}

/* The first call chooses, and what it answers is right already. */
static void test_first_call(void **state)
{
	(void)state;
	assert_ptr_equal(atomic_load(&checksum_implementation), first);
	assert_ptr_not_equal(first, checksum_choose(true));
	assert_ptr_not_equal(first, checksum_choose(false));
	assert_int_equal(checksum_of("123456789", 9), 0xe3069283);
	assert_ptr_equal(atomic_load(&checksum_implementation), checksum_choose(has_sse42()));
}

static void test_vectors(void **state)
{
	(void)state;
	assert_vectors(checksum_of);
	assert_vectors(checksum_choose(false));
	if (has_sse42()) {
		assert_ptr_not_equal(checksum_choose(true), checksum_choose(false));
		assert_vectors(checksum_choose(true));
	}
}

static void test_all_ways_agree(void **state)
{
	checksum_function *fastest = checksum_choose(has_sse42()), *table = checksum_choose(false);
	uint8_t bytes[96];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 197 + 13);
	for (size_t start = 0; start < 8; start++) {
		for (size_t length = 0; start + length <= sizeof(bytes); length++) {
			uint32_t expected = by_bits(bytes + start, length);

			assert_int_equal(table(bytes + start, length), expected);
			assert_int_equal(fastest(bytes + start, length), expected);
			assert_int_equal(checksum_of(bytes + start, length), expected);
		}
	}
	for (unsigned value = 0; value < 256; value++) { /* every entry of the table */
		uint8_t byte = (uint8_t)value;

		assert_int_equal(table(&byte, 1), by_bits(&byte, 1));
	}
}

static void test_zeros_are_no_record(void **state)
{
	const uint8_t zeros[4096] = {0};

	(void)state;
	for (size_t length = 1; length <= sizeof(zeros); length++)
		assert_int_not_equal(checksum_of(zeros, length), 0);
}

static void *call(void *out_result)
{
	*(uint32_t *)out_result = checksum_of("123456789", 9);
	return NULL;
}

/* Threads whose first calls meet: none is wrong, and ThreadSanitizer finds no race. */
static void test_first_calls_meet(void **state)
{
	(void)state;
	for (int round = 0; round < 50; round++) {
		pthread_t threads[THREADS];
		uint32_t results[THREADS] = {0};

		atomic_store(&checksum_implementation, first);
		for (size_t i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, call, &results[i]), 0);
		for (size_t i = 0; i < THREADS; i++) {
			assert_int_equal(pthread_join(threads[i], NULL), 0);
			assert_int_equal(results[i], 0xe3069283);
		}
		assert_ptr_equal(atomic_load(&checksum_implementation), checksum_choose(has_sse42()));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_call),       cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_ways_agree),   cmocka_unit_test(test_zeros_are_no_record),
		cmocka_unit_test(test_first_calls_meet),
	};

	first = atomic_load(&checksum_implementation);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
