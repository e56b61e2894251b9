/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial: a pool of a daemon that is to die, with two sessions in it, one that has the operation and one that looks on, and what they know of the
 * pool. There is one at a time; what goes wrong fails the running test. Main thread only.
 */
#ifndef TESTS_INTEGRATION_COMMIT_POINTS_TRIAL_H
#define TESTS_INTEGRATION_COMMIT_POINTS_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_session.h"

#define TRIAL_BLOCKS 6
#define TRIAL_SLOT 1         /* of the operation's request */
#define TRIAL_LONG_MS 600000 /* nothing here lives to see it pass */

/* As root this process is two users, the one of `mine` and root, so that charges move from one to the other. */
#define TRIAL_MINE 1001

struct trial {
	struct daemon_fixture daemon;
	struct raw_session mine, other;
	struct raw_session clone; /* of `mine`, if there is one */
	Shmbuddy__V1__Handle block[TRIAL_BLOCKS];
	Shmbuddy__V1__Handle last_block; /* the block of the last answer that had one */
	uint8_t ticket[16];              /* that was shared beforehand, or last */
	/*
	 * Bytes of a block that is to grow in its place. What a killed daemon had committed behind it is on its way back to the kernel for a moment: then
	 * another block is made beside it. 0: the operation has one outcome.
	 */
	uint64_t grows;
};
extern struct trial trial;

/* A fresh pool with both sessions, and no block. */
void trial_open(void);

/* Starts a daemon that stops before commit `trap`; 0: never. False: it stopped before it served anybody. */
bool trial_start(uint64_t trap);

/* After a start: the session goes on, or is closed where it has ended. */
void trial_take_up(struct raw_session *session);

/* Ends it all. May be called twice. */
void trial_close(void);

void trial_become(uid_t uid);

/* ---- What `mine` asks ------------------------------------------------------------------------------------------- */

/* 0: answered; else the daemon died. */
int trial_ask(Shmbuddy__V1__Request *request, Shmbuddy__V1__Reply **out_reply);

/* The same, where the answer is OK and nothing else. False: the daemon died. */
bool trial_perform(Shmbuddy__V1__Request *request);

/* ---- What `other` asks, and sees -------------------------------------------------------------------------------- */

/* False: the daemon died. Again, what it is asked for may have gone already. */
bool trial_tell(Shmbuddy__V1__Request *request);

/* The pool has `count` sessions; it has no tickets and no times to live any more. False: the daemon died before that. */
bool trial_wait_for_sessions(size_t count);
bool trial_wait_for_expiry(void);

/* ---- Blocks, with a daemon that does not die -------------------------------------------------------------------- */

/* `name` may be NULL. */
void trial_allocate(struct raw_session *session, unsigned which, uint64_t size, const char *name);

/* 5000 bytes with a time to live. */
void trial_allocate_for(struct raw_session *session, unsigned which, uint64_t ttl_ms, const char *name);

void trial_link(unsigned from, unsigned to);

/* Block 0, by a ticket. */
void trial_share(struct raw_session *session);

#endif
