/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor: a session of the model, in a process of its own. What it holds stands with the blocks (known_block.h).
 */
#ifndef TESTS_INTEGRATION_MODEL_ACTOR_H
#define TESTS_INTEGRATION_MODEL_ACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/integration/model/puppet.h"

#define ACTORS 8

/* The kinds of calls that keep an actor busy, and what ends them: step_waits.c. */
enum actor_wait {
	ACTOR_IDLE = 0,
	ACTOR_WAITS_FOR_MEMORY,
	ACTOR_WAITS_FOR_NAME,
};

struct actor {
	struct puppet puppet;
	bool there; /* it has a session */
	enum actor_wait wait;
	uid_t uid;
	bool read_only;
	uint32_t session; /* number */
	int name;         /* that it waits for */
	uint64_t need;    /* bytes in a row that it waits for */
	unsigned deaths;  /* of the daemon, when it began to wait */
};

/* Starts its process, and connects; as which user, and whether to read only, is drawn. A quota may keep it from that: then it is not there. */
void actor_open(struct actor *actor);

/* Connects again, in its process, which ends where a quota keeps it from that. */
void actor_connect(struct actor *actor);

/* Its session has ended: what that held is given back. */
void actor_lost(struct actor *actor);

/* Kills its process, whatever it does. */
void actor_kill(struct actor *actor);

/* Has it make a call, during which the daemon dies if that is wanted (model.killing). The mail's result is left to be judged. */
struct mail *actor_perform(struct actor *actor, puppet_call *call);

/* The mail for its next call, all zeros. */
struct mail *actor_mail(struct actor *actor);

/* One that may act, or NULL; one that has no session, or NULL. */
struct actor *actor_idle(void);
struct actor *actor_vacant(void);

int actor_number(const struct actor *actor);
unsigned actor_count(void);

#endif
