/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_process: a function of the test run in a process of its own, with a socket between the two.
 *
 *     static void holder(int control, const void *argument) { … CLIENT_CHECK(…); … }
 *     client_process_start(&process, holder, &fixture);
 *     client_process_receive(&process, &message, sizeof message);
 *     client_process_kill(&process);
 *
 * The child dies with its parent, dumps no core, and must not use cmocka's assertions, which would jump into the parent's
 * tests. Main thread only.
 */
#ifndef TESTS_SUPPORT_CLIENT_PROCESS_H
#define TESTS_SUPPORT_CLIENT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

struct client_process {
	pid_t pid;   /* 0: reaped */
	int control; /* our end; -1: closed */
};

/* Forks. The child calls `run`, then _exit(0). `control` is its end of the socket, close-on-exec. */
void client_process_start(struct client_process *process, void (*run)(int control, const void *argument),
                          const void *argument);

/* The same in the pid namespace of that descriptor, as in pid_namespace.h. */
void client_process_start_in(struct client_process *process, int pid_namespace,
                             void (*run)(int control, const void *argument), const void *argument);

/* Bytes from and to the child, all of them; fails the test where it has gone. */
void client_process_receive(struct client_process *process, void *out_bytes, size_t size);
void client_process_send(struct client_process *process, const void *bytes, size_t size);

/* Sends one byte and waits until one comes back: the other end, whoever has it now, is alive. */
void client_process_echo(struct client_process *process);

/* Waits for its end without reaping it: a zombie, until client_process_reap. */
void client_process_await_zombie(struct client_process *process);

/* Exit status, or minus the signal. Closes our end after that. */
int client_process_reap(struct client_process *process);

/* SIGKILL, and reaps. */
void client_process_kill(struct client_process *process);

/* For a teardown: kills and reaps whatever still runs, however it ended; nothing where it is reaped already. */
void client_process_end(struct client_process *process);

/* Both for the child: false where the other end has gone. */
bool client_process_say(int control, const void *bytes, size_t size);
bool client_process_hear(int control, void *out_bytes, size_t size);

/* In the child, in place of an assertion: ends it with status 1. */
#define CLIENT_CHECK(condition)                                                                                             \
	do {                                                                                                                    \
		if (!(condition)) {                                                                                                 \
			dprintf(STDERR_FILENO, "%s:%d: in process %ld: %s: %s\n", __FILE__, __LINE__, (long)getpid(), #condition,       \
			        shmb_last_error());                                                                                     \
			_exit(1);                                                                                                       \
		}                                                                                                                   \
	} while (0)

#endif
