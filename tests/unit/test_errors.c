/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of errors, held equal to the enum of shmbuddy.h (by the compiler, both ways) and to the wire's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "errors.h"
#include "shmbuddy.h"
#include "shmbuddy.pb-c.h"

/* Every entry of the list has the number that shmbuddy.h gives that name. */
#define SHMB_ERROR(name, code, sentence)                                                                                    \
	_Static_assert((code) == (int)SHMB_E_##name && (int)ERROR_##name == (code), "SHMB_E_" #name " differs");
#include "errors.def"

/* Every enumerator of shmbuddy.h is in the list: one that is not has no case here, which is an error. */
#define NAMED(error)                                                                                                        \
	case error:                                                                                                             \
		return #error;
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
static const char *name_by_header(enum shmb_error error)
{
	switch (error) {
#define SHMB_ERROR(name, code, sentence) NAMED(SHMB_E_##name)
#include "errors.def"
	}
	return NULL;
}
#pragma GCC diagnostic pop

static const int codes[] = {
#define SHMB_ERROR(name, code, sentence) (code),
#include "errors.def"
};

#define CODES (sizeof(codes) / sizeof(codes[0]))

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < CODES; i++) {
		assert_int_equal(codes[i], 1000 + i); /* no gap, no reuse */
		assert_string_equal(error_name(codes[i]), name_by_header((enum shmb_error)codes[i]));
		assert_ptr_equal(error_name(-codes[i]), error_name(codes[i]));
	}
	assert_string_equal(error_name(-1002), "SHMB_E_STALE_HANDLE");
	assert_string_equal(error_name(0), "SHMB_OK");
}

static void test_sentences(void **state)
{
	(void)state;
	for (size_t i = 0; i < CODES; i++) {
		const char *sentence = error_sentence(codes[i]);

		assert_true(strlen(sentence) > 8);
		assert_true(sentence[strlen(sentence) - 1] != '.');
		assert_ptr_equal(error_sentence(-codes[i]), sentence);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(error_sentence(codes[j]), sentence);
	}
	assert_string_equal(error_sentence(1002), "the block of this handle has been freed");
	assert_string_equal(error_sentence(0), "success");
}

static void test_unknown(void **state)
{
	const int unknown[] = {1, -1, 999, -999, 1026, -1026, INT_MAX, INT_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_string_equal(error_name(unknown[i]), "SHMB_E_UNKNOWN");
		assert_string_equal(error_sentence(unknown[i]), "unknown error");
	}
}

/* The wire has each error that a daemon can answer, under the same name and number; the rest are the library's own. */
static void test_wire(void **state)
{
	const ProtobufCEnumDescriptor *wire = &shmbuddy__v1__status__descriptor;
	const int own[] = {ERROR_NO_DAEMON, ERROR_DISCONNECTED, ERROR_TIMEOUT, ERROR_CORRUPT};
	const size_t own_count = sizeof(own) / sizeof(own[0]);

	(void)state;
	for (unsigned i = 0; i < wire->n_values; i++) {
		const ProtobufCEnumValue *value = &wire->values[i];
		char name[64];

		snprintf(name, sizeof(name), "%s%s", value->value == 0 ? "SHMB_" : "SHMB_E_", value->name);
		assert_string_equal(error_name(value->value), name);
	}
	assert_int_equal(wire->n_values, 1 + CODES - own_count); /* OK is no error */
	for (size_t i = 0; i < own_count; i++)
		assert_null(protobuf_c_enum_descriptor_get_value(wire, own[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_wire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
