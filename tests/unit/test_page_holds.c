/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds blocks by hold pages, over a real pool under a name of this process: counted, listed, asked for, and asked too often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>

#include "server/page_holds.h"
#include "tests/unit/pool_fixture.h"

#define SESSIONS 4
#define POOL_SIZE (UINT64_C(1) << 20)
#define SECOND_NS UINT64_C(1000000000)

static int setup(void **state)
{
	static const uint32_t uids[SESSIONS];

	(void)state;
	return pool_fixture_open("page-holds", POOL_SIZE, uids, SESSIONS);
}

static int teardown(void **state)
{
	(void)state;
	return pool_fixture_close();
}

/* What a list says: holds by session number. */
struct told {
	uint32_t counts[SESSIONS + 1];
	uint32_t sessions, most; /* how many have been told of, and are to be */
};

static bool note(void *context, uint32_t session, uint32_t count)
{
	struct told *told = context;

	told->counts[session] = count;
	return ++told->sessions < told->most;
}

/* Sessions 2 and 4 hold the block, the one twice; session 3 has a page without it. */
static uint32_t make_held(void)
{
	uint32_t block = pool_fixture_allocate(&fixture.sessions[0], 1, true);

	for (uint32_t i = 1; i < SESSIONS; i++)
		pool_fixture_open_page(i);
	fixture.pages[1]->slots[0] = fixture.pages[1]->slots[HOLD_SLOTS - 1] = pool_fixture_id(block);
	fixture.pages[3]->slots[7] = pool_fixture_id(block);
	fixture.pages[2]->slots[7] = pool_fixture_id(block) | HOLD_CLAIMED; /* about to be given back is held still */
	return block;
}

static void test_pages(void **state)
{
	struct session *session = &fixture.sessions[1];

	(void)state;
	assert_int_equal(fixture.pool.page_holds.pages, 0);
	page_holds_add_page(session, HOLD_PAGE_LOST);
	assert_int_equal(fixture.pool.page_holds.pages, 1);
	pool_fixture_open_page(1); /* in its place */
	assert_int_equal(fixture.pool.page_holds.pages, 1);
	pool_fixture_drop_page(session);
	assert_int_equal(fixture.pool.page_holds.pages, 0);
	assert_int_equal(session->hold_page, HOLD_PAGE_NONE);
}

static void test_count(void **state)
{
	(void)state;
	uint32_t block = make_held(), never = pool_fixture_allocate(&fixture.sessions[0], 1, false);
	fixture.pages[1]->slots[5] = pool_fixture_id(never);
	assert_int_equal(page_holds_count(&fixture.sessions[0], block), 0);
	assert_int_equal(page_holds_count(&fixture.sessions[1], block), 2);
	assert_int_equal(page_holds_count(&fixture.sessions[2], block), 1);
	assert_int_equal(page_holds_count(&fixture.sessions[3], block), 1);
	assert_int_equal(page_holds_count(&fixture.sessions[1], never), 0); /* it is a lie */
	int page = fixture.sessions[1].hold_page;
	fixture.sessions[1].hold_page = HOLD_PAGE_LOST;
	assert_int_equal(page_holds_count(&fixture.sessions[1], block), 1);
	assert_int_equal(page_holds_count(&fixture.sessions[1], never), 0);
	fixture.sessions[1].hold_page = page;
}

static void test_list(void **state)
{
	struct told all = {.most = SESSIONS}, first = {.most = 1};

	(void)state;
	uint32_t block = make_held();
	fixture.pages[2]->slots[7] = 0;
	assert_int_equal(page_holds_list(&fixture.pool, block, note, &all), 0);
	assert_int_equal(all.sessions, 2);
	assert_true(all.counts[2] == 2 && all.counts[4] == 1);
	assert_int_equal(page_holds_list(&fixture.pool, block, note, &first), 0);
	assert_int_equal(first.sessions, 1);
	assert_int_equal(page_holds_any(&fixture.pool, block, 0), 1);
	assert_int_equal(page_holds_any(&fixture.pool, block, 2), 1);
	fixture.pages[3]->slots[7] = 0;
	assert_int_equal(page_holds_any(&fixture.pool, block, 2), 0);
	assert_int_equal(page_holds_any(&fixture.pool, block, 4), 1);
}

static void test_allowance(void **state)
{
	struct page_holds *holds = &fixture.pool.page_holds;
	struct told told = {.most = SESSIONS};

	(void)state;
	uint32_t without = pool_fixture_allocate(&fixture.sessions[0], 1, true);
	allowance_spend(&holds->for_questions, SECOND_NS);
	allowance_spend(&holds->for_memory, SECOND_NS);
	assert_int_equal(page_holds_list(&fixture.pool, without, note, &told), 0); /* there is no page to be read */
	assert_int_equal(page_holds_read_wait_ms(&fixture.pool), 0);
	uint32_t block = make_held();
	assert_int_equal(page_holds_list(&fixture.pool, block, note, &told), -EAGAIN);
	assert_int_equal(page_holds_any(&fixture.pool, block, 0), -EAGAIN);
	assert_int_equal(told.sessions, 0);
	assert_in_range(page_holds_read_wait_ms(&fixture.pool), 1, 10000);
	assert_int_equal(page_holds_count(&fixture.sessions[1], block), 2); /* one page costs nothing */

	page_holds_init(holds);
	holds->pages = SESSIONS - 1;
	assert_int_equal(page_holds_any(&fixture.pool, block, 0), 1);
	assert_true(holds->for_questions.left < ALLOWANCE_MAX_NS);
	assert_int_equal(holds->for_memory.left, ALLOWANCE_MAX_NS);
	assert_int_equal(page_holds_read_wait_ms(&fixture.pool), 0);
	page_holds_have_read(&fixture.pool, 1000000);
	assert_true(holds->for_memory.left < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allowance, setup, teardown),
	};

	return cmocka_run_group_tests_name("page_holds", tests, NULL, NULL);
}
