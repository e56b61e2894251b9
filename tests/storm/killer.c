/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lives of the daemon: see killer.h.
 *
 * Was a request unanswered when the daemon died? Certainly, if a slot was open; or if a client that asked while the daemon was known
 * to live is waiting still when it is known to be dead. Who asks in between does not count: it may have asked the dead.
 */
#include "tests/storm/killer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/pattern.h"

#define MS UINT64_C(1000000)

/* So small that memory, and records, run out now and then. */
#define SIZE "4M"
#define SIZE_GROWN "8M"
#define LIMITS "--max-size", "8M", "--max-blocks", "1024", "--max-sessions", "128"

#define LOOK_NS 200000              /* how often the driver looks whether the daemon lives */
#define DISTURBANCES 4              /* in one life of the daemon: fewer than this */
#define COMMIT_MAX_LOG2 12          /* commits of one life: about as many as it does in 30 ms */
#define TRAP_PATIENCE_NS (300 * MS) /* a daemon that has not come to its commit by then dies by the clock */

static void rest(uint64_t nanoseconds)
{
	ppoll(NULL, 0, &(struct timespec){.tv_nsec = (long)nanoseconds}, NULL);
}

/* Has it stopped itself? Leaves it to be reaped. */
static bool has_died(const struct daemon_fixture *daemon)
{
	siginfo_t info = {0};

	assert_int_equal(waitid(P_PID, (id_t)daemon->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	return info.si_pid != 0;
}

/*
 * Lets the daemon live for `nanoseconds`, while the clients are disturbed. `patient`: and for as long as somebody waits who did when
 * it became ready; one that waits for ever fails when the library's own patience ends, and is not saved by the next kill. Returns the
 * last moment at which it was known to be alive; `*out_died`: it has stopped itself.
 */
static uint64_t live(struct killer *killer, uint64_t nanoseconds, bool patient, bool *out_died)
{
	uint64_t start = ledger_now_ns(), alive = start, disturbances[DISTURBANCES - 1];
	uint64_t left = pattern_below(&killer->random, DISTURBANCES);

	for (unsigned i = 0; i < left; i++)
		disturbances[i] = start + pattern_below(&killer->random, nanoseconds < 10 * MS ? nanoseconds : 10 * MS);
	for (;;) {
		uint64_t now = ledger_now_ns();
		*out_died = has_died(killer->daemon);
		if (*out_died)
			return alive;
		alive = now;
		if (now >= start + nanoseconds && !(patient && crew_waiting_since(killer->crew, start)))
			return alive;
		if (left && now >= disturbances[left - 1]) {
			crew_disturb(killer->crew);
			left--;
		}
		crew_refill(killer->crew);
		rest(LOOK_NS);
	}
}

/* What the dead has left. `alive`: the last moment at which it was not. */
static void examine(struct killer *killer, uint64_t alive)
{
	unsigned waiting = crew_waiting_since(killer->crew, alive);
	struct autopsy autopsy;

	autopsy_of(killer->daemon->pool, &autopsy);
	histogram_add(&killer->histogram, &autopsy);
	killer->unanswered += autopsy.open || waiting;
}

static void set_trap(struct killer *killer, bool calm)
{
	char text[24];

	killer->trapped = false;
	unsetenv("SHMB_COMMIT_TRAP");
#ifdef SHMB_COMMIT_TRAP
	if (calm || pattern_below(&killer->random, 2))
		return;
	/* As often among the first few as among the last thousands. */
	uint64_t commit =
		1 + pattern_below(&killer->random, UINT64_C(1) << (1 + pattern_below(&killer->random, COMMIT_MAX_LOG2)));
	snprintf(text, sizeof text, "%" PRIu64, commit);
	setenv("SHMB_COMMIT_TRAP", text, 1);
	killer->trapped = true;
#else
	(void)calm;
	(void)text;
#endif
}

/* Limits so narrow that they are met all the time, and none that is so narrow that nothing goes on; drawn anew for each daemon. */
static void draw_quotas(struct killer *killer, char out_user[128], char out_session[128], char out_guarantee[64])
{
	uint64_t *random = &killer->random;
	bool limited = killer->crew->ledger->limited;

	strcpy(out_user, "user:*:bytes=none");
	strcpy(out_session, "session:*:bytes=none");
	if (limited && pattern_below(random, 4)) {
		snprintf(out_user, 128,
		         "user:*:bytes=%" PRIu64 "K,blocks=%" PRIu64 ",names=%" PRIu64 ",tickets=%" PRIu64 ",links=%" PRIu64
		         ",waiters=%" PRIu64,
		         1024 + pattern_below(random, 3072), 100 + pattern_below(random, 900), 10 + pattern_below(random, 200),
		         1 + pattern_below(random, 50), 1 + pattern_below(random, 200), pattern_below(random, 20));
	}
	if (limited && pattern_below(random, 4)) {
		snprintf(out_session, 128,
		         "session:*:bytes=%" PRIu64 "K,blocks=%" PRIu64 ",names=%" PRIu64 ",links=%" PRIu64 ",waiters=%" PRIu64,
		         256 + pattern_below(random, 2048), 30 + pattern_below(random, 300), 5 + pattern_below(random, 50),
		         pattern_below(random, 50), pattern_below(random, 10));
	}
	/* To somebody who is not there, so that it is missing to all. */
	snprintf(out_guarantee, 64, "user:4242=%s", limited && pattern_below(random, 2) ? "512K" : "1");
}

/* The next daemon. How it treats memory and users is drawn anew: the pool does not remember it. It also grows, once. */
static void respawn(struct killer *killer)
{
	static const char *const return_after[] = {"1ms", "5ms", "never"};
	char user[128], session[128], guarantee[64];

	draw_quotas(killer, user, session, guarantee);

	killer->grown = killer->grown || pattern_below(&killer->random, 32) == 0;
	daemon_fixture_respawn(killer->daemon, LIMITS, "--size", killer->grown ? SIZE_GROWN : SIZE, "--return-after",
	                       return_after[pattern_below(&killer->random, 3)], "--commit",
	                       pattern_below(&killer->random, 4) ? "on-alloc" : "up-front", "--zero",
	                       killer->crew->ledger->zeroed ? "on-free" : "never", "--quota", user, "--quota", session,
	                       "--guarantee", guarantee, NULL);
}

/* Starts daemons until one comes through its recovery. */
static void restart(struct killer *killer, bool calm)
{
	for (;;) {
		uint64_t dead = ledger_now_ns();
		set_trap(killer, calm);
		respawn(killer);
		int status = daemon_fixture_comes_up(killer->daemon);
		if (killer->daemon->pid)
			return;
		if (status != -SIGKILL || !killer->trapped)
			fail_msg("the daemon did not take its pool over, but ended with %d", status);
		examine(killer, dead); /* who waited for its predecessor waits still */
		killer->by_commit++;
		killer->in_recovery++;
	}
}

void killer_start(struct killer *killer, struct daemon_fixture *daemon, struct crew *crew, uint64_t seed)
{
	*killer = (struct killer){.daemon = daemon, .crew = crew, .random = seed};
	unsetenv("SHMB_COMMIT_TRAP");
	daemon_fixture_start_lasting(daemon, LIMITS, "--size", SIZE, "--zero", crew->ledger->zeroed ? "on-free" : "never", NULL);
}

void killer_wait(struct killer *killer)
{
	bool died;

	live(killer, MS + pattern_below(&killer->random, 29 * MS), false, &died);
	assert_false(died);
	if (pattern_below(&killer->random, 2))
		crew_continue(killer->crew);
}

void killer_strike(struct killer *killer, bool calm)
{
	bool died;
	uint64_t span = killer->trapped ? TRAP_PATIENCE_NS : MS + pattern_below(&killer->random, 29 * MS);
	bool patient = killer->trapped || pattern_below(&killer->random, 8) == 0;
	uint64_t alive = live(killer, span, patient, &died);

	if (died) {
		int status = daemon_fixture_wait(killer->daemon);
		if (status != -SIGKILL || !killer->trapped)
			fail_msg("the daemon has ended by itself with %d", status);
		killer->daemon->killed = true;
		killer->by_commit++;
	} else {
		alive = ledger_now_ns();
		daemon_fixture_kill(killer->daemon);
		killer->by_clock++;
	}
	examine(killer, alive);
	if (pattern_below(&killer->random, 4) == 0)
		crew_disturb(killer->crew); /* while nobody is there to notice */
	restart(killer, calm);
	if (pattern_below(&killer->random, 2))
		crew_continue(killer->crew);
}

unsigned killer_kills(const struct killer *killer)
{
	return killer->by_clock + killer->by_commit;
}

void killer_strike_at_rest(struct killer *killer)
{
	struct autopsy autopsy;

	daemon_fixture_kill(killer->daemon);
	autopsy_of(killer->daemon->pool, &autopsy);
	assert_false(autopsy.open); /* orphans may be looked at again just then, and circles that hold pages have */
	restart(killer, true);
}
