/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays for a block, by hand, over a real pool under a name of this process: each part of the rule, and that nothing of it is left over.
 * test_lifetime.c has it at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/lifetime.h"
#include "server/log.h"
#include "server/payer.h"
#include "server/reclaim.h"
#include "tests/unit/draw.h"

#define UNIT 64
#define USERS 40

static struct {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct session session;
	struct user *users[USERS];
} fixture;

/* Users 0 to USERS - 1, who are there all the time; 7 owns. */
static int setup(void **state)
{
	char name[32];
	struct pool_options options = {.name = name, .size = 1 << 20, .unit = UNIT, .ephemeral = true};

	(void)state;
	snprintf(name, sizeof name, "unit-payer-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	if (uv_loop_init(&fixture.loop) < 0 || pool_open(&fixture.loop, &options, &fixture.pool) < 0 ||
	    reclaim_init(&fixture.reclaim, &fixture.pool) < 0)
		return -1;
	for (uint32_t uid = 0; uid < USERS; uid++) {
		fixture.users[uid] = accounts_user(&fixture.pool.accounts, uid);
		accounts_charge(fixture.users[uid], QUOTA_SESSIONS);
	}
	fixture.session = (struct session){.pool = &fixture.pool, .number = 1, .user = fixture.users[7]};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t uid = 0; uid < USERS; uid++) {
		assert_int_equal(fixture.users[uid]->account.used[QUOTA_BYTES], 0);
		assert_int_equal(fixture.users[uid]->account.used[QUOTA_BLOCKS], 0);
	}
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	return uv_loop_close(&fixture.loop);
}

static uint32_t allocate(void)
{
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted;
	uint32_t index;

	assert_int_equal(buddy_allocate(&pool->buddy, 2, 1, &offset, &granted), 0);
	assert_int_equal(table_take(&pool->blocks.table, &index), 0);
	blocks_write(&pool->blocks, index,
	             &(struct block_content){.id = pool_take_ids(pool, 1),
	                                     .offset = offset * UNIT,
	                                     .size = UNIT,
	                                     .granted = granted * UNIT,
	                                     .owner = 1,
	                                     .uid = 7,
	                                     .tag = ""});
	lifetime_add_owner(&fixture.session, index);
	return index;
}

static void hold(uint32_t block, uint32_t uid)
{
	payer_hold(&fixture.pool, block, fixture.users[uid]);
}

static void let_go(uint32_t block, uint32_t uid)
{
	payer_let_go(&fixture.pool, block, fixture.users[uid]);
}

/* Not as lifetime_drop_owner does it, which would free the block: no record holds it here. */
static void disown(uint32_t block)
{
	struct pool *pool = &fixture.pool;

	index_list_remove(pool->blocks.owned, &fixture.session.blocks, block);
	pool->unowned_blocks++;
	pool->unowned_bytes += blocks_body(&pool->blocks, block)->granted;
	blocks_drop_owner(&pool->blocks, block, RECORD_LIVE);
	payer_settle(pool, block);
}

static void expect(uint32_t block, uint32_t uid)
{
	assert_ptr_equal(payer_of(&fixture.pool, block), fixture.users[uid]);
	for (uint32_t k = 0; k < USERS; k++) {
		assert_int_equal(fixture.users[k]->account.used[QUOTA_BYTES], k == uid ? 128 : 0);
		assert_int_equal(fixture.users[k]->account.used[QUOTA_BLOCKS], k == uid);
	}
}

static void test_rule(void **state)
{
	uint32_t block = allocate();

	(void)state;
	expect(block, 7);
	hold(block, 3);
	hold(block, 0);
	hold(block, 5);
	expect(block, 7); /* the owner's */
	disown(block);
	expect(block, 3); /* the lowest, and not root */
	hold(block, 2);
	expect(block, 2);
	hold(block, 2);
	let_go(block, 2);
	expect(block, 2); /* held once still */
	let_go(block, 2);
	expect(block, 3);
	hold(block, 7);
	expect(block, 7); /* who allocated comes first */
	let_go(block, 5);
	expect(block, 7);
	let_go(block, 7);
	expect(block, 3);
	/* A time to live is of who allocated. */
	fixture.pool.blocks.leases[block] = 1;
	payer_settle(&fixture.pool, block);
	expect(block, 7);
	fixture.pool.blocks.leases[block] = 0;
	payer_settle(&fixture.pool, block);
	expect(block, 3);
	let_go(block, 3);
	expect(block, 0); /* nobody else */
	let_go(block, 0);
	expect(block, 0); /* until it is known who has it */
	payer_found(&fixture.pool, block, fixture.users[4]);
	expect(block, 4);
	payer_found(&fixture.pool, block, fixture.users[7]);
	expect(block, 7);
	payer_found(&fixture.pool, block, fixture.users[4]);
	hold(block, 6);
	expect(block, 6);
	let_go(block, 6);
	lifetime_free_unheld(&fixture.pool, block);
	assert_int_equal(fixture.pool.payers.moved[block], 0);
	assert_int_equal(fixture.pool.payers.first[block], 0);
}

/* The account of who allocated may have gone when a time to live brings the charge back. */
static void test_others(void **state)
{
	uint32_t block = allocate();

	(void)state;
	assert_false(payer_others_hold(&fixture.pool, block, 3));
	hold(block, 3);
	hold(block, 3);
	assert_false(payer_others_hold(&fixture.pool, block, 3));
	assert_true(payer_others_hold(&fixture.pool, block, 7));
	hold(block, 5);
	assert_true(payer_others_hold(&fixture.pool, block, 3));
	assert_true(payer_others_hold(&fixture.pool, block, 5));
	let_go(block, 3);
	let_go(block, 3);
	assert_false(payer_others_hold(&fixture.pool, block, 5));
	disown(block);
	let_go(block, 5);
	lifetime_free_unheld(&fixture.pool, block);
}

static void test_comes_back(void **state)
{
	struct accounts *accounts = &fixture.pool.accounts;
	uint32_t block = allocate();

	(void)state;
	hold(block, 3);
	disown(block);
	accounts_uncharge(accounts, fixture.users[7], QUOTA_SESSIONS);
	assert_null(accounts_find(accounts, 7));
	fixture.pool.blocks.leases[block] = 1;
	payer_settle(&fixture.pool, block);
	fixture.users[7] = accounts_find(accounts, 7);
	assert_non_null(fixture.users[7]);
	expect(block, 7);
	accounts_charge(fixture.users[7], QUOTA_SESSIONS);
	fixture.pool.blocks.leases[block] = 0;
	payer_settle(&fixture.pool, block);
	expect(block, 3);
	let_go(block, 3);
	lifetime_free_unheld(&fixture.pool, block);
}

/* All users, in all orders: the stakes are used again and again. */
static void test_stakes(void **state)
{
	const uint32_t most = fixture.pool.payers.capacity;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		unsigned counts[USERS] = {0};
		uint32_t block = allocate();
		hold(block, 0);
		counts[0] = 1;
		disown(block);
		for (unsigned step = 0; step < 300; step++) {
			uint32_t uid = (uint32_t)draw(USERS), payer = 0;
			if (draw(2) && counts[uid] && uid) {
				let_go(block, uid);
				counts[uid]--;
			} else {
				hold(block, uid);
				counts[uid]++;
			}
			for (uint32_t k = USERS; k-- > 1;)
				payer = counts[k] ? k : payer;
			expect(block, counts[7] ? 7 : payer);
		}
		for (uint32_t uid = 0; uid < USERS; uid++) {
			for (; counts[uid]; counts[uid]--)
				let_go(block, uid);
		}
		lifetime_free_unheld(&fixture.pool, block);
	}
	assert_true(fixture.pool.payers.used <= USERS);
	assert_int_equal(fixture.pool.payers.capacity, most);
}

static void test_sizes(void **state)
{
	struct payers payers;

	(void)state;
	assert_int_equal(payers_init(&payers, 16, 100), 0);
	assert_int_equal(payers.capacity, 100);
	payers_deinit(&payers);
	payers_deinit(&payers);
	/* More than there can be: reserved, and not touched. */
	assert_int_equal(payers_init(&payers, 16, UINT64_C(1) << 40), 0);
	assert_int_equal(payers.capacity, UINT32_MAX / 2);
	payers_deinit(&payers);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rule), TEST(test_others), TEST(test_comes_back), TEST(test_stakes), TEST(test_sizes),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
