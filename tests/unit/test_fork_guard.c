/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions across fork: what a child has, what it must not have, and that its parent never notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/session.h"
#include "shmbuddy.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/fake_daemon.h"

static struct fake_daemon fake;

static int set_up(void **state)
{
	(void)state;
	fake_daemon_start(&fake);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_daemon_stop(&fake);
	return 0;
}

static shmb_session *connected(void)
{
	const shmb_connect_options options = {.socket_path = fake.path, .reconnect_ms = 1};
	shmb_session *session = NULL;

	if (shmb_connect(&options, &session) != 0)
		fail_msg("%s", shmb_last_error());
	return session;
}

/* In a child cmocka's assertions would jump back into the parent's tests. */
#define child_assert(condition)                                                                                             \
	do {                                                                                                                    \
		if (!(condition)) {                                                                                                 \
			dprintf(2, "child, line %d: %s: %s\n", __LINE__, #condition, shmb_last_error());                                \
			_exit(1);                                                                                                       \
		}                                                                                                                   \
	} while (0)

static void assert_child_ended_well(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static sigjmp_buf fault;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault, 1);
}

static bool faults(volatile char *address)
{
	struct sigaction action = {.sa_handler = on_fault}, segv, bus;
	volatile bool faulted = true;

	sigaction(SIGSEGV, &action, &segv);
	sigaction(SIGBUS, &action, &bus);
	if (sigsetjmp(fault, 1) == 0) {
		*address = 1;
		faulted = false;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return faulted;
}

/* A page of the range, mapped by nobody else, whatever the child allocates. */
static bool is_reserved(const void *address)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512], rights[8];
	bool reserved = false;

	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3 && start <= (unsigned long)address &&
		    (unsigned long)address < end)
			reserved = strncmp(rights, "---p", 4) == 0;
	if (maps)
		fclose(maps);
	return reserved;
}

static void test_child_has_its_own(void **state)
{
	size_t descriptors = descriptor_leaks_count(0);
	shmb_session *session = connected();
	shmb_block block, own;
	pid_t pid;

	(void)state;
	assert_int_equal(shmb_alloc(session, 100, NULL, &block), 0);
	pid = fork();
	if (pid == 0) {
		child_assert(descriptor_leaks_count(0) == descriptors); /* at once, without a call */
		child_assert(is_reserved(block.data));
		child_assert(faults(block.data));
		child_assert(shmb_alloc(session, 10, NULL, &own) == 0);
		child_assert(own.data != block.data);
		memset(own.data, 2, 10);
		child_assert(is_reserved(block.data));
		child_assert(shmb_ping(session) == 0);
		shmb_close(session);
		child_assert(!is_reserved(block.data));
		child_assert(descriptor_leaks_count(0) == descriptors);
		_exit(0);
	}
	assert_child_ended_well(pid);
	assert_int_equal(fake.shared->hellos, 2);
	assert_int_equal(fake.shared->goodbyes, 1);
	memset(block.data, 1, 100);
	assert_int_equal(shmb_ping(session), 0);
	assert_int_equal(fake.shared->ended, 1); /* the child's connection; the parent's is what it was */
	shmb_close(session);
	assert_int_equal(fake.shared->goodbyes, 2);
}

static void test_child_closes_unused(void **state)
{
	shmb_session *session = connected();
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		shmb_close(session);
		_exit(0);
	}
	assert_child_ended_well(pid);
	assert_int_equal(shmb_ping(session), 0);
	assert_int_equal(fake.shared->hellos, 1);
	assert_int_equal(fake.shared->goodbyes, 0);
	shmb_close(session);
}

/* Every call that may be the first. */
static void test_first_calls(void **state)
{
	shmb_session *session = connected();
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_alloc(session, 100, NULL, &block), 0);
	for (int which = 0; which < 4; which++) {
		pid_t pid = fork();

		if (pid == 0) {
			shmb_status status;
			uint32_t cursor = 0;
			shmb_block_info info;

			if (which == 0)
				child_assert(shmb_get_status(session, &status) == 0 && status.size == 1 << 20);
			if (which == 1)
				child_assert(shmb_next_block(session, &cursor, &info) == 1);
			if (which == 2)
				child_assert(shmb_pointer(session, 5) && shmb_pointer(session, 5) != (char *)block.data + 5);
			if (which == 3)
				child_assert(shmb_free(session, block.handle) == 0);
			_exit(0); /* without a goodbye */
		}
		assert_child_ended_well(pid);
	}
	assert_int_equal(shmb_ping(session), 0);
	shmb_close(session);
}

static void test_grandchild(void **state)
{
	shmb_session *session = connected();
	shmb_block first, second, third;
	pid_t pid;

	(void)state;
	assert_int_equal(shmb_alloc(session, 100, NULL, &first), 0);
	pid = fork();
	if (pid == 0) {
		child_assert(shmb_alloc(session, 100, NULL, &second) == 0);
		pid = fork();
		if (pid == 0) {
			child_assert(is_reserved(first.data) && is_reserved(second.data));
			child_assert(shmb_alloc(session, 100, NULL, &third) == 0);
			shmb_close(session);
			child_assert(!is_reserved(first.data) && !is_reserved(second.data));
			_exit(0);
		}

		int status;

		child_assert(waitpid(pid, &status, 0) == pid && status == 0);
		memset(second.data, 1, 100);
		shmb_close(session);
		_exit(0);
	}
	assert_child_ended_well(pid);
	assert_int_equal(fake.shared->goodbyes, 2);
	assert_int_equal(shmb_ping(session), 0);
	shmb_close(session);
}

/* No daemon at the first call in the child: an error, and the next call tries again. */
static void test_child_without_daemon(void **state)
{
	shmb_session *session = connected();
	char elsewhere[120];
	pid_t pid;

	(void)state;
	snprintf(elsewhere, sizeof elsewhere, "%s.away", fake.path);
	assert_int_equal(rename(fake.path, elsewhere), 0);
	pid = fork();
	if (pid == 0) {
		child_assert(shmb_ping(session) == -SHMB_E_NO_DAEMON);
		child_assert(shmb_pointer(session, 0) == NULL);
		child_assert(rename(elsewhere, fake.path) == 0);
		child_assert(shmb_ping(session) == 0);
		shmb_close(session);
		_exit(0);
	}
	assert_child_ended_well(pid);
	assert_int_equal(shmb_ping(session), 0);
	shmb_close(session);
}

/* clone(2) without any handler. */
static void test_bare_clone(void **state)
{
	shmb_session *session = connected();
	shmb_block block;
	pid_t pid;

	(void)state;
	assert_int_equal(shmb_alloc(session, 100, NULL, &block), 0);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		child_assert(faults(block.data));
		child_assert(shmb_ping(session) == 0);
		child_assert(is_reserved(block.data));
		shmb_close(session);
		_exit(0);
	}
	assert_child_ended_well(pid);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		shmb_close(session);
		_exit(0);
	}
	assert_child_ended_well(pid);
	assert_int_equal(fake.shared->hellos, 2);
	assert_int_equal(fake.shared->goodbyes, 1);
	assert_int_equal(shmb_ping(session), 0);
	shmb_close(session);
}

/* ---- While other threads are busy ------------------------------------------------------------------------------- */

static _Atomic bool stop;

static void *work(void *argument)
{
	shmb_session *session = argument;
	shmb_block block;
	intptr_t failure = 0;

	while (!stop && !failure)
		if (shmb_alloc(session, 10, NULL, &block) != 0 || shmb_free(session, block.handle) != 0)
			failure = 1;
	return (void *)failure;
}

static void *come_and_go(void *argument)
{
	const shmb_connect_options options = {.socket_path = fake.path};
	intptr_t failure = 0;

	(void)argument;
	while (!stop && !failure) {
		shmb_session *session;

		failure = shmb_connect(&options, &session);
		if (!failure)
			shmb_close(session);
	}
	return (void *)failure;
}

static void fork_beside(shmb_session *session, void *(*body)(void *), size_t descriptors)
{
	pthread_t threads[3];

	stop = false;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, body, session), 0);
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			child_assert(descriptor_leaks_count(0) == descriptors);
			child_assert(shmb_ping(session) == 0);
			shmb_close(session);
			_exit(0);
		}
		assert_child_ended_well(pid);
	}
	stop = true;
	for (int i = 0; i < 3; i++) {
		void *failure;

		pthread_join(threads[i], &failure);
		assert_null(failure);
	}
	assert_int_equal(shmb_ping(session), 0);
}

static void test_beside_calls(void **state)
{
	size_t descriptors = descriptor_leaks_count(0);
	shmb_session *session = connected();

	(void)state;
	fork_beside(session, work, descriptors);
	shmb_close(session);
}

/* A descriptor that had not yet found its place in a session would stay open in some child. */
static void test_beside_connects(void **state)
{
	size_t descriptors = descriptor_leaks_count(0);
	shmb_session *session = connected();

	(void)state;
	fork_beside(session, come_and_go, descriptors);
	shmb_close(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_child_has_its_own),    TEST(test_child_closes_unused), TEST(test_first_calls),  TEST(test_grandchild),
		TEST(test_child_without_daemon), TEST(test_bare_clone),          TEST(test_beside_calls), TEST(test_beside_connects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
