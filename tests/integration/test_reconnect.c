/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs go on when the daemon under them is killed, stopped or made anew: calls of many threads, children, blocks and bytes; and what
 * ends a session whose process lives. The storm has the same at random, with many processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define THREADS 6
#define KILLS 25

static struct daemon_fixture fixture;
static shmb_session *session;

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, NULL);
	session = pool_session_open(&fixture);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

/* ---- Killed ----------------------------------------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	unsigned number;
	_Atomic bool stop;
	uint64_t rounds;
	char failure[256];
};

static bool fails(struct worker *worker, const char *what)
{
	snprintf(worker->failure, sizeof worker->failure, "%s: %s", what, shmb_last_error());
	return false;
}

/* One of each operation, with bytes that are looked at before they are given back. */
static bool round_of(struct worker *worker, uint64_t seed)
{
	const uint64_t sizes[] = {100, 5000, 64, 20000};
	shmb_block block, found, batch[4];
	shmb_handle handles[4];
	char name[32];

	snprintf(name, sizeof name, "of %u", worker->number);
	if (shmb_alloc(session, 3000 + seed % 9000, NULL, &block) < 0)
		return fails(worker, "alloc");
	pattern_write(block.data, block.size, seed);
	if (shmb_publish(session, block.handle, name) < 0)
		return fails(worker, "publish");
	if (shmb_lookup(session, name, &found) < 0)
		return fails(worker, "lookup");
	if (shmb_free(session, block.handle) < 0)
		return fails(worker, "free the first hold");
	if (shmb_alloc_batch(session, sizes, 4, NULL, batch) < 0)
		return fails(worker, "alloc_batch");
	for (unsigned i = 0; i < 4; i++) {
		pattern_write(batch[i].data, batch[i].size, seed + i);
		handles[i] = batch[i].handle;
	}
	if (found.handle.id != block.handle.id || !pattern_matches(found.data, found.size, seed))
		return fails(worker, "another's bytes");
	if (shmb_unpublish(session, name) < 0)
		return fails(worker, "unpublish");
	if (shmb_free(session, found.handle) < 0)
		return fails(worker, "free the second hold");
	for (unsigned i = 0; i < 4; i++) {
		if (!pattern_matches(batch[i].data, batch[i].size, seed + i))
			return fails(worker, "another's bytes in a batch");
	}
	if (shmb_free_batch(session, handles, 4) < 0)
		return fails(worker, "free_batch");
	/* Once, and no more than once. */
	if (shmb_free(session, found.handle) != -SHMB_E_STALE_HANDLE)
		return fails(worker, "a freed block lives");
	return true;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	while (!atomic_load(&worker->stop) && round_of(worker, worker->number * UINT64_C(1000003) + worker->rounds))
		worker->rounds++;
	return NULL;
}

static void test_killed_under_threads(void **state)
{
	static struct worker workers[THREADS];
	uint64_t seed = pattern_seed(7), rounds = 0;

	(void)state;
	memset(workers, 0, sizeof workers);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].number = i;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < KILLS; i++) {
		poll(NULL, 0, (int)pattern_below(&seed, 15));
		daemon_fixture_kill(&fixture);
		daemon_fixture_restart(&fixture, NULL);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		atomic_store(&workers[i].stop, true);
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		assert_string_equal(workers[i].failure, "");
		rounds += workers[i].rounds;
	}
	print_message("%u kills, %llu rounds of 9 calls\n", KILLS, (unsigned long long)rounds);
	assert_true(rounds > 0);
	pool_session_assert_empty(session, pool_session_status(session).size);
}

/* Nothing is asked for while the daemon is away: the block is there afterwards, with its bytes, and the process still owns it. */
static void test_idle_over_restarts(void **state)
{
	shmb_block block, named;
	shmb_alloc_options options = {.name = "kept"};

	(void)state;
	assert_ok(shmb_alloc(session, 100000, NULL, &block));
	assert_ok(shmb_alloc(session, 5000, &options, &named));
	pattern_write(block.data, block.size, 1);
	for (int i = 0; i < 5; i++) {
		if (i % 2)
			daemon_fixture_terminate(&fixture);
		else
			daemon_fixture_kill(&fixture);
		assert_true(pattern_matches(block.data, block.size, 1));
		daemon_fixture_restart(&fixture, NULL);
	}
	assert_ok(shmb_free(session, named.handle));
	assert_ok(shmb_unpublish(session, "kept"));
	assert_true(pattern_matches(block.data, block.size, 1));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, pool_session_status(session).size);
}

/* Processes that ended while there was no daemon are gone, and those that live are not. */
static void hold_one(int control, const void *argument)
{
	shmb_connect_options options = {.socket_path = ((const struct daemon_fixture *)argument)->socket_path};
	shmb_session *own;
	shmb_block block;
	char byte = 0;

	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_alloc(own, 50000, NULL, &block) == 0);
	CLIENT_CHECK(client_process_say(control, &byte, 1));
	while (client_process_hear(control, &byte, 1)) {
		CLIENT_CHECK(shmb_ping(own) == 0);
		CLIENT_CHECK(client_process_say(control, &byte, 1));
	}
	shmb_close(own);
}

static void test_deaths_without_a_daemon(void **state)
{
	struct client_process processes[4];
	char byte;

	(void)state;
	for (int i = 0; i < 4; i++) {
		client_process_start(&processes[i], hold_one, &fixture);
		client_process_receive(&processes[i], &byte, 1);
	}
	assert_int_equal(kill(processes[3].pid, SIGSTOP), 0); /* stopped is not dead */
	daemon_fixture_kill(&fixture);
	client_process_kill(&processes[0]);
	client_process_kill(&processes[1]);
	daemon_fixture_restart(&fixture, NULL);
	pool_session_await_clients(session, 3);
	assert_int_equal(pool_session_status(session).blocks, 2);
	client_process_echo(&processes[2]);
	assert_int_equal(kill(processes[3].pid, SIGCONT), 0);
	client_process_echo(&processes[3]);
	client_process_kill(&processes[2]);
	client_process_kill(&processes[3]);
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, pool_session_status(session).size);
}

/* A child's first call waits for the daemon like any other. */
static void test_child_while_there_is_none(void **state)
{
	int status, fds[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	daemon_fixture_kill(&fixture);
	pid_t child = fork();
	if (child == 0) {
		shmb_block block;
		close(fds[0]);
		if (write(fds[1], "", 1) != 1)
			_exit(1);
		_exit(shmb_alloc(session, 100, NULL, &block) == 0 ? 0 : 2);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	daemon_fixture_restart(&fixture, NULL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	pool_session_await_clients(session, 1);
}

/* A daemon that hangs is no daemon that is gone: the call waits as long as it may, and the session goes on. */
static void test_stopped_daemon(void **state)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path, .timeout_ms = 50};
	shmb_session *hasty;
	shmb_block block;

	(void)state;
	assert_ok(shmb_connect(&options, &hasty));
	assert_int_equal(kill(fixture.pid, SIGSTOP), 0);
	assert_refused(shmb_alloc(hasty, 1000, NULL, &block), TIMEOUT);
	assert_int_equal(kill(fixture.pid, SIGCONT), 0);
	int r;
	while ((r = shmb_ping(hasty)) == -SHMB_E_TIMEOUT)
		;
	assert_int_equal(r, 0);
	shmb_close(hasty);
	pool_session_await_used(session, 0); /* what nobody waited for has been given back */
}

/* ---- Over ------------------------------------------------------------------------------------------------------- */

static void test_discarded(void **state)
{
	shmb_block block, other;

	(void)state;
	assert_ok(shmb_alloc(session, 100000, NULL, &block));
	pattern_write(block.data, block.size, 1);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--discard", NULL);
	assert_refused(shmb_free(session, block.handle), SESSION_ENDED);
	assert_non_null(strstr(shmb_last_error(), "made anew"));
	assert_true(pattern_matches(block.data, block.size, 1));
	shmb_close(session);
	session = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 100000, NULL, &other));
	assert_refused(shmb_free(session, block.handle), OTHER_POOL);
}

static uint32_t number_of(pid_t pid)
{
	shmb_client_info *clients;
	uint32_t number = 0;
	size_t count;

	assert_ok(shmb_list_clients(session, &clients, &count));
	for (size_t i = 0; i < count; i++)
		number = clients[i].pid == (uint32_t)pid ? clients[i].session : number;
	free(clients);
	return number;
}

/* Asked to end, it lets go at its next call, and only then its memory is free. */
static void end_politely(int control, const void *argument)
{
	shmb_connect_options options = {.socket_path = ((const struct daemon_fixture *)argument)->socket_path};
	shmb_session *own;
	shmb_block block;
	char byte = 0;
	int r;

	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_alloc(own, 50000, NULL, &block) == 0);
	CLIENT_CHECK(client_process_say(control, &byte, 1));
	CLIENT_CHECK(client_process_hear(control, &byte, 1));
	memset(block.data, 1, block.size); /* as long as it has not heard of it, it may write */
	while ((r = shmb_ping(own)) == 0)
		;
	CLIENT_CHECK(r == -SHMB_E_SESSION_ENDED);
	CLIENT_CHECK(client_process_say(control, &byte, 1));
	CLIENT_CHECK(client_process_hear(control, &byte, 1));
	signal(SIGSEGV, SIG_DFL);
	memset(block.data, 1, 1); /* others may have it: this is the end of the process */
}

static void test_asked_to_end(void **state)
{
	struct client_process process;
	char byte = 0;

	(void)state;
	client_process_start(&process, end_politely, &fixture);
	client_process_receive(&process, &byte, 1);
	uint32_t number = number_of(process.pid);
	assert_ok(shmb_end_session(session, number, false));
	assert_int_equal(pool_session_status(session).blocks, 1);
	client_process_send(&process, &byte, 1);
	client_process_receive(&process, &byte, 1);
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, pool_session_status(session).size);
	client_process_send(&process, &byte, 1);
	assert_int_equal(client_process_reap(&process), -SIGSEGV);
	assert_refused(shmb_end_session(session, number, false), SESSION_ENDED);
}

static void test_killed_by_an_administrator(void **state)
{
	struct client_process process;
	char byte;

	(void)state;
	client_process_start(&process, hold_one, &fixture);
	client_process_receive(&process, &byte, 1);
	assert_int_equal(kill(process.pid, SIGSTOP), 0); /* it would never hear of it */
	uint32_t number = number_of(process.pid);
	assert_ok(shmb_end_session(session, number, false));
	assert_ok(shmb_end_session(session, number, true));
	assert_int_equal(client_process_reap(&process), -SIGKILL);
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, pool_session_status(session).size);
}

/* Asked while it had no connection: it hears of it when it says hello. */
static void test_asked_while_lost(void **state)
{
	struct client_process process;
	char byte = 0;

	(void)state;
	client_process_start(&process, end_politely, &fixture);
	client_process_receive(&process, &byte, 1);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, NULL);
	assert_ok(shmb_end_session(session, number_of(process.pid), false));
	client_process_send(&process, &byte, 1);
	client_process_receive(&process, &byte, 1);
	pool_session_await_clients(session, 1);
	client_process_kill(&process);
	pool_session_assert_empty(session, pool_session_status(session).size);
}

static void test_who_may_end_a_session(void **state)
{
	shmb_session *reader = pool_session_open_read_only(&fixture);
	uint32_t own;

	(void)state;
	assert_refused(shmb_session_number(session, NULL), INVALID_ARGUMENT);
	assert_refused(shmb_session_number(NULL, &own), INVALID_ARGUMENT);
	assert_refused(shmb_end_session(reader, 1, false), READ_ONLY);
	assert_refused(shmb_end_session(session, 0, false), INVALID_ARGUMENT);
	assert_refused(shmb_end_session(session, 7777, false), SESSION_ENDED);
	shmb_close(reader);
	/* Oneself, too. */
	assert_ok(shmb_session_number(session, &own));
	assert_int_equal(own, number_of(getpid()));
	assert_ok(shmb_end_session(session, own, false));
	assert_refused(shmb_ping(session), SESSION_ENDED);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_killed_under_threads),
		TEST(test_idle_over_restarts),
		TEST(test_deaths_without_a_daemon),
		TEST(test_child_while_there_is_none),
		TEST(test_stopped_daemon),
		TEST(test_discarded),
		TEST(test_asked_to_end),
		TEST(test_killed_by_an_administrator),
		TEST(test_asked_while_lost),
		TEST(test_who_may_end_a_session),
	};

	return cmocka_run_group_tests_name("reconnect", tests, NULL, NULL);
}
