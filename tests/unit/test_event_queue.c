/* SPDX-License-Identifier: Apache-2.0 */
/* Events that were not taken yet: order, a full queue, and that what is taken and what is lost add up, whatever comes when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/event_queue.h"
#include "tests/support/pattern.h"

static struct event_queue queue;

static int setup(void **state)
{
	(void)state;
	return event_queue_init(&queue);
}

static int teardown(void **state)
{
	(void)state;
	event_queue_deinit(&queue);
	return 0;
}

static void push(uint64_t number)
{
	event_queue_push(&queue, &(shmb_event){.kind = SHMB_EVENT_BLOCK_FREED, .block = {.id = number}, .time_ns = number});
}

static void push_lost(uint64_t count)
{
	event_queue_push(&queue, &(shmb_event){.kind = SHMB_EVENT_LOST, .lost = count});
}

static void expect(uint64_t number)
{
	shmb_event event;

	assert_true(event_queue_pop(&queue, &event));
	assert_int_equal(event.kind, SHMB_EVENT_BLOCK_FREED);
	assert_int_equal(event.block.id, number);
}

static void expect_lost(uint64_t count)
{
	shmb_event event;

	assert_true(event_queue_pop(&queue, &event));
	assert_int_equal(event.kind, SHMB_EVENT_LOST);
	assert_int_equal(event.lost, count);
}

static void first_in_first_out(void **state)
{
	shmb_event event;

	(void)state;
	assert_true(event_queue_is_empty(&queue));
	assert_false(event_queue_pop(&queue, &event));
	for (uint64_t i = 1; i <= 3 * EVENT_QUEUE_MAX; i += 2) {
		push(i);
		push(i + 1);
		assert_false(event_queue_is_empty(&queue));
		expect(i);
		expect(i + 1);
	}
	assert_true(event_queue_is_empty(&queue));
}

static void what_comes_to_a_full_queue_is_counted_where_it_would_have_been(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX + 10; i++)
		push(i);
	expect(1);
	push(2000); /* there is no room for it behind the loss */
	expect(2);
	push(2001);
	for (uint64_t i = 3; i <= EVENT_QUEUE_MAX; i++)
		expect(i);
	expect_lost(11);
	expect(2001);
	assert_true(event_queue_is_empty(&queue));
	/* With nothing behind it. */
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX + 1; i++)
		push(i);
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX; i++)
		expect(i);
	assert_false(event_queue_is_empty(&queue));
	expect_lost(1);
	assert_true(event_queue_is_empty(&queue));
}

static void losses_of_elsewhere_are_added_and_an_unknown_one_stays_unknown(void **state)
{
	(void)state;
	push_lost(5);
	push(1);
	expect_lost(5);
	expect(1);
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX + 1; i++)
		push(i);
	push_lost(100);
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX; i++)
		expect(i);
	expect_lost(101);
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX + 1; i++)
		push(i);
	push_lost(0);
	push(1);
	push_lost(7);
	for (uint64_t i = 1; i <= EVENT_QUEUE_MAX; i++)
		expect(i);
	expect_lost(0);
}

static void without_memory_it_takes_nothing(void **state)
{
	struct event_queue none = {0};
	shmb_event event = {.kind = SHMB_EVENT_PRESSURE};

	(void)state;
	event_queue_push(&none, &event);
	assert_true(event_queue_is_empty(&none));
	event_queue_deinit(&none);
}

static void taken_and_lost_add_up(void **state)
{
	uint64_t random = pattern_seed(99), sent = 0, known = 0;
	shmb_event event;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		for (uint64_t n = pattern_below(&random, 700); n; n--)
			push(++sent);
		for (uint64_t n = pattern_below(&random, 700); n && event_queue_pop(&queue, &event); n--) {
			if (event.kind == SHMB_EVENT_LOST)
				known += event.lost;
			else
				assert_int_equal(event.block.id, ++known);
		}
	}
	while (event_queue_pop(&queue, &event))
		known += event.kind == SHMB_EVENT_LOST ? event.lost : 1;
	assert_int_equal(known, sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_in_first_out, setup, teardown),
		cmocka_unit_test_setup_teardown(what_comes_to_a_full_queue_is_counted_where_it_would_have_been, setup, teardown),
		cmocka_unit_test_setup_teardown(losses_of_elsewhere_are_added_and_an_unknown_one_stays_unknown, setup, teardown),
		cmocka_unit_test(without_memory_it_takes_nothing),
		cmocka_unit_test_setup_teardown(taken_and_lost_add_up, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
