/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The killer: one life of the daemon after the other, on the same pool. Each ends by SIGKILL: half of them by the clock, 1 to 30
 * milliseconds after the daemon is ready; half of them at a commit of a random number, counted from the daemon's start, so that
 * recoveries fall too. Meanwhile clients are disturbed. Main thread only.
 */
#ifndef TESTS_STORM_KILLER_H
#define TESTS_STORM_KILLER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/storm/autopsy.h"
#include "tests/storm/crew.h"
#include "tests/support/daemon_fixture.h"

struct killer {
	struct daemon_fixture *daemon;
	struct crew *crew;
	uint64_t random;
	bool grown;                                /* the pool is larger than it was made */
	bool trapped;                              /* the daemon that runs has a commit before which it will stop */
	unsigned by_clock, by_commit, in_recovery; /* kills; those in recovery are counted by what they came from as well */
	unsigned unanswered;                       /* kills at which some request certainly had no answer */
	struct histogram histogram;
};

/* Makes the pool and starts the first daemon, which nothing threatens. Daemon and crew, which has its ledger, stay the caller's. */
void killer_start(struct killer *killer, struct daemon_fixture *daemon, struct crew *crew, uint64_t seed);

/* Some milliseconds of disturbed clients, without harm to the daemon. */
void killer_wait(struct killer *killer);

/* The same, then the end of the daemon and the next one's start. `calm`: nothing threatens that one. */
void killer_strike(struct killer *killer, bool calm);

/* Kills a daemon that has nothing to do, and starts a calm one. Not counted. */
void killer_strike_at_rest(struct killer *killer);

unsigned killer_kills(const struct killer *killer);

#endif
