/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation that forks: see operation.h. A child adopts a clone of the client's session, finds all that its seat holds at the client's
 * addresses, gives some of it back and leaves, while daemons die. The ledger knows nothing of it: when the operation has ended nothing of
 * the child is left, and what the client holds is what it held.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/storm/client.h"
#include "tests/support/pattern.h"

/* A clone lives for 10 seconds. A machine that takes as long between two calls has done so before nobody came to adopt it. */
#define LATE_NS UINT64_C(9000000000)

/* Clones of this process's session; those that came to nothing may still be cleared away, and never end here. */
static _Atomic uint64_t begun, ended;

uint64_t operation_clone_mark(void)
{
	uint64_t over = atomic_load(&ended);

	return atomic_load(&begun) == over ? over : UINT64_MAX;
}

bool operation_was_cloned(uint64_t mark)
{
	return mark == UINT64_MAX || atomic_load(&begun) != mark;
}

/* Each block is held once, however often its parent holds it. */
static bool was_before(const struct client *client, unsigned at)
{
	const struct ledger_hold *holds = client->seat->holds;

	for (unsigned i = 0; i < at; i++)
		if (atomic_load(&holds[i].state) == HOLD_HELD && holds[i].handle.id == holds[at].handle.id)
			return true;
	return false;
}

static void live(struct client *client, shmb_clone_token clone, uint64_t cloned_ns)
{
	int result = shmb_adopt(client->session, clone);

	if (result == -SHMB_E_SESSION_ENDED && ledger_now_ns() - cloned_ns > LATE_NS)
		return;
	CLIENT_EXPECT(client, result == 0);
	for (unsigned i = 0; i < LEDGER_HOLDS; i++) {
		const struct ledger_hold *hold = &client->seat->holds[i];
		if (atomic_load(&hold->state) != HOLD_HELD)
			continue;
		client_verify(client, hold);
		if (pattern_below(&client->random, 8) || was_before(client, i))
			continue;
		CLIENT_EXPECT(client, shmb_free(client->session, hold->handle) == 0);
		/* STALE_HANDLE: the parent holds it by its hold page alone, and the daemon has not looked there yet. */
		int again = shmb_free(client->session, hold->handle);
		CLIENT_EXPECT(client, again == -SHMB_E_NOT_HELD || again == -SHMB_E_STALE_HANDLE);
		CLIENT_EXPECT(client, shmb_acquire(client->session, hold->handle, &(shmb_block){.size = 0}) == 0);
	}
	shmb_close(client->session);
}

bool operation_fork(struct client *client)
{
	pid_t parent = getpid();
	shmb_clone_token clone;
	int status, result;

#ifdef __SANITIZE_THREAD__
	/* To that sanitizer what a thread did in the parent is not ordered before what the child does, which does not have the thread. */
	if (!client->alone)
		return false;
#endif
	atomic_fetch_add(&begun, 1);
	result = CLIENT_CALL(client, shmb_clone(client->session, &clone));
	uint64_t cloned_ns = ledger_now_ns();

	/* The pool has few references for so many that hold so much. */
	CLIENT_EXPECT(client, result == 0 || result == -SHMB_E_LIMIT);
	if (result < 0)
		return true;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			live(client, clone, cloned_ns);
		_exit(0);
	}
	CLIENT_EXPECT(client, pid > 0 && waitpid(pid, &status, 0) == pid);
	atomic_fetch_add(&ended, 1);
	CLIENT_EXPECT(client, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return true;
}
