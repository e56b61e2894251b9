/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may happen in a step. Each is a line of STEPS and a function in the room of its noun (step_*.c): the function draws what to do, has an
 * actor make the call, says what the answer must be, and does the same to the model. A new operation of the pool takes a line and a
 * function; and where its calls need more, a field in the mail (puppet.h).
 */
#ifndef TESTS_INTEGRATION_MODEL_STEP_H
#define TESTS_INTEGRATION_MODEL_STEP_H

#include <stdbool.h>

#include "shmbuddy.h"
#include "tests/integration/model/puppet.h"

struct actor;
struct known_block;
struct known_name;
struct mail;

/* name, how often it is drawn, whether the daemon may die during it (one call, by actor_perform, whose effect does not pass by itself) */
#define STEPS(X)                                                                                                            \
	X(alloc, 52, true)                                                                                                      \
	X(alloc_batch, 4, true)                                                                                                 \
	X(free, 64, true)                                                                                                       \
	X(free_batch, 8, true)                                                                                                  \
	X(acquire, 16, true)                                                                                                    \
	X(race, 8, false)                                                                                                       \
	X(remove, 6, true)                                                                                                      \
	X(publish, 16, true)                                                                                                    \
	X(unpublish, 12, true)                                                                                                  \
	X(lookup, 24, true)                                                                                                     \
	X(link, 16, true)                                                                                                       \
	X(unlink, 8, true)                                                                                                      \
	X(abandon, 5, false)                                                                                                    \
	X(collect, 3, true)                                                                                                     \
	X(seal, 4, true)                                                                                                        \
	X(cache, 8, true)                                                                                                       \
	X(set_metadata, 6, true)                                                                                                \
	X(resize, 16, true)                                                                                                     \
	X(share, 10, true)                                                                                                      \
	X(redeem, 12, true)                                                                                                     \
	X(revoke, 3, true)                                                                                                      \
	X(renew, 10, true)                                                                                                      \
	X(wait_for_memory, 3, false)                                                                                            \
	X(wait_for_name, 4, false)                                                                                              \
	X(open, 2, false)                                                                                                       \
	X(close, 1, false)                                                                                                      \
	X(kill, 1, false)                                                                                                       \
	X(end_session, 1, false)                                                                                                \
	X(clone, 2, false)

#define STEP_FUNCTION(name, weight, lethal) void step_##name(struct actor *actor);
STEPS(STEP_FUNCTION)
#undef STEP_FUNCTION

/* Draws one, and an idle actor, and does it. */
void step_draw(void);

/* The call's result must be that: 0, or a negative SHMB_E_*. */
void step_judge(const struct mail *mail, int expected);

/* The call was to be successful, and gave this block, whole; its bytes were there. */
void step_judge_block(const struct mail *mail, const struct known_block *block);

/* The bytes of this block are looked at in the actor's process, after a successful call. */
void step_expect_bytes(struct mail *mail, const struct known_block *block);

/* A time to live that is drawn for a block or a ticket: far away, or, where that can be waited for, so short that it has passed soon. */
#define STEP_TTL_MS UINT64_C(3600000)
#define STEP_TTL_SHORT_MS UINT64_C(1)
uint64_t step_draw_ttl(void);

/* What an allocation, or a look-up, of an actor has brought: refusals too. */
void step_take_allocated(struct actor *actor, struct known_name *name);
void step_take_found(struct actor *actor, const struct known_name *name);

/* 0, or what an actor is told who wants to change the block, and does not hold it. */
int step_judge_hold(const struct known_block *block, const struct actor *actor);

/* A refusal of an allocation must be true. */
void step_check_refusal(const struct mail *mail);

/* Bytes that are set aside for a size. */
uint64_t step_granted(uint64_t size);

/* A buddy is a power of two of units, and lies at a multiple of its own size. */
void step_check_place(const shmb_block *block, uint64_t alignment);

/* Has the actor make a call that wants memory. A daemon that dies in the middle of an eviction may have taken some of the names only: it does not. */
void step_allocate(struct actor *actor, puppet_call *call);

/* A call of an allocation as the mail says. */
void step_call_alloc(shmb_session **session, struct mail *mail);

#endif
