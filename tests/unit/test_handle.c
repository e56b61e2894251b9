/* SPDX-License-Identifier: Apache-2.0 */
/* What clients call blocks by, over a real pool under a name of this process: which block is found, and which hold on it is given back next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "errors.h"
#include "server/handle.h"
#include "tests/unit/pool_fixture.h"

#define SESSIONS 3
#define POOL_SIZE (UINT64_C(1) << 20)

static int setup(void **state)
{
	static const uint32_t uids[SESSIONS] = {1000, 1001, 1000};

	(void)state;
	return pool_fixture_open("handle", POOL_SIZE, uids, SESSIONS);
}

static int teardown(void **state)
{
	(void)state;
	return pool_fixture_close();
}

static void assert_empty(void)
{
	assert_int_equal(fixture.pool.block_count, 0);
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), POOL_SIZE / POOL_FIXTURE_UNIT);
	for (size_t i = 0; i < SESSIONS; i++) {
		assert_int_equal(fixture.sessions[i].account.used[QUOTA_BLOCKS], 0);
		assert_int_equal(fixture.sessions[i].reference_count, 0);
	}
}

static void test_find(void **state)
{
	uint32_t block = 0;
	struct hold hold;

	(void)state;
	assert_true(pool_fixture_try_allocate(&fixture.sessions[0], 1, false, &block));
	struct handle handle = pool_fixture_handle(block);
	assert_int_equal(handle_find(&fixture.pool, &handle), 0);
	handle.incarnation++;
	assert_int_equal(handle_find(&fixture.pool, &handle), ERROR_OTHER_POOL);
	assert_int_equal(handle_find_hold(&fixture.sessions[0], &handle, &hold), ERROR_OTHER_POOL);
	handle = pool_fixture_handle(block);
	handle.id++;
	assert_int_equal(handle_find(&fixture.pool, &handle), ERROR_STALE_HANDLE);
	assert_int_equal(handle_find_hold(&fixture.sessions[0], &handle, &hold), ERROR_STALE_HANDLE);
	handle = pool_fixture_handle(block);
	handle.index = UINT32_MAX;
	assert_int_equal(handle_find(&fixture.pool, &handle), ERROR_STALE_HANDLE);
	lifetime_drop_owner(&fixture.sessions[0], block);
	assert_empty();
}

/* A reference goes before the ownership, and what a batch has marked does not count. */
static void test_which_hold_goes(void **state)
{
	struct references *references = &fixture.pool.references;
	struct session *owner = &fixture.sessions[0], *user = &fixture.sessions[1], *stranger = &fixture.sessions[2];
	uint32_t block = 0;
	struct hold hold;

	(void)state;
	assert_true(pool_fixture_try_allocate(owner, 1, false, &block));
	struct handle handle = pool_fixture_handle(block);
	assert_int_equal(handle_find_hold(user, &handle, &hold), ERROR_NOT_HELD);
	assert_int_equal(handle_find_hold(owner, &handle, &hold), 0);
	assert_int_equal(hold.block, block);
	assert_int_equal(hold.reference, 0);
	uint32_t theirs = pool_fixture_refer(user, block), own = pool_fixture_refer(owner, block);
	lifetime_set_reference(owner, own, 2);
	assert_int_equal(lifetime_find_reference(user, block), theirs + 1);
	assert_int_equal(lifetime_find_reference(owner, block), own + 1);
	assert_int_equal(lifetime_find_reference(stranger, block), 0);
	assert_int_equal(handle_find_hold(stranger, &handle, &hold), ERROR_NOT_HELD);
	assert_int_equal(handle_find_hold(user, &handle, &hold), 0);
	assert_int_equal(hold.reference, theirs + 1);

	for (uint32_t next = 2; next-- > 0;) {
		assert_int_equal(handle_find_hold(owner, &handle, &hold), 0);
		assert_int_equal(hold.reference, own + 1);
		references_set(references, own, 2, next, RECORD_FREEING); /* as a batch does */
	}
	assert_int_equal(handle_find_hold(owner, &handle, &hold), 0);
	assert_int_equal(hold.reference, 0);
	blocks_set_state(&fixture.pool.blocks, block, RECORD_FREEING);
	assert_int_equal(handle_find_hold(owner, &handle, &hold), ERROR_NOT_HELD);
	blocks_set_state(&fixture.pool.blocks, block, RECORD_LIVE);
	references_set(references, own, 2, 2, RECORD_LIVE);

	for (int left = 3; left-- > 0;) {
		assert_int_equal(handle_find_hold(owner, &handle, &hold), 0);
		lifetime_drop_hold(owner, &hold);
		assert_int_equal(owner->reference_count, left > 1);
		assert_int_equal(owner->account.used[QUOTA_BLOCKS], left > 0);
	}
	assert_int_equal(handle_find_hold(owner, &handle, &hold), ERROR_NOT_HELD);
	assert_int_equal(handle_find_hold(user, &handle, &hold), 0);
	lifetime_drop_hold(user, &hold);
	assert_int_equal(handle_find(&fixture.pool, &handle), ERROR_STALE_HANDLE);
	assert_empty();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_find, setup, teardown),
		cmocka_unit_test_setup_teardown(test_which_hold_goes, setup, teardown),
	};

	return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
