/* SPDX-License-Identifier: Apache-2.0 */
/* The byte queue: by hand, against a simple model with random steps, and without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "byte_queue.h"

/* So that malloc refuses what no machine has under the sanitizers too, as it does without them. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

#ifndef NDEBUG
static jmp_buf asserted;

/* glibc's assert ends here. */
_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
	(void)assertion, (void)file, (void)line, (void)function;
	longjmp(asserted, 1);
}
#endif

static void assert_is_empty_without_memory(const struct byte_queue *queue)
{
	assert_null(queue->data);
	assert_int_equal(queue->start, 0);
	assert_int_equal(queue->end, 0);
	assert_int_equal(queue->capacity, 0);
	assert_null(byte_queue_bytes(queue));
	assert_int_equal(byte_queue_length(queue), 0);
	assert_int_equal(byte_queue_room(queue), 0);
}

static void fill(struct byte_queue *queue, size_t size, uint8_t value)
{
	uint8_t *bytes;

	assert_int_equal(byte_queue_reserve(queue, size, &bytes), 0);
	assert_true(byte_queue_room(queue) >= size);
	memset(bytes, value, size);
	byte_queue_commit(queue, size);
}

static void test_empty(void **state)
{
	struct byte_queue queue;
	uint8_t *bytes = NULL;

	(void)state;
	memset(&queue, 0xa5, sizeof(queue));
	byte_queue_init(&queue);
	assert_is_empty_without_memory(&queue);
	assert_int_equal(byte_queue_append(&queue, NULL, 0), 0);
	byte_queue_consume(&queue, 0);
	byte_queue_release(&queue);
	byte_queue_deinit(&queue);
	assert_is_empty_without_memory(&queue);
	assert_int_equal(byte_queue_reserve(&queue, 0, &bytes), 0);
	assert_non_null(bytes);
	assert_ptr_equal(bytes, byte_queue_bytes(&queue));
	byte_queue_deinit(&queue);
	assert_is_empty_without_memory(&queue);
}

static void test_first_in_first_out(void **state)
{
	struct byte_queue queue = {0};

	(void)state;
	assert_int_equal(byte_queue_append(&queue, "hello ", 6), 0);
	assert_int_equal(byte_queue_append(&queue, "world", 5), 0);
	assert_int_equal(queue.capacity, BYTE_QUEUE_MIN);
	assert_int_equal(byte_queue_length(&queue), 11);
	assert_memory_equal(byte_queue_bytes(&queue), "hello world", 11);
	byte_queue_consume(&queue, 6);
	assert_memory_equal(byte_queue_bytes(&queue), "world", 5);
	byte_queue_release(&queue); /* not empty: does nothing */
	assert_int_equal(byte_queue_length(&queue), 5);
	byte_queue_consume(&queue, 5);
	assert_int_equal(byte_queue_length(&queue), 0);
	assert_int_equal(byte_queue_room(&queue), BYTE_QUEUE_MIN); /* starts over at 0 */
	byte_queue_release(&queue);
	assert_is_empty_without_memory(&queue);
}

/* Moved down, not grown, once as much was consumed as is left. */
static void test_moves_down(void **state)
{
	struct byte_queue queue = {0};
	const uint8_t *data;

	(void)state;
	fill(&queue, BYTE_QUEUE_MIN / 2, 1);
	fill(&queue, BYTE_QUEUE_MIN / 2, 2);
	data = queue.data;
	byte_queue_consume(&queue, BYTE_QUEUE_MIN / 2);
	assert_int_equal(queue.end, BYTE_QUEUE_MIN);
	fill(&queue, BYTE_QUEUE_MIN / 2, 3);
	assert_ptr_equal(queue.data, data);
	assert_int_equal(queue.start, 0);
	assert_int_equal(queue.capacity, BYTE_QUEUE_MIN);
	for (size_t i = 0; i < BYTE_QUEUE_MIN; i++)
		assert_int_equal(byte_queue_bytes(&queue)[i], i < BYTE_QUEUE_MIN / 2 ? 2 : 3);
	byte_queue_deinit(&queue);
}

/* Grown, though it would fit, where less was consumed than would have to move. */
static void test_grows_rather_than_move_often(void **state)
{
	struct byte_queue queue = {0};

	(void)state;
	fill(&queue, BYTE_QUEUE_MIN, 1);
	byte_queue_consume(&queue, BYTE_QUEUE_MIN / 2 - 1);
	fill(&queue, 1, 2);
	assert_int_equal(queue.capacity, 2 * BYTE_QUEUE_MIN);
	assert_int_equal(queue.start, 0);
	assert_int_equal(byte_queue_length(&queue), BYTE_QUEUE_MIN / 2 + 2);
	assert_int_equal(byte_queue_bytes(&queue)[BYTE_QUEUE_MIN / 2], 1);
	assert_int_equal(byte_queue_bytes(&queue)[BYTE_QUEUE_MIN / 2 + 1], 2);
	byte_queue_deinit(&queue);
}

/* Grown where enough was consumed to move, but the piece is larger than all of it. */
static void test_grows_to_fit(void **state)
{
	struct byte_queue queue = {0};

	(void)state;
	fill(&queue, BYTE_QUEUE_MIN, 1);
	byte_queue_consume(&queue, BYTE_QUEUE_MIN - 1);
	fill(&queue, BYTE_QUEUE_MIN, 2);
	assert_int_equal(queue.capacity, 2 * BYTE_QUEUE_MIN);
	fill(&queue, 10 * BYTE_QUEUE_MIN, 3);
	assert_int_equal(queue.capacity, 16 * BYTE_QUEUE_MIN);
	assert_int_equal(byte_queue_bytes(&queue)[0], 1);
	assert_int_equal(byte_queue_bytes(&queue)[1], 2);
	assert_int_equal(byte_queue_bytes(&queue)[BYTE_QUEUE_MIN + 1], 3);
	byte_queue_deinit(&queue);
	assert_is_empty_without_memory(&queue);
}

static void test_keeps_little(void **state)
{
	struct byte_queue queue = {0};

	(void)state;
	fill(&queue, BYTE_QUEUE_KEEP, 1);
	byte_queue_consume(&queue, BYTE_QUEUE_KEEP);
	assert_int_equal(queue.capacity, BYTE_QUEUE_KEEP);
	fill(&queue, BYTE_QUEUE_KEEP + 1, 1);
	byte_queue_consume(&queue, BYTE_QUEUE_KEEP);
	assert_int_equal(queue.capacity, 2 * BYTE_QUEUE_KEEP); /* one byte is left */
	byte_queue_consume(&queue, 1);
	assert_is_empty_without_memory(&queue);
}

static void test_out_of_memory(void **state)
{
	struct byte_queue queue = {0}, before;
	uint8_t byte = 0, *bytes = &byte;

	(void)state;
	assert_int_equal(byte_queue_append(&queue, "kept", 4), 0);
	byte_queue_consume(&queue, 1);
	before = queue;
	assert_int_equal(byte_queue_reserve(&queue, SIZE_MAX, &bytes), -ENOMEM);         /* no such number */
	assert_int_equal(byte_queue_reserve(&queue, SIZE_MAX / 2 - 2, &bytes), -ENOMEM); /* the first that is refused unasked */
	assert_int_equal(byte_queue_reserve(&queue, SIZE_MAX / 2 - 3, &bytes), -ENOMEM); /* malloc refuses */
	assert_int_equal(byte_queue_append(&queue, "x", SIZE_MAX / 2 - 3), -ENOMEM);
	assert_ptr_equal(bytes, &byte);
	assert_memory_equal(&queue, &before, sizeof(queue));
	assert_memory_equal(byte_queue_bytes(&queue), "ept", 3);
	byte_queue_deinit(&queue);
}

static uint64_t seed;

/* splitmix64 (S. Vigna, public domain). */
static uint64_t next_random(void)
{
	uint64_t mixed = seed += UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

/* The n-th byte that ever enters the queue; the model is two counters. */
static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)(position * 31 + (position >> 8));
}

static void assert_holds(const struct byte_queue *queue, uint64_t out, uint64_t in)
{
	const uint8_t *bytes = byte_queue_bytes(queue);

	assert_int_equal(byte_queue_length(queue), in - out);
	for (uint64_t i = out; i < in; i++) {
		if (bytes[i - out] != byte_at(i))
			fail_msg("byte %ju is wrong", (uintmax_t)i);
	}
}

static void test_against_model(void **state)
{
	static uint8_t piece[40000];
	struct byte_queue queue = {0};
	uint64_t in = 0, out = 0;
	size_t peak = 0; /* most bytes queued and asked for at one time since it had no memory */
	const char *given = getenv("TEST_SEED");

	(void)state;
	seed = given ? strtoull(given, NULL, 0) : 20240607;
	print_message("TEST_SEED=%ju\n", (uintmax_t)seed);
	for (unsigned step = 0; step < 20000; step++) {
		size_t most = (size_t)1 << (next_random() % 15);
		size_t size = next_random() % most + next_random() % 2;
		size_t length = (size_t)(in - out);

		if (next_random() % 2 && length < 100000) {
			for (size_t i = 0; i < size; i++)
				piece[i] = byte_at(in + i);
			if (next_random() % 2) {
				uint8_t *bytes;

				assert_int_equal(byte_queue_reserve(&queue, size + 100, &bytes), 0);
				if (size > 0)
					memcpy(bytes, piece, size);
				byte_queue_commit(&queue, size);
				length += 100;
			} else {
				assert_int_equal(byte_queue_append(&queue, piece, size), 0);
			}
			in += size;
			if (length + size > peak)
				peak = length + size;
		} else {
			if (size > length || next_random() % 16 == 0)
				size = length;
			byte_queue_consume(&queue, size);
			out += size;
			if (in == out)
				assert_true(queue.capacity <= BYTE_QUEUE_KEEP);
			if (step % 7 == 0)
				byte_queue_release(&queue);
		}
		if (!queue.data)
			peak = 0;
		assert_true(queue.capacity <= BYTE_QUEUE_MIN || queue.capacity < 4 * peak);
		if (step % 16 == 0)
			assert_holds(&queue, out, in);
	}
	assert_holds(&queue, out, in);
	byte_queue_deinit(&queue);
}

#ifndef NDEBUG
static void test_asserts_promises(void **state)
{
	struct byte_queue queue = {0};

	(void)state;
	fill(&queue, 3, 1);
	if (setjmp(asserted) == 0) {
		byte_queue_consume(&queue, 4);
		fail_msg("consumed more than there was");
	}
	if (setjmp(asserted) == 0) {
		byte_queue_commit(&queue, byte_queue_room(&queue) + 1);
		fail_msg("committed more than there was room");
	}
	assert_int_equal(byte_queue_length(&queue), 3);
	byte_queue_deinit(&queue);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_first_in_first_out),
		cmocka_unit_test(test_moves_down),
		cmocka_unit_test(test_grows_rather_than_move_often),
		cmocka_unit_test(test_grows_to_fit),
		cmocka_unit_test(test_keeps_little),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_against_model),
#ifndef NDEBUG
		cmocka_unit_test(test_asserts_promises),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
