/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pid_namespace: a pid namespace that lasts while processes in it come and go, and the fork that puts them there.
 *
 *     struct pid_namespace inner;
 *     if (pid_namespace_open(&inner) < 0) skip();
 *     pid = pid_namespace_fork(inner.fd, SIGKILL);
 *
 * Its first process does nothing and keeps it; the test's own children in it are children of the test, which kills and reaps them by the
 * pids that they have outside. They share the test's /proc, where they have those pids too. Main thread only.
 */
#ifndef TESTS_SUPPORT_PID_NAMESPACE_H
#define TESTS_SUPPORT_PID_NAMESPACE_H

#include <sys/types.h>

struct pid_namespace {
	pid_t keeper; /* 0: closed */
	int fd;       /* what the namespace is known by, setns(2) */
};

/* A child namespace of the test's own. -errno; -EPERM: this user may not. */
int pid_namespace_open(struct pid_namespace *out_namespace);

/*
 * Kills whatever is left in it. The test's children there must have been reaped: the kernel waits for that. Nothing where it is closed
 * already, or all zeros.
 */
void pid_namespace_close(struct pid_namespace *namespace);

/* fork(2) into the namespace of that descriptor, 0: the test's own. The child gets `signal` when the test's process ends. */
pid_t pid_namespace_fork(int fd, int signal);

#endif
