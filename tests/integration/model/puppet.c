/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puppets: see puppet.h. A call is the function's address, one answer one byte; and both lie in a socket whose two ends the driver keeps, so
 * that any process can become any puppet later, and what a dead one has not read can be thrown away. A puppet has none of
 * the driver's ends: when the driver has gone there is nobody left who could write, and it ends.
 */
#include "tests/integration/model/puppet.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/model/model.h"
#include "tests/support/client_process.h"
#include "tests/support/pattern.h"

#define PATIENCE_MS 120000

static struct puppet *all[PUPPETS_MAX];
static size_t all_count;
static shmb_session *session; /* of this process, where it is a puppet */

void puppet_prepare(struct puppet *puppet)
{
	int ends[2];

	MODEL_CHECK(all_count < PUPPETS_MAX);
	/* Whom a puppet has forked is ours when that puppet has ended. */
	MODEL_CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	void *mail = mmap(NULL, sizeof *puppet->mail, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MODEL_CHECK(mail != MAP_FAILED);
	MODEL_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	*puppet = (struct puppet){.mail = mail, .ours = ends[0], .theirs = ends[1], .number = (uint32_t)all_count};
	all[all_count++] = puppet;
}

/* ---- In the puppet ---------------------------------------------------------------------------------------------- */

static void check_bytes(struct mail *mail)
{
	const uint8_t *bytes = session && mail->expected_size ? shmb_pointer(session, mail->expected_offset) : NULL;

	mail->intact = bytes && pattern_matches(bytes, mail->expected_size, mail->expected_id);
}

__attribute__((noreturn)) static void obey(struct puppet *puppet)
{
	const char done = 'd';
	puppet_call *call;

	while (client_process_hear(puppet->theirs, &call, sizeof call)) {
		call(&session, puppet->mail);
		if (puppet->mail->result < 0) {
			snprintf(puppet->mail->sentence, sizeof puppet->mail->sentence, "%s", shmb_last_error());
			puppet->mail->explained = shmb_out_of_memory(&puppet->mail->oom);
		} else {
			check_bytes(puppet->mail);
		}
		if (!client_process_say(puppet->theirs, &done, 1))
			break;
	}
	_exit(0);
}

static void call_fork(shmb_session **own, struct mail *mail)
{
	struct puppet *child = all[mail->number];

	(void)own;
	mail->result = 0;
	if (fork() != 0)
		return;
	/* The child starts with an answer, which says that it is there. */
	const char done = 'd';
	child->mail->pid = getpid();
	client_process_say(child->theirs, &done, 1);
	obey(child);
}

/* ---- In the driver ---------------------------------------------------------------------------------------------- */

void puppet_start(struct puppet *puppet, uid_t uid)
{
	const struct rlimit no_core = {0, 0};

	MODEL_CHECK(puppet->pid == 0);
	fflush(NULL);
	puppet->called = false;
	puppet->pid = fork();
	MODEL_CHECK(puppet->pid >= 0);
	if (puppet->pid)
		return;
	for (size_t i = 0; i < all_count; i++)
		close(all[i]->ours);
	close(model.control);
	signal(SIGCHLD, SIG_IGN); /* those that it forks need nobody who reaps them */
	setrlimit(RLIMIT_CORE, &no_core);
	if (uid != geteuid() && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
		_exit(1);
	obey(puppet);
}

void puppet_fork(struct puppet *puppet, struct puppet *parent)
{
	MODEL_CHECK(puppet->pid == 0);
	parent->mail->number = puppet->number;
	puppet_perform(parent, call_fork);
	puppet->called = true;
	puppet_await(puppet);
	puppet->pid = puppet->mail->pid;
}

void puppet_post(struct puppet *puppet, puppet_call *call)
{
	MODEL_CHECK(!puppet->called);
	puppet->mail->result = 1; /* which no call says */
	MODEL_CHECK(client_process_say(puppet->ours, &call, sizeof call));
	puppet->called = true;
}

bool puppet_has_answered(const struct puppet *puppet)
{
	struct pollfd answer = {.fd = puppet->ours, .events = POLLIN};

	return poll(&answer, 1, 0) == 1;
}

void puppet_await(struct puppet *puppet)
{
	struct pollfd answer = {.fd = puppet->ours, .events = POLLIN};
	char done;

	MODEL_CHECK(puppet->called);
	if (poll(&answer, 1, PATIENCE_MS) != 1)
		model_fail(__FILE__, __LINE__, "process %ld does not answer", (long)puppet->pid);
	MODEL_CHECK(client_process_hear(puppet->ours, &done, 1));
	puppet->called = false;
}

static bool has_ended(pid_t pid)
{
	int status;
	pid_t reaped = waitpid(pid, &status, WNOHANG);

	if (reaped == pid)
		return true;
	return reaped < 0 && errno == ECHILD && kill(pid, 0) < 0; /* its parent lives, and has reaped it */
}

static void drain(int end)
{
	char bytes[64];

	while (recv(end, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		continue;
}

void puppet_await_end(struct puppet *puppet)
{
	for (int waited = 0; !has_ended(puppet->pid); waited++) {
		if (waited == 10 * PATIENCE_MS)
			model_fail(__FILE__, __LINE__, "process %ld does not end", (long)puppet->pid);
		usleep(100);
	}
	drain(puppet->ours);
	drain(puppet->theirs);
	puppet->pid = 0;
	puppet->called = false;
}

void puppet_kill(struct puppet *puppet)
{
	MODEL_CHECK(puppet->pid > 0);
	kill(puppet->pid, SIGKILL);
	puppet_await_end(puppet);
}
