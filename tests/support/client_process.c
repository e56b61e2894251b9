/* SPDX-License-Identifier: Apache-2.0 */
/* A process of the test's own: see client_process.h. */
#include "tests/support/client_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/support/pid_namespace.h"

void client_process_start_in(struct client_process *process, int pid_namespace,
                             void (*run)(int control, const void *argument), const void *argument)
{
	const struct rlimit no_core = {0, 0};
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	process->pid = pid_namespace_fork(pid_namespace, SIGKILL);
	assert_true(process->pid >= 0);
	if (process->pid == 0) {
		close(ends[0]);
		setrlimit(RLIMIT_CORE, &no_core);
		run(ends[1], argument);
		_exit(0);
	}
	close(ends[1]);
	process->control = ends[0];
}

void client_process_start(struct client_process *process, void (*run)(int control, const void *argument),
                          const void *argument)
{
	client_process_start_in(process, 0, run, argument);
}

bool client_process_say(int control, const void *bytes, size_t size)
{
	const uint8_t *from = bytes;

	while (size) {
		ssize_t sent = send(control, from, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		from += sent;
		size -= (size_t)sent;
	}
	return true;
}

bool client_process_hear(int control, void *out_bytes, size_t size)
{
	uint8_t *to = out_bytes;

	while (size) {
		ssize_t got = read(control, to, size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		size -= (size_t)got;
	}
	return true;
}

void client_process_receive(struct client_process *process, void *out_bytes, size_t size)
{
	if (!client_process_hear(process->control, out_bytes, size))
		fail_msg("process %ld has ended, or has closed its end", (long)process->pid);
}

void client_process_send(struct client_process *process, const void *bytes, size_t size)
{
	if (!client_process_say(process->control, bytes, size))
		fail_msg("process %ld does not listen any more", (long)process->pid);
}

void client_process_echo(struct client_process *process)
{
	char sent = 'e', back = 0;

	client_process_send(process, &sent, 1);
	client_process_receive(process, &back, 1);
	assert_int_equal(back, sent);
}

void client_process_await_zombie(struct client_process *process)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOWAIT), 0);
}

int client_process_reap(struct client_process *process)
{
	int status;

	assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
	process->pid = 0;
	if (process->control >= 0)
		close(process->control);
	process->control = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void client_process_kill(struct client_process *process)
{
	assert_true(process->pid > 0); /* kill(0) would end the test's whole process group */
	assert_int_equal(kill(process->pid, SIGKILL), 0);
	assert_int_equal(client_process_reap(process), -SIGKILL);
}

void client_process_end(struct client_process *process)
{
	if (process->pid <= 0)
		return;
	kill(process->pid, SIGKILL);
	client_process_reap(process);
}
