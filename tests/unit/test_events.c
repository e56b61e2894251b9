/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said of blocks and names, over a real pool without a daemon: also of kinds that nothing but a policy of the daemon emits. Who is
 * told, and when, is tested in integration/test_subscriptions.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/events.h"
#include "server/log.h"
#include "server/pool.h"

static uv_loop_t loop;
static struct pool pool;
static struct event_cursor cursor;
static struct event event;

static int setup(void **state)
{
	char name[32];
	struct pool_options options = {.name = name, .size = 1 << 20, .unit = 64, .ephemeral = true};

	(void)state;
	snprintf(name, sizeof name, "unit-events-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	if (uv_loop_init(&loop) < 0 || pool_open(&loop, &options, &pool) < 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uv_idle_stop(&pool.events.delivery);
	pool_close(&pool);
	return uv_loop_close(&loop);
}

/* As a subscriber would. */
static void want(uint32_t kinds)
{
	assert_int_equal(event_log_init(&pool.events.log, 4096), 0);
	event_log_start(&pool.events.log, &cursor);
	pool.events.wanted = kinds;
}

static uint32_t make_block(void)
{
	uint32_t index;

	assert_int_equal(table_prepare(&pool.blocks.table, 1), 0);
	assert_int_equal(table_take(&pool.blocks.table, &index), 0);
	blocks_write(&pool.blocks, index, &(struct block_content){.id = 77, .size = 100, .granted = 128, .uid = 5, .tag = ""});
	return index;
}

static void nobody_wants_to_know(void **state)
{
	(void)state;
	events_emit(&pool, &(struct event){.kind = EVENT_PRESSURE});
	events_emit_block(&pool, EVENT_BLOCK_FREED, make_block());
	assert_int_equal(pool.events.log.head, 0);
	assert_false(events_wanted(&pool.events, EVENT_BLOCK_FREED));
	want(EVENT_BIT(EVENT_BLOCK_EVICTED));
	events_emit(&pool, &(struct event){.kind = EVENT_PRESSURE});
	assert_int_equal(pool.events.log.head, 0);
}

static void what_is_said_of_a_block(void **state)
{
	static const enum event_kind kinds[] = {EVENT_BLOCK_FREED, EVENT_BLOCK_EVICTED, EVENT_BLOCK_EXPIRED};
	uint32_t block = make_block();

	(void)state;
	want(EVENT_ALL);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		pool.events.acting = (uint32_t)i;
		events_emit_block(&pool, kinds[i], block);
		assert_true(event_log_next(&pool.events.log, &cursor, EVENT_ALL, &event));
		assert_int_equal(event.kind, kinds[i]);
		assert_int_equal(event.id, 77);
		assert_int_equal(event.index, block);
		assert_int_equal(event.bytes, 128);
		assert_int_equal(event.uid, 5);
		assert_int_equal(event.session, i);
		assert_true(event.time_ns > 0);
		assert_null(event.name);
	}
}

static void what_is_said_of_a_name(void **state)
{
	uint32_t block = make_block(), name;

	(void)state;
	want(EVENT_ALL);
	assert_int_equal(table_take(&pool.names.table, &name), 0);
	names_write(&pool.names, name,
	            &(struct name_content){.id = 78,
	                                   .block = block,
	                                   .block_id = 77,
	                                   .range = {.length = 60},
	                                   .uid = 6,
	                                   .name = "a name",
	                                   .name_length = 6});
	names_set_live(&pool.names, name);
	events_emit_name(&pool, EVENT_NAME_REMOVED, name);
	assert_true(event_log_next(&pool.events.log, &cursor, EVENT_ALL, &event));
	assert_int_equal(event.id, 77);
	assert_int_equal(event.index, block);
	assert_int_equal(event.bytes, 60);
	assert_int_equal(event.uid, 6);
	assert_int_equal(event.name_length, 6);
	assert_memory_equal(event.name, "a name", 6);
	names_write_next(&pool.names, name,
	                 &(struct name_content){.id = 79, .block = block, .block_id = 77, .range = {.offset = 30}, .uid = 7});
	names_replace(&pool.names, name);
	events_emit_name(&pool, EVENT_NAME_PUBLISHED, name);
	assert_true(event_log_next(&pool.events.log, &cursor, EVENT_ALL, &event));
	assert_int_equal(event.bytes, 70); /* to the end of the block */
	assert_int_equal(event.uid, 7);
}

static void the_session_of_an_event_is_not_the_one_that_acts(void **state)
{
	(void)state;
	want(EVENT_ALL);
	pool.events.acting = 3;
	events_emit(&pool, &(struct event){.kind = EVENT_SESSION_ENDED, .session = 9});
	assert_true(event_log_next(&pool.events.log, &cursor, EVENT_ALL, &event));
	assert_int_equal(event.session, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_wants_to_know, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_said_of_a_block, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_said_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(the_session_of_an_event_is_not_the_one_that_acts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
