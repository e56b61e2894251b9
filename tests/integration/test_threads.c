/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight threads on one session: everything that a thread gets is its own, and what it wrote is still there when it looks again.
 * A reply that went to the wrong thread would show as a wrong size, a foreign pattern, or a refusal. Meant for TSan too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(16) << 20)
#define THREADS 8
#define TURNS 400
#define HELD 12

static struct daemon_fixture fixture;
static shmb_session *session;

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t random_state;
	uint64_t allocated, freed;
	shmb_block held[HELD]; /* id 0: nothing */
	char failure[400];     /* the first; assertions are for the main thread alone */
};

/* Notes the first failure; false as a result. */
static bool note(struct worker *worker, int line, const char *what)
{
	if (!worker->failure[0])
		snprintf(worker->failure, sizeof worker->failure, "thread %u, line %d: %s: %s", worker->number, line, what,
		         shmb_last_error());
	return false;
}
#define WANT(condition) ((condition) ? true : note(worker, __LINE__, #condition))

static void name_of(const struct worker *worker, size_t place, char out_name[64])
{
	snprintf(out_name, 64, "thread %u/block %zu", worker->number, place);
}

static bool fill(struct worker *worker, size_t place)
{
	uint64_t size = 1 + pattern_below(&worker->random_state, 30000);
	shmb_block *block = &worker->held[place];
	shmb_alloc_options options = {.tag = "threads"};
	char name[64];

	name_of(worker, place, name);
	if (pattern_below(&worker->random_state, 2))
		options.name = name;
	if (!WANT(shmb_alloc(session, size, &options, block) == 0))
		return false;
	worker->allocated++;
	pattern_write(block->data, block->size, block->handle.id);
	return WANT(block->size == size) && (options.name || WANT(shmb_publish(session, block->handle, name) == 0));
}

static bool empty(struct worker *worker, size_t place)
{
	shmb_block *block = &worker->held[place], found;
	char name[64];

	name_of(worker, place, name);
	if (!WANT(pattern_matches(block->data, block->size, block->handle.id)) ||
	    !WANT(shmb_lookup(session, name, &found) == 0) || !WANT(found.handle.id == block->handle.id) ||
	    !WANT(found.size == block->size && found.data == block->data) || !WANT(shmb_unpublish(session, name) == 0) ||
	    !WANT(shmb_lookup(session, name, &found) == -SHMB_E_NO_SUCH_NAME) || !WANT(shmb_free(session, block->handle) == 0) ||
	    !WANT(shmb_free(session, block->handle) == 0) || !WANT(shmb_free(session, block->handle) == -SHMB_E_STALE_HANDLE))
		return false;
	worker->freed++;
	*block = (shmb_block){0};
	return true;
}

/* Errors and their detail belong to the thread that made them. */
static bool be_refused(struct worker *worker)
{
	shmb_oom oom = {0};
	shmb_block block;
	char name[64];

	snprintf(name, sizeof name, "nothing of thread %u", worker->number);
	if (!WANT(shmb_lookup(session, name, &block) == -SHMB_E_NO_SUCH_NAME) ||
	    !WANT(shmb_alloc(session, POOL * 2 + worker->number, NULL, &block) == -SHMB_E_OUT_OF_MEMORY))
		return false;
	for (int i = 0; i < 20; i++) /* meanwhile others are refused as well */
		if (!WANT(shmb_ping(session) == 0))
			return false;
	return WANT(shmb_out_of_memory(&oom)) && WANT(oom.requested == POOL * 2 + worker->number);
}

static bool batch(struct worker *worker)
{
	uint64_t sizes[20];
	shmb_block blocks[20];
	shmb_handle handles[20];
	size_t count = 1 + pattern_below(&worker->random_state, 20);

	for (size_t i = 0; i < count; i++)
		sizes[i] = 1 + pattern_below(&worker->random_state, 3000);
	if (!WANT(shmb_alloc_batch(session, sizes, count, NULL, blocks) == 0))
		return false;
	for (size_t i = 0; i < count; i++) {
		handles[i] = blocks[i].handle;
		pattern_write(blocks[i].data, blocks[i].size, handles[i].id);
	}
	for (size_t i = 0; i < count; i++)
		if (!WANT(blocks[i].size == sizes[i]) || !WANT(pattern_matches(blocks[i].data, sizes[i], handles[i].id)))
			return false;
	worker->allocated += count;
	worker->freed += count;
	return WANT(shmb_free_batch(session, handles, count) == 0) &&
	       WANT(shmb_free_batch(session, handles, count) == -SHMB_E_STALE_HANDLE);
}

static bool look_around(struct worker *worker)
{
	shmb_client_info *clients;
	shmb_block_info info;
	shmb_status status;
	uint32_t cursor = 0;
	size_t count;

	while (shmb_next_block(session, &cursor, &info) == 1)
		if (!WANT(info.offset + info.granted <= POOL))
			return false;
	if (!WANT(shmb_get_status(session, &status) == 0) || !WANT(shmb_list_clients(session, &clients, &count) == 0))
		return false;
	free(clients);
	return WANT(count == 1);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	bool well = true;

	for (int turn = 0; well && turn < TURNS; turn++) {
		size_t place = pattern_below(&worker->random_state, HELD);

		switch (pattern_below(&worker->random_state, 8)) {
		case 0: well = batch(worker); break;
		case 1: well = be_refused(worker); break;
		case 2: well = look_around(worker) && WANT(shmb_ping(session) == 0); break;
		default: well = worker->held[place].handle.id ? empty(worker, place) : fill(worker, place); break;
		}
	}
	for (size_t place = 0; well && place < HELD; place++)
		well = worker->held[place].handle.id == 0 || empty(worker, place);
	return NULL;
}

static void test_eight_threads_on_one_session(void **state)
{
	static struct worker workers[THREADS];
	uint64_t seed = pattern_seed(UINT64_C(0x8888)), allocated = 0;
	shmb_status status;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	session = pool_session_open(&fixture);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].number = i;
		workers[i].random_state = pattern_random(&seed) | 1;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		if (workers[i].failure[0])
			fail_msg("%s", workers[i].failure);
		assert_int_equal(workers[i].allocated, workers[i].freed);
		allocated += workers[i].allocated;
	}
	pool_session_assert_empty(session, POOL);
	status = pool_session_status(session);
	assert_int_equal(status.allocations, allocated);
	print_message("%" PRIu64 " blocks by %d threads, %" PRIu64 " requests\n", allocated, THREADS, status.requests);
}

/* Each thread opens and closes sessions of its own, beside the others. */
static void *come_and_go(void *argument)
{
	struct worker *worker = argument;
	shmb_connect_options options = {.socket_path = fixture.socket_path};

	for (int turn = 0; turn < 40; turn++) {
		shmb_session *own;
		shmb_block block;

		if (!WANT(shmb_connect(&options, &own) == 0))
			break;
		if (WANT(shmb_alloc(own, 1000, NULL, &block) == 0))
			memset(block.data, 1, block.size);
		if (turn % 2)
			WANT(shmb_free(own, block.handle) == 0);
		shmb_close(own);
	}
	return NULL;
}

static void test_sessions_come_and_go_in_threads(void **state)
{
	static struct worker workers[THREADS];

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	session = pool_session_open(&fixture);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].number = i;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, come_and_go, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		if (workers[i].failure[0])
			fail_msg("%s", workers[i].failure);
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, POOL);
}

static int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_eight_threads_on_one_session, tear_down),
		cmocka_unit_test_teardown(test_sessions_come_and_go_in_threads, tear_down),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
