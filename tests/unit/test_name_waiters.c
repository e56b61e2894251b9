/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for names: who is told when, in which order, and whose time is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "server/name_waiters.h"
#include "tests/unit/draw.h"

#define LONG 1000000 /* milliseconds that do not pass */
#define NAMES 40

struct customer {
	struct name_waiter waiter; /* first: the waiter is the customer */
	char name[24];
	unsigned number; /* of those who came for any name, in order */
	unsigned told;
	bool content, late; /* it was told and left; its time is over */
};

static uv_loop_t loop;
static struct timeouts timeouts;
static struct name_waiters waiters;
static bool there[NAMES];
static unsigned last_content[NAMES];
static bool in_order;

static unsigned index_of(const struct customer *customer)
{
	unsigned index = 0;

	assert_int_equal(sscanf(customer->name, "name-%u", &index), 1);
	return index;
}

static void published(struct name_waiter *waiter)
{
	struct customer *customer = (struct customer *)waiter;
	unsigned index = index_of(customer);

	customer->told++;
	if (!there[index])
		return;
	assert_true(name_waiters_leave(waiter));
	customer->content = true;
	assert_true(!in_order || customer->number > last_content[index]);
	last_content[index] = customer->number;
}

static void timed_out(struct name_waiter *waiter)
{
	assert_null(waiter->waiters);
	((struct customer *)waiter)->late = true;
}

static int join(struct customer *customer, unsigned index, uint32_t wait_ms)
{
	static unsigned numbers;

	*customer = (struct customer){.number = ++numbers};
	snprintf(customer->name, sizeof customer->name, "name-%u", index);
	customer->waiter.name = customer->name;
	customer->waiter.length = strlen(customer->name);
	customer->waiter.published = published;
	customer->waiter.timed_out = timed_out;
	return name_waiters_join(&waiters, &customer->waiter, wait_ms);
}

static void publish(unsigned index)
{
	char name[24];

	snprintf(name, sizeof name, "name-%u", index);
	there[index] = true;
	name_waiters_published(&waiters, name, strlen(name));
}

static void settle(void)
{
	while (waiters.due)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static int setup(void **state)
{
	(void)state;
	memset(there, 0, sizeof there);
	memset(last_content, 0, sizeof last_content);
	in_order = true;
	assert_int_equal(uv_loop_init(&loop), 0);
	timeouts_init(&timeouts, &loop);
	assert_int_equal(name_waiters_init(&waiters, &loop, &timeouts), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	name_waiters_deinit(&waiters);
	name_waiters_deinit(&waiters);
	timeouts_deinit(&timeouts);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void test_told_at_once(void **state)
{
	struct customer one, two, other;

	(void)state;
	publish(1); /* for nobody */
	there[1] = false;
	assert_int_equal(join(&one, 1, LONG), 0);
	assert_int_equal(join(&two, 1, LONG), 0);
	assert_int_equal(join(&other, 2, LONG), 0);
	publish(1);
	assert_int_equal(one.told, 0); /* never from within */
	name_waiters_tell(&waiters);
	assert_true(one.content && two.content);
	assert_int_equal(other.told, 0);
	assert_true(name_waiters_leave(&other.waiter));
	assert_false(name_waiters_leave(&other.waiter));
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing is left to do */
}

/* Without anybody to say so, in turns of the loop. */
static void test_told_by_the_loop(void **state)
{
	static struct customer crowd[1000];

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(join(&crowd[i], (unsigned)i % 2, LONG), 0);
	publish(0);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(crowd[0].content && !crowd[998].content); /* not all in one */
	settle();
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(crowd[i].told, i % 2 == 0);
		name_waiters_leave(&crowd[i].waiter);
	}
	assert_int_equal(waiters.count, 0);
}

/* The name has gone before its turn came: it waits on, and its time runs. */
static void test_gone_again(void **state)
{
	struct customer customer, leaves;

	(void)state;
	assert_int_equal(join(&customer, 1, 20), 0);
	assert_int_equal(join(&leaves, 1, LONG), 0);
	publish(1);
	assert_true(name_waiters_leave(&leaves.waiter)); /* while it is due */
	there[1] = false;
	settle();
	assert_int_equal(customer.told, 1);
	assert_false(customer.content);
	assert_int_equal(leaves.told, 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_true(customer.late);
	publish(1);
	settle();
	assert_int_equal(customer.told, 1);
}

static void test_as_many_as_may(void **state)
{
	static struct customer crowd[NAME_WAITERS_MAX];
	struct customer late;

	(void)state;
	for (size_t i = 0; i < NAME_WAITERS_MAX; i++)
		assert_int_equal(join(&crowd[i], (unsigned)i % NAMES, LONG), 0);
	assert_int_equal(join(&late, 1, LONG), -EDQUOT);
	for (unsigned i = 0; i < NAMES; i++)
		publish(i);
	settle();
	for (size_t i = 0; i < NAME_WAITERS_MAX; i++)
		assert_true(crowd[i].content && crowd[i].told == 1);
}

/* Names come and go, customers too: whoever waits while its name is there and the loop has settled, has not been told. */
static void test_at_random(void **state)
{
	static struct customer crowd[500];

	(void)state;
	in_order = false; /* who was told in vain comes again as the last */
	for (unsigned steps = 0; steps < 100000; steps++) {
		struct customer *customer = &crowd[draw(500)];
		unsigned index = (unsigned)draw(NAMES);
		switch (draw(6)) {
		case 0:
			if (!there[index])
				publish(index);
			break;
		case 1: there[index] = false; break;
		case 2: name_waiters_leave(&customer->waiter); break;
		case 3: name_waiters_tell(&waiters); break;
		default:
			if (!customer->waiter.waiters && !there[index])
				assert_int_equal(join(customer, index, LONG), 0);
		}
		if (draw(4))
			continue;
		settle();
		for (size_t i = 0; i < 500; i++)
			assert_true(!crowd[i].waiter.waiters || !there[index_of(&crowd[i])]);
	}
	for (size_t i = 0; i < 500; i++)
		name_waiters_leave(&crowd[i].waiter);
	assert_int_equal(waiters.count, 0);
	assert_null(timeouts.first);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_told_at_once),   TEST(test_told_by_the_loop), TEST(test_gone_again),
		TEST(test_as_many_as_may), TEST(test_at_random),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
