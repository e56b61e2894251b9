/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: a stream cut at every byte, lengths at their limits, and garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

static void test_header(void **state)
{
	const struct {
		uint32_t size;
		uint8_t bytes[FRAME_HEADER];
	} cases[] = {
		{1, {1, 0, 0, 0}},
		{0x04030201, {1, 2, 3, 4}},
		{FRAME_MAX, {0, 0, 0x10, 0}},
		{UINT32_MAX, {0xff, 0xff, 0xff, 0xff}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t header[FRAME_HEADER + 1] = {0, 0, 0, 0, 0x5a};

		frame_put_header(cases[i].size, header);
		assert_memory_equal(header, cases[i].bytes, FRAME_HEADER);
		assert_int_equal(header[FRAME_HEADER], 0x5a);
	}
}

/* Whatever length the first piece has, the same frames come out: none before its last byte, each as soon as it is whole. */
static void test_every_split(void **state)
{
	const uint32_t sizes[] = {1, 7, 300, 2};
	const size_t count = sizeof(sizes) / sizeof(sizes[0]);
	uint8_t stream[4 * FRAME_HEADER + 1 + 7 + 300 + 2];
	size_t length = 0;

	(void)state;
	for (size_t i = 0; i < count; i++) {
		frame_put_header(sizes[i], stream + length);
		for (size_t j = 0; j < sizes[i]; j++)
			stream[length + FRAME_HEADER + j] = (uint8_t)(i * 50 + j);
		length += FRAME_HEADER + sizes[i];
	}
	assert_int_equal(length, sizeof(stream));

	for (size_t split = 0; split <= length; split++) {
		const size_t limits[] = {split, length};
		size_t at = 0, next = 0, frame_end = FRAME_HEADER + sizes[0];

		for (size_t piece = 0; piece < 2; piece++) {
			/* A copy of exact size, so that AddressSanitizer sees a read behind what has come. */
			uint8_t *come = malloc(limits[piece] + 1);
			const uint8_t *payload = NULL;
			uint32_t size = 0;
			int result;

			assert_non_null(come);
			memcpy(come + 1, stream, limits[piece]);
			while ((result = frame_peek(come + 1 + at, limits[piece] - at, FRAME_MAX, &payload, &size)) == 1) {
				assert_true(next < count);
				assert_true(frame_end <= limits[piece]);
				assert_int_equal(size, sizes[next]);
				assert_ptr_equal(payload, come + 1 + at + FRAME_HEADER);
				for (size_t j = 0; j < size; j++)
					assert_int_equal(payload[j], (uint8_t)(next * 50 + j));
				at += FRAME_HEADER + size;
				if (++next < count)
					frame_end += FRAME_HEADER + sizes[next];
			}
			assert_int_equal(result, 0);
			assert_true(next == count || frame_end > limits[piece]);
			free(come);
		}
		assert_int_equal(next, count);
		assert_int_equal(at, length);
	}
}

static int peek_size(uint32_t size, size_t length, uint32_t max)
{
	static uint8_t bytes[FRAME_HEADER + FRAME_MAX];
	const uint8_t *payload = NULL;
	uint32_t seen = 0;
	int result;

	frame_put_header(size, bytes);
	result = frame_peek(bytes, length, max, &payload, &seen);
	if (result == 1) {
		assert_ptr_equal(payload, bytes + FRAME_HEADER);
		assert_int_equal(seen, size);
	} else {
		assert_null(payload); /* outputs only on success */
		assert_int_equal(seen, 0);
	}
	return result;
}

static void test_limits(void **state)
{
	(void)state;
	assert_int_equal(peek_size(FRAME_MAX, FRAME_HEADER + FRAME_MAX, FRAME_MAX), 1);
	assert_int_equal(peek_size(FRAME_MAX, FRAME_HEADER + FRAME_MAX - 1, FRAME_MAX), 0);
	assert_int_equal(peek_size(FRAME_MAX + 1, FRAME_HEADER, FRAME_MAX), -EMSGSIZE);
	assert_int_equal(peek_size(UINT32_MAX, FRAME_HEADER, FRAME_MAX), -EMSGSIZE);
	assert_int_equal(peek_size(UINT32_MAX, FRAME_HEADER, UINT32_MAX), 0);
	assert_int_equal(peek_size(FRAME_MAX_BEFORE_HELLO, FRAME_HEADER, FRAME_MAX_BEFORE_HELLO), 0);
	assert_int_equal(peek_size(FRAME_MAX_BEFORE_HELLO + 1, FRAME_HEADER, FRAME_MAX_BEFORE_HELLO), -EMSGSIZE);
	assert_int_equal(peek_size(FRAME_MAX_BEFORE_HELLO + 1, FRAME_HEADER - 1, FRAME_MAX_BEFORE_HELLO), 0);
	assert_int_equal(peek_size(0, FRAME_HEADER, FRAME_MAX), -EPROTO);
	assert_int_equal(peek_size(0, FRAME_HEADER + 9, FRAME_MAX), -EPROTO);
	assert_int_equal(peek_size(0, FRAME_HEADER - 1, FRAME_MAX), 0);
}

static void test_nothing(void **state)
{
	const uint8_t *payload = NULL;
	uint32_t size = 7;

	(void)state;
	assert_int_equal(frame_peek(NULL, 0, FRAME_MAX, &payload, &size), 0);
	assert_null(payload);
	assert_int_equal(size, 7);
}

/* These are part of the protocol (shmbuddy.proto, at its top). */
static void test_constants(void **state)
{
	(void)state;
	assert_int_equal(FRAME_HEADER, sizeof(uint32_t));
	assert_int_equal(FRAME_MAX_BEFORE_HELLO, 4 * 1024);
	assert_int_equal(FRAME_MAX, 1024 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),  cmocka_unit_test(test_every_split), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_nothing), cmocka_unit_test(test_constants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
