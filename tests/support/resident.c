/* SPDX-License-Identifier: Apache-2.0 */
/* A client in namespaces of its own: see resident.h, user_namespaces(7). */
#include "tests/support/resident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

/* Calls after which it must have heard of its session's end. */
#define END_CALLS 1000

/* ---- Becoming somebody ------------------------------------------------------------------------------------------ */

static int write_line(const char *path, const char *line)
{
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line) ? 0 : -errno;
}

/* Who asks nobody may map one uid, his own. */
static int map_root_to(uid_t uid, gid_t gid)
{
	char line[64];
	int result = write_line("/proc/self/setgroups", "deny");

	snprintf(line, sizeof line, "0 %ld 1", (long)uid);
	if (result == 0)
		result = write_line("/proc/self/uid_map", line);
	snprintf(line, sizeof line, "0 %ld 1", (long)gid);
	return result < 0 ? result : write_line("/proc/self/gid_map", line);
}

int resident_become(enum resident_user user)
{
	if (user == RESIDENT_SAME)
		return 0;
	if (user == RESIDENT_OWN_ROOT && geteuid() == 0 &&
	    (setresgid(RESIDENT_UID, RESIDENT_UID, RESIDENT_UID) < 0 || setresuid(RESIDENT_UID, RESIDENT_UID, RESIDENT_UID) < 0))
		return -errno;
	prctl(PR_SET_DUMPABLE, 1); /* or /proc/self would be root's now */
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int result = unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
	if (result == 0 && user == RESIDENT_OWN_ROOT)
		result = map_root_to(uid, gid);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* forgotten with the former credentials */
	return result;
}

int resident_may_be(enum resident_user user)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(-resident_become(user));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

/* ---- In its process --------------------------------------------------------------------------------------------- */

struct start {
	const struct daemon_fixture *daemon;
	const struct resident *resident;
	enum resident_user user;
};

static void share(shmb_session *session, shmb_handle own)
{
	shmb_block found;

	CLIENT_CHECK(shmb_lookup(session, "of the test", &found) == 0);
	CLIENT_CHECK(pattern_matches(found.data, found.size, 1));
	CLIENT_CHECK(shmb_free(session, found.handle) == 0);
	CLIENT_CHECK(shmb_publish(session, own, "of the resident") == 0);
}

static void await_end(shmb_session *session, const shmb_block *block)
{
	int r = 0;

	memset(block->data, 1, block->size); /* as long as it has not heard of it, it may write */
	for (int calls = 0; r == 0 && calls < END_CALLS; calls++)
		r = shmb_ping(session);
	CLIENT_CHECK(r == -SHMB_E_SESSION_ENDED);
}

static void reside(int control, const void *argument)
{
	const struct start *start = argument;
	uint64_t seed = start->resident->seed;
	shmb_connect_options options = {.socket_path = start->daemon->socket_path, .program = start->resident->program};
	shmb_session *session;
	shmb_block block;
	pid_t own_pid = getpid();
	char word;

	CLIENT_CHECK(resident_become(start->user) == 0);
	CLIENT_CHECK(shmb_connect(&options, &session) == 0);
	CLIENT_CHECK(shmb_alloc(session, RESIDENT_SIZE, NULL, &block) == 0);
	pattern_write(block.data, block.size, seed);
	CLIENT_CHECK(client_process_say(control, &own_pid, sizeof own_pid));
	while (client_process_hear(control, &word, 1)) {
		switch ((enum resident_word)word) {
		case RESIDENT_LOOK:
			CLIENT_CHECK(pattern_matches(block.data, block.size, seed));
			CLIENT_CHECK(shmb_ping(session) == 0);
			CLIENT_CHECK(pattern_matches(block.data, block.size, seed));
			break;
		case RESIDENT_SHARE: share(session, block.handle); break;
		case RESIDENT_GOODBYE: shmb_close(session); break;
		case RESIDENT_END: await_end(session, &block); break;
		case RESIDENT_EXIT: _exit(0);
		case RESIDENT_TOUCH:
			signal(SIGSEGV, SIG_DFL);
			memset(block.data, 1, 1);
			break;
		}
		CLIENT_CHECK(client_process_say(control, &word, 1));
	}
}

/* ---- In the test's ---------------------------------------------------------------------------------------------- */

void resident_start(struct resident *resident, const struct daemon_fixture *daemon, int pid_namespace,
                    enum resident_user user)
{
	static unsigned number = 1;
	const struct start start = {.daemon = daemon, .resident = resident, .user = user};

	resident->seed = ++number; /* 1 is the test's own */
	snprintf(resident->program, sizeof resident->program, "resident %u", number);
	client_process_start_in(&resident->process, pid_namespace, reside, &start);
	client_process_receive(&resident->process, &resident->own_pid, sizeof resident->own_pid);
}

void resident_tell(struct resident *resident, enum resident_word word)
{
	char said = (char)word, answer = 0;

	client_process_send(&resident->process, &said, 1);
	if (word == RESIDENT_EXIT || word == RESIDENT_TOUCH)
		return;
	client_process_receive(&resident->process, &answer, 1);
	assert_int_equal(answer, said);
}

bool resident_find(const struct resident *resident, shmb_session *session, shmb_client_info *out_client)
{
	shmb_client_info *clients;
	bool found = false;
	size_t count;

	assert_ok(shmb_list_clients(session, &clients, &count));
	for (size_t i = 0; i < count; i++) {
		if (strcmp(clients[i].program, resident->program) != 0)
			continue;
		*out_client = clients[i];
		found = true;
	}
	free(clients);
	return found;
}
