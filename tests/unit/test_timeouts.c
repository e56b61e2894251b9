/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts: told in their order and never too early, whatever is stopped or started again meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <uv.h>

#include "server/timeouts.h"
#include "tests/unit/draw.h"

#define CUSTOMERS 2000

struct customer {
	struct timeout timeout; /* first: the timeout is the customer */
	uint64_t due;           /* uv_hrtime() */
	bool expected;
	unsigned told;
	struct customer *stops, *starts; /* when it is told */
};

static uv_loop_t loop;
static struct timeouts timeouts;
static struct customer customers[CUSTOMERS];
static uint64_t last_due;

static void start(struct customer *customer, uint32_t ms)
{
	uint64_t before = uv_hrtime();

	timeouts_start(&timeouts, &customer->timeout, ms);
	customer->due = before + (uint64_t)ms * 1000000;
	customer->expected = true;
}

static void stop(struct customer *customer)
{
	timeouts_stop(&timeouts, &customer->timeout);
	customer->expected = false;
}

static void passed(struct timeout *timeout)
{
	struct customer *customer = (struct customer *)timeout;

	assert_true(customer->expected);
	assert_false(timeout->running);
	assert_true(uv_hrtime() >= customer->due);
	assert_true(timeout->at >= last_due);
	last_due = timeout->at;
	customer->expected = false;
	customer->told++;
	if (customer->stops)
		stop(customer->stops);
	if (customer->starts && !customer->starts->timeout.running)
		start(customer->starts, 1);
}

static int setup(void **state)
{
	(void)state;
	last_due = 0;
	for (size_t i = 0; i < CUSTOMERS; i++)
		customers[i] = (struct customer){.timeout = {.passed = passed}};
	assert_int_equal(uv_loop_init(&loop), 0);
	timeouts_init(&timeouts, &loop);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	timeouts_deinit(&timeouts);
	timeouts_deinit(&timeouts);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void test_order(void **state)
{
	(void)state;
	start(&customers[0], 20);
	start(&customers[1], 5);
	start(&customers[2], 10);
	stop(&customers[3]); /* never started */
	stop(&customers[2]);
	stop(&customers[2]);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* and then there is nothing to do */
	assert_int_equal(customers[0].told, 1);
	assert_int_equal(customers[1].told, 1);
	assert_int_equal(customers[2].told, 0);
	start(&customers[2], 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(customers[2].told, 1);
}

static void test_nothing_left(void **state)
{
	(void)state;
	start(&customers[0], 1000000);
	start(&customers[1], 2000000);
	stop(&customers[0]);
	stop(&customers[1]);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* at once */
}

/* Those who are told stop others, which are due too or will be, and start some that are not running, themselves included. */
static void test_at_random(void **state)
{
	unsigned rest = 0;

	(void)state;
	for (size_t i = 0; i < CUSTOMERS; i++) {
		start(&customers[i], (uint32_t)draw(50));
		if (draw(4) == 0)
			customers[i].stops = &customers[draw(CUSTOMERS)];
		if (draw(8) == 0)
			customers[i].starts = &customers[draw(i + 1)];
		if (draw(4) == 0)
			stop(&customers[draw(CUSTOMERS)]);
	}
	for (unsigned turns = 0; turns < 100000 && uv_run(&loop, UV_RUN_ONCE); turns++) {
		/* a chain of starts may go in a circle */
		if (turns == 1000)
			for (size_t i = 0; i < CUSTOMERS; i++)
				customers[i].starts = NULL;
	}
	for (size_t i = 0; i < CUSTOMERS; i++)
		rest += customers[i].expected || customers[i].timeout.running;
	assert_int_equal(rest, 0);
	assert_null(timeouts.first);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_nothing_left),
		TEST(test_at_random),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
