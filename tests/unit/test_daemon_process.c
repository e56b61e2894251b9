/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon's process that runs, is stopped, is a zombie, is gone, or whose id another program has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/daemon_process.h"

/* A process of that name; it says when it has it, and ends with us. */
static pid_t start(const char *name)
{
	pid_t parent = getpid(), pid;
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || prctl(PR_SET_NAME, name) < 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void test_life(void **state)
{
	char name[PROCESS_NAME_MAX];
	pid_t pid = start("shmbuddyd");
	siginfo_t info;

	(void)state;
	assert_int_equal(daemon_process_look((uint32_t)pid, name), DAEMON_RUNS);
	assert_string_equal(name, "shmbuddyd");
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED), 0);
	assert_int_equal(daemon_process_look((uint32_t)pid, name), DAEMON_RUNS);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(daemon_process_look((uint32_t)pid, name), DAEMON_ENDED);
	assert_string_equal(name, "");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(daemon_process_look((uint32_t)pid, name), DAEMON_ENDED);
}

static void test_others(void **state)
{
	char name[PROCESS_NAME_MAX];
	pid_t pid = start("another\n");

	(void)state;
	assert_int_equal(daemon_process_look((uint32_t)pid, name), DAEMON_OTHER);
	assert_string_equal(name, "another?");
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(daemon_process_look(0, name), DAEMON_ENDED);
	assert_int_equal(daemon_process_look(UINT32_MAX, name), DAEMON_ENDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
