/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is withheld: who waits for it, who looks again and when, and who is told that there is nothing to wait for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <uv.h>

#include "server/buddy.h"
#include "server/withheld.h"

#define UNITS 64

static uv_loop_t loop;
static uint64_t memory[256];
static struct buddy buddy;
static struct withheld withheld;

struct customer {
	struct withheld_waiter waiter; /* first: the waiter is the customer */
	uint64_t wants;                /* units */
	unsigned looks;
	int answer; /* 0: none yet, 1: served, -1: refused */
};

static void look(struct withheld_waiter *waiter)
{
	struct customer *customer = (struct customer *)waiter;
	uint64_t offset, granted;

	customer->looks++;
	if (buddy_allocate(&buddy, customer->wants, 1, &offset, &granted) == 0)
		customer->answer = 1;
	else if (!withheld_wait(&withheld, waiter))
		customer->answer = -1;
}

static struct customer customer_of(uint64_t units)
{
	return (struct customer){.wants = units, .waiter = {.look = look}};
}

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
		memory[i] = 0;
	assert_true(buddy_footprint(UNITS) <= sizeof memory);
	assert_int_equal(buddy_init(&buddy, memory, UNITS), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	withheld_init(&withheld, &loop, &buddy);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	withheld_deinit(&withheld);
	withheld_deinit(&withheld);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void test_nothing_withheld(void **state)
{
	struct customer customer = customer_of(UNITS);

	(void)state;
	assert_false(withheld_wait(&withheld, &customer.waiter));
	withheld_take(&withheld, 0, 8);
	assert_int_equal(buddy_free_units(&buddy), UNITS - 8);
	withheld_give(&withheld, 0, 8);
	assert_int_equal(buddy_free_units(&buddy), UNITS);
	assert_false(withheld_wait(&withheld, &customer.waiter));
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(customer.looks, 0);
}

static void test_waits_for_the_last(void **state)
{
	struct customer large = customer_of(UNITS), small = customer_of(4);

	(void)state;
	withheld_take(&withheld, 0, 32);
	withheld_take(&withheld, 32, 32);
	assert_true(withheld_wait(&withheld, &large.waiter));
	assert_true(withheld_wait(&withheld, &small.waiter));
	assert_true(withheld_is_awaited(&withheld));
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing has come back: nobody looks, the loop has nothing to do */
	assert_int_equal(large.looks + small.looks, 0);

	withheld_give(&withheld, 32, 32);
	assert_int_equal(large.looks, 0); /* never from within */
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(large.looks + small.looks, 1); /* one in a turn */
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(large.looks, 1);
	assert_int_equal(large.answer, 0); /* in line again */
	assert_int_equal(small.answer, 1);

	buddy_release(&buddy, 32, 4); /* the small one frees */
	withheld_give(&withheld, 0, 32);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(large.answer, 1);
	assert_int_equal(withheld.units, 0);
	assert_false(withheld_is_awaited(&withheld));
}

/* All has come back, and it was not enough. */
static void test_refused_at_last(void **state)
{
	struct customer customer = customer_of(UNITS);
	uint64_t offset, granted;

	(void)state;
	assert_int_equal(buddy_allocate(&buddy, 1, 1, &offset, &granted), 0);
	withheld_take(&withheld, 32, 32);
	assert_true(withheld_wait(&withheld, &customer.waiter));
	withheld_give(&withheld, 32, 32);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(customer.answer, -1);
}

/* Others free all the time, and what they free is withheld: it does not wait for ever. */
static void test_patience_ends(void **state)
{
	struct customer customer = customer_of(UNITS);
	unsigned rounds = 0;

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	withheld_keep(&withheld, 8);
	assert_true(withheld_wait(&withheld, &customer.waiter));
	for (; customer.answer == 0 && rounds < 1000; rounds++) {
		withheld_keep(&withheld, 8);
		withheld_give(&withheld, 0, 8);
		uv_run(&loop, UV_RUN_DEFAULT);
		buddy_reserve(&buddy, 0, 8);
	}
	assert_int_equal(customer.answer, -1);
	assert_int_equal(rounds, UNITS / 8);
	assert_int_equal(withheld.units, 8);
}

static void test_stuck(void **state)
{
	struct customer customer = customer_of(UNITS), late = customer_of(UNITS);

	(void)state;
	withheld_take(&withheld, 0, 16);
	assert_true(withheld_wait(&withheld, &customer.waiter));
	withheld_set_stuck(&withheld, 16);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(customer.answer, -1);
	assert_false(withheld_wait(&withheld, &late.waiter));
	withheld_set_stuck(&withheld, 0);
	assert_true(withheld_wait(&withheld, &late.waiter));
	withheld_give(&withheld, 0, 16);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(late.answer, 1);
}

static void test_stop(void **state)
{
	struct customer customers[3] = {customer_of(UNITS), customer_of(UNITS), customer_of(UNITS)};

	(void)state;
	withheld_take(&withheld, 0, 16);
	for (size_t i = 0; i < 3; i++)
		assert_true(withheld_wait(&withheld, &customers[i].waiter));
	withheld_stop(&withheld);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(customers[i].answer, -1);
	withheld_give(&withheld, 0, 16);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_withheld),
		TEST(test_waits_for_the_last),
		TEST(test_refused_at_last),
		TEST(test_patience_ends),
		TEST(test_stuck),
		TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
