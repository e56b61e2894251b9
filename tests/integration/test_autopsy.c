/* SPDX-License-Identifier: Apache-2.0 */
/* The storm's autopsy on the tables of a real pool, into which the traces of deaths are written by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "cleanup.h"
#include "server/state_layout.h"
#include "tests/storm/autopsy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_session.h"

#define SLOT 3
#define UNUSED 5 /* a record that no request here has used */

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED;

static void look_into(const char *suffix, uint64_t at, void *out_bytes, size_t size)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, suffix);

	assert_int_equal(pread(fd, out_bytes, size, (off_t)at), size);
}

static void write_word(const char *suffix, uint64_t at, uint64_t word)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, suffix);

	assert_int_equal(pwrite(fd, &word, sizeof word, (off_t)at), sizeof word);
}

static uint64_t session_at(void)
{
	struct state_header header;

	look_into(".state", 0, &header, sizeof header);
	return header.sessions_at + session.number * sizeof(struct session_record);
}

static void set_slot(enum slot_phase phase, uint32_t operation)
{
	uint64_t at = session_at() + offsetof(struct session_record, slots) + SLOT * sizeof(struct slot_record);

	write_word(".state", at, SLOT_WORD(1, phase));
	write_word(".state", at + offsetof(struct slot_record, operation), operation); /* and status, which is 0 */
}

static void set_session(enum session_state state)
{
	uint64_t word;

	look_into(".state", session_at(), &word, sizeof word);
	write_word(".state", session_at(), (word & ~UINT64_C(0xff)) | state);
}

static void set_block(enum record_state state)
{
	struct view_header header;

	look_into(".view", 0, &header, sizeof header);
	write_word(".view", header.blocks_at + UNUSED * sizeof(struct block_record), record_word(77, 0, state));
}

static void set_name(enum record_state state)
{
	struct view_header header;

	look_into(".view", 0, &header, sizeof header);
	write_word(".view", header.names_at + UNUSED * sizeof(struct name_record), record_word(78, 0, state));
}

static void set_reference(enum record_state state)
{
	struct state_header header;

	look_into(".state", 0, &header, sizeof header);
	write_word(".state", header.references_at + UNUSED * sizeof(struct reference_record), REFERENCE_WORD(1, 1, state));
}

static void expect(enum slot_operation operation, enum autopsy_stage stage, unsigned marked)
{
	struct histogram histogram = {0};
	struct autopsy autopsy;

	autopsy_of(fixture.pool, &autopsy);
	assert_true(autopsy.open);
	assert_int_equal(autopsy.operation, operation);
	assert_int_equal(autopsy.stage, stage);
	assert_int_equal(autopsy.marked, marked);
	histogram_add(&histogram, &autopsy);
	assert_int_equal(histogram.open[operation][stage], 1);
	assert_int_equal(histogram.dying + histogram.idle, 0);
}

static void expect_closed(unsigned dying)
{
	struct histogram histogram = {0};
	struct autopsy autopsy;

	autopsy_of(fixture.pool, &autopsy);
	assert_false(autopsy.open);
	assert_int_equal(autopsy.dying, dying);
	histogram_add(&histogram, &autopsy);
	assert_int_equal(histogram.dying, dying);
	assert_int_equal(histogram.idle, !dying);
}

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", "--max-blocks", "64", "--max-sessions", "8", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&session, 100, "named", NULL), SHMBUDDY__V1__STATUS__OK);
	assert_int_equal(raw_session_lookup(&session, "named", NULL), SHMBUDDY__V1__STATUS__OK);
	daemon_fixture_kill(&fixture);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_session_close(&session);
	daemon_fixture_stop(&fixture);
	return 0;
}

static void test_closed(void **state)
{
	(void)state;
	expect_closed(0);
	set_session(SESSION_DEAD);
	expect_closed(1);
	set_session(SESSION_LIVE);
}

/* Circles of links that were being collected. */
static void test_collection(void **state)
{
	struct histogram histogram = {0};
	struct autopsy autopsy;
	struct view_header header;

	(void)state;
	look_into(".view", 0, &header, sizeof header);
	for (unsigned decided = 0; decided < 2; decided++) {
		write_word(".view", header.blocks_at + UNUSED * sizeof(struct block_record),
		           record_word(77, 0, RECORD_DYING) | RECORD_CONDEMNED);
		write_word(".state", offsetof(struct state_header, collection), decided ? STATE_COLLECTED : 0);
		autopsy_of(fixture.pool, &autopsy);
		assert_int_equal(autopsy.condemned, 1);
		assert_int_equal(autopsy.collected, decided);
		histogram_add(&histogram, &autopsy);
		assert_int_equal(histogram.condemned[decided], 1);
	}
	set_block(RECORD_FREE);
	write_word(".state", offsetof(struct state_header, collection), 0);
	expect_closed(0);
}

static void test_stages(void **state)
{
	(void)state;
	for (unsigned i = SLOT_ALLOCATE; i < AUTOPSY_OPERATIONS; i++) {
		enum slot_operation operation = (enum slot_operation)i;
		set_slot(SLOT_FILLING, operation);
		expect(operation, AUTOPSY_BEGUN, 0);
		set_block(RECORD_PENDING);
		expect(operation, AUTOPSY_MARKED, 1);
		set_slot(SLOT_DECIDED, operation);
		expect(operation, AUTOPSY_DECIDED, 1);
		set_block(RECORD_LIVE);
		expect(operation, AUTOPSY_APPLIED, 0);
		set_block(RECORD_FREE);
	}
	set_slot(SLOT_DONE, SLOT_FREE);
	expect_closed(0);
}

static void test_marks(void **state)
{
	(void)state;
	set_slot(SLOT_FILLING, SLOT_FREE_BATCH);
	set_block(RECORD_FREEING);
	set_name(RECORD_PENDING);
	set_reference(RECORD_FREEING);
	expect(SLOT_FREE_BATCH, AUTOPSY_MARKED, 3);
	set_block(RECORD_FREE);
	expect(SLOT_FREE_BATCH, AUTOPSY_MARKED, 2);
	set_name(RECORD_FREE);
	set_reference(RECORD_FREE);
	expect(SLOT_FREE_BATCH, AUTOPSY_BEGUN, 0);
}

/* The slot of a session that goes while it is open; and a body that is not written yet. */
static void test_others(void **state)
{
	(void)state;
	set_slot(SLOT_FILLING, AUTOPSY_OPERATIONS);
	expect(SLOT_NOTHING, AUTOPSY_BEGUN, 0);
	set_session(SESSION_DEAD);
	expect(SLOT_NOTHING, AUTOPSY_BEGUN, 0);
	set_session(SESSION_FREE); /* what a session that is no more has left does not count */
	expect_closed(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_marks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others, setup, teardown),
	};

	return cmocka_run_group_tests_name("autopsy", tests, NULL, NULL);
}
