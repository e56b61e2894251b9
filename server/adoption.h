/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a clone (clone.h) gets its process. The story is told in adoption.c. Part of the pool's `sessions`; loop thread only.
 */
#ifndef SERVER_ADOPTION_H
#define SERVER_ADOPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

/* How long a clone waits for its process. */
#define ADOPTION_MS 10000

/* The session ends unless its process comes within ADOPTION_MS from now: one that adopts it, or that did and has not got its lock. */
void adoption_await(struct session *session);

/* It has come, or is not waited for any more. Nothing where it was not. */
void adoption_has_come(struct session *session);

/*
 * The peer wants to adopt the clone. True: the session is its own, from now on, or already and it has not been heard of since. False: it is
 * another's, or cannot be.
 */
bool adoption_take(struct session *session, const struct peer *peer);

/* The process that adopted it asks for something, so it has all that belongs to its session. */
void adoption_settle(struct session *session);
static inline void adoption_confirm(struct session *session)
{
	if (session->adopting)
		adoption_settle(session);
}

/* For recovery: a session that may be a clone. True: it has no process, and is waited for, or has ended. */
bool adoption_wake(struct session *session);

/* Clones of this user that wait to be adopted. */
uint32_t adoption_count(const struct pool *pool, uint32_t uid);

#endif
