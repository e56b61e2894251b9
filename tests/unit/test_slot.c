/* SPDX-License-Identifier: Apache-2.0 */
/* Request slots: whose turn it is in each phase, and what each step leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "checksum.h"
#include "server/session.h"
#include "server/slot.h"

struct fixture {
	struct session_record record;
	struct session session;
};

static int setup(void **state)
{
	static struct fixture fixture;

	memset(&fixture, 0, sizeof fixture);
	fixture.session.record = &fixture.record;
	*state = &fixture;
	return 0;
}

static struct slot slot_of(void **state, uint32_t index, uint64_t sequence)
{
	return (struct slot){.session = &((struct fixture *)*state)->session, .index = index, .sequence = sequence};
}

static enum slot_turn turn(void **state, uint32_t index, uint64_t sequence)
{
	struct slot slot = slot_of(state, index, sequence);

	return slot_turn(&slot);
}

static uint32_t checksum_at(const struct slot_record *record, uint64_t sequence)
{
	return checksum_of(&record->operation, 52) ^ (uint32_t)sequence;
}

static void test_numbers(void **state)
{
	assert_int_equal(turn(state, 0, 0), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, 0, 1), SLOT_TURN_NEW);
	assert_int_equal(turn(state, 0, 99), SLOT_TURN_NEW); /* gaps are allowed */
	assert_int_equal(turn(state, SESSION_SLOTS - 1, 1), SLOT_TURN_NEW);
	assert_int_equal(turn(state, SESSION_SLOTS, 1), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, UINT32_MAX, 1), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, 0, SLOT_SEQUENCE_MAX), SLOT_TURN_NEW);
	assert_int_equal(turn(state, 0, SLOT_SEQUENCE_MAX + 1), SLOT_TURN_WRONG);
}

static void test_executed(void **state)
{
	struct fixture *fixture = *state;
	struct slot slot = slot_of(state, 3, 7);
	struct slot_record *record = slot_begin(&slot, SLOT_FREE);

	assert_ptr_equal(record, &fixture->record.slots[3]);
	assert_int_equal(record->word, SLOT_WORD(7, SLOT_FILLING));
	assert_int_equal(record->operation, SLOT_FREE);
	assert_int_equal(turn(state, 3, 7), SLOT_TURN_WRONG); /* left open by a daemon that died: not for us to run */
	record->id = 12;
	record->next = 2;
	slot_decide(&slot);
	assert_int_equal(record->word, SLOT_WORD(7, SLOT_DECIDED));
	assert_int_equal(record->checksum, checksum_at(record, 7));
	assert_int_equal(turn(state, 3, 7), SLOT_TURN_WRONG);
	slot_done(&slot);
	assert_int_equal(record->word, SLOT_WORD(7, SLOT_DONE));
	assert_int_equal(record->checksum, checksum_at(record, 7));
	assert_int_equal(turn(state, 3, 7), SLOT_TURN_REPEAT);
	assert_int_equal(turn(state, 3, 6), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, 3, 8), SLOT_TURN_NEW);
	assert_int_equal(turn(state, 2, 7), SLOT_TURN_NEW); /* a slot of its own */

	/* The next request finds no trace of this one. */
	slot = slot_of(state, 3, 8);
	record = slot_begin(&slot, SLOT_LOOKUP);
	struct slot_record expected = {.operation = SLOT_LOOKUP};
	expected.word = SLOT_WORD(8, SLOT_FILLING);
	assert_memory_equal(record, &expected, sizeof expected);
	for (uint32_t i = 0; i < SESSION_SLOTS; i++)
		assert_int_equal(fixture->record.slots[i].word, i == 3 ? SLOT_WORD(8, SLOT_FILLING) : 0);
}

static void test_refused(void **state)
{
	struct fixture *fixture = *state;
	struct slot slot = slot_of(state, 0, 4);
	const struct slot_record *record = &fixture->record.slots[0];

	slot_refuse(&slot, SLOT_PUBLISH, 1009);
	assert_int_equal(record->word, SLOT_WORD(4, SLOT_DONE));
	assert_int_equal(record->operation, SLOT_PUBLISH);
	assert_int_equal(record->status, 1009);
	assert_int_equal(record->checksum, checksum_at(record, 4));
	assert_int_equal(turn(state, 0, 4), SLOT_TURN_REPEAT);
}

static void test_under_way(void **state)
{
	struct fixture *fixture = *state;

	fixture->session.busy_slots = UINT64_C(1) << 58;
	fixture->session.seen[58] = 5;
	assert_int_equal(turn(state, 58, 5), SLOT_TURN_UNDER_WAY);
	assert_int_equal(turn(state, 58, 6), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, 58, 4), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, 59, 5), SLOT_TURN_NEW);
}

/* A ping leaves nothing in the record; the sequences below its own are over all the same. */
static void test_seen(void **state)
{
	((struct fixture *)*state)->session.seen[0] = 5;
	assert_int_equal(turn(state, 0, 4), SLOT_TURN_WRONG);
	assert_int_equal(turn(state, 0, 5), SLOT_TURN_NEW);
	assert_int_equal(turn(state, 0, 6), SLOT_TURN_NEW);
}

#define TEST(function) cmocka_unit_test_setup(function, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_numbers), TEST(test_executed), TEST(test_refused), TEST(test_under_way), TEST(test_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
