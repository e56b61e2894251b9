/* SPDX-License-Identifier: Apache-2.0 */
/* Request slots: who gets which, who waits, and who fails when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client/slots.h"

#define CALLS 8

static struct slots slots;
static struct call calls[CALLS];
static unsigned told[CALLS], all_told;

static void note(struct call *call)
{
	told[call - calls]++;
	all_told++;
	/* Nobody who is told finds the slots in a state between two: each can take his own word for what it is. */
	for (uint32_t i = 0; i < slots.count; i++)
		assert_true(!slots.slot[i].call || slots_is_busy(&slots, i));
}

static int set_up(void **state)
{
	(void)state;
	memset(&slots, 0, sizeof slots);
	memset(told, 0, sizeof told);
	all_told = 0;
	slots.count = 2;
	for (unsigned i = 0; i < CALLS; i++) {
		call_init(&calls[i], NULL);
		calls[i].done = note;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	slots_deinit(&slots, false);
	return 0;
}

static void claim(unsigned from, unsigned end)
{
	for (unsigned i = from; i < end; i++)
		slots_claim(&slots, &calls[i]);
}

static void test_lowest_first_then_in_line(void **state)
{
	(void)state;
	claim(0, 5);
	assert_int_equal(calls[0].state, CALL_GRANTED);
	assert_int_equal(calls[0].slot, 0);
	assert_int_equal(calls[1].slot, 1);
	assert_int_equal(calls[2].state, CALL_WAITING);
	assert_false(slots_is_busy(&slots, 2)); /* there is none */

	slots_release(&slots, 1);
	assert_int_equal(calls[2].state, CALL_GRANTED);
	assert_int_equal(calls[2].slot, 1);
	assert_int_equal(told[2], 1);
	slots_claim(&slots, &calls[5]); /* a latecomer waits behind those in line */
	slots_release(&slots, 0);
	assert_int_equal(calls[3].slot, 0);
	slots_release(&slots, 0);
	assert_int_equal(calls[4].slot, 0);
	slots_release(&slots, 0);
	assert_int_equal(calls[5].slot, 0);
	assert_int_equal(calls[5].state, CALL_GRANTED);
	slots_release(&slots, 0);
	slots_release(&slots, 1);
	assert_int_equal(slots.busy, 0);
	assert_null(slots.first_waiting);
	assert_null(slots.last_waiting);
}

static void test_leaving_the_line(void **state)
{
	(void)state;
	claim(0, 6);
	slots_leave_line(&slots, &calls[3]); /* in the middle, */
	slots_leave_line(&slots, &calls[5]); /* at its end, */
	slots_leave_line(&slots, &calls[2]); /* and at its head */
	slots_leave_line(&slots, &calls[2]); /* who is not in it does no harm */
	assert_ptr_equal(slots.first_waiting, &calls[4]);
	assert_ptr_equal(slots.last_waiting, &calls[4]);
	slots_claim(&slots, &calls[6]);
	slots_release(&slots, 0);
	slots_release(&slots, 1);
	assert_int_equal(calls[4].slot, 0);
	assert_int_equal(calls[6].slot, 1);
}

/* The socket is lost: only those that are `once` fail, in line as in a slot; the others keep what they have. */
static void test_fail_once(void **state)
{
	(void)state;
	calls[0].once = calls[3].once = true;
	claim(0, 5);
	slots.slot[0].frame = malloc(1);
	slots_fail(&slots, true, ERROR_DISCONNECTED, "lost");
	assert_int_equal(all_told, 2);
	assert_int_equal(calls[0].result, -ERROR_DISCONNECTED);
	assert_int_equal(calls[3].state, CALL_DONE);
	assert_string_equal(calls[3].text, "lost");
	assert_ptr_equal(slots.slot[1].call, &calls[1]);
	assert_null(slots.slot[0].frame);
	assert_false(slots_is_busy(&slots, 0));
	assert_ptr_equal(slots.first_waiting, &calls[2]);
	assert_ptr_equal(slots.last_waiting, &calls[4]);
}

static void test_fail_all(void **state)
{
	(void)state;
	claim(0, 5);
	slots.slot[1].call = NULL; /* its caller has given up */
	slots.slot[1].frame = malloc(1);
	slots.slot[1].leftover.id = 7;
	slots_fail(&slots, false, ERROR_PROTOCOL, "over");
	assert_int_equal(all_told, 4);
	assert_int_equal(told[1], 0);
	assert_int_equal(slots.busy, 0);
	assert_null(slots.first_waiting);
	assert_null(slots.slot[1].frame);
	assert_int_equal(slots.slot[1].leftover.id, 0);
}

/* Sixty-four are as many as there are bits. */
static void test_all_of_them(void **state)
{
	static struct call many[SLOTS_MAX + 1];

	(void)state;
	slots.count = SLOTS_MAX;
	for (uint32_t i = 0; i <= SLOTS_MAX; i++) {
		call_init(&many[i], NULL);
		slots_claim(&slots, &many[i]);
	}
	assert_int_equal(many[SLOTS_MAX - 1].slot, SLOTS_MAX - 1);
	assert_int_equal(many[SLOTS_MAX].state, CALL_WAITING);
	assert_int_equal(slots.busy, UINT64_MAX);
	slots_leave_line(&slots, &many[SLOTS_MAX]);
	for (uint32_t i = 0; i < SLOTS_MAX; i++)
		slots_release(&slots, i);
	assert_int_equal(slots.busy, 0);
}

static void test_forgotten(void **state)
{
	uint8_t not_ours;

	(void)state;
	slots.slot[1].frame = &not_ours; /* memory of which nothing is known is left alone */
	slots_deinit(&slots, true);
	assert_null(slots.slot[1].frame);
}

/* Calls that wait for something leave an eighth of the slots, one at least, to the others, who go past them. */
static void test_calls_that_wait(void **state)
{
	uint32_t wait_ms = 1000;

	(void)state;
	slots.count = 3;
	for (unsigned i = 0; i < 4; i++)
		calls[i].wait_ms = &wait_ms;
	claim(0, 6);
	assert_int_equal(calls[1].state, CALL_GRANTED);
	assert_int_equal(calls[2].state, CALL_WAITING);
	assert_int_equal(calls[3].state, CALL_WAITING);
	assert_int_equal(calls[4].slot, 2);
	assert_int_equal(calls[4].state, CALL_GRANTED);
	assert_int_equal(calls[5].state, CALL_WAITING); /* for any */
	slots_release(&slots, 2);
	assert_int_equal(calls[5].slot, 2);
	assert_int_equal(calls[5].state, CALL_GRANTED);
	slots_release(&slots, 2);
	assert_false(slots_is_busy(&slots, 2)); /* though two stand in line */
	assert_int_equal(calls[2].state, CALL_WAITING);
	slots_claim(&slots, &calls[6]);
	assert_int_equal(calls[6].slot, 2);
	slots_release(&slots, 0);
	assert_int_equal(calls[2].slot, 0);
	assert_int_equal(calls[2].state, CALL_GRANTED);
	assert_int_equal(slots.waiting, 2);
	slots_fail(&slots, false, ERROR_DISCONNECTED, "gone");
	assert_int_equal(slots.waiting, 0);
	/* Of 60, all but eight; where there is but one, it is for all. */
	slots.count = 60;
	for (unsigned i = 0; i < 52; i++) {
		call_init(&calls[0], NULL);
		calls[0].wait_ms = &wait_ms;
		slots_claim(&slots, &calls[0]);
		assert_int_equal(calls[0].state, CALL_GRANTED);
	}
	call_init(&calls[1], NULL);
	calls[1].wait_ms = &wait_ms;
	slots_claim(&slots, &calls[1]);
	assert_int_equal(calls[1].state, CALL_WAITING);
	memset(&slots, 0, sizeof slots);
	slots.count = 1;
	slots_claim(&slots, &calls[2]);
	assert_int_equal(calls[2].state, CALL_GRANTED);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_lowest_first_then_in_line),
		TEST(test_leaving_the_line),
		TEST(test_fail_once),
		TEST(test_fail_all),
		TEST(test_all_of_them),
		TEST(test_forgotten),
		TEST(test_calls_that_wait),
	};

	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
