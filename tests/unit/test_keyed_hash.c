/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of keyed_hash.h: equal names are equal, others differ, and names that were chosen under one key are as good as any under another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/keyed_hash.h"

#define BUCKETS 1024u
#define NAMES (8 * BUCKETS)

static void test_equal_and_other(void **state)
{
	struct keyed_hash hash;
	char one[] = "camera/front", other[] = "camera/front", text[256];

	(void)state;
	assert_int_equal(keyed_hash_init(&hash), 0);
	assert_true(hash.key < (UINT64_C(1) << 61) - 1);
	assert_int_equal(keyed_hash_of(&hash, one, strlen(one)), keyed_hash_of(&hash, other, strlen(other)));
	/* In length alone, in one bit of any byte, and in the order of what they are made of. */
	memset(text, 0, sizeof text);
	for (size_t length = 0; length < 255; length++)
		assert_true(keyed_hash_of(&hash, text, length) != keyed_hash_of(&hash, text, length + 1));
	memset(text, 'x', sizeof text);
	uint64_t whole = keyed_hash_of(&hash, text, 255);
	for (size_t i = 0; i < 255; i++) {
		text[i] ^= 1;
		assert_true(keyed_hash_of(&hash, text, 255) != whole);
		text[i] ^= 1;
	}
	assert_true(keyed_hash_of(&hash, "1234567abcdefg", 14) != keyed_hash_of(&hash, "abcdefg1234567", 14));
}

/* The arithmetic, against the plainest there is. */
static void test_value(void **state)
{
	const struct keyed_hash hash = {UINT64_C(0x123456789abcdef)};
	const unsigned __int128 prime = ((unsigned __int128)1 << 61) - 1;
	const uint64_t chunks[] = {14 + 1, UINT64_C(0x67666564636261),
	                           UINT64_C(0x6e6d6c6b6a6968)}; /* length; "abcdefg", "hijklmn" */
	unsigned __int128 sum = 0;

	(void)state;
	for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++)
		sum = (sum * hash.key + chunks[i]) % prime;
	assert_int_equal(keyed_hash_of(&hash, "abcdefghijklmn", 14), (uint64_t)(sum * hash.key % prime));
}

/* As many as fit of those that share a bucket under one key. */
static void test_chosen(void **state)
{
	struct keyed_hash one, other;
	unsigned counts[BUCKETS] = {0}, most = 0, chosen = 0;
	char name[32];

	(void)state;
	assert_int_equal(keyed_hash_init(&one), 0);
	assert_int_equal(keyed_hash_init(&other), 0);
	assert_true(one.key != other.key);
	for (unsigned i = 0; chosen < NAMES; i++) {
		int length = snprintf(name, sizeof name, "name-%u", i);
		if (keyed_hash_of(&one, name, (size_t)length) % 64 != 0)
			continue;
		chosen++;
		counts[keyed_hash_of(&other, name, (size_t)length) % BUCKETS]++;
	}
	for (unsigned i = 0; i < BUCKETS; i++)
		most = counts[i] > most ? counts[i] : most;
	/* 8 on average: 32 or more in one of them come once in 10^6 keys. */
	assert_in_range(most, 8, 31);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_and_other),
		cmocka_unit_test(test_value),
		cmocka_unit_test(test_chosen),
	};

	return cmocka_run_group_tests_name("keyed_hash", tests, NULL, NULL);
}
