/* SPDX-License-Identifier: Apache-2.0 */
/* FNV-1a: the published vectors. They must never change: the name index in shared memory is laid out by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "hash.h"

static void test_vectors(void **state)
{
	/* From the test suite of the FNV authors (isthe.com/chongo/src/fnv/test_fnv.c). */
	const struct {
		const char *text;
		uint64_t hash;
	} cases[] = {
		{"", UINT64_C(0xcbf29ce484222325)},      {"a", UINT64_C(0xaf63dc4c8601ec8c)},
		{"b", UINT64_C(0xaf63df4c8601f1a5)},     {"fo", UINT64_C(0x08985907b541d342)},
		{"foo", UINT64_C(0xdcb27518fed9d577)},   {"foob", UINT64_C(0xdd120e790c2512af)},
		{"fooba", UINT64_C(0xcac165afa2fef40a)}, {"foobar", UINT64_C(0x85944171f73967e8)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(hash_of(cases[i].text, strlen(cases[i].text)), cases[i].hash);
	assert_int_equal(hash_of(NULL, 0), UINT64_C(0xcbf29ce484222325));
}

/* A NUL counts like any byte, and bytes over 0x7f are taken without a sign, which plain char would have. */
static void test_bytes(void **state)
{
	const uint64_t basis = UINT64_C(0xcbf29ce484222325), prime = UINT64_C(0x100000001b3);

	(void)state;
	assert_int_equal(hash_of("\0", 1), basis * prime);
	assert_int_equal(hash_of("\xff", 1), (basis ^ 0xff) * prime);
	assert_int_equal(hash_of("\xff\0\x80", 3), ((basis ^ 0xff) * prime * prime ^ 0x80) * prime);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
