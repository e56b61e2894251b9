/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloning and adopting, over a real pool under a name of this process, without sockets: what the parent's lists go through between two slices,
 * what a clone comes to that does not become whole, and what its record says at each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "server/adoption.h"
#include "server/clone.h"
#include "server/handle.h"
#include "server/lifetime.h"
#include "server/log.h"
#include "server/reclaim.h"
#include "server/session_record.h"
#include "server/slot.h"
#include "tests/unit/draw.h"

#define UNIT 64
#define POOL_SIZE (UINT64_C(1) << 20)
#define SLICE 256 /* server/clone.c */
#define BLOCKS 1000

struct fixture {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct session *parent, *other;
	uint64_t sequence;
	uint32_t blocks[BLOCKS];
};
static struct fixture fixture;

static struct session *open_session(uint32_t pid)
{
	struct peer peer = {.uid = 7, .gid = 8, .pid = pid, .pidfd = -1, .start_time = 9};
	struct session *session;

	assert_int_equal(session_open(&fixture.pool, &(struct session_request){.peer = &peer, .program = "parent"}, &session),
	                 0);
	return session;
}

static int start(uint32_t max_blocks)
{
	char name[32];
	struct pool_options options = {
		.name = name, .size = POOL_SIZE, .unit = UNIT, .max_blocks = max_blocks, .max_sessions = 100, .ephemeral = true};

	snprintf(name, sizeof name, "unit-clone-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	if (uv_loop_init(&fixture.loop) < 0 || pool_open(&fixture.loop, &options, &fixture.pool) < 0 ||
	    reclaim_init(&fixture.reclaim, &fixture.pool) < 0)
		return -1;
	fixture.parent = open_session(1000);
	fixture.other = open_session(1001);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return start(0);
}

/* Few references: two a block, and one a session. */
static int setup_small(void **state)
{
	(void)state;
	return start(300);
}

static int teardown(void **state)
{
	struct session *session;

	(void)state;
	for (uint32_t n = 1; (session = sessions_from(&fixture.pool.sessions, n)); n++) {
		n = session->number;
		session_forget(session);
	}
	dying_stop(&fixture.pool.dying);
	reclaim_stop(&fixture.reclaim);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	return uv_loop_close(&fixture.loop);
}

static uint64_t id_of(uint32_t block)
{
	return record_id(blocks_word(&fixture.pool.blocks, block));
}

static uint32_t allocate(struct session *session)
{
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted;
	uint32_t index;

	assert_int_equal(table_take(&pool->blocks.table, &index), 0);
	assert_int_equal(buddy_allocate(&pool->buddy, 1, 1, &offset, &granted), 0);
	blocks_write(&pool->blocks, index,
	             &(struct block_content){.id = pool_take_ids(pool, 1),
	                                     .offset = offset * UNIT,
	                                     .size = UNIT,
	                                     .granted = UNIT,
	                                     .owner = session->number,
	                                     .uid = session->record->uid,
	                                     .tag = ""});
	lifetime_add_owner(session, index);
	return index;
}

static void refer(struct session *session, uint32_t block)
{
	uint32_t index;

	assert_int_equal(table_take(&fixture.pool.references.table, &index), 0);
	references_write(&fixture.pool.references, index, session->number, block, id_of(block));
	lifetime_add_reference(session, index);
}

/* The parent owns the blocks, or has a reference to each. */
static void fill(size_t count, bool owned)
{
	for (size_t i = 0; i < count; i++) {
		fixture.blocks[i] = allocate(owned ? fixture.parent : fixture.other);
		if (!owned)
			refer(fixture.parent, fixture.blocks[i]);
	}
}

static int begin(const struct handle *held, uint32_t count)
{
	struct slot slot = {fixture.parent, 0, ++fixture.sequence};
	char text[CHARGE_TEXT_MAX] = "";
	int error = clone_begin(&slot, held, count, text);

	assert_int_equal(error != 0, text[0] != '\0');
	return error;
}

static void turn(void)
{
	uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

/* The clone of the only one under way, or the last. */
static struct session *clone_there(void)
{
	return sessions_from(&fixture.pool.sessions, 3);
}

static enum session_state state_of(const struct session *session)
{
	return (enum session_state)(atomic_load(&session->record->word) & 0xff);
}

static void run_until_nothing_is_under_way(void)
{
	for (unsigned i = 0; fixture.pool.clones.first; i++) {
		assert_true(i < 100);
		turn();
	}
}

static const struct slot_record *outcome(void)
{
	const struct slot_record *record = &fixture.parent->record->slots[0];

	assert_int_equal(atomic_load(&record->word), SLOT_WORD(fixture.sequence, SLOT_DONE));
	assert_true(slot_is_sealed(record));
	assert_int_equal(record->operation, SLOT_CLONE);
	return record;
}

/* ---- Walking ---------------------------------------------------------------------------------------------------- */

static void test_small_one_is_whole_at_once(void **state)
{
	(void)state;
	fill(SLICE - 1, true);
	assert_int_equal(begin(NULL, 0), 0);
	struct session *copy = clone_there();
	assert_null(fixture.pool.clones.first);
	assert_int_equal(state_of(copy), SESSION_CLONED);
	assert_int_equal(copy->held, SLICE - 1);
	assert_int_equal(copy->record->uid, 7);
	assert_int_equal(outcome()->block, copy->number);
	assert_int_equal(outcome()->id, copy->serial);
	assert_int_equal(outcome()->status, 0);
	for (size_t i = 0; i < SLICE - 1; i++)
		assert_true(blocks_word(&fixture.pool.blocks, fixture.blocks[i]) & RECORD_SHARED);
}

/* Between two slices whatever the walk would come to next leaves, and other things come. */
static void walk_on_moving_ground(bool owned)
{
	bool gone[BLOCKS] = {false};

	fill(BLOCKS, owned);
	assert_int_equal(begin(NULL, 0), 0);
	struct session *copy = clone_there(), *parent = fixture.parent;
	while (fixture.pool.clones.first) {
		assert_int_equal(state_of(copy), SESSION_CLONING);
		for (uint64_t leave = draw(4); leave; leave--) {
			uint32_t link = owned ? parent->walk_blocks : parent->walk_references;
			if (!link)
				break;
			uint32_t block = owned ? link - 1 : fixture.pool.references.records[link - 1].block;
			if (owned)
				lifetime_drop_owner(parent, block);
			else
				lifetime_set_reference(parent, link - 1, 0);
			for (size_t i = 0; i < BLOCKS; i++)
				gone[i] |= fixture.blocks[i] == block;
			allocate(parent);
		}
		turn();
	}
	assert_int_equal(state_of(copy), SESSION_CLONED);
	for (size_t i = 0; i < BLOCKS; i++)
		assert_true(gone[i] || lifetime_find_reference(copy, fixture.blocks[i]));
	assert_int_equal(parent->walk_blocks, 0);
	assert_int_equal(parent->walk_references, 0);
}

static void test_walks_blocks_that_leave(void **state)
{
	(void)state;
	walk_on_moving_ground(true);
}

static void test_walks_references_that_leave(void **state)
{
	(void)state;
	walk_on_moving_ground(false);
}

/* The parent says what its hold page has: what is there is held, what is not is passed over. */
static void test_handles(void **state)
{
	uint32_t block = allocate(fixture.other), gone = allocate(fixture.other);
	struct handle held[] = {
		{id_of(block), block, fixture.pool.incarnation}, {id_of(block), block, fixture.pool.incarnation},
		{id_of(gone), gone, fixture.pool.incarnation},   {id_of(block), UINT32_MAX, fixture.pool.incarnation},
		{12345678, block, fixture.pool.incarnation},
	};

	(void)state;
	lifetime_drop_owner(fixture.other, gone);
	assert_int_equal(begin(held, 5), 0);
	run_until_nothing_is_under_way();
	assert_int_equal(clone_there()->reference_count, 1);
	assert_true(lifetime_find_reference(clone_there(), block));
}

/* One at a time, in the order in which they came. */
static void test_several(void **state)
{
	(void)state;
	fill(BLOCKS, true);
	for (uint32_t i = 0; i < 3; i++) {
		struct slot slot = {fixture.parent, i, 1};
		char text[CHARGE_TEXT_MAX];
		assert_int_equal(clone_begin(&slot, NULL, 0, text), 0);
	}
	run_until_nothing_is_under_way();
	for (uint32_t number = 3; number < 6; number++) {
		struct session *copy = fixture.pool.sessions.by_number[number];
		assert_int_equal(state_of(copy), SESSION_CLONED);
		assert_int_equal(copy->held, BLOCKS);
	}
}

/* ---- What does not become whole --------------------------------------------------------------------------------- */

static void assert_no_clone_is_left(void)
{
	for (unsigned i = 0; clone_there(); i++) {
		assert_true(i < 100);
		turn();
	}
	assert_null(fixture.pool.sessions.awaited);
	assert_null(fixture.pool.clones.last);
}

static void test_references_run_out(void **state)
{
	(void)state;
	fill(290, true);
	assert_int_equal(begin(NULL, 0), 0);
	run_until_nothing_is_under_way();
	assert_int_equal(outcome()->status, 0);
	assert_int_equal(begin(NULL, 0), 0);
	run_until_nothing_is_under_way();
	assert_int_equal(outcome()->status, 0);
	assert_int_equal(begin(NULL, 0), 0);
	run_until_nothing_is_under_way();
	assert_int_equal(outcome()->status, ERROR_LIMIT);
	for (uint32_t number = 3; number < 5; number++)
		session_end(fixture.pool.sessions.by_number[number], "test");
	assert_no_clone_is_left();
	assert_int_equal(begin(NULL, 0), 0);
	run_until_nothing_is_under_way();
	assert_int_equal(outcome()->status, 0);
}

static void test_parent_ends(void **state)
{
	(void)state;
	fill(BLOCKS, false);
	assert_int_equal(begin(NULL, 0), 0);
	session_end(fixture.parent, "test");
	run_until_nothing_is_under_way();
	assert_no_clone_is_left();
	turn();
	assert_null(sessions_from(&fixture.pool.sessions, 3));
	assert_int_equal(fixture.other->account.used[QUOTA_BLOCKS], BLOCKS);
}

static void test_parent_is_to_end(void **state)
{
	(void)state;
	fill(BLOCKS, true);
	assert_int_equal(begin(NULL, 0), 0);
	session_ask(fixture.parent);
	run_until_nothing_is_under_way();
	assert_int_equal(outcome()->status, ERROR_SESSION_ENDED);
	assert_no_clone_is_left();
	assert_int_equal(begin(NULL, 0), ERROR_SESSION_ENDED);
}

static void test_clone_is_ended(void **state)
{
	(void)state;
	fill(BLOCKS, true);
	assert_int_equal(begin(NULL, 0), 0);
	session_end(clone_there(), "test");
	run_until_nothing_is_under_way();
	assert_int_equal(outcome()->status, ERROR_DENIED);
	assert_no_clone_is_left();
}

/* The daemon stops in the middle: teardown has to come to an end. */
static void test_stop(void **state)
{
	(void)state;
	fill(BLOCKS, true);
	assert_int_equal(begin(NULL, 0), 0);
	assert_int_equal(state_of(clone_there()), SESSION_CLONING);
	assert_non_null(fixture.pool.clones.first);
}

/* ---- Adoption --------------------------------------------------------------------------------------------------- */

static struct peer peer_of(uint32_t uid, uint32_t pid)
{
	return (struct peer){.uid = uid, .pid = pid, .pidfd = -1, .start_time = 10};
}

static void test_adoption(void **state)
{
	struct peer child = peer_of(7, 2000), second = peer_of(7, 2001), stranger = peer_of(6, 2000), parent = peer_of(7, 1000);

	(void)state;
	assert_int_equal(begin(NULL, 0), 0);
	struct session *copy = clone_there();
	assert_true(copy->awaited);
	assert_int_equal(adoption_count(&fixture.pool, 7), 1);
	assert_int_equal(adoption_count(&fixture.pool, 6), 0);
	assert_false(session_is_of(copy, &child));
	assert_false(session_is_of(copy, &parent));
	assert_int_equal(session_record_process(copy->record).pid, 0);
	assert_false(adoption_take(copy, &stranger));
	assert_int_equal(state_of(copy), SESSION_CLONED);
	assert_true(adoption_take(copy, &child));
	copy->pid = child.pid; /* as session_found has it */
	adoption_has_come(copy);
	assert_int_equal(state_of(copy), SESSION_ADOPTED);
	assert_int_equal(session_record_process(copy->record).pid, 2000);
	assert_int_equal(session_record_process(copy->record).start_time, 10);
	assert_true(session_is_of(copy, &child));
	assert_false(session_is_of(copy, &second));
	assert_false(adoption_take(copy, &second));
	assert_true(adoption_take(copy, &child)); /* it has not got its descriptors */
	adoption_confirm(copy);
	assert_int_equal(state_of(copy), SESSION_LIVE);
	assert_false(adoption_take(copy, &child));
	assert_true(session_is_of(copy, &child));
	assert_int_equal(session_record_process(copy->record).pid, 2000);
	assert_int_equal(adoption_count(&fixture.pool, 7), 0);
}

/* What is asked to end stays so. */
static void test_asked_before_it_was_heard_of(void **state)
{
	struct peer child = peer_of(7, 2000);

	(void)state;
	assert_int_equal(begin(NULL, 0), 0);
	struct session *copy = clone_there();
	assert_true(adoption_take(copy, &child));
	adoption_has_come(copy);
	session_ask(copy);
	adoption_confirm(copy);
	assert_int_equal(state_of(copy), SESSION_ASKED);
	assert_int_equal(session_record_process(copy->record).pid, 2000);
}

static void test_damage_shows(void **state)
{
	struct peer child = peer_of(7, 2000);

	(void)state;
	assert_int_equal(begin(NULL, 0), 0);
	struct session_record *record = clone_there()->record;
	assert_true(session_record_is_sound(record));
	record->adopter.pid = 77; /* written by half, and it does not count yet */
	assert_true(session_record_is_sound(record));
	assert_true(adoption_take(clone_there(), &child));
	adoption_has_come(clone_there());
	assert_true(session_record_is_sound(record));
	record->adopter.pid ^= 1;
	assert_false(session_record_is_sound(record));
	record->adopter.pid ^= 1;
	assert_true(session_record_is_sound(fixture.parent->record));
}

/* The time is up for some, and not for others. */
static void test_time_is_up(void **state)
{
	struct sessions *sessions = &fixture.pool.sessions;

	(void)state;
	fill(10, true);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(begin(NULL, 0), 0);
	assert_true(uv_is_active((uv_handle_t *)&sessions->awaited_timer));
	sessions->by_number[3]->awaited_until = sessions->by_number[4]->awaited_until = 0;
	uv_timer_start(&sessions->awaited_timer, sessions->awaited_timer.timer_cb, 0, 0);
	for (unsigned i = 0; sessions->by_number[3] || sessions->by_number[4]; i++) {
		assert_true(i < 100);
		turn();
	}
	assert_int_equal(state_of(sessions->by_number[5]), SESSION_CLONED);
	assert_true(uv_is_active((uv_handle_t *)&sessions->awaited_timer));
	session_end(sessions->by_number[5], "test");
	assert_false(uv_is_active((uv_handle_t *)&sessions->awaited_timer));
	assert_no_clone_is_left();
	assert_int_equal(atomic_load(&fixture.pool.counters->sessions_died), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_small_one_is_whole_at_once),
		TEST(test_walks_blocks_that_leave),
		TEST(test_walks_references_that_leave),
		TEST(test_handles),
		TEST(test_several),
		cmocka_unit_test_setup_teardown(test_references_run_out, setup_small, teardown),
		TEST(test_parent_ends),
		TEST(test_parent_is_to_end),
		TEST(test_clone_is_ended),
		TEST(test_stop),
		TEST(test_adoption),
		TEST(test_asked_before_it_was_heard_of),
		TEST(test_damage_shows),
		TEST(test_time_is_up),
	};

	draw_seed();
	return cmocka_run_group_tests_name("clone", tests, NULL, NULL);
}
