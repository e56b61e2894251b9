/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fork against the real daemon: a child has no part in its parent's session. Its first call opens one of its own, what its
 * parent holds it does not, old addresses fault, and the parent never notices, whatever its threads are doing meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(16) << 20)

static struct daemon_fixture fixture;
static shmb_session *session; /* the parent's, which children inherit */
static shmb_block block;      /* the parent's too */
static struct client_process child = {.control = -1};

static int set_up(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, NULL);
	session = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 100000, NULL, &block));
	pattern_write(block.data, block.size, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_process_end(&child);
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

/* The parent is as it was: its block holds what it did, and goes when the parent says so. */
static void assert_parent_unharmed(void)
{
	shmb_block another;

	assert_true(pattern_matches(block.data, block.size, 1));
	assert_ok(shmb_ping(session));
	assert_ok(shmb_alloc(session, 4096, NULL, &another));
	assert_ok(shmb_free(session, another.handle));
	pool_session_await_clients(session, 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* ---- What a child has ------------------------------------------------------------------------------------------- */

static uint32_t number_of(shmb_session *asking, uint32_t pid)
{
	shmb_client_info *clients;
	uint32_t number = 0;
	size_t count;

	CLIENT_CHECK(shmb_list_clients(asking, &clients, &count) == 0);
	for (size_t i = 0; i < count; i++)
		if (clients[i].pid == pid)
			number = clients[i].session;
	free(clients);
	return number;
}

static void live_as_a_child(int control, const void *argument)
{
	uint32_t ours, parents;
	shmb_handle handles[2];
	shmb_block own;

	(void)argument;
	CLIENT_CHECK(shmb_session_number(session, &ours) == 0); /* opens a session */
	CLIENT_CHECK(ours == number_of(session, (uint32_t)getpid()));
	parents = number_of(session, (uint32_t)getppid());
	CLIENT_CHECK(ours != 0 && parents != 0 && ours != parents);
	CLIENT_CHECK(shmb_free(session, block.handle) == -SHMB_E_NOT_HELD);
	CLIENT_CHECK(shmb_publish(session, block.handle, "stolen") == -SHMB_E_NOT_HELD);
	CLIENT_CHECK(shmb_alloc(session, 5000, NULL, &own) == 0);
	pattern_write(own.data, own.size, 2);
	CLIENT_CHECK(pattern_matches(own.data, own.size, 2));
	handles[0] = own.handle;
	handles[1] = block.handle;
	CLIENT_CHECK(shmb_free_batch(session, handles, 2) == -SHMB_E_NOT_HELD); /* all or none */
	CLIENT_CHECK(shmb_free(session, own.handle) == 0);
	CLIENT_CHECK(shmb_free(session, own.handle) == -SHMB_E_STALE_HANDLE);
	client_process_say(control, "c", 1);
	client_process_hear(control, &(char){0}, 1); /* not closed: it ends with its process */
}

static void test_child_has_its_own_session(void **state)
{
	char byte;

	(void)state;
	client_process_start(&child, live_as_a_child, NULL);
	client_process_receive(&child, &byte, 1);
	assert_int_equal(pool_session_status(session).clients, 2);
	assert_ok(shmb_ping(session));
	client_process_send(&child, "e", 1);
	assert_int_equal(client_process_reap(&child), 0);
	assert_parent_unharmed();
}

/* Sharing is possible all the same: by name. */
static void look_up_in_child(int control, const void *argument)
{
	shmb_block shared;

	(void)control;
	(void)argument;
	CLIENT_CHECK(shmb_lookup(session, "family", &shared) == 0);
	CLIENT_CHECK(shared.handle.id == block.handle.id && shared.offset == block.offset);
	CLIENT_CHECK(pattern_matches(shared.data, shared.size, 1));
	pattern_write(shared.data, shared.size, 3);
	CLIENT_CHECK(shmb_free(session, shared.handle) == 0);
	CLIENT_CHECK(shmb_free(session, shared.handle) == -SHMB_E_NOT_HELD);
	shmb_close(session);
}

static void test_child_shares_by_name(void **state)
{
	(void)state;
	assert_ok(shmb_publish(session, block.handle, "family"));
	client_process_start(&child, look_up_in_child, NULL);
	assert_int_equal(client_process_reap(&child), 0);
	assert_true(pattern_matches(block.data, block.size, 3));
	pattern_write(block.data, block.size, 1);
	assert_ok(shmb_unpublish(session, "family"));
	assert_parent_unharmed();
}

/* ---- Old addresses ---------------------------------------------------------------------------------------------- */

/* In a process of its own, since it ought to die of it. By a bare clone where `bare`. */
static bool touching_kills(volatile uint8_t *address, bool bare)
{
	pid_t pid = bare ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
	int status;

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* no sanitizer's */
		*address = 0xee;
		_exit(0);
	}
	CLIENT_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void touch_old_addresses(int control, const void *argument)
{
	uint8_t *first = block.data, *last = first + block.size - 1;
	shmb_block own;

	(void)control;
	(void)argument;
	CLIENT_CHECK(touching_kills(first, false) && touching_kills(last, false)); /* before the first call */
	CLIENT_CHECK(shmb_ping(session) == 0);
	CLIENT_CHECK(touching_kills(first, false) && touching_kills(last, false)); /* and after it */
	CLIENT_CHECK(shmb_alloc(session, 4096, NULL, &own) == 0);
	CLIENT_CHECK(touching_kills(own.data, false));
	memset(own.data, 1, own.size); /* its own are no concern of ours */
}

static void test_old_addresses_fault(void **state)
{
	(void)state;
	client_process_start(&child, touch_old_addresses, NULL);
	assert_int_equal(client_process_reap(&child), 0);
	assert_true(touching_kills(block.data, false));
	assert_true(touching_kills(block.data, true));
	assert_parent_unharmed();
}

/* ---- Ways to be a child ----------------------------------------------------------------------------------------- */

static void close_in_child(int control, const void *argument)
{
	(void)control;
	if (*(const bool *)argument)
		CLIENT_CHECK(shmb_ping(session) == 0);
	shmb_close(session);
}

static void test_close_in_child(void **state)
{
	(void)state;
	for (int used = 0; used < 2; used++) {
		bool first_use_it = used != 0;

		client_process_start(&child, close_in_child, &first_use_it);
		assert_int_equal(client_process_reap(&child), 0);
	}
	assert_parent_unharmed();
}

/* Each generation uses the session, holds a block of its own, and has a child that must not free it. */
static void have_descendants(int generations, const shmb_block *ancestors)
{
	shmb_block own;
	int status;

	CLIENT_CHECK(shmb_free(session, ancestors->handle) == -SHMB_E_NOT_HELD);
	CLIENT_CHECK(shmb_alloc(session, 3000, NULL, &own) == 0);
	pattern_write(own.data, own.size, own.handle.id);
	if (generations > 0) {
		pid_t pid = fork();

		if (pid == 0) {
			have_descendants(generations - 1, &own);
			_exit(0);
		}
		CLIENT_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	}
	CLIENT_CHECK(pattern_matches(own.data, own.size, own.handle.id));
	CLIENT_CHECK(shmb_free(session, own.handle) == 0);
}

static void live_as_a_family(int control, const void *argument)
{
	(void)control;
	(void)argument;
	have_descendants(4, &block);
}

static void test_grandchildren(void **state)
{
	(void)state;
	client_process_start(&child, live_as_a_family, NULL);
	assert_int_equal(client_process_reap(&child), 0);
	assert_parent_unharmed();
}

/* No handler runs in a bare clone's child; the first call notices all the same. */
static void test_bare_clone(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		CLIENT_CHECK(shmb_ping(session) == 0);
		CLIENT_CHECK(shmb_free(session, block.handle) == -SHMB_E_NOT_HELD);
		CLIENT_CHECK(number_of(session, (uint32_t)getppid()) != 0);
		shmb_close(session);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_parent_unharmed();
}

/* Descriptors of the parent's session do not pile up in a line of children. */
static void count_descriptors(int control, const void *argument)
{
	size_t parents = *(const size_t *)argument;

	CLIENT_CHECK(shmb_ping(session) == 0);
	CLIENT_CHECK(descriptor_leaks_count(0) == parents + 1); /* `control` */
	shmb_close(session);
	CLIENT_CHECK(descriptor_leaks_count(0) < parents);
	(void)control;
}

static void test_descriptors_of_a_child(void **state)
{
	size_t ours;

	(void)state;
	ours = descriptor_leaks_count(0);
	client_process_start(&child, count_descriptors, &ours);
	assert_int_equal(client_process_reap(&child), 0);
	assert_int_equal(descriptor_leaks_count(0), ours);
	assert_parent_unharmed();
}

/* ---- Threads in calls while the process forks ------------------------------------------------------------------- */

#define BUSY_THREADS 3
#define FORKS 60

static atomic_bool over;
static _Atomic int failures;

static void *be_busy(void *argument)
{
	uint64_t seed = (uint64_t)(uintptr_t)argument, random_state = seed;

	while (!atomic_load(&over)) {
		shmb_block own;

		if (shmb_alloc(session, 1 + pattern_below(&random_state, 10000), NULL, &own) != 0) {
			atomic_fetch_add(&failures, 1);
			break;
		}
		pattern_write(own.data, own.size, own.handle.id);
		if (shmb_ping(session) != 0 || !pattern_matches(own.data, own.size, own.handle.id) ||
		    shmb_free(session, own.handle) != 0)
			atomic_fetch_add(&failures, 1);
	}
	return NULL;
}

static void live_beside_threads(int control, const void *argument)
{
	shmb_block own;

	(void)control;
	(void)argument;
	CLIENT_CHECK(shmb_alloc(session, 2000, NULL, &own) == 0);
	pattern_write(own.data, own.size, 9);
	CLIENT_CHECK(shmb_free(session, block.handle) == -SHMB_E_NOT_HELD);
	CLIENT_CHECK(pattern_matches(own.data, own.size, 9));
	CLIENT_CHECK(shmb_free(session, own.handle) == 0);
	shmb_close(session);
}

static void test_fork_beside_busy_threads(void **state)
{
	pthread_t threads[BUSY_THREADS];

	(void)state;
	atomic_store(&over, false);
	atomic_store(&failures, 0);
	for (uintptr_t i = 0; i < BUSY_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, be_busy, (void *)(i + 1)), 0);
	for (int i = 0; i < FORKS; i++) {
		client_process_start(&child, live_beside_threads, NULL);
		assert_int_equal(client_process_reap(&child), 0);
	}
	atomic_store(&over, true);
	for (int i = 0; i < BUSY_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&failures), 0);
	assert_parent_unharmed();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_child_has_its_own_session, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_child_shares_by_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_old_addresses_fault, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_close_in_child, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_grandchildren, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bare_clone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_descriptors_of_a_child, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fork_beside_busy_threads, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
