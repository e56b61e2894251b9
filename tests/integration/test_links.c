/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: what a block holds lives as long as it does, and goes with it: a long chain, a wide fan, and both with the daemon killed in the
 * middle of their end. What cannot be linked is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"

#define BLOCKS 8000
#define BATCH 4000
#define POOL (UINT64_C(1) << 20)

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_block blocks[BLOCKS];

static int set_up(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", "--log-level", "warning", NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static void allocate_all(void)
{
	static uint64_t sizes[BATCH];

	for (size_t i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (size_t i = 0; i < BLOCKS; i += BATCH)
		assert_ok(shmb_alloc_batch(session, sizes, BATCH, NULL, &blocks[i]));
}

/* All but the first are held by links alone. */
static void let_go_of_all_but_one(void)
{
	static shmb_handle handles[BATCH];

	for (size_t i = 1; i < BLOCKS;) {
		size_t count = 0;
		while (count < BATCH && i < BLOCKS)
			handles[count++] = blocks[i++].handle;
		assert_ok(shmb_free_batch(session, handles, count));
	}
	assert_int_equal(pool_session_status(session).blocks, BLOCKS);
}

static void make_chain(void)
{
	allocate_all();
	for (size_t i = 1; i < BLOCKS; i++)
		assert_ok(shmb_link(session, blocks[i - 1].handle, blocks[i].handle));
	let_go_of_all_but_one();
}

static void make_fan(void)
{
	allocate_all();
	for (size_t i = 1; i < BLOCKS; i++)
		assert_ok(shmb_link(session, blocks[0].handle, blocks[i].handle));
	let_go_of_all_but_one();
}

static void test_chain(void **state)
{
	shmb_block last;

	(void)state;
	make_chain();
	assert_ok(shmb_acquire(other, blocks[BLOCKS - 1].handle, &last));
	assert_ok(shmb_free(session, blocks[0].handle));
	pool_session_await_used(session, last.granted);
	memset(last.data, 1, last.size);
	assert_ok(shmb_free(other, last.handle));
	pool_session_assert_empty(session, POOL);
}

static void test_fan(void **state)
{
	(void)state;
	make_fan();
	assert_ok(shmb_unlink(session, blocks[0].handle, blocks[1].handle));
	assert_int_equal(pool_session_status(session).blocks, BLOCKS - 1);
	assert_ok(shmb_free(session, blocks[0].handle));
	pool_session_assert_empty(session, POOL);
}

static void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", "--log-level", "warning", NULL);
}

/* Killed when nothing has gone yet, and right after the first has. */
static void test_restarts(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < 2; shape++) {
		if (shape)
			make_fan();
		else
			make_chain();
		restart();
		assert_int_equal(pool_session_status(session).blocks, BLOCKS);
		assert_ok(shmb_free(session, blocks[0].handle));
		restart();
		pool_session_assert_empty(session, POOL);
	}
}

/* The holder of the whole dies: with it goes what only it held. */
static void test_death(void **state)
{
	(void)state;
	make_chain();
	shmb_close(session);
	session = pool_session_open(&fixture);
	pool_session_assert_empty(session, POOL);
}

static void test_refusals(void **state)
{
	shmb_block one, two, theirs;
	shmb_session *reader = pool_session_open_read_only(&fixture);

	(void)state;
	assert_ok(shmb_alloc(session, 100, NULL, &one));
	assert_ok(shmb_alloc(session, 100, NULL, &two));
	assert_ok(shmb_alloc(other, 100, NULL, &theirs));
	assert_refused(shmb_link(session, one.handle, one.handle), INVALID_ARGUMENT);
	assert_refused(shmb_link(session, one.handle, (shmb_handle){0}), INVALID_ARGUMENT);
	assert_refused(shmb_link(session, one.handle, theirs.handle), NOT_HELD);
	assert_refused(shmb_link(session, theirs.handle, one.handle), NOT_HELD);
	assert_refused(shmb_link(reader, one.handle, two.handle), READ_ONLY);
	assert_refused(shmb_unlink(session, one.handle, two.handle), NO_SUCH_LINK);
	assert_ok(shmb_link(session, one.handle, two.handle));
	assert_ok(shmb_link(session, one.handle, two.handle));
	shmb_lifetime lifetime;
	assert_ok(shmb_get_lifetime(session, two.handle.id, &lifetime));
	assert_int_equal(lifetime.links, 1);
	assert_refused(shmb_unlink(other, one.handle, two.handle), NOT_HELD);
	assert_refused(shmb_unlink(session, two.handle, one.handle), NO_SUCH_LINK);
	assert_refused(shmb_remove(session, two.handle.id), IN_USE);
	assert_ok(shmb_unlink(session, one.handle, two.handle));
	assert_refused(shmb_unlink(session, one.handle, two.handle), NO_SUCH_LINK);
	assert_ok(shmb_free(session, one.handle));
	assert_refused(shmb_link(session, one.handle, two.handle), STALE_HANDLE);
	assert_refused(shmb_link(session, two.handle, one.handle), STALE_HANDLE);
	assert_ok(shmb_free(session, two.handle));
	assert_ok(shmb_free(other, theirs.handle));
	shmb_close(reader);
	pool_session_assert_empty(session, POOL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_chain), TEST(test_fan), TEST(test_restarts), TEST(test_death), TEST(test_refusals),
	};

	return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
