/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts of users: found by uid, there as long as they are needed, and what stands in the way of who wants how much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "server/accounts.h"
#include "server/region.h"
#include "tests/unit/draw.h"

#define USERS 300

static uv_loop_t loop;
static struct timeouts timeouts;
static struct quotas quotas;
static struct accounts accounts;

static void start(const struct quotas *some)
{
	assert_int_equal(uv_loop_init(&loop), 0);
	timeouts_init(&timeouts, &loop);
	assert_int_equal(accounts_init(&accounts, &loop, &timeouts, some), 0);
}

static int setup(void **state)
{
	(void)state;
	quotas_init(&quotas);
	start(NULL);
	return 0;
}

static void stop(void)
{
	accounts_close(&accounts);
	accounts_close(&accounts);
	timeouts_deinit(&timeouts);
	uv_run(&loop, UV_RUN_DEFAULT);
	accounts_deinit(&accounts);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static int teardown(void **state)
{
	(void)state;
	stop();
	quotas_deinit(&quotas);
	return 0;
}

static void restart(void)
{
	char why[QUOTA_TEXT_MAX];

	stop();
	assert_int_equal(quotas_resolve(&quotas, why), 0);
	start(&quotas);
}

static void limit(const char *text)
{
	char why[QUOTA_TEXT_MAX];

	assert_int_equal(quotas_limit(&quotas, text, why), 0);
}

static void guarantee(const char *text)
{
	char why[QUOTA_TEXT_MAX];

	assert_int_equal(quotas_guarantee(&quotas, text, why), 0);
}

/* An account is there while anything is charged to it. */
static void test_life(void **state)
{
	(void)state;
	assert_null(accounts_find(&accounts, 7));
	struct user *user = accounts_user(&accounts, 7);
	assert_ptr_equal(accounts_user(&accounts, 7), user);
	assert_ptr_equal(accounts_find(&accounts, 7), user);
	assert_int_equal(user->uid, 7);
	accounts_retire(&accounts, user);
	assert_null(accounts_find(&accounts, 7));
	for (unsigned kind = QUOTA_NAMES; kind < QUOTA_KIND_COUNT; kind++) {
		user = accounts_user(&accounts, 7);
		accounts_charge(user, (enum quota_kind)kind);
		accounts_charge_memory(&accounts, user, 64, 1);
		accounts_uncharge_memory(&accounts, user, 64, 1);
		assert_ptr_equal(accounts_find(&accounts, 7), user);
		accounts_uncharge(&accounts, user, (enum quota_kind)kind);
		assert_null(accounts_find(&accounts, 7));
	}
	user = accounts_user(&accounts, 7);
	struct user *other = accounts_user(&accounts, 8);
	accounts_charge_memory(&accounts, user, 100, 1);
	accounts_move_memory(&accounts, user, user, 100, 1);
	accounts_move_memory(&accounts, user, other, 100, 1);
	assert_null(accounts_find(&accounts, 7));
	assert_int_equal(other->account.used[QUOTA_BYTES], 100);
	assert_int_equal(other->account.used[QUOTA_BLOCKS], 1);
	accounts_uncharge_memory(&accounts, other, 100, 1);
	assert_int_equal(accounts.count, 0);
}

static void test_pinned(void **state)
{
	(void)state;
	limit("user:7:names=1");
	limit("session:7:blocks=2");
	restart();
	struct user *user = accounts_find(&accounts, 7);
	assert_non_null(user);
	assert_int_equal(user->account.quota->limit[QUOTA_NAMES], 1);
	assert_int_equal(user->session_quota->limit[QUOTA_BLOCKS], 2);
	accounts_charge(user, QUOTA_NAMES);
	accounts_uncharge(&accounts, user, QUOTA_NAMES);
	assert_ptr_equal(accounts_find(&accounts, 7), user);
	const struct user *listed;
	assert_int_equal(accounts_list(&accounts, 0, &listed, 1), 1);
	assert_ptr_equal(listed, user);
	assert_int_equal(accounts_list(&accounts, 8, &listed, 1), 0);
}

/* Against the plainest table there is, with uids that fall into few buckets too. */
static void test_against_model(void **state)
{
	static uint32_t uids[USERS];
	static unsigned charged[USERS];

	(void)state;
	memset(charged, 0, sizeof charged);
	for (uint32_t i = 0; i < USERS; i++)
		uids[i] = i < USERS / 2 ? i : i * UINT32_C(340573321); /* the inverse: neighbours in one bucket */
	for (unsigned step = 0; step < 100000; step++) {
		unsigned i = (unsigned)draw(USERS);
		struct user *user = accounts_find(&accounts, uids[i]);
		assert_int_equal(user != NULL, charged[i] != 0);
		if (draw(2) && charged[i]) {
			accounts_uncharge(&accounts, user, QUOTA_LINKS);
			charged[i]--;
		} else {
			accounts_charge(accounts_user(&accounts, uids[i]), QUOTA_LINKS);
			charged[i]++;
		}
	}
	unsigned there = 0, seen = 0;
	for (unsigned i = 0; i < USERS; i++)
		there += charged[i] != 0;
	assert_int_equal(accounts.count, there);
	const struct user *page[7];
	uint64_t from = 0;
	for (size_t count = 7; count == 7 && from <= UINT32_MAX; seen += (unsigned)count) {
		count = accounts_list(&accounts, (uint32_t)from, page, 7);
		for (size_t i = 0; i < count; from = (uint64_t)page[i++]->uid + 1)
			assert_true(page[i]->uid >= from);
	}
	assert_int_equal(seen, there);
	for (unsigned i = 0; i < USERS; i++) {
		for (; charged[i]; charged[i]--)
			accounts_uncharge(&accounts, accounts_find(&accounts, uids[i]), QUOTA_LINKS);
	}
	assert_int_equal(accounts.count, 0);
	assert_int_equal(accounts_list(&accounts, 0, page, 7), 0);
}

static void test_full(void **state)
{
	(void)state;
	for (uint32_t uid = 0; uid < ACCOUNTS_MAX; uid++)
		assert_non_null(accounts_user(&accounts, uid));
	assert_null(accounts_user(&accounts, ACCOUNTS_MAX));
	accounts_retire(&accounts, accounts_find(&accounts, 5));
	assert_non_null(accounts_user(&accounts, ACCOUNTS_MAX));
	assert_null(accounts_user(&accounts, 5));
}

/* ---- Limits ----------------------------------------------------------------------------------------------------- */

static struct account session;

static struct account_obstacle ask(uint32_t uid, uint64_t bytes, uint64_t blocks, uint64_t free, bool newcomer)
{
	struct user *user = accounts_user(&accounts, uid);
	struct account_wish wish = {&session, user, bytes, blocks, free, 10000};

	session.quota = user->session_quota;
	assert_true(accounts_limit_memory(&accounts, &session, user) ||
	            accounts_obstacle(&accounts, &wish, newcomer).limit == ACCOUNT_FITS);
	struct account_obstacle obstacle = accounts_obstacle(&accounts, &wish, newcomer);
	assert_int_equal(obstacle.line != NULL, obstacle.limit != ACCOUNT_FITS);
	return obstacle;
}

static void test_limits(void **state)
{
	struct account_obstacle obstacle;

	(void)state;
	memset(&session, 0, sizeof session);
	limit("user:*:bytes=1000,blocks=10");
	limit("session:*:bytes=600,blocks=5");
	restart();
	struct user *user = accounts_user(&accounts, 7);
	assert_int_equal(ask(7, 600, 5, 0, true).limit, ACCOUNT_FITS);
	obstacle = ask(7, 601, 1, 0, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_SESSION);
	assert_int_equal(obstacle.kind, QUOTA_BYTES);
	assert_true(obstacle.never);
	obstacle = ask(7, 6, 6, 0, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_SESSION);
	assert_int_equal(obstacle.kind, QUOTA_BLOCKS);
	assert_true(obstacle.never);
	account_charge(&session, QUOTA_BYTES, 100);
	obstacle = ask(7, 501, 1, 0, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_SESSION);
	assert_false(obstacle.never);
	assert_ptr_equal(obstacle.line, &session.line);
	accounts_charge_memory(&accounts, user, 901, 9);
	obstacle = ask(7, 100, 1, 0, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_USER);
	assert_int_equal(obstacle.kind, QUOTA_BYTES);
	assert_ptr_equal(obstacle.line, &user->account.line);
	assert_false(obstacle.never);
	assert_int_equal(ask(7, 99, 1, 0, true).limit, ACCOUNT_FITS);
	obstacle = ask(7, 99, 2, 0, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_USER);
	assert_int_equal(obstacle.kind, QUOTA_BLOCKS);
	/* What came by itself may be beyond the limit. */
	accounts_charge_memory(&accounts, user, 1000, 1);
	assert_int_equal(ask(7, 1, 1, 0, true).limit, ACCOUNT_OF_USER);
	assert_int_equal(ask(8, 64, 1, 0, true).limit, ACCOUNT_FITS);
	accounts_uncharge_memory(&accounts, user, 1901, 10);
}

static enum account_turn never(struct account_waiter *waiter)
{
	(void)waiter;
	return ACCOUNT_TURN_STAYS;
}

static void test_set_aside(void **state)
{
	struct account_waiter waiter = {.turn = never};

	(void)state;
	memset(&session, 0, sizeof session);
	limit("user:7:bytes=1000");
	guarantee("user:9=100");
	restart();
	struct user *user = accounts_user(&accounts, 7);
	struct account_line *lines[] = {&session.line, &user->account.line, &accounts.promised};
	const enum account_limit limits[] = {ACCOUNT_OF_SESSION, ACCOUNT_OF_USER, ACCOUNT_OF_OTHERS};
	struct account_wish wish = {&session, user, 1, 1, 10000, 10000};
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(account_line_join(&accounts.lines, lines[i], &waiter, 100000), 0);
		for (unsigned k = 0; k < ACCOUNT_OVERTAKEN_MAX; k++) {
			assert_int_equal(ask(7, 1, 1, 10000, true).limit, ACCOUNT_FITS);
			accounts_overtake(&accounts, &wish);
		}
		struct account_obstacle obstacle = ask(7, 1, 1, 10000, true);
		assert_int_equal(obstacle.limit, limits[i]);
		assert_true(obstacle.set_aside);
		assert_false(obstacle.never);
		assert_ptr_equal(obstacle.line, lines[i]);
		assert_int_equal(ask(7, 1, 1, 10000, false).limit, ACCOUNT_FITS);
		assert_true(account_line_leave(&waiter));
		assert_int_equal(ask(7, 1, 1, 10000, true).limit, ACCOUNT_FITS);
	}
}

static void test_guarantees(void **state)
{
	struct account_obstacle obstacle;

	(void)state;
	memset(&session, 0, sizeof session);
	guarantee("user:9=4000");
	guarantee("user:10=1000");
	restart();
	struct user *user = accounts_find(&accounts, 9);
	assert_int_equal(accounts.unmet, 5000);
	assert_int_equal(accounts_promised_to_others(&accounts, user), 1000);
	assert_int_equal(ask(7, 5000, 1, 10000, true).limit, ACCOUNT_FITS);
	obstacle = ask(7, 5001, 1, 10000, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_OTHERS);
	assert_ptr_equal(obstacle.line, &accounts.promised);
	assert_true(obstacle.never);
	obstacle = ask(7, 5000, 1, 9999, true);
	assert_int_equal(obstacle.limit, ACCOUNT_OF_OTHERS);
	assert_false(obstacle.never);
	assert_int_equal(ask(7, 1, 1, 4000, true).limit, ACCOUNT_OF_OTHERS);
	/* Within its own nobody is refused, and beyond it as anybody else. */
	assert_int_equal(ask(9, 4000, 1, 4000, true).limit, ACCOUNT_FITS);
	assert_int_equal(ask(9, 4001, 1, 5000, true).limit, ACCOUNT_OF_OTHERS);
	assert_int_equal(ask(9, 4001, 1, 5001, true).limit, ACCOUNT_FITS);
	assert_int_equal(ask(9, 9000, 1, 10000, true).limit, ACCOUNT_FITS);
	assert_true(ask(9, 9001, 1, 9999, true).never);
	/* What it has is not kept for it any more. */
	accounts_charge_memory(&accounts, user, 3000, 1);
	assert_int_equal(accounts.unmet, 2000);
	assert_int_equal(ask(7, 5000, 1, 7000, true).limit, ACCOUNT_FITS);
	accounts_charge_memory(&accounts, user, 3000, 1);
	assert_int_equal(accounts.unmet, 1000);
	accounts_uncharge_memory(&accounts, user, 3000, 1);
	assert_int_equal(accounts.unmet, 2000);
	accounts_charge_memory(&accounts, accounts_find(&accounts, 10), 1000, 1);
	accounts_charge_memory(&accounts, user, 1000, 1);
	assert_int_equal(accounts.unmet, 0);
	assert_int_equal(ask(7, 5000, 1, 5000, true).limit, ACCOUNT_FITS);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),   TEST(test_pinned),    TEST(test_against_model), TEST(test_full),
		TEST(test_limits), TEST(test_set_aside), TEST(test_guarantees),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
