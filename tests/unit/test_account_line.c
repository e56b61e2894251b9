/* SPDX-License-Identifier: Apache-2.0 */
/* Lines at accounts: first come, first served, one line does not wait for another, and whoever waits may leave at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "server/account_line.h"

#define CUSTOMERS 100

/* Wants one unit of what its shop has. */
struct shop {
	struct account_line line;
	unsigned units;
};

struct customer {
	struct account_waiter waiter;  /* first */
	struct shop *shop, *next_shop; /* goes to the next one after the first */
	unsigned served, timed_out, order;
	unsigned makes_room; /* in so many of its turns; then there is a unit more */
};

static uv_loop_t loop;
static struct timeouts timeouts;
static struct account_lines lines;
static struct shop shops[2];
static struct customer customers[CUSTOMERS];
static unsigned served;

static void join(struct customer *customer, struct shop *shop, uint32_t ms)
{
	customer->shop = shop;
	assert_int_equal(account_line_join(&lines, &shop->line, &customer->waiter, ms), 0);
}

static enum account_turn turn(struct account_waiter *waiter)
{
	struct customer *customer = (struct customer *)waiter;

	assert_ptr_equal(customer->shop->line.first, waiter);
	if (customer->makes_room) {
		customer->shop->units += --customer->makes_room == 0;
		return ACCOUNT_TURN_AGAIN;
	}
	if (!customer->shop->units)
		return ACCOUNT_TURN_STAYS;
	customer->shop->units--;
	assert_true(account_line_leave(waiter));
	customer->served++;
	customer->order = ++served;
	if (customer->next_shop)
		join(customer, customer->next_shop, 100000);
	customer->next_shop = NULL;
	return ACCOUNT_TURN_LEFT;
}

static void timed_out(struct account_waiter *waiter)
{
	assert_null(waiter->lines);
	((struct customer *)waiter)->timed_out++;
}

static int setup(void **state)
{
	(void)state;
	memset(shops, 0, sizeof shops);
	memset(customers, 0, sizeof customers);
	served = 0;
	for (size_t i = 0; i < CUSTOMERS; i++)
		customers[i].waiter = (struct account_waiter){.turn = turn, .timed_out = timed_out};
	assert_int_equal(uv_loop_init(&loop), 0);
	timeouts_init(&timeouts, &loop);
	account_lines_init(&lines, &loop, &timeouts);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < CUSTOMERS; i++)
		account_line_leave(&customers[i].waiter);
	account_lines_deinit(&lines);
	account_lines_deinit(&lines);
	timeouts_deinit(&timeouts);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void deliver(struct shop *shop, unsigned units)
{
	shop->units += units;
	account_line_wake(&lines, &shop->line);
	while (lines.due)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static void test_order(void **state)
{
	(void)state;
	account_line_wake(&lines, &shops[0].line); /* nobody is there */
	assert_null(lines.due);
	for (size_t i = 0; i < CUSTOMERS; i++)
		join(&customers[i], &shops[0], 100000);
	assert_int_equal(lines.count, CUSTOMERS);
	account_line_wake(&lines, &shops[0].line);
	account_line_wake(&lines, &shops[0].line);
	deliver(&shops[0], 1);
	assert_int_equal(served, 1);
	deliver(&shops[0], 2);
	assert_int_equal(served, 3);
	deliver(&shops[0], CUSTOMERS);
	for (size_t i = 0; i < CUSTOMERS; i++)
		assert_int_equal(customers[i].order, i + 1);
	assert_int_equal(shops[0].units, 3);
	assert_int_equal(lines.count, 0);
}

/* Who makes room himself has a turn of the loop for each piece of that, and keeps nobody of another line waiting for all of them. */
static void test_makes_room(void **state)
{
	(void)state;
	customers[0].makes_room = 3;
	join(&customers[0], &shops[0], 100000);
	join(&customers[1], &shops[1], 100000);
	shops[1].units = 1;
	account_line_wake(&lines, &shops[1].line);
	account_line_wake(&lines, &shops[0].line); /* it is looked at first */
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(customers[0].makes_room, 2);
	assert_int_equal(served, 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(customers[1].order, 1);
	while (lines.due)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(customers[0].order, 2);
	assert_int_equal(lines.count, 0);
}

/* Out of the middle, from either end; who is left goes on. */
static void test_leave(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5; i++)
		join(&customers[i], &shops[0], 100000);
	assert_true(account_line_leave(&customers[2].waiter));
	assert_false(account_line_leave(&customers[2].waiter));
	assert_true(account_line_leave(&customers[0].waiter));
	assert_true(account_line_leave(&customers[4].waiter));
	deliver(&shops[0], 5);
	assert_int_equal(customers[1].order, 1);
	assert_int_equal(customers[3].order, 2);
	assert_int_equal(shops[0].units, 3);
	assert_null(shops[0].line.first);
	assert_null(shops[0].line.last);
}

/* An empty shop keeps nobody from another, and who is served in one may queue in the other. */
static void test_two_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < 10; i++)
		join(&customers[i], &shops[i % 2], 100000);
	customers[1].next_shop = &shops[0];
	customers[3].next_shop = &shops[1];
	account_line_wake(&lines, &shops[0].line);
	deliver(&shops[1], 2);
	assert_int_equal(served, 2);
	assert_ptr_equal(shops[0].line.last, &customers[1].waiter);
	assert_ptr_equal(shops[1].line.last, &customers[3].waiter);
	deliver(&shops[0], 100);
	deliver(&shops[1], 100);
	assert_int_equal(customers[1].served, 2);
	assert_int_equal(customers[3].served, 2);
	assert_int_equal(served, 12);
}

static void test_set_aside(void **state)
{
	(void)state;
	account_line_overtake(&shops[0].line);
	assert_int_equal(shops[0].line.overtaken, 0);
	join(&customers[0], &shops[0], 100000);
	join(&customers[1], &shops[0], 100000);
	for (unsigned i = 0; i < ACCOUNT_OVERTAKEN_MAX; i++) {
		assert_false(account_line_is_set_aside(&shops[0].line));
		account_line_overtake(&shops[0].line);
	}
	assert_true(account_line_is_set_aside(&shops[0].line));
	account_line_leave(&customers[1].waiter);
	assert_true(account_line_is_set_aside(&shops[0].line));
	join(&customers[1], &shops[0], 100000);
	account_line_leave(&customers[0].waiter);
	assert_false(account_line_is_set_aside(&shops[0].line));
}

static void test_time(void **state)
{
	(void)state;
	join(&customers[0], &shops[0], 1);
	join(&customers[1], &shops[0], 100000);
	while (!customers[0].timed_out)
		uv_run(&loop, UV_RUN_ONCE);
	assert_ptr_equal(shops[0].line.first, &customers[1].waiter);
	assert_int_equal(customers[1].timed_out, 0);
	assert_int_equal(lines.count, 1);
}

/* A line that goes while it is to be looked at, among others. */
static void test_close(void **state)
{
	static struct shop many[3];

	(void)state;
	memset(many, 0, sizeof many);
	for (size_t i = 0; i < 3; i++) {
		join(&customers[i], &many[i], 100000);
		account_line_wake(&lines, &many[i].line);
	}
	for (size_t i = 0; i < 3; i++) {
		account_line_leave(&customers[i].waiter);
		account_line_close(&lines, &many[i].line); /* once is enough */
		account_line_close(&lines, &many[i].line);
	}
	assert_null(lines.due);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void test_full(void **state)
{
	struct account_waiter *many = calloc(ACCOUNT_WAITERS_MAX + 1, sizeof *many);

	(void)state;
	assert_non_null(many);
	for (size_t i = 0; i < ACCOUNT_WAITERS_MAX; i++)
		assert_int_equal(account_line_join(&lines, &shops[i % 2].line, &many[i], 100000), 0);
	assert_int_equal(account_line_join(&lines, &shops[0].line, &many[ACCOUNT_WAITERS_MAX], 100000), -EDQUOT);
	assert_false(account_line_leave(&many[ACCOUNT_WAITERS_MAX]));
	for (size_t i = 0; i < ACCOUNT_WAITERS_MAX; i++)
		assert_true(account_line_leave(&many[i]));
	assert_int_equal(lines.count, 0);
	free(many);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),     TEST(test_makes_room), TEST(test_leave), TEST(test_two_lines),
		TEST(test_set_aside), TEST(test_time),       TEST(test_close), TEST(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
