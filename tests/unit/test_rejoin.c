/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library loses its daemon and takes its session up again: against a daemon that cuts connections where the test wants it, before or
 * after it has done what was asked for, and that answers hello with a token as well or as badly as told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/deadline.h"
#include "client/session.h"
#include "shmbuddy.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/fake_daemon.h"

static struct fake_daemon fake;
static shmb_session *session;

static shmb_session *connected(uint32_t timeout_ms, uint32_t reconnect_ms)
{
	const shmb_connect_options options = {.socket_path = fake.path, .timeout_ms = timeout_ms, .reconnect_ms = reconnect_ms};
	shmb_session *opened = NULL;

	if (shmb_connect(&options, &opened) != 0)
		fail_msg("%s", shmb_last_error());
	return opened;
}

static int set_up(void **state)
{
	(void)state;
	fake_daemon_start(&fake);
	fake.shared->once = 1;
	session = connected(0, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	session = NULL;
	fake_daemon_stop(&fake);
	return 0;
}

#define assert_says(text) assert_non_null(strstr(shmb_last_error(), text))

static void cut(uint32_t times, bool done)
{
	fake.shared->cut_done = done;
	fake.shared->cuts = times;
}

static void refuse_resuming(enum fake_resume how, uint32_t times)
{
	fake.shared->resume = (int)how;
	fake.shared->resume_times = times;
}

/* ---- Once ------------------------------------------------------------------------------------------------------- */

/* Every operation, cut before and after it was done: one result, done once. */
static void test_each_operation_once(void **state)
{
	(void)state;
	for (int done = 0; done < 2; done++) {
		const uint64_t sizes[] = {10, 20, 30};
		uint32_t allocations = fake.shared->allocations, frees = fake.shared->frees, resumes = fake.shared->resumes;
		uint32_t repeats = fake.shared->repeats;
		shmb_block block, found, batch[3];
		shmb_handle handles[3];
		shmb_client_info *clients;
		size_t count;

		cut(1, done);
		assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
		cut(1, done);
		assert_int_equal(shmb_alloc_batch(session, sizes, 3, NULL, batch), 0);
		cut(1, done);
		assert_int_equal(shmb_lookup(session, "name", &found), 0);
		assert_int_equal(fake.shared->allocations - allocations, 5);
		cut(1, done);
		assert_int_equal(shmb_publish(session, block.handle, "name"), 0);
		cut(1, done);
		assert_int_equal(shmb_unpublish(session, "name"), 0);
		cut(1, done);
		assert_int_equal(shmb_free(session, block.handle), 0);
		for (int i = 0; i < 3; i++)
			handles[i] = batch[i].handle;
		cut(1, done);
		assert_int_equal(shmb_free_batch(session, handles, 3), 0);
		assert_int_equal(fake.shared->frees - frees, 4);
		cut(1, done);
		assert_int_equal(shmb_ping(session), 0);
		cut(1, false);
		assert_int_equal(shmb_list_clients(session, &clients, &count), 0);
		assert_int_equal(count, 5);
		free(clients);
		assert_int_equal(fake.shared->resumes - resumes, 9);
		assert_int_equal(fake.shared->repeats - repeats, done ? 8 : 0);
	}
}

/* The same request, cut again and again. */
static void test_cut_many_times(void **state)
{
	shmb_block block;

	(void)state;
	cut(20, false);
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	assert_int_equal(fake.shared->allocations, 1);
	assert_int_equal(fake.shared->resumes, 20);
	/* The next one has a number of its own. */
	cut(1, true);
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	assert_int_equal(fake.shared->allocations, 2);
}

#define THREADS 16
#define ROUNDS 40

static void *allocate_and_free(void *failed)
{
	for (int i = 0; i < ROUNDS; i++) {
		shmb_block block;

		if (shmb_alloc(session, 10, NULL, &block) < 0 || shmb_free(session, block.handle) < 0 || shmb_ping(session) < 0) {
			fprintf(stderr, "%s\n", shmb_last_error());
			*(bool *)failed = true;
		}
	}
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS];
	bool failed[THREADS] = {false};

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_free, &failed[i]), 0);
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(failed[i]);
	}
	assert_int_equal(fake.shared->allocations, THREADS * ROUNDS);
	assert_int_equal(fake.shared->frees, THREADS * ROUNDS);
}

/* Many under way, answered in the wrong order, more threads than slots: each is done once. */
static void test_threads(void **state)
{
	(void)state;
	shmb_close(session);
	fake.shared->slots = 5;
	session = connected(0, 0);
	fake.shared->mode = FAKE_REVERSE;
	fake.shared->cut_done = 1;
	for (int i = 0; i < 60; i++) {
		fake.shared->cut_spare = 11;
		fake.shared->cuts++;
	}
	run_threads();
	assert_true(fake.shared->resumes > 0);
}

/* ---- Who does not come back ------------------------------------------------------------------------------------- */

static void test_nobody_comes(void **state)
{
	shmb_session *patient = connected(60, 0), *short_window = connected(0, 30);
	shmb_block block;

	(void)state;
	fake.shared->once = 0; /* there are several sessions */
	assert_int_equal(shmb_alloc(patient, 10, NULL, &block), 0);
	refuse_resuming(RESUME_CUT, UINT32_MAX);
	cut(2, false);
	/* Its own timeout ends the call, */
	assert_int_equal(shmb_ping(patient), -SHMB_E_DISCONNECTED);
	assert_says("the daemon closed the connection");
	/* or the window does, and from then on there is one attempt a call. */
	assert_int_equal(shmb_ping(short_window), -SHMB_E_DISCONNECTED);
	assert_says("cannot be reached again");
	uint32_t resumes = fake.shared->resumes;
	assert_int_equal(shmb_ping(short_window), -SHMB_E_DISCONNECTED);
	assert_int_equal(fake.shared->resumes - resumes, 1);
	memset(block.data, 1, 10);

	/* And it comes after all. */
	refuse_resuming(RESUME_SAME, 0);
	assert_int_equal(shmb_ping(short_window), 0);
	assert_int_equal(shmb_ping(patient), 0);
	assert_int_equal(shmb_free(patient, block.handle), 0);
	shmb_close(patient);
	shmb_close(short_window);
}

/* What was given up before it was ever sent is not done later; what may bring a block is asked about, and the block given back. */
static void test_given_up(void **state)
{
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	session->timeout_ms = 20;
	refuse_resuming(RESUME_CUT, UINT32_MAX);
	cut(1, true);
	assert_int_equal(shmb_alloc(session, 10, NULL, &(shmb_block){0}), -SHMB_E_DISCONNECTED);
	assert_says("what was asked for may have been done");
	assert_int_equal(shmb_free(session, block.handle), -SHMB_E_DISCONNECTED);
	assert_says("what was asked for has not been done");
	assert_int_equal(shmb_alloc(session, 10, NULL, &(shmb_block){0}), -SHMB_E_DISCONNECTED);
	assert_says("what was asked for has not been done");
	refuse_resuming(RESUME_SAME, 0);
	session->timeout_ms = UINT32_MAX;
	assert_int_equal(shmb_ping(session), 0);
	while (fake.shared->frees == 0) /* whoever reads the late answer gives the block back */
		assert_int_equal(shmb_ping(session), 0);
	assert_int_equal(fake.shared->allocations, 2);
	assert_int_equal(fake.shared->frees, 1);
	assert_int_equal(fake.shared->last_freed, fake.shared->last_allocated); /* and not what could not be freed */
	assert_int_equal(fake.shared->repeats, 1);
}

/* A free that was sent, and given up, is not sent again: who asks twice means it twice. */
static void test_given_up_free(void **state)
{
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	session->timeout_ms = 20;
	refuse_resuming(RESUME_CUT, UINT32_MAX);
	cut(1, false);
	assert_int_equal(shmb_free(session, block.handle), -SHMB_E_DISCONNECTED);
	refuse_resuming(RESUME_SAME, 0);
	session->timeout_ms = UINT32_MAX;
	assert_int_equal(shmb_ping(session), 0);
	assert_int_equal(fake.shared->frees, 0);
	assert_int_equal(shmb_free(session, block.handle), 0);
	assert_int_equal(fake.shared->frees, 1);
}

/* A daemon that ends whenever it hears this request is not asked for ever by a call that waits, nor by one that has given up. */
static void test_poison(void **state)
{
	(void)state;
	shmb_close(session);
	session = connected(0, 20);
	cut(UINT32_MAX, false);
	assert_int_equal(shmb_alloc(session, 10, NULL, &(shmb_block){0}), -SHMB_E_DISCONNECTED);
	assert_says("it closes each connection without an answer");
	fake.shared->cuts = 0;
	assert_int_equal(shmb_ping(session), 0);
}

/* However long the daemon was away and however short a call's patience: a call tries once, and is answered when there is one again. */
static void test_short_patience(void **state)
{
	(void)state;
	cut(2, false);
	session->timeout_ms = 20;
	refuse_resuming(RESUME_CUT, UINT32_MAX);
	assert_int_equal(shmb_ping(session), -SHMB_E_DISCONNECTED);
	refuse_resuming(RESUME_SAME, 0);
	shmb_ping(session); /* let in, and cut off again */
	session->exchange.connection.lost_at -= 3600 * 1000 * DEADLINE_MS;
	session->exchange.connection.fruitless = 3;
	int tries = 0;
	while (shmb_ping(session) != 0)
		assert_true(++tries < 100);
}

/* Refusals that pass: what a crowded daemon says, and cut connections. */
static void test_refused_for_a_while(void **state)
{
	(void)state;
	for (int how = RESUME_FOREIGN; how <= RESUME_CUT; how++) {
		uint32_t resumes = fake.shared->resumes;

		refuse_resuming((enum fake_resume)how, 3);
		cut(1, false);
		assert_int_equal(shmb_ping(session), 0);
		assert_int_equal(fake.shared->resumes - resumes, 4);
	}
}

/* Refusals that end the call, and not the session. */
static void test_refused(void **state)
{
	(void)state;
	refuse_resuming(RESUME_VERSION, 1);
	cut(1, false);
	assert_int_equal(shmb_ping(session), -SHMB_E_VERSION);
	assert_int_equal(shmb_ping(session), 0);
	refuse_resuming(RESUME_OTHER, 1);
	cut(1, false);
	assert_int_equal(shmb_ping(session), -SHMB_E_PROTOCOL);
	assert_says("it is another session's");
	assert_int_equal(shmb_ping(session), 0);
}

/* ---- The end of a session --------------------------------------------------------------------------------------- */

static bool is_accessible(void *address)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	bool readable = write(fds[1], address, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return readable;
}

static void expect_over(const shmb_block *block, const char *text)
{
	shmb_block none;
	shmb_status status;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(shmb_free(session, block->handle), -SHMB_E_SESSION_ENDED);
		assert_says(text);
		assert_int_equal(shmb_alloc(session, 10, NULL, &none), -SHMB_E_SESSION_ENDED);
	}
	assert_int_equal(shmb_get_status(session, &status), 0);
}

static void test_ended(void **state)
{
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	refuse_resuming(RESUME_ENDED, UINT32_MAX);
	cut(1, false);
	assert_int_equal(shmb_ping(session), -SHMB_E_SESSION_ENDED);
	assert_false(is_accessible(block.data)); /* others may have it by now */
	expect_over(&block, "are not accessible any more; connect again (after shmb_close)");
	assert_int_equal(fake.shared->resumes, 1);
	uint32_t goodbyes = fake.shared->goodbyes;
	shmb_close(session);
	assert_int_equal(fake.shared->goodbyes, goodbyes);
	session = connected(0, 0);
	assert_int_equal(shmb_ping(session), 0);
}

static void test_made_anew(void **state)
{
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	refuse_resuming(RESUME_ANEW, UINT32_MAX);
	cut(1, false);
	assert_int_equal(shmb_ping(session), -SHMB_E_SESSION_ENDED);
	memset(block.data, 7, 10); /* nobody else's */
	expect_over(&block, "the pool was made anew");
}

/* By an event: whoever reads it next knows. */
static void test_told(void **state)
{
	size_t descriptors = descriptor_leaks_count(0);
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	fake_daemon_end_sessions(&fake, FAKE_INCARNATION);
	int r;
	while ((r = shmb_ping(session)) == 0)
		;
	assert_int_equal(r, -SHMB_E_SESSION_ENDED);
	assert_false(is_accessible(block.data));
	assert_int_equal(descriptor_leaks_count(0), descriptors - 2); /* the segment, and the lock: by that the daemon knows */
	fake_daemon_await(&fake.shared->ended, 1);
	expect_over(&block, "the session is over");
}

/* A session that is over is the parent's affair: a child has its own. */
static void test_child_of_an_ended_one(void **state)
{
	int status;

	(void)state;
	refuse_resuming(RESUME_ENDED, UINT32_MAX);
	cut(1, false);
	assert_int_equal(shmb_ping(session), -SHMB_E_SESSION_ENDED);
	pid_t child = fork();
	if (child == 0)
		_exit(shmb_ping(session) == 0 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* ---- Closing, forks, descriptors -------------------------------------------------------------------------------- */

static void test_close_while_lost(void **state)
{
	size_t descriptors = descriptor_leaks_count(0);
	shmb_session *lost = connected(0, 1);

	(void)state;
	refuse_resuming(RESUME_CUT, UINT32_MAX);
	cut(1, false);
	assert_int_equal(shmb_ping(lost), -SHMB_E_DISCONNECTED);
	uint32_t resumes = fake.shared->resumes;
	shmb_close(lost);
	assert_int_equal(fake.shared->resumes, resumes); /* nobody was looked for */
	assert_int_equal(descriptor_leaks_count(0), descriptors);
}

static void *ping_until_told(void *stop)
{
	while (!atomic_load((_Atomic bool *)stop))
		if (shmb_ping(session) < 0)
			return (void *)1;
	return NULL;
}

/* Forks while another thread looks for the daemon: the child has none of its parent's descriptors, and a session of its own. */
static void test_forks_beside(void **state)
{
	size_t own = descriptor_leaks_count(0);
	_Atomic bool stop = false;
	pthread_t thread;
	void *failed;

	(void)state;
	refuse_resuming(RESUME_CUT, UINT32_MAX);
	fake.shared->cuts = 1;
	assert_int_equal(pthread_create(&thread, NULL, ping_until_told, &stop), 0);
	fake_daemon_await(&fake.shared->resumes, 3);
	for (int i = 0; i < 30; i++) {
		int status;
		pid_t child = fork();
		if (child == 0)
			_exit(descriptor_leaks_count(0) > own - 2 ? 1
			      : shmb_ping(session) == 0           ? 0
			                                          : 2); /* socket and lock were the parent's */
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	refuse_resuming(RESUME_SAME, 0);
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
}

/* A child that has no room for what comes with a welcome is told so at once, and keeps nothing of it. */
static void test_child_without_room(void **state)
{
	uint32_t hellos = fake.shared->hellos;
	int status;

	(void)state;
	pid_t child = fork();
	if (child == 0) {
		int lowest = dup(STDIN_FILENO);
		struct rlimit limit = {(rlim_t)lowest + 3, (rlim_t)lowest + 3}; /* the socket, and two of the three */

		close(lowest);
		setrlimit(RLIMIT_NOFILE, &limit);
		int r = shmb_ping(session);
		_exit(r != -SHMB_E_SYSTEM ? 1 : dup(STDIN_FILENO) != lowest ? 2 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(fake.shared->hellos - hellos, 1);
}

/* The program has closed what is not its own, the number is another file's by now: that one stays open. */
static void test_descriptor_closed_by_others(void **state)
{
	int fd = session->exchange.connection.fd, lock = session->mapping->fds[MAPPING_LOCK];
	char byte = 'x';
	int fds[2];

	(void)state;
	close(fd);
	assert_int_equal(pipe(fds), 0);
	assert_true(fds[0] == fd || fds[1] == fd);
	assert_int_equal(shmb_ping(session), 0);
	assert_int_equal(fake.shared->resumes, 1);
	assert_int_equal(write(fds[1], &byte, 1), 1);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(session->mapping->fds[MAPPING_LOCK], lock);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_each_operation_once),
		TEST(test_cut_many_times),
		TEST(test_threads),
		TEST(test_nobody_comes),
		TEST(test_given_up),
		TEST(test_given_up_free),
		TEST(test_poison),
		TEST(test_refused_for_a_while),
		TEST(test_short_patience),
		TEST(test_refused),
		TEST(test_ended),
		TEST(test_made_anew),
		TEST(test_told),
		TEST(test_child_of_an_ended_one),
		TEST(test_close_while_lost),
		TEST(test_child_without_room),
		TEST(test_forks_beside),
		TEST(test_descriptor_closed_by_others),
	};

	return cmocka_run_group_tests_name("rejoin", tests, NULL, NULL);
}
