/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time to live: a block is there until its time has passed, whatever becomes of the program that made it; then its names go, and it goes with
 * the last who holds it. Who may change the time. That nothing is left in the end, however often the daemon is killed meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/recount.h"

#define POOL (UINT64_C(1) << 20)
#define NOBODY 65534
#define LONG_MS 3600000
#define LEAK_ROUNDS 12
#define LEAK_BLOCKS 60

static struct daemon_fixture fixture;
static shmb_session *session, *other;

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	session = pool_session_open(&fixture);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", NULL);
}

static shmb_block allocate(shmb_session *by, uint64_t ttl_ms, const char *name)
{
	shmb_block block;

	assert_ok(shmb_alloc(by, 5000, &(shmb_alloc_options){.ttl_ms = ttl_ms, .name = name}, &block));
	return block;
}

static uint64_t time_left(uint64_t id)
{
	shmb_lifetime lifetime;

	assert_ok(shmb_get_lifetime(session, id, &lifetime));
	return lifetime.expires_ms;
}

static void await_leases(uint64_t leases)
{
	while (pool_session_status(session).leases != leases)
		poll(NULL, 0, 1);
}

static void expect_nothing_left(void)
{
	static struct recount recount;

	pool_session_assert_empty(session, POOL);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.tickets, 0);
	assert_int_equal(recount.leases, 0);
	assert_int_equal(recount.references, 0);
}

/* ---- What it does ----------------------------------------------------------------------------------------------- */

static void test_outlives_its_maker(void **state)
{
	shmb_block found;

	(void)state;
	other = pool_session_open(&fixture);
	shmb_block block = allocate(other, LONG_MS, NULL);
	pattern_write(block.data, block.size, 1);
	shmb_close(other);
	other = NULL;
	pool_session_await_clients(session, 1);
	restart();
	assert_true(time_left(block.handle.id) > LONG_MS / 2 && time_left(block.handle.id) <= LONG_MS);
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_true(pattern_matches(found.data, found.size, 1));
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_free(session, block.handle), NOT_HELD);
	assert_ok(shmb_renew(session, block.handle, 1));
	expect_nothing_left();
	assert_refused(shmb_renew(session, block.handle, LONG_MS), STALE_HANDLE);
}

/* The names go, and who has it keeps it: as its maker, by reference, or by a ticket. */
static void test_who_has_it_keeps_it(void **state)
{
	shmb_lifetime lifetime;
	shmb_ticket ticket;
	shmb_block found;

	(void)state;
	shmb_block block = allocate(session, LONG_MS, "brief");
	pattern_write(block.data, block.size, 2);
	assert_ok(shmb_publish(session, block.handle, "brief too"));
	assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	assert_ok(shmb_get_lifetime(session, block.handle.id, &lifetime));
	assert_int_equal(lifetime.tickets, 1);
	assert_ok(shmb_renew(session, block.handle, 1));
	await_leases(0);
	assert_int_equal(pool_session_status(session).names, 0);
	assert_refused(shmb_lookup(session, "brief", &found), NO_SUCH_NAME);
	assert_refused(shmb_lookup(session, "brief too", &found), NO_SUCH_NAME);
	assert_true(pattern_matches(block.data, block.size, 2));
	assert_int_equal(time_left(block.handle.id), 0);
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_redeem(session, ticket, &found));
	assert_true(pattern_matches(found.data, found.size, 2));
	/* Without one it may have names again, that stay; and a time again. */
	assert_ok(shmb_publish(session, block.handle, "lasting"));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_renew(session, block.handle, LONG_MS));
	assert_ok(shmb_renew(session, block.handle, 0));
	assert_ok(shmb_renew(session, block.handle, 0));
	assert_int_equal(time_left(block.handle.id), 0);
	assert_ok(shmb_lookup(session, "lasting", &found));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_renew(session, block.handle, 1));
	expect_nothing_left();
}

static void publish_many(shmb_session *by, shmb_handle handle, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof name, "name %u", i);
		assert_ok(shmb_publish(by, handle, name));
	}
}

/* As many as do not go in one slice. */
static void test_many_names(void **state)
{
	(void)state;
	shmb_block block = allocate(session, LONG_MS, NULL);
	publish_many(session, block.handle, 1000);
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_renew(session, block.handle, 1));
	expect_nothing_left();
}

/* They go a moment after the answer, whether it had a time to live or not, or is a cache block; a restart changes nothing about that. */
static void test_remove_many_names(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		shmb_block block = allocate(session, round % 2 ? LONG_MS : 0, NULL);
		publish_many(session, block.handle, 1000);
		if (round > 3)
			assert_ok(shmb_cache(session, block.handle));
		assert_refused(shmb_remove(session, block.handle.id), IN_USE);
		assert_ok(shmb_free(session, block.handle));
		assert_ok(shmb_remove(session, block.handle.id));
		if (round > 1)
			restart();
		expect_nothing_left();
		assert_int_equal(pool_session_status(session).names, 0);
		assert_refused(shmb_remove(session, block.handle.id), NO_SUCH_BLOCK);
	}
}

static void test_remove(void **state)
{
	shmb_ticket ticket;

	(void)state;
	shmb_block block = allocate(session, LONG_MS, "brief");
	assert_refused(shmb_remove(session, block.handle.id), IN_USE);
	assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_remove(session, block.handle.id), IN_USE);
	assert_ok(shmb_revoke(session, ticket));
	assert_ok(shmb_remove(session, block.handle.id));
	expect_nothing_left();
	block = allocate(session, LONG_MS, NULL);
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_renew(session, block.handle, 0));
	expect_nothing_left();
}

/* ---- Who may not ------------------------------------------------------------------------------------------------ */

static void test_refused(void **state)
{
	shmb_alloc_options options = {.ttl_ms = SHMB_TTL_MAX_MS + 1};
	shmb_block block, found;

	(void)state;
	assert_refused(shmb_alloc(session, 100, &options, &block), INVALID_ARGUMENT);
	options.ttl_ms--;
	assert_ok(shmb_alloc(session, 100, &options, &block));
	assert_refused(shmb_renew(session, block.handle, SHMB_TTL_MAX_MS + 1), INVALID_ARGUMENT);
	assert_refused(shmb_renew(session, (shmb_handle){0}, 1), INVALID_ARGUMENT);
	assert_ok(shmb_publish(session, block.handle, "found"));
	other = pool_session_open_read_only(&fixture);
	assert_ok(shmb_lookup(other, "found", &found));
	assert_refused(shmb_renew(other, found.handle, LONG_MS), READ_ONLY);
	assert_refused(shmb_get_lifetime(session, 777, &(shmb_lifetime){0}), NO_SUCH_BLOCK);
	assert_refused(shmb_get_lifetime(session, block.handle.id, NULL), INVALID_ARGUMENT);
}

static void test_other_users(void **state)
{
	shmb_block found;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	daemon_fixture_let_all_in(&fixture);
	other = pool_session_open_as(&fixture, NOBODY);
	shmb_block block = allocate(session, 0, "ours");
	assert_refused(shmb_renew(other, block.handle, LONG_MS), DENIED);
	assert_ok(shmb_lookup(other, "ours", &found));
	assert_refused(shmb_renew(other, block.handle, LONG_MS), DENIED); /* its names would go then */
	assert_refused(shmb_renew(other, block.handle, 0), DENIED);
	assert_ok(shmb_renew(session, block.handle, LONG_MS));
	assert_refused(shmb_renew(other, block.handle, LONG_MS / 2), DENIED);
	assert_refused(shmb_renew(other, block.handle, 0), DENIED);
	assert_refused(shmb_renew(other, block.handle, 2 * LONG_MS), DENIED); /* it is charged to whoever allocated it */
	assert_true(time_left(block.handle.id) < 2 * LONG_MS);
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_unpublish(session, "ours"));
	assert_refused(shmb_remove(other, block.handle.id), DENIED);
	assert_ok(shmb_remove(session, block.handle.id));
	/* One name of somebody else's among very many. */
	block = allocate(other, 0, NULL);
	publish_many(other, block.handle, 100);
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_ok(shmb_publish(session, block.handle, "ours"));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_free(other, block.handle));
	assert_refused(shmb_remove(other, block.handle.id), DENIED);
	assert_ok(shmb_unpublish(session, "ours"));
	assert_ok(shmb_remove(other, block.handle.id));
	await_leases(0);
	/* Root may do what another user may with his own. */
	block = allocate(other, LONG_MS, NULL);
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_renew(other, block.handle, 2 * LONG_MS)); /* who made it need not hold it */
	assert_ok(shmb_renew(session, block.handle, LONG_MS));
	assert_ok(shmb_remove(other, block.handle.id));
	expect_nothing_left();
}

/* ---- Nothing is left -------------------------------------------------------------------------------------------- */

/* Blocks of all kinds, that are to live from no time to a little more than a round takes. */
static void make_some(uint64_t *random, unsigned round)
{
	for (unsigned i = 0; i < LEAK_BLOCKS; i++) {
		shmb_alloc_options options = {.ttl_ms = pattern_below(random, 3) ? 1 + pattern_below(random, 60) : 0};
		shmb_share_options share = {.ttl_ms = 1 + pattern_below(random, 60)};
		char name[32];
		shmb_ticket ticket;
		shmb_block block, found;

		snprintf(name, sizeof name, "round %u, %u", round, i);
		options.name = options.ttl_ms && pattern_below(random, 2) ? name : NULL;
		assert_ok(shmb_alloc(session, 1 + pattern_below(random, 3000), &options, &block));
		bool shared = pattern_below(random, 2);
		if (shared)
			assert_ok(shmb_share(session, block.handle, &share, &ticket));
		if (pattern_below(random, 4) == 0)
			assert_ok(shmb_renew(session, block.handle, pattern_below(random, 40)));
		assert_ok(shmb_free(session, block.handle));
		if (!shared || pattern_below(random, 2))
			continue;
		int result = shmb_redeem(session, ticket, &found);
		if (result == 0)
			assert_ok(shmb_free(session, found.handle));
		else
			assert_int_equal(result, -SHMB_E_NO_SUCH_TICKET);
	}
}

/* A name that outlives its time is taken away: a renewal with 0 has left it. */
static void remove_names(void)
{
	shmb_name_info name;
	uint32_t cursor = 0;

	while (shmb_next_name(session, &cursor, &name) == 1)
		shmb_unpublish(session, name.name);
}

static void test_nothing_is_left(void **state)
{
	const char *text = getenv("SHMB_TEST_SEED");
	uint64_t random = text ? strtoull(text, NULL, 0) : pool_session_now_ns();

	(void)state;
	random = random ? random : 1;
	print_message("seed: SHMB_TEST_SEED=%" PRIu64 "\n", random);
	for (unsigned round = 0; round < LEAK_ROUNDS; round++) {
		make_some(&random, round);
		poll(NULL, 0, (int)pattern_below(&random, 20)); /* the kill falls somewhere else each time */
		restart();
	}
	await_leases(0);
	remove_names();
	expect_nothing_left();
	restart();
	expect_nothing_left();
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outlives_its_maker), TEST(test_who_has_it_keeps_it),
		TEST(test_many_names),         TEST(test_remove),
		TEST(test_remove_many_names),  TEST(test_refused),
		TEST(test_other_users),        TEST(test_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
