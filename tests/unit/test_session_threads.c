/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads with one session of the library, and a daemon that is slow, answers in another order, or dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/session.h"
#include "shmbuddy.h"
#include "tests/support/fake_daemon.h"
#include "tests/unit/library_fixture.h"

#define THREADS 8

struct work {
	shmb_session *session;
	int rounds;
	int failure;
};

static void *allocate_and_free(void *argument)
{
	struct work *work = argument;

	for (int i = 0; i < work->rounds && !work->failure; i++) {
		uint64_t size = (uint64_t)(i % 1000) + 1;
		shmb_block block;

		work->failure = shmb_alloc(work->session, size, NULL, &block);
		if (!work->failure && block.size != size)
			work->failure = 1;
		if (!work->failure)
			work->failure = shmb_free(work->session, block.handle);
	}
	return NULL;
}

static void *free_many(void *argument)
{
	static const shmb_handle one = {.id = 1, .incarnation = 7};
	struct work *work = argument;
	shmb_handle *handles = calloc(SHMB_BATCH_MAX, sizeof *handles);

	for (size_t i = 0; handles && i < SHMB_BATCH_MAX; i++)
		handles[i] = one;
	for (int i = 0; i < work->rounds && !work->failure; i++)
		work->failure = handles ? shmb_free_batch(work->session, handles, SHMB_BATCH_MAX) : 1;
	free(handles);
	return NULL;
}

static void run_threads(shmb_session *session, int rounds, void *(*body)(void *), void (*meanwhile)(shmb_session *))
{
	struct work work[THREADS];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		work[i] = (struct work){.session = session, .rounds = rounds};
		assert_int_equal(pthread_create(&threads[i], NULL, body, &work[i]), 0);
	}
	if (meanwhile)
		meanwhile(session);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(work[i].failure, 0);
}

static void test_threads(void **state)
{
	static const int modes[] = {FAKE_SERVE, FAKE_REVERSE, FAKE_CRUMBS};

	(void)state;
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		fake.shared->mode = modes[i];
		fake.shared->slots = 64;
		shmb_session *session = connected(0);
		run_threads(session, 100, allocate_and_free, NULL);
		shmb_close(session);
		fake.shared->slots = 3; /* fewer than threads */
		session = connected(0);
		run_threads(session, 100, allocate_and_free, NULL);
		shmb_close(session);
	}
	assert_int_equal(fake.shared->allocations, 6 * THREADS * 100);
	assert_int_equal(fake.shared->frees, 6 * THREADS * 100);
}

/* Waits until a session's exchange is in a state that its threads get into by themselves. */
static void await_exchange(shmb_session *session, bool (*reached)(const struct exchange *))
{
	const struct timespec pause = {.tv_nsec = 1000000};
	bool there = false;

	while (!there) {
		pthread_mutex_lock(&session->exchange.mutex);
		there = reached(&session->exchange);
		pthread_mutex_unlock(&session->exchange.mutex);
		if (!there)
			nanosleep(&pause, NULL);
	}
}

/* Whatever is queued is sent before the mutex is free again, unless the socket refuses it. */
static bool socket_is_full(const struct exchange *exchange)
{
	return connection_has_output(&exchange->connection);
}

static bool one_reads_and_one_writes(const struct exchange *exchange)
{
	return exchange->reading && exchange->writing;
}

/* So that a few requests fill the socket, whatever the system's default is. */
static void narrow_socket(shmb_session *session)
{
	const int size = 8192;

	assert_int_equal(setsockopt(session->exchange.connection.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
}

static void wake_the_deaf(shmb_session *session)
{
	await_exchange(session, socket_is_full);
	fake.shared->mode = FAKE_SERVE;
}

static void let_all_arrive(shmb_session *session)
{
	await_exchange(session, one_reads_and_one_writes);
	fake.shared->mode = FAKE_SILENT;
	fake_daemon_await(&fake.shared->requests, 2 + THREADS);
	fake.shared->mode = FAKE_SERVE;
}

static void test_full_socket(void **state)
{
	shmb_session *session = connected(0);

	(void)state;
	narrow_socket(session);
	fake.shared->mode = FAKE_DEAF;
	run_threads(session, 2, free_many, wake_the_deaf);
	assert_int_equal(fake.shared->frees, THREADS * 2 * SHMB_BATCH_MAX);
	fake.shared->mode = FAKE_SERVE;
	shmb_close(session);
}

static void *ping_once(void *argument)
{
	struct work *work = argument;

	work->failure = shmb_ping(work->session);
	return NULL;
}

/* The library's waits for input alone that have begun. */
static _Atomic uint32_t input_waits;

/* In place of the C library's; under another name here, for its own declaration says that nobody reads what `fds` asks for. */
int counted_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) __asm__("ppoll");

int counted_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left = timeout ? *timeout : (struct timespec){0}; /* the kernel writes what is left */

	if (count == 1 && fds->events == POLLIN)
		atomic_fetch_add(&input_waits, 1);
	return (int)syscall(SYS_ppoll, fds, count, timeout ? &left : NULL, mask, (size_t)_NSIG / 8);
}

/* The thread that reads waits for input alone, and none comes; the others have more to send than the socket holds. */
static void test_full_socket_beside_a_slow_call(void **state)
{
	shmb_session *session = connected(0);
	struct work slow = {.session = session};
	pthread_t thread;

	(void)state;
	narrow_socket(session);
	fake.shared->mode = FAKE_SILENT;
	atomic_store(&input_waits, 0);
	assert_int_equal(pthread_create(&thread, NULL, ping_once, &slow), 0);
	fake_daemon_await(&fake.shared->requests, 2);
	fake_daemon_await(&input_waits, 1); /* the receive was patient, in vain */
	fake.shared->mode = FAKE_DEAF;
	run_threads(session, 1, free_many, let_all_arrive);
	pthread_join(thread, NULL);
	assert_int_equal(slow.failure, 0);
	assert_int_equal(fake.shared->frees, THREADS * SHMB_BATCH_MAX);
	shmb_close(session);
}

static void *ping_until_lost(void *argument)
{
	struct work *work = argument;

	while (work->failure == 0)
		work->failure = shmb_ping(work->session);
	work->failure = work->failure == -SHMB_E_DISCONNECTED ? 0 : 1;
	return NULL;
}

#define FEW_SLOTS 3

static bool the_rest_waits_for_a_slot(const struct exchange *exchange)
{
	int waiting = 0;

	for (const struct call *call = exchange->connection.slots.first_waiting; call; call = call->next_waiting)
		waiting++;
	return waiting == THREADS - FEW_SLOTS;
}

static void kill_the_daemon(shmb_session *session)
{
	fake_daemon_await(&fake.shared->requests, 100); /* all are at it */
	fake.shared->mode = FAKE_SILENT;
	await_exchange(session, the_rest_waits_for_a_slot);
	fake_daemon_stop(&fake);
}

static void test_lost_under_threads(void **state)
{
	shmb_session *session;

	(void)state;
	fake.shared->slots = FEW_SLOTS; /* some threads have one, some wait for one */
	session = connected(0);
	run_threads(session, 0, ping_until_lost, kill_the_daemon);
	shmb_close(session);
	fake_daemon_start(&fake);
}

static _Atomic uint32_t answered, unanswered;
static _Atomic bool enough;

static void *ping_impatiently(void *argument)
{
	struct work *work = argument;

	while (!atomic_load(&enough)) {
		int r = shmb_ping(work->session);

		if (r != 0 && r != -SHMB_E_TIMEOUT)
			work->failure = r; /* counted all the same, since `stutter` counts on it */
		if (r != 0)
			atomic_fetch_add(&unanswered, 1);
		if (r != -SHMB_E_TIMEOUT)
			atomic_fetch_add(&answered, 1);
	}
	return NULL;
}

/* The daemon falls silent until every thread may have run out of time, and speaks again until as many were answered. */
static void stutter(shmb_session *session)
{
	(void)session;
	for (int i = 0; i < 10; i++) {
		fake.shared->mode = FAKE_SILENT;
		fake_daemon_await(&unanswered, atomic_load(&unanswered) + THREADS);
		fake.shared->mode = FAKE_REVERSE;
		fake_daemon_await(&answered, atomic_load(&answered) + THREADS);
	}
	fake.shared->mode = FAKE_SERVE;
	atomic_store(&enough, true);
}

/* Leaders and followers run out of time in every order. */
static void test_timeouts_under_threads(void **state)
{
	shmb_session *session;

	(void)state;
	fake.shared->slots = 5;
	session = impatient(10);
	run_threads(session, 0, ping_impatiently, stutter);
	session->timeout_ms = UINT32_MAX;
	assert_int_equal(shmb_ping(session), 0);
	shmb_close(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_threads),
		TEST(test_full_socket),
		TEST(test_full_socket_beside_a_slow_call),
		TEST(test_lost_under_threads),
		TEST(test_timeouts_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
