/* SPDX-License-Identifier: Apache-2.0 */
/* Processes in a pid namespace: see pid_namespace.h. pid_namespaces(7): who is in one is decided by the fork. */
#include "tests/support/pid_namespace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"

/* Has the kernel tell this child of its parent's end, also if that was a moment ago. From inside the parent has no pid to ask for. */
static void follow(int parent, int signal)
{
	struct pollfd end = {.fd = parent, .events = POLLIN};

	prctl(PR_SET_PDEATHSIG, signal);
	if (poll(&end, 1, 0) == 1)
		_exit(127);
}

static int open_namespace(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Kernels before 5.3 have no pidfds: then nobody looks whether the parent has gone already. */
static int open_self(void)
{
	return (int)syscall(SYS_pidfd_open, getpid(), 0);
}

pid_t pid_namespace_fork(int fd, int signal)
{
	CLEANUP_CLOSE int own = fd ? open_namespace("/proc/self/ns/pid") : -1;
	CLEANUP_CLOSE int parent = open_self();

	if (fd)
		assert_int_equal(setns(fd, CLONE_NEWPID), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		follow(parent, signal);
		return 0;
	}
	if (fd)
		assert_int_equal(setns(own, CLONE_NEWPID), 0);
	return pid;
}

int pid_namespace_open(struct pid_namespace *out_namespace)
{
	CLEANUP_CLOSE int own = open_namespace("/proc/self/ns/pid");
	CLEANUP_CLOSE int parent = open_self();
	char path[64];

	if (unshare(CLONE_NEWPID) < 0)
		return -errno;
	pid_t keeper = fork();
	if (keeper == 0) {
		follow(parent, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(setns(own, CLONE_NEWPID), 0);
	assert_true(keeper > 0);
	snprintf(path, sizeof path, "/proc/%ld/ns/pid", (long)keeper);
	*out_namespace = (struct pid_namespace){.keeper = keeper, .fd = open_namespace(path)};
	assert_true(out_namespace->fd >= 0);
	return 0;
}

void pid_namespace_close(struct pid_namespace *namespace)
{
	if (!namespace->keeper)
		return;
	kill(namespace->keeper, SIGKILL);
	waitpid(namespace->keeper, NULL, 0);
	close(namespace->fd);
	*namespace = (struct pid_namespace){0};
}
