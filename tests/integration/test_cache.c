/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache blocks: they stay when nobody holds them, go when memory is needed and not before, in the order of their use, by requests and
 * without; who holds one keeps it; and all of that through the death of the daemon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(1) << 20)
#define ENTRY (UINT64_C(1) << 17) /* eight of them fill the pool */
#define ENTRIES 8
#define NOBODY 65534

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_handle entries[ENTRIES];

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

static const char *name_of(unsigned which)
{
	static char name[16];

	snprintf(name, sizeof name, "entry %u", which);
	return name;
}

/* An entry that nobody holds. */
static void make_entry(unsigned which)
{
	shmb_block block;

	assert_ok(shmb_alloc(session, ENTRY, NULL, &block));
	pattern_write(block.data, block.size, which);
	assert_ok(shmb_cache(session, block.handle));
	assert_ok(shmb_publish(session, block.handle, name_of(which)));
	assert_ok(shmb_free(session, block.handle));
	entries[which] = block.handle;
}

static void fill_pool(void)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		make_entry(i);
	shmb_status status = pool_session_status(session);
	assert_int_equal(status.idle_blocks, ENTRIES);
	assert_int_equal(status.idle_bytes, POOL);
	assert_int_equal(status.used, POOL);
	assert_int_equal(status.evictions, 0);
}

static bool is_there(unsigned which)
{
	shmb_block_info info;
	int result = shmb_find_block(session, entries[which].id, &info);

	assert_true(result == 0 || result == -SHMB_E_NO_SUCH_BLOCK);
	return result == 0;
}

/* Takes room for one entry of a full pool, by which one goes: this one, name and all. Then it is made anew, and is the last to go. */
static void expect_next_to_go(unsigned which)
{
	shmb_block block, found;

	assert_true(is_there(which));
	assert_ok(shmb_alloc(session, ENTRY, NULL, &block));
	assert_false(is_there(which));
	assert_refused(shmb_lookup(session, name_of(which), &found), NO_SUCH_NAME);
	assert_refused(shmb_acquire(session, entries[which], &found), STALE_HANDLE);
	assert_ok(shmb_free(session, block.handle));
	make_entry(which);
}

static void test_goes_when_memory_is_needed(void **state)
{
	shmb_block block, found;

	(void)state;
	fill_pool();
	assert_ok(shmb_lookup(session, name_of(0), &found)); /* used, and held */
	assert_true(found.sealed && pattern_matches(found.data, found.size, 0));
	expect_next_to_go(1);
	assert_true(is_there(0) && is_there(2));
	assert_ok(shmb_free(session, found.handle));
	for (unsigned i = 2; i < ENTRIES; i++)
		expect_next_to_go(i);
	expect_next_to_go(1);
	expect_next_to_go(0); /* it was let go of after the other was made anew */
	assert_int_equal(pool_session_status(session).idle_blocks, ENTRIES);
	assert_ok(shmb_alloc(session, POOL, NULL, &block)); /* all of it */
	assert_int_equal(pool_session_status(session).idle_blocks, 0);
	assert_int_equal(pool_session_status(session).names, 0);
	assert_int_equal(pool_session_status(session).evictions, 2 * ENTRIES + 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* Holds without a request are uses: by as many as the daemon does not hear of. */
static void test_use_without_requests(void **state)
{
	shmb_block found;

	(void)state;
	fill_pool();
	other = pool_session_open_read_only(&fixture);
	pool_session_get_page(other, entries[7]);
	uint64_t requests = pool_session_status(session).requests;
	for (unsigned i = 0; i < 6; i++) {
		assert_ok(shmb_lookup(other, name_of(i), &found));
		assert_true(pattern_matches(found.data, found.size, i));
		assert_ok(shmb_free(other, found.handle));
	}
	assert_int_equal(pool_session_status(session).requests, requests);
	expect_next_to_go(6);
	/* 7 was used by requests before the others were used without: in the order of the clock they are all later. */
	expect_next_to_go(7);
	/* What is held without a request stays. */
	assert_ok(shmb_lookup(other, name_of(0), &found));
	shmb_block all;
	assert_refused(shmb_alloc(session, POOL, NULL, &all), OUT_OF_MEMORY);
	assert_true(is_there(0));
	assert_true(pattern_matches(found.data, found.size, 0));
	assert_ok(shmb_free(other, found.handle));
	assert_ok(shmb_alloc(session, POOL, NULL, &all));
	assert_false(is_there(0));
}

static void test_what_would_not_do_goes_not(void **state)
{
	shmb_block kept, block;

	(void)state;
	assert_ok(shmb_alloc(session, POOL / 2, NULL, &kept));
	make_entry(0);
	make_entry(1);
	assert_refused(shmb_alloc(session, POOL, NULL, &block), OUT_OF_MEMORY);
	assert_true(is_there(0) && is_there(1));
	assert_ok(shmb_alloc(session, POOL / 2, NULL, &block));
	assert_true(!is_there(0) && !is_there(1));
}

static void test_through_restarts(void **state)
{
	shmb_block found;

	(void)state;
	fill_pool();
	assert_ok(shmb_lookup(session, name_of(2), &found));
	restart();
	assert_ok(shmb_ping(session));
	assert_int_equal(pool_session_status(session).idle_blocks, ENTRIES - 1);
	assert_ok(shmb_free(session, found.handle));
	assert_int_equal(pool_session_status(session).idle_blocks, ENTRIES);
	/* What nobody remembers was used when it was made; what was used since, later than that. */
	expect_next_to_go(0);
	expect_next_to_go(1);
	restart();
	expect_next_to_go(2); /* its use is forgotten */
}

static void test_time_to_live(void **state)
{
	shmb_block block;

	(void)state;
	assert_ok(shmb_alloc(session, ENTRY, &(shmb_alloc_options){.name = "brief", .ttl_ms = 50}, &block));
	assert_ok(shmb_cache(session, block.handle));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
	/* And one with a long time goes before it. */
	assert_ok(shmb_alloc(session, ENTRY, &(shmb_alloc_options){.name = "long", .ttl_ms = 3600000}, &block));
	assert_ok(shmb_cache(session, block.handle));
	assert_ok(shmb_free(session, block.handle));
	assert_int_equal(pool_session_status(session).idle_blocks, 1);
	assert_ok(shmb_alloc(session, POOL, NULL, &block));
	assert_int_equal(pool_session_status(session).leases, 0);
}

static void test_taken_away(void **state)
{
	shmb_block found;

	(void)state;
	make_entry(0);
	assert_ok(shmb_unpublish(session, name_of(0)));
	assert_true(is_there(0)); /* its name did not keep it */
	assert_ok(shmb_acquire(session, entries[0], &found));
	assert_refused(shmb_remove(session, entries[0].id), IN_USE);
	assert_ok(shmb_free(session, found.handle));
	assert_ok(shmb_remove(session, entries[0].id));
	pool_session_assert_empty(session, POOL);
}

/* Who did not allocate a block cannot have it go when memory is needed. */
static void test_whose_it_is(void **state)
{
	shmb_block block, found;

	(void)state;
	if (geteuid() != 0) {
		skip();
		return;
	}
	daemon_fixture_let_all_in(&fixture);
	other = pool_session_open_as(&fixture, NOBODY);
	assert_ok(shmb_alloc(session, ENTRY, &(shmb_alloc_options){.name = "root's"}, &block));
	assert_ok(shmb_lookup(other, "root's", &found));
	assert_refused(shmb_cache(other, found.handle), DENIED);
	assert_ok(shmb_seal(other, found.handle));
	shmb_block_info info;
	assert_ok(shmb_find_block(session, block.handle.id, &info));
	assert_true(info.sealed && !info.cached);
	assert_ok(shmb_cache(session, block.handle)); /* sealed already */
	assert_ok(shmb_find_block(session, block.handle.id, &info));
	assert_true(info.cached);
}

/* A circle through a cache block would never go. */
static void test_holds_no_others(void **state)
{
	shmb_block whole, part;

	(void)state;
	assert_ok(shmb_alloc(session, ENTRY, NULL, &whole));
	assert_ok(shmb_alloc(session, ENTRY, NULL, &part));
	assert_ok(shmb_link(session, whole.handle, part.handle));
	assert_refused(shmb_cache(session, whole.handle), IN_USE);
	assert_ok(shmb_cache(session, part.handle)); /* held by another it may be */
	assert_refused(shmb_link(session, part.handle, whole.handle), SEALED);
	assert_ok(shmb_free(session, part.handle));
	assert_int_equal(pool_session_status(session).idle_blocks, 0);
	assert_ok(shmb_unlink(session, whole.handle, part.handle));
	assert_int_equal(pool_session_status(session).idle_blocks, 1);
	assert_ok(shmb_cache(session, whole.handle));
}

static void *free_later(void *argument)
{
	shmb_handle *handle = argument;

	usleep(50000);
	assert_ok(shmb_free(session, *handle));
	return NULL;
}

/* Who waits gets what becomes idle meanwhile. */
static void test_who_waits(void **state)
{
	shmb_block found, block;
	pthread_t thread;

	(void)state;
	fill_pool();
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_ok(shmb_lookup(session, name_of(i), &found));
	assert_refused(shmb_alloc(session, ENTRY, NULL, &block), OUT_OF_MEMORY);
	assert_int_equal(pthread_create(&thread, NULL, free_later, &entries[3]), 0);
	assert_ok(shmb_alloc(session, ENTRY, &(shmb_alloc_options){.wait_ms = 60000}, &block));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(is_there(3));
	assert_true(is_there(2));
}

/* Made a cache block by who holds it without a request, when nobody else does any more: it stays like any other. */
static void test_held_by_a_page_alone(void **state)
{
	shmb_block block, found;

	(void)state;
	assert_ok(shmb_alloc(session, ENTRY, NULL, &block));
	pattern_write(block.data, block.size, 1);
	assert_ok(shmb_publish(session, block.handle, "one"));
	other = pool_session_open(&fixture);
	pool_session_get_page(other, block.handle);
	uint64_t requests = pool_session_status(session).requests;
	assert_ok(shmb_lookup(other, "one", &found));
	assert_int_equal(pool_session_status(session).requests, requests);
	assert_ok(shmb_unpublish(session, "one"));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_cache(other, found.handle));
	assert_int_equal(pool_session_status(session).idle_blocks, 1); /* as far as the daemon knows */
	assert_refused(shmb_alloc(session, POOL, NULL, &block), OUT_OF_MEMORY);
	assert_ok(shmb_free(other, found.handle));
	assert_refused(shmb_alloc(session, 2 * POOL, NULL, &block), OUT_OF_MEMORY); /* all that is dying is looked for */
	assert_int_equal(pool_session_status(session).idle_blocks, 1);
	assert_ok(shmb_acquire(session, found.handle, &block));
	assert_true(pattern_matches(block.data, block.size, 1));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_alloc(session, POOL, NULL, &block));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_goes_when_memory_is_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_use_without_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_would_not_do_goes_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_through_restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_time_to_live, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whose_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holds_no_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_by_a_page_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
