/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resident: a client in a process of its own, in a pid and a user namespace that the test chooses. It holds one block with bytes of its
 * own, and does what it is told. What goes wrong in it fails the test at the next word that it is sent. Main thread only.
 */
#ifndef TESTS_SUPPORT_RESIDENT_H
#define TESTS_SUPPORT_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"

/* Who it is. The daemon outside sees what comes behind. */
enum resident_user {
	RESIDENT_SAME,     /* as the test: its uid */
	RESIDENT_OWN_ROOT, /* root of a user namespace of its own: RESIDENT_UID where the test is root, else the test's uid */
	RESIDENT_UNMAPPED, /* in a user namespace that gives it no uid: the test's uid */
};
#define RESIDENT_UID 4321

/* Bytes of its block, and what the pool sets aside for it. */
#define RESIDENT_SIZE 50000
#define RESIDENT_GRANTED 65536

/* What it can be told; all but the last two are answered once they are done. */
enum resident_word {
	RESIDENT_LOOK = 'l',  /* a round trip; its block still has its bytes */
	RESIDENT_SHARE = 's', /* finds the block "of the test", looks at its bytes, and publishes its own as "of the resident" */
	RESIDENT_GOODBYE = 'g', /* closes its session, and goes on */
	RESIDENT_END = 'e',     /* writes and calls until its session is over */
	RESIDENT_TOUCH = 't',   /* writes into its block: to be said once that is not its own any more */
	RESIDENT_EXIT = 'x',    /* exits with status 0, without another call */
};

struct resident {
	struct client_process process;
	uint64_t seed;    /* of its bytes */
	char program[32]; /* by which listings know it */
	pid_t own_pid;    /* as it knows it itself */
};

/* 0, or -errno: this user may not make such a user namespace. */
int resident_may_be(enum resident_user user);

/* Returns once it has its block. `pid_namespace` as in pid_namespace.h. Whoever starts a RESIDENT_OWN_ROOT has opened the socket to all. */
void resident_start(struct resident *resident, const struct daemon_fixture *daemon, int pid_namespace,
                    enum resident_user user);

/* Says a word, and waits for the answer. */
void resident_tell(struct resident *resident, enum resident_word word);

/* What the daemon's listing says of it: false where there is no such session. */
bool resident_find(const struct resident *resident, shmb_session *session, shmb_client_info *out_client);

/* In a process of the test's own: becomes that user. 0, or -errno. */
int resident_become(enum resident_user user);

#endif
