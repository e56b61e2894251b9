/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted one by one, over a real pool under a name of this process: to whom it counts, and in which words the limit is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "server/charge.h"
#include "server/log.h"
#include "server/pool.h"
#include "server/reclaim.h"
#include "server/session.h"

static struct {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct quotas quotas;
} fixture;
static char text[CHARGE_TEXT_MAX];

static int setup(void **state)
{
	char name[32], why[QUOTA_TEXT_MAX];
	struct pool_options options = {.name = name, .size = 1 << 20, .unit = 64, .ephemeral = true, .quotas = &fixture.quotas};

	(void)state;
	snprintf(name, sizeof name, "unit-charge-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	quotas_init(&fixture.quotas);
	if (quotas_limit(&fixture.quotas, "user:*:names=3,links=2,waiters=1,sessions=2", why) < 0 ||
	    quotas_limit(&fixture.quotas, "session:*:names=2", why) < 0 || quotas_resolve(&fixture.quotas, why) < 0)
		return -1;
	if (uv_loop_init(&fixture.loop) < 0 || pool_open(&fixture.loop, &options, &fixture.pool) < 0)
		return -1;
	return reclaim_init(&fixture.reclaim, &fixture.pool);
}

static int teardown(void **state)
{
	struct session *session;

	(void)state;
	for (uint32_t n = 1; (session = sessions_from(&fixture.pool.sessions, n)); n++) {
		n = session->number;
		session_forget(session);
	}
	reclaim_stop(&fixture.reclaim);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	quotas_deinit(&fixture.quotas);
	return uv_loop_close(&fixture.loop);
}

static struct session *open_session(uint32_t uid)
{
	struct peer peer = {.uid = uid, .pid = 1000, .pidfd = -1};
	struct session *session;

	assert_int_equal(session_open(&fixture.pool, &(struct session_request){.peer = &peer, .program = "some"}, &session), 0);
	return session;
}

static void expect(int result, const char *words)
{
	assert_int_equal(result, ERROR_LIMIT);
	if (!strstr(text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, text);
}

static void test_session_and_user(void **state)
{
	struct session *one = open_session(7), *two = open_session(7), *other = open_session(8);
	struct pool *pool = &fixture.pool;

	(void)state;
	assert_int_equal(charge_check(one, QUOTA_NAMES, text), 0);
	charge_add(pool, QUOTA_NAMES, 7, session_key(one));
	charge_add(pool, QUOTA_NAMES, 7, session_key(one));
	assert_int_equal(one->account.used[QUOTA_NAMES], 2);
	expect(charge_check(one, QUOTA_NAMES, text),
	       "the quota of this session, 1, is 2 names, and 2 are used: give some back, or have the quota raised");
	expect(charge_check_session(one, QUOTA_NAMES, text), "this session");
	assert_int_equal(charge_check(two, QUOTA_NAMES, text), 0);
	charge_add(pool, QUOTA_NAMES, 7, session_key(two));
	expect(charge_check(two, QUOTA_NAMES, text),
	       "the quota of user 7 is 3 names, and 3 are used, 2 of them by session 1 (some, pid 1000), which has the most");
	assert_int_equal(charge_check(other, QUOTA_NAMES, text), 0);
	/* One that its session does not live to see go. */
	charge_drop(pool, QUOTA_NAMES, 7, session_key(two));
	charge_add(pool, QUOTA_NAMES, 7, SESSION_KEY(two->number, two->serial + 1));
	charge_add(pool, QUOTA_NAMES, 9, SESSION_KEY(100000000, 1));
	assert_int_equal(two->account.used[QUOTA_NAMES], 0);
	assert_int_equal(two->user->account.used[QUOTA_NAMES], 3);
	charge_drop(pool, QUOTA_NAMES, 7, SESSION_KEY(two->number, two->serial + 1));
	charge_drop(pool, QUOTA_NAMES, 9, SESSION_KEY(100000000, 1));
	assert_null(accounts_find(&pool->accounts, 9));
	charge_drop(pool, QUOTA_NAMES, 7, session_key(one));
	charge_drop(pool, QUOTA_NAMES, 7, session_key(one));
	assert_int_equal(one->account.used[QUOTA_NAMES], 0);
	/* A limit that nobody who lives has used up. */
	charge_add(pool, QUOTA_LINKS, 7, 0);
	charge_add(pool, QUOTA_LINKS, 7, 0);
	expect(charge_check(one, QUOTA_LINKS, text), "2 links, and 2 are used, all of them by sessions that have ended");
	charge_drop(pool, QUOTA_LINKS, 7, 0);
	charge_drop(pool, QUOTA_LINKS, 7, 0);
}

static void test_waiters(void **state)
{
	struct session *one = open_session(0), *two = open_session(0);

	(void)state;
	assert_int_equal(charge_check(one, QUOTA_WAITERS, text), 0);
	charge_add_waiter(one);
	expect(charge_check(two, QUOTA_WAITERS, text), "user 0 (root) is 1 request that waits, and 1 is used, by session 1 (");
	charge_drop_waiter(one);
	assert_int_equal(charge_check(two, QUOTA_WAITERS, text), 0);
}

/* Whether there may be a session more is asked before there is any, and leaves no account behind. */
static void test_sessions(void **state)
{
	(void)state;
	assert_int_equal(charge_check_user(&fixture.pool, 7, QUOTA_SESSIONS, text), 0);
	open_session(7);
	open_session(7);
	expect(charge_check_user(&fixture.pool, 7, QUOTA_SESSIONS, text),
	       "the quota of user 7 is 2 sessions, and 2 are used, by some, pid 1000, among others");
	assert_int_equal(charge_check_user(&fixture.pool, 8, QUOTA_SESSIONS, text), 0);
	assert_int_equal(fixture.pool.accounts.count, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_session_and_user), TEST(test_waiters), TEST(test_sessions)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
