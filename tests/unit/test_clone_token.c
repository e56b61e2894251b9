/* SPDX-License-Identifier: Apache-2.0 */
/* Clones against a daemon that behaves, and one that does not: whatever comes back, a child's addresses are the parent's, or they fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/session.h"
#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/fake_daemon.h"

static struct fake_daemon fake;
static shmb_session *session;
static shmb_block block;
static struct client_process child = {.control = -1};

static int set_up(void **state)
{
	(void)state;
	fake_daemon_start(&fake);
	if (shmb_connect(&(shmb_connect_options){.socket_path = fake.path, .reconnect_ms = 1}, &session) < 0 ||
	    shmb_alloc(session, 100, NULL, &block) < 0)
		return -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_process_end(&child);
	fake.shared->mode = FAKE_SERVE;
	shmb_close(session);
	session = NULL;
	fake_daemon_stop(&fake);
	return 0;
}

static void test_strange_tokens(void **state)
{
	static const int cases[] = {STRANGE_NO_RESULT, STRANGE_SHORT_TOKEN, STRANGE_NUMBER};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		shmb_clone_token clone = {.session = 77};
		fake.shared->strange = cases[i];
		fake.shared->mode = FAKE_STRANGE;
		assert_int_equal(shmb_clone(session, &clone), -SHMB_E_PROTOCOL);
		assert_int_equal(clone.session, 77); /* outputs are left alone */
		fake.shared->mode = FAKE_SERVE;
		fake.shared->strange = STRANGE_NOTHING;
		shmb_close(session);
		session = NULL;
		assert_int_equal(shmb_connect(&(shmb_connect_options){.socket_path = fake.path, .reconnect_ms = 1}, &session), 0);
	}
}

static bool faults(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* no sanitizer's */
		*(volatile char *)block.data = 1;
		_exit(0);
	}
	CLIENT_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/* What is wrong is said, nothing is left open, and the next attempt is as good as the first. */
static void adopt_in_the_end(int control, const void *argument)
{
	static const struct {
		int strange, result;
	} cases[] = {
		{STRANGE_OTHER_TOKEN, -SHMB_E_PROTOCOL},   {STRANGE_OTHER_LIFE, -SHMB_E_PROTOCOL},
		{STRANGE_SHORT_SEGMENT, -SHMB_E_PROTOCOL}, {STRANGE_FEW_DESCRIPTORS, -SHMB_E_PROTOCOL},
		{STRANGE_HUGE, -SHMB_E_PROTOCOL},          {STRANGE_SHORT_VIEW, -SHMB_E_PROTOCOL},
		{STRANGE_REFUSED, -SHMB_E_NO_SUCH_POOL},
	};
	shmb_clone_token clone = *(const shmb_clone_token *)argument;
	size_t descriptors = descriptor_leaks_count(0);
	uint64_t size = fake.shared->size;

	(void)control;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake.shared->strange = cases[i].strange;
		CLIENT_CHECK(shmb_adopt(session, clone) == cases[i].result);
		CLIENT_CHECK(descriptor_leaks_count(0) == descriptors);
		CLIENT_CHECK(faults());
	}
	fake.shared->strange = STRANGE_NOTHING;
	fake.shared->size = size * 2; /* another pool */
	CLIENT_CHECK(shmb_adopt(session, clone) == -SHMB_E_PROTOCOL);
	CLIENT_CHECK(faults());
	fake.shared->size = size;
	CLIENT_CHECK(shmb_adopt(session, clone) == 0);
	CLIENT_CHECK(shmb_pointer(session, block.offset) == block.data);
	*(volatile char *)block.data = 1;
	CLIENT_CHECK(faults()); /* in a child of its own, which has not adopted anything */
	CLIENT_CHECK(shmb_adopt(session, clone) == -SHMB_E_INVALID_ARGUMENT);
	CLIENT_CHECK(shmb_ping(session) == 0);
	shmb_close(session);
	CLIENT_CHECK(faults());
}

static void test_strange_welcomes(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_int_equal(shmb_clone(session, &clone), 0);
	assert_int_equal(clone.incarnation, FAKE_INCARNATION);
	client_process_start(&child, adopt_in_the_end, &clone);
	assert_int_equal(client_process_reap(&child), 0);
	assert_int_equal(shmb_ping(session), 0);
}

/* After a bare clone(2) nobody has kept the addresses. Free as they are, they will do; else the child is told. */
static void test_bare_clone(void **state)
{
	shmb_clone_token clone;

	(void)state;
	for (int taken = 0; taken < 2; taken++) {
		int status, expected = taken ? -SHMB_E_SYSTEM : 0;
		assert_int_equal(shmb_clone(session, &clone), 0);
		fflush(NULL);
		pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid == 0) {
			if (taken)
				CLIENT_CHECK(mmap(block.data, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				                  0) == block.data);
			CLIENT_CHECK(shmb_adopt(session, clone) == expected);
			CLIENT_CHECK(shmb_ping(session) == 0);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

/* Another call was first, and then the session is the child's own. */
static void call_first(int control, const void *argument)
{
	(void)control;
	CLIENT_CHECK(shmb_ping(session) == 0);
	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == -SHMB_E_INVALID_ARGUMENT);
	CLIENT_CHECK(shmb_ping(session) == 0);
	CLIENT_CHECK(faults());
}

static void test_another_call_first(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_int_equal(shmb_clone(session, &clone), 0);
	client_process_start(&child, call_first, &clone);
	assert_int_equal(client_process_reap(&child), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_strange_tokens, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_strange_welcomes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bare_clone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_call_first, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("clone_token", tests, NULL, NULL);
}
