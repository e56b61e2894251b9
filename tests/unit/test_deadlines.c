/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines on a loop of their own: who expires, in which order, and who does not. No moment is judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/deadlines.h"

#define INDEXES 2000

static const uint32_t capacity[DEADLINE_KINDS] = {[DEADLINE_TICKET] = INDEXES, [DEADLINE_LEASE] = INDEXES};

struct fixture {
	uv_loop_t loop;
	uv_idle_t turns; /* counts the turns of the loop while it runs */
	struct deadlines deadlines;
	uint64_t due[INDEXES]; /* of each ticket; 0: none */
	uint64_t last;         /* that expired */
	unsigned expired, turn, steps, steps_left;
	unsigned most_in_a_turn, in_this_turn, seen_turn;
};

/* Tickets go at once, in order, and not before their time; a lease takes `steps_left` steps. */
static void expire(void *context, enum deadline_kind kind, uint32_t index)
{
	struct fixture *fixture = context;

	if (fixture->seen_turn != fixture->turn)
		fixture->in_this_turn = 0;
	fixture->seen_turn = fixture->turn;
	if (++fixture->in_this_turn > fixture->most_in_a_turn)
		fixture->most_in_a_turn = fixture->in_this_turn;
	if (kind == DEADLINE_LEASE) {
		fixture->steps++;
		if (--fixture->steps_left == 0)
			deadlines_remove(&fixture->deadlines, kind, index);
		return;
	}
	assert_int_not_equal(fixture->due[index], 0);
	assert_true(fixture->due[index] <= deadlines_now(&fixture->deadlines));
	assert_true(fixture->due[index] >= fixture->last);
	fixture->last = fixture->due[index];
	fixture->due[index] = 0;
	fixture->expired++;
	deadlines_remove(&fixture->deadlines, kind, index);
}

static void count_turn(uv_idle_t *idle)
{
	((struct fixture *)idle->data)->turn++;
}

static int setup(void **state)
{
	static struct fixture fixture;

	memset(&fixture, 0, sizeof fixture);
	assert_int_equal(uv_loop_init(&fixture.loop), 0);
	assert_int_equal(uv_idle_init(&fixture.loop, &fixture.turns), 0);
	fixture.turns.data = &fixture;
	uv_idle_start(&fixture.turns, count_turn);
	uv_unref((uv_handle_t *)&fixture.turns);
	assert_int_equal(deadlines_init(&fixture.deadlines, &fixture.loop, capacity), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	uv_close((uv_handle_t *)&fixture->turns, NULL);
	deadlines_close(&fixture->deadlines);
	deadlines_close(&fixture->deadlines);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	deadlines_deinit(&fixture->deadlines);
	return uv_loop_close(&fixture->loop);
}

static void set(struct fixture *fixture, uint32_t index, uint64_t ttl)
{
	fixture->due[index] = deadlines_after(&fixture->deadlines, ttl);
	deadlines_set(&fixture->deadlines, DEADLINE_TICKET, index, fixture->due[index]);
}

static void test_in_order(void **state)
{
	struct fixture *fixture = *state;

	set(fixture, 0, 20);
	deadlines_start(&fixture->deadlines, expire, fixture);
	for (uint32_t i = 1; i < 100; i++)
		set(fixture, i, 1 + i * 37 % 30);
	/* Put off, brought forward, and taken out. */
	set(fixture, 10, 40);
	set(fixture, 11, 1);
	deadlines_remove(&fixture->deadlines, DEADLINE_TICKET, 12);
	fixture->due[12] = 0;
	uv_run(&fixture->loop, UV_RUN_DEFAULT); /* ends when the timer has nothing more to do */
	assert_int_equal(fixture->expired, 99);
}

/* Whatever is due at once, other things have their turns in between. */
static void test_slices(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < INDEXES; i++) {
		fixture->due[i] = 1;
		deadlines_set(&fixture->deadlines, DEADLINE_TICKET, i, 1);
	}
	fixture->steps_left = 1000;
	deadlines_set(&fixture->deadlines, DEADLINE_LEASE, 7, 2);
	deadlines_start(&fixture->deadlines, expire, fixture);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture->expired, INDEXES);
	assert_int_equal(fixture->steps, 1000);
	assert_in_range(fixture->most_in_a_turn, 64, 1024); /* fewer where the machine was busy */
}

/* Before it is started and after it was stopped nothing expires, and nothing keeps the loop. */
static void test_stopped(void **state)
{
	struct fixture *fixture = *state;

	set(fixture, 0, 1);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture->expired, 0);
	deadlines_start(&fixture->deadlines, expire, fixture);
	deadlines_stop(&fixture->deadlines);
	set(fixture, 1, 1);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture->expired, 0);
	deadlines_start(&fixture->deadlines, expire, fixture);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture->expired, 2);
}

static void test_clock(void **state)
{
	struct deadlines *deadlines = &((struct fixture *)*state)->deadlines;
	uint64_t before = deadlines_now(deadlines), ahead = deadlines_after(deadlines, 1000);

	assert_true(ahead >= before + 1000);
	assert_true(ahead <= deadlines_now(deadlines) + 1001);
	/* In a time namespace an hour ahead it is as late as outside. */
	deadlines->shift_ns += INT64_C(3600) * 1000000000;
	uint64_t shifted = deadlines_now(deadlines);
	assert_true(shifted + 3600000 >= before);
	assert_true(shifted <= before || before < 3600000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
