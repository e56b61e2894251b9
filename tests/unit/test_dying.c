/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of blocks, over a real pool under a name of this process, and sessions with hold pages: by hand, and then at random against what
 * must hold: a block that anybody holds is never freed, whatever messages are lost; and once nobody holds it, it goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "server/dying.h"
#include "tests/unit/draw.h"
#include "tests/unit/pool_fixture.h"

#define SESSIONS 4
#define POOL_SIZE (UINT64_C(1) << 20)

static int setup(void **state)
{
	static const uint32_t uids[SESSIONS];

	(void)state;
	return pool_fixture_open("dying", POOL_SIZE, uids, SESSIONS);
}

static int teardown(void **state)
{
	(void)state;
	return pool_fixture_close();
}

static void assert_empty(void)
{
	assert_int_equal(fixture.pool.block_count, 0);
	assert_int_equal(fixture.pool.unowned_blocks, 0);
	assert_int_equal(fixture.pool.unowned_bytes, 0);
	assert_int_equal(fixture.pool.dying.orphan_count, 0);
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), POOL_SIZE / POOL_FIXTURE_UNIT);
}

/* Without a page there is nothing to look at, and what was never shared is in none. */
static void test_at_once(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	lifetime_drop_owner(owner, pool_fixture_allocate(owner, 1, true));
	assert_empty();
	pool_fixture_open_page(1);
	lifetime_drop_owner(owner, pool_fixture_allocate(owner, 1, false));
	assert_empty();
}

static void test_by_hand(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	pool_fixture_open_page(1);
	uint32_t free_one = pool_fixture_allocate(owner, 1, true), held = pool_fixture_allocate(owner, 2, true);
	_Atomic uint64_t *slot = &fixture.pages[1]->slots[77];
	*slot = pool_fixture_id(held) | HOLD_CLAIMED; /* about to be given back is held still */
	lifetime_drop_owner(owner, free_one);
	lifetime_drop_owner(owner, held);
	assert_int_equal(pool_fixture_state(free_one), RECORD_DYING);
	assert_int_equal(pool_fixture_state(held), RECORD_DYING);
	assert_int_equal(fixture.pool.block_count, 2);
	struct handle stale = pool_fixture_handle(free_one);
	assert_int_equal(handle_find(&fixture.pool, &stale), ERROR_STALE_HANDLE);
	/* Who has it in its page, and gives it back once too often, is not told that it is gone. */
	struct handle living = pool_fixture_handle(held);
	struct hold hold;
	assert_int_equal(handle_find_hold(&fixture.sessions[1], &living, &hold), ERROR_NOT_HELD);
	assert_int_equal(handle_find_hold(&fixture.sessions[2], &living, &hold), ERROR_STALE_HANDLE);
	assert_int_equal(handle_find_hold(&fixture.sessions[1], &stale, &hold), ERROR_STALE_HANDLE);
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(free_one), RECORD_FREE);
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	assert_int_equal(page_holds_count(&fixture.sessions[1], held), 1);

	/* Told by who holds it still, it stays as it is; by another, it is looked for; told afterwards, it goes. */
	dying_released(&fixture.sessions[1], held);
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	dying_released(&fixture.sessions[2], held);
	assert_int_equal(pool_fixture_state(held), RECORD_DYING);
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	*slot = 0;
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	dying_released(&fixture.sessions[1], held);
	pool_fixture_rest();
	assert_empty();
}

/* Somebody acquires by request what is dying: what nobody holds is freed there and then, what a page has lives. */
static void test_settle(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	pool_fixture_open_page(1);
	uint32_t gone = pool_fixture_allocate(owner, 1, true), held = pool_fixture_allocate(owner, 1, true);
	struct handle handles[] = {pool_fixture_handle(gone), pool_fixture_handle(held)};
	fixture.pages[1]->slots[0] = pool_fixture_id(held);
	lifetime_drop_owner(owner, gone);
	lifetime_drop_owner(owner, held);
	assert_int_equal(handle_find_to_acquire(owner, &handles[0]), ERROR_STALE_HANDLE);
	assert_int_equal(pool_fixture_state(gone), RECORD_FREE);
	assert_int_equal(handle_find_to_acquire(owner, &handles[1]), 0);
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	assert_int_equal(handle_check_held(&fixture.sessions[1], &handles[1]), 0);
	assert_int_equal(handle_check_held(&fixture.sessions[2], &handles[1]), ERROR_NOT_HELD);
	uint32_t reference = pool_fixture_refer(&fixture.sessions[2], held);
	assert_int_equal(pool_fixture_state(held), RECORD_LIVE);
	assert_int_equal(fixture.pool.dying.orphan_count, 0);
	fixture.pages[1]->slots[0] = 0;
	lifetime_set_reference(&fixture.sessions[2], reference, 0);
	pool_fixture_rest();
	assert_empty();
}

/* A session ends: its page says nothing any more. A page that was cut off says nothing either. */
static void test_pages_go(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	pool_fixture_open_page(1);
	pool_fixture_open_page(2);
	uint32_t first = pool_fixture_allocate(owner, 1, true), second = pool_fixture_allocate(owner, 1, true);
	fixture.pages[1]->slots[5] = pool_fixture_id(first);
	fixture.pages[2]->slots[HOLD_SLOTS - 1] = pool_fixture_id(second);
	lifetime_drop_owner(owner, first);
	lifetime_drop_owner(owner, second);
	pool_fixture_rest();
	assert_int_equal(fixture.pool.dying.orphan_count, 2);
	pool_fixture_drop_page(&fixture.sessions[1]);
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(first), RECORD_FREE);
	assert_int_equal(pool_fixture_state(second), RECORD_ORPHAN);
	assert_int_equal(ftruncate(fixture.sessions[2].hold_page, 100), 0);
	dying_doubt(&fixture.pool);
	pool_fixture_rest();
	assert_empty();
}

/* Memory is wanted: a look is done in as many steps as it takes. */
static void test_hurry(void **state)
{
	struct session *owner = &fixture.sessions[0];
	unsigned steps = 0;

	(void)state;
	pool_fixture_open_page(1);
	assert_false(dying_hurry(&fixture.pool));
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t block = pool_fixture_allocate(owner, 1, true);
		if (i == 500)
			fixture.pages[1]->slots[3] = pool_fixture_id(block);
		lifetime_drop_owner(owner, block);
	}
	while (dying_hurry(&fixture.pool))
		steps++;
	assert_in_range(steps, 2, 10);
	assert_int_equal(fixture.pool.block_count, 1);
	fixture.pages[1]->slots[3] = 0;
	dying_doubt(&fixture.pool);
	dying_stop(&fixture.pool.dying);
	assert_false(dying_hurry(&fixture.pool)); /* nobody's page is read any more */
	assert_int_equal(fixture.pool.block_count, 1);
}

/* Much that is dying does not go in one turn of the loop, whoever wants its memory: what is freed is charged too. */
static void test_hurry_with_many(void **state)
{
	struct session *owner = &fixture.sessions[0];
	struct page_holds *holds = &fixture.pool.page_holds;
	unsigned count = 10000;

	(void)state;
	pool_fixture_open_page(1);
	for (unsigned i = 0; i < count; i++)
		lifetime_drop_owner(owner, pool_fixture_allocate(owner, 1, true));
	assert_true(dying_hurry(&fixture.pool));
	uint64_t freed = count - fixture.pool.block_count;
	assert_in_range(freed, 1, count / 2);
	assert_true(ALLOWANCE_MAX_NS - holds->for_memory.left >= (int64_t)freed * 100);
	allowance_spend(&holds->for_memory, ALLOWANCE_MAX_NS);
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(fixture.pool.block_count, count - freed);
	assert_true(fixture.pool.wait_queue.owed);
	for (unsigned turn = 0; fixture.pool.wait_queue.owed; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_empty();
}

/* A look that finds all held that it looks for does not keep from who wants memory what came during that look. */
static void test_hurry_during_a_look(void **state)
{
	static struct session idle[100]; /* so many that a look takes several turns of the loop */
	struct session *owner = &fixture.sessions[0];
	uint32_t number;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(table_take(&fixture.pool.sessions.table, &number), 0);
		idle[i] = (struct session){
			.pool = &fixture.pool, .number = number, .hold_page = -1, .user = accounts_user(&fixture.pool.accounts, 0)};
		fixture.pool.sessions.by_number[number] = &idle[i];
	}
	pool_fixture_open_page(1);
	uint32_t held = pool_fixture_allocate(owner, 1, true), gone = pool_fixture_allocate(owner, 1, true);
	fixture.pages[1]->slots[4] = pool_fixture_id(held);
	lifetime_drop_owner(owner, held);
	for (unsigned turn = 0; !fixture.pool.dying.looking; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	lifetime_drop_owner(owner, gone);
	assert_true(dying_hurry(&fixture.pool));
	assert_int_equal(pool_fixture_state(gone), RECORD_FREE);
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	assert_false(dying_hurry(&fixture.pool));
	fixture.pages[1]->slots[4] = 0;
	dying_doubt(&fixture.pool);
	pool_fixture_rest();
	assert_empty();
	for (size_t i = 0; i < 100; i++)
		fixture.pool.sessions.by_number[idle[i].number] = NULL;
}

/* A page that the kernel cannot read may hold anything: nothing is freed, and nobody waits for ever. Once it can be read, what it says counts. */
static void test_unreadable_page(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	pool_fixture_open_page(1);
	pool_fixture_open_page(2);
	int page = fixture.sessions[1].hold_page;
	uint32_t block = pool_fixture_allocate(owner, 1, true), held = pool_fixture_allocate(owner, 1, true);
	fixture.pages[1]->slots[9] = pool_fixture_id(held);
	lifetime_drop_owner(owner, block);
	lifetime_drop_owner(owner, held);
	fixture.sessions[1].hold_page = open("/dev/null", O_WRONLY | O_CLOEXEC); /* EBADF */
	assert_true(fixture.sessions[1].hold_page >= 0);
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(pool_fixture_state(block), RECORD_ORPHAN);
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	assert_int_equal(page_holds_count(&fixture.sessions[1], block), 1);
	dying_released(&fixture.sessions[2], block);
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(block), RECORD_ORPHAN);
	close(fixture.sessions[1].hold_page);
	fixture.sessions[1].hold_page = page;
	assert_true(dying_hurry(&fixture.pool));
	assert_int_equal(pool_fixture_state(block), RECORD_FREE);
	assert_int_equal(pool_fixture_state(held), RECORD_ORPHAN);
	fixture.pages[1]->slots[9] = 0;
	dying_released(&fixture.sessions[1], held);
	pool_fixture_rest();
	assert_empty();
}

/* A page whose file is gone for good: what may stand in it stays, until its session gets another one, or ends. */
static void test_lost_page(void **state)
{
	struct session *owner = &fixture.sessions[0], *losers[] = {&fixture.sessions[1], &fixture.sessions[2]};

	(void)state;
	page_holds_add_page(losers[0], HOLD_PAGE_LOST);
	page_holds_add_page(losers[1], HOLD_PAGE_LOST);
	assert_int_equal(fixture.pool.page_holds.pages, 2);
	uint32_t block = pool_fixture_allocate(owner, 1, true);
	lifetime_drop_owner(owner, block);
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(block), RECORD_ORPHAN);
	pool_fixture_open_page(1);
	assert_int_equal(fixture.pool.page_holds.pages, 2);
	dying_doubt(&fixture.pool);
	pool_fixture_rest();
	assert_int_equal(pool_fixture_state(block), RECORD_ORPHAN);
	pool_fixture_drop_page(losers[1]);
	assert_int_equal(fixture.pool.page_holds.pages, 1);
	pool_fixture_rest();
	assert_empty();
}

/* Released was lost. Before an allocation is refused the pages tell, and those that are held stay what they are. */
static void test_hurry_finds_orphans(void **state)
{
	struct session *owner = &fixture.sessions[0];
	uint32_t held[2], gone[2];

	(void)state;
	pool_fixture_open_page(1);
	pool_fixture_open_page(2);
	for (unsigned i = 0; i < 2; i++) {
		held[i] = pool_fixture_allocate(owner, 1, true);
		gone[i] = pool_fixture_allocate(owner, 1, true);
		fixture.pages[1]->slots[i] = pool_fixture_id(held[i]);
		fixture.pages[2]->slots[i] = pool_fixture_id(held[i]); /* found twice */
		fixture.pages[2]->slots[10 + i] = pool_fixture_id(gone[i]);
		lifetime_drop_owner(owner, held[i]);
		lifetime_drop_owner(owner, gone[i]);
		pool_fixture_rest();
		if (i == 0) { /* in the one list, and in the other */
			fixture.pool.dying.orphans = fixture.pool.dying.confirmed;
			fixture.pool.dying.confirmed = 0;
		}
	}
	uint64_t looked = fixture.pool.dying.started_ns;
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(fixture.pool.dying.started_ns, looked); /* all are held: none was doubted */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pool_fixture_state(held[i]), RECORD_ORPHAN);
		assert_int_equal(pool_fixture_state(gone[i]), RECORD_ORPHAN);
		fixture.pages[2]->slots[10 + i] = 0;
	}
	assert_true(dying_hurry(&fixture.pool));
	assert_false(dying_hurry(&fixture.pool));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pool_fixture_state(held[i]), RECORD_ORPHAN);
		assert_int_equal(pool_fixture_state(gone[i]), RECORD_FREE);
		fixture.pages[1]->slots[i] = fixture.pages[2]->slots[i] = 0;
	}
	assert_true(dying_hurry(&fixture.pool));
	assert_empty();
}

/* Without an allowance nobody has all pages read at once; and what would be refused is owed. */
static void test_allowance(void **state)
{
	struct session *owner = &fixture.sessions[0], *holder = &fixture.sessions[1];
	struct dying *dying = &fixture.pool.dying;
	struct page_holds *holds = &fixture.pool.page_holds;

	(void)state;
	pool_fixture_open_page(1);
	pool_fixture_open_page(2);
	uint32_t block = pool_fixture_allocate(owner, 1, true), mine = pool_fixture_allocate(owner, 1, true),
			 never = pool_fixture_allocate(owner, 1, false);
	struct handle handle = pool_fixture_handle(block);
	fixture.pages[1]->slots[0] = pool_fixture_id(mine);
	assert_int_equal(page_holds_any(&fixture.pool, mine, 0), 1);
	assert_int_equal(page_holds_any(&fixture.pool, block, 0), 0);
	assert_true(holds->for_questions.left < ALLOWANCE_MAX_NS);
	assert_int_equal(holds->for_memory.left, ALLOWANCE_MAX_NS);
	lifetime_drop_owner(owner, block);
	allowance_spend(&holds->for_questions, UINT64_C(1000000000));
	allowance_spend(&holds->for_memory, UINT64_C(1000000000));
	assert_int_equal(page_holds_any(&fixture.pool, mine, 0), -EAGAIN);
	assert_int_equal(page_holds_any(&fixture.pool, never, 0), 0); /* it is in no page */
	assert_false(dying_hurry(&fixture.pool));
	assert_true(fixture.pool.wait_queue.owed);
	int64_t left = holds->for_questions.left;
	/* Who asks for what is dying gets it, unseen. His own page costs nothing. */
	assert_int_equal(handle_find_to_acquire(owner, &handle), 0);
	assert_int_equal(pool_fixture_state(block), RECORD_ORPHAN);
	lifetime_drop_owner(owner, mine);
	handle = pool_fixture_handle(mine);
	assert_int_equal(handle_find_to_acquire(holder, &handle), 0);
	assert_int_equal(pool_fixture_state(mine), RECORD_ORPHAN);
	assert_true(holds->for_questions.left >= left);

	/* Who comes when there is an allowance again gets nothing before those who are owed. */
	allowance_init(&holds->for_memory, uv_hrtime());
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(holds->for_memory.left, ALLOWANCE_MAX_NS);

	/* Once there is one again, all that is owed is paid. */
	uv_timer_start(&dying->owed, dying->owed.timer_cb, 0, 0);
	for (unsigned turn = 0; fixture.pool.wait_queue.owed; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(pool_fixture_state(block), RECORD_FREE);
	assert_int_equal(pool_fixture_state(mine), RECORD_ORPHAN);
	assert_int_equal(fixture.pool.wait_queue.paid, 1);
	fixture.pages[1]->slots[0] = 0;
	assert_true(dying_hurry(&fixture.pool));
	lifetime_drop_owner(owner, never);
	assert_empty();
}

/* What is told of again and again, by who does not hold it, has no look at once, however large it is. */
static void test_told_again(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	pool_fixture_open_page(1);
	pool_fixture_open_page(2);
	uint32_t block = pool_fixture_allocate(owner, 1, true);
	fixture.pages[1]->slots[0] = pool_fixture_id(block);
	lifetime_drop_owner(owner, block);
	assert_int_equal(fixture.pool.dying.dead_count, 1);
	pool_fixture_rest();
	for (unsigned i = 0; i < 5000; i++) {
		dying_released(&fixture.sessions[2], block);
		assert_int_equal(pool_fixture_state(block), RECORD_DYING);
		assert_int_equal(fixture.pool.dying.dead_count, 0);
		assert_int_equal(fixture.pool.dying.dead_bytes, 0);
		if (i % 1000 == 0)
			pool_fixture_rest();
		else
			dying_settle(&fixture.sessions[1], block);
	}
	assert_int_equal(fixture.pool.page_holds.for_questions.left, ALLOWANCE_MAX_NS); /* it was its own page that told */
	pool_fixture_rest();
	fixture.pages[1]->slots[0] = 0;
	dying_released(&fixture.sessions[1], block);
	pool_fixture_rest();
	assert_empty();
}

/* ---- At random ---- */

#define BLOCKS 40

struct model {
	uint32_t index;
	uint64_t id; /* 0: nothing is here */
	bool owned;
	unsigned slots;               /* of pages that hold it */
	uint32_t reference[SESSIONS]; /* plus one */
};

static bool is_held(const struct model *block)
{
	bool held = block->owned || block->slots;

	for (unsigned i = 0; i < SESSIONS; i++)
		held = held || block->reference[i];
	return held;
}

/* As the client does it: it takes a slot, and keeps it where the word allows that. */
static void hold(struct model *block)
{
	struct hold_page *page = fixture.pages[draw(SESSIONS)];
	_Atomic uint64_t *slot = &page->slots[draw(HOLD_SLOTS)];
	uint64_t word = blocks_word(&fixture.pool.blocks, block->index);

	if (*slot || record_id(word) != block->id || !record_is_holdable(word))
		return;
	*slot = block->id;
	block->slots++;
}

static void let_go(struct model *block)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		for (unsigned k = 0; k < HOLD_SLOTS; k++) {
			if (fixture.pages[i]->slots[k] != block->id)
				continue;
			fixture.pages[i]->slots[k] = 0;
			block->slots--;
			if (draw(3) && record_awaits_release(blocks_word(&fixture.pool.blocks, block->index)))
				dying_released(&fixture.sessions[i], block->index);
			return;
		}
	}
}

static void refer(struct model *block)
{
	struct session *session = &fixture.sessions[draw(SESSIONS)];
	struct handle handle = {block->id, block->index, fixture.pool.incarnation};
	uint32_t *mine = &block->reference[session->number - 1];

	/* An orphan that was let go without a word can still be acquired. */
	int error = handle_find_to_acquire(session, &handle);
	assert_true(error == 0 || (error == ERROR_STALE_HANDLE && !is_held(block)));
	if (error || *mine)
		return;
	blocks_share(&fixture.pool.blocks, block->index);
	*mine = pool_fixture_refer(session, block->index) + 1;
}

static void step(struct model *block)
{
	unsigned who = (unsigned)draw(SESSIONS);

	if (!block->id) {
		block->index = pool_fixture_allocate(&fixture.sessions[0], 1 + draw(8), draw(2));
		block->id = pool_fixture_id(block->index);
		block->owned = true;
		return;
	}
	switch (draw(6)) {
	case 0:
	case 1: hold(block); break;
	case 2: let_go(block); break;
	case 3: refer(block); break;
	case 4:
		if (block->owned)
			lifetime_drop_owner(&fixture.sessions[0], block->index);
		block->owned = false;
		break;
	default:
		if (block->reference[who])
			lifetime_set_reference(&fixture.sessions[who], block->reference[who] - 1, 0);
		block->reference[who] = 0;
	}
}

static void test_at_random(void **state)
{
	static struct model blocks[BLOCKS];

	(void)state;
	for (uint32_t i = 0; i < SESSIONS; i++)
		pool_fixture_open_page(i);
	for (unsigned n = 0; n < 200000; n++) {
		struct model *block = &blocks[draw(BLOCKS)];
		step(block);
		if (draw(4) == 0)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		bool there = blocks_is_there(&fixture.pool.blocks, block->index, block->id);
		assert_true(there || !is_held(block));
		if (!is_held(block) && draw(2)) {
			dying_doubt(&fixture.pool);
			pool_fixture_rest();
			dying_doubt(&fixture.pool); /* those that were found before, this time */
			pool_fixture_rest();
			assert_false(blocks_is_there(&fixture.pool.blocks, block->index, block->id));
			*block = (struct model){0};
		}
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct model *block = &blocks[i];
		while (block->slots)
			let_go(block);
		if (block->owned)
			lifetime_drop_owner(&fixture.sessions[0], block->index);
		for (unsigned who = 0; who < SESSIONS; who++)
			if (block->reference[who])
				lifetime_set_reference(&fixture.sessions[who], block->reference[who] - 1, 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		dying_doubt(&fixture.pool);
		pool_fixture_rest();
	}
	assert_empty();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_at_once),
		TEST(test_by_hand),
		TEST(test_settle),
		TEST(test_pages_go),
		TEST(test_hurry_during_a_look),
		TEST(test_hurry_with_many),
		TEST(test_unreadable_page),
		TEST(test_lost_page),
		TEST(test_hurry_finds_orphans),
		TEST(test_allowance),
		TEST(test_told_again),
		TEST(test_hurry),
		TEST(test_at_random),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
