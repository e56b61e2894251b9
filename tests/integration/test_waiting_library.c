/* SPDX-License-Identifier: Apache-2.0 */
/* The library's calls that wait for memory, and for names: with many threads, beyond the timeout, and when the daemon or the session ends meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(1) << 20)
#define LONG 3600000 /* milliseconds that do not pass */
#define PATIENCE_MS 20000

static struct daemon_fixture fixture;

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	daemon_fixture_stop(&fixture);
	return 0;
}

#define THREADS 70 /* more than a session has slots */

struct worker {
	pthread_t thread;
	shmb_session *session;
	const char *name; /* to wait for; NULL: it waits for memory */
	uint64_t size;
	bool free_it;
	int result;
	shmb_block block;
	char text[256];
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	shmb_alloc_options options = {.wait_ms = LONG};

	if (worker->name)
		worker->result = shmb_lookup_wait(worker->session, worker->name, LONG, &worker->block);
	else
		worker->result = shmb_alloc(worker->session, worker->size, &options, &worker->block);
	snprintf(worker->text, sizeof worker->text, "%s", worker->result < 0 ? shmb_last_error() : "");
	if (worker->result == 0 && worker->free_it)
		worker->result = shmb_free(worker->session, worker->block.handle);
	return NULL;
}

static void begin(struct worker *worker, shmb_session *whose, const char *name, uint64_t size)
{
	*worker = (struct worker){.session = whose, .name = name, .size = size, .free_it = true};
	assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
}

static void end(struct worker *worker, int result)
{
	pthread_join(worker->thread, NULL);
	if (worker->result != result)
		print_error("%s\n", worker->text);
	assert_int_equal(worker->result, result);
}

/* So many requests have come since there were `before`. */
static void await_requests(shmb_session *whose, uint64_t before, uint64_t count)
{
	for (int waited = 0; pool_session_status(whose).requests < before + count; waited++) {
		assert_true(waited < PATIENCE_MS);
		poll(NULL, 0, 1);
	}
}

static void test_library(void **state)
{
	const uint64_t sizes[] = {POOL / 2, 64};
	shmb_session *mine = pool_session_open(&fixture), *reader = pool_session_open_read_only(&fixture);
	struct worker workers[2];
	shmb_block block, blocks[2];
	shmb_oom oom;

	(void)state;
	assert_ok(shmb_alloc(mine, POOL, NULL, &block));
	assert_refused(shmb_alloc(mine, 1, &(shmb_alloc_options){.wait_ms = 10}, &blocks[0]), OUT_OF_MEMORY);
	assert_non_null(strstr(shmb_last_error(), "within "));
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.limit, SHMB_OOM_SEGMENT);
	assert_int_equal(oom.requested, 1);
	assert_refused(shmb_alloc_batch(mine, sizes, 2, &(shmb_alloc_options){.wait_ms = 10}, blocks), OUT_OF_MEMORY);
	assert_non_null(strstr(shmb_last_error(), "within "));
	assert_refused(shmb_lookup_wait(reader, "later", 10, &blocks[0]), NO_SUCH_NAME);
	assert_non_null(strstr(shmb_last_error(), "within "));
	assert_refused(shmb_lookup_wait(reader, "//later", 10, &blocks[0]), BAD_NAME);
	assert_refused(shmb_lookup_wait(reader, "later", 0, &blocks[0]), NO_SUCH_NAME);

	uint64_t before = pool_session_status(mine).requests;
	begin(&workers[0], mine, NULL, 1000);
	begin(&workers[1], reader, "later", 0);
	await_requests(mine, before, 2);
	assert_ok(shmb_publish(mine, block.handle, "later"));
	end(&workers[1], 0);
	assert_int_equal(workers[1].block.handle.id, block.handle.id);
	assert_ok(shmb_unpublish(mine, "later"));
	assert_ok(shmb_free(mine, block.handle));
	end(&workers[0], 0);
	assert_ok(shmb_alloc_batch(mine, sizes, 2, &(shmb_alloc_options){.wait_ms = 10}, blocks));
	shmb_close(mine);
	shmb_close(reader);
}

/* A call may take its timeout longer than what it waits. */
static void test_longer_than_the_timeout(void **state)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path, .timeout_ms = 200};
	shmb_session *mine;
	shmb_block block;

	(void)state;
	assert_ok(shmb_connect(&options, &mine));
	assert_refused(shmb_lookup_wait(mine, "later", 400, &block), NO_SUCH_NAME); /* and not TIMEOUT */
	shmb_close(mine);
}

/* Threads of one program wait in all slots that they may have; what they wait for another thread of it still can do. */
static void test_waits_for_oneself(void **state)
{
	static struct worker workers[THREADS];
	shmb_session *mine = pool_session_open(&fixture);
	shmb_block block;

	(void)state;
	assert_ok(shmb_alloc(mine, POOL, NULL, &block));
	uint64_t before = pool_session_status(mine).requests;
	for (size_t i = 0; i < THREADS; i++)
		begin(&workers[i], mine, i % 2 ? NULL : "oneself", POOL / 4);
	await_requests(mine, before, 50);
	assert_ok(shmb_ping(mine));
	assert_ok(shmb_publish(mine, block.handle, "oneself"));
	assert_ok(shmb_free(mine, block.handle));
	assert_ok(shmb_unpublish(mine, "oneself"));
	/* Who stood behind the others waits for a name that has gone again. */
	assert_ok(shmb_alloc(mine, 64, &(shmb_alloc_options){.name = "oneself", .wait_ms = LONG}, &block));
	for (size_t i = 0; i < THREADS; i++)
		end(&workers[i], 0);
	shmb_close(mine);
}

/* Killed while they wait: they wait on under the next daemon, with what is left of their time, and get what they wait for once. */
static void test_killed_daemon(void **state)
{
	struct worker workers[8];
	shmb_session *mine = pool_session_open(&fixture), *waiting = pool_session_open(&fixture);
	shmb_block block;

	(void)state;
	for (int turn = 0; turn < 5; turn++) {
		assert_ok(shmb_alloc(mine, POOL, NULL, &block));
		uint64_t before = pool_session_status(mine).requests;
		for (size_t i = 0; i < 8; i++) {
			begin(&workers[i], waiting, i % 2 ? NULL : "kept", POOL / 8);
			workers[i].free_it = true;
		}
		await_requests(mine, before, 8);
		daemon_fixture_kill(&fixture);
		daemon_fixture_restart(&fixture, "--size", "1M", NULL);
		assert_ok(shmb_publish(mine, block.handle, "kept"));
		assert_ok(shmb_free(mine, block.handle));
		for (size_t i = 0; i < 8; i += 2)
			end(&workers[i], 0); /* the others wait for what the name holds */
		assert_ok(shmb_unpublish(mine, "kept"));
		for (size_t i = 1; i < 8; i += 2)
			end(&workers[i], 0);
		pool_session_assert_empty(mine, POOL);
	}
	shmb_close(waiting);
	shmb_close(mine);
}

/* An administrator ends a session all of whose threads wait. */
static void test_ended_by_administrator(void **state)
{
	struct worker workers[4];
	shmb_session *mine = pool_session_open(&fixture), *waiting = pool_session_open(&fixture);
	shmb_block block;
	uint32_t number;

	(void)state;
	assert_ok(shmb_alloc(mine, POOL, NULL, &block));
	assert_ok(shmb_session_number(waiting, &number));
	uint64_t before = pool_session_status(mine).requests;
	for (size_t i = 0; i < 4; i++)
		begin(&workers[i], waiting, i % 2 ? NULL : "never", POOL / 8);
	await_requests(mine, before, 4);
	assert_ok(shmb_end_session(mine, number, false));
	for (size_t i = 0; i < 4; i++)
		end(&workers[i], -SHMB_E_SESSION_ENDED);
	pool_session_await_clients(mine, 1);
	assert_ok(shmb_free(mine, block.handle));
	assert_ok(shmb_alloc(mine, POOL, NULL, &block));
	shmb_close(waiting);
	shmb_close(mine);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_library),       TEST(test_longer_than_the_timeout), TEST(test_waits_for_oneself),
		TEST(test_killed_daemon), TEST(test_ended_by_administrator),
	};

	return cmocka_run_group_tests_name("waiting_library", tests, NULL, NULL);
}
