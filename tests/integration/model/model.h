/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: what there is in a pool, as plainly as it can be told. The driver, a process of its own, keeps it; its actors (actor.h) are sessions in
 * further processes. A step (step.h) has an actor call the library, says what the answer must be, and does the same to the model; then
 * the driver waits until the daemon has come to rest (rest.h), and compares. Where something differs, the driver says where, with seed and step,
 * and ends with 1.
 *
 *     model.h   known_block.h   known_name.h   known_link.h   known_ticket.h      what is known
 *     known_account.h                                                             and who is charged with it
 *     adrift.h                                                                    what may be there or not
 *     puppet.h  actor.h                                                           who acts
 *     step.h    rest.h  expected_events.h  comparison.h                           what happens, and what is compared
 *
 * A new operation of the pool is a line in step.h and a function. One model a process, one thread.
 */
#ifndef TESTS_INTEGRATION_MODEL_MODEL_H
#define TESTS_INTEGRATION_MODEL_MODEL_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/integration/model/actor.h"
#include "tests/integration/model/known_account.h"
#include "tests/integration/model/known_block.h"
#include "tests/integration/model/known_link.h"
#include "tests/integration/model/known_name.h"
#include "tests/integration/model/known_ticket.h"

#define MODEL_POOL (UINT64_C(3) << 20) /* no power of two, and so small that it is full now and then */
#define MODEL_UNIT UINT64_C(64)
#define NOBODY (-1)

/* What a driver asks of the test that started it, by one byte: it may not use cmocka's assertions, and the daemon is not its own. */
enum model_wish {
	MODEL_KILL_DAEMON = 'k', /* and start another; answered by a byte */
	MODEL_RECOUNT = 'r',     /* the pool's records, counted afresh; answered by a struct model_recount */
};

struct model_recount {
	uint64_t links, holds; /* holds of sessions: as owner, by references, and in hold pages */
};

struct model_script {
	const char *prefix; /* of its names; what its programs are called */
	const char *socket_path, *pool;
	uint64_t seed;
	unsigned steps;
	bool alone;                        /* nobody else is in the pool: everything is predicted, events and counters too */
	bool users;                        /* actors are of several users: the driver is root */
	const struct known_limits *limits; /* NULL: there are no quotas */
};

struct model {
	struct model_script script;
	int control; /* to the test */
	uint64_t random_state;
	shmb_session *watcher; /* the driver's own: reads the view, and is told of events. Holds nothing */
	uid_t uid;             /* of driver and daemon */
	struct actor actors[ACTORS];
	struct known_block blocks[KNOWN_BLOCKS];
	struct known_name names[KNOWN_NAMES];
	struct known_link links[KNOWN_LINKS];
	struct known_ticket tickets[KNOWN_TICKETS];

	bool allocating;           /* the step wants memory: idle cache blocks may go */
	uint64_t evicted;          /* so many have */
	bool killing;              /* the daemon dies during the step, and another takes over */
	unsigned step;             /* number */
	const char *doing;         /* name of the step */
	unsigned answers[2];       /* of calls that were to be done, and to be refused */
	unsigned refusals, deaths; /* for want of memory; of the daemon */
	unsigned quota_refusals[QUOTA_KIND_COUNT];
	uint64_t most;         /* blocks at once */
	uint64_t collected[2]; /* blocks found to have gone by a collection; by one that was asked for */
};
extern struct model model;

/* Connects the watcher, and opens some sessions. */
void model_open(const struct model_script *script, int control);

/* Gives back everything, until nothing is left, and ends all processes. */
void model_close(void);

/* Plays the script, from model_open to model_close, and prints what came of it. As client_process wants it: `argument` is the script. */
void model_run(int control, const void *argument);

/* Below `limit`, which is not 0; the same after the same seed. */
uint64_t model_below(uint64_t limit);
static inline bool model_one_in(uint64_t n)
{
	return model_below(n) == 0;
}

/* Asks the test for something. */
void model_ask(enum model_wish wish, void *out_answer, size_t size);

/* May this user do what only the user `uid`, and root, may? */
static inline bool model_may(const struct actor *actor, uid_t uid)
{
	return actor->uid == uid || actor->uid == 0;
}

/* Ends the driver with 1. */
__attribute__((noreturn, format(printf, 3, 4))) void model_fail(const char *file, int line, const char *format, ...);

#define MODEL_CHECK(condition)                                                                                              \
	do {                                                                                                                    \
		if (!(condition))                                                                                                   \
			model_fail(__FILE__, __LINE__, "%s", #condition);                                                               \
	} while (0)

#define MODEL_EQUAL(found, expected)                                                                                        \
	do {                                                                                                                    \
		uint64_t found_ = (uint64_t)(found), expected_ = (uint64_t)(expected);                                              \
		if (found_ != expected_)                                                                                            \
			model_fail(__FILE__, __LINE__, "%s is %" PRIu64 ", and should be %s, %" PRIu64, #found, found_, #expected,      \
			           expected_);                                                                                          \
	} while (0)

#endif
