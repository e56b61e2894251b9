/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting in: a socket, the daemon's address, and hello, once or again and again. Used by whoever opens a session and by whoever takes one up
 * again; one thread a session at a time, without the mutex.
 */
#ifndef CLIENT_JOIN_H
#define CLIENT_JOIN_H

#include "hello.h"
#include "session.h"

/* What hello says of a session, as far as shmb_connect was told it. */
struct hello join_hello(const struct shmb_session *session);

/*
 * One attempt to be let in, until `deadline`. On success the exchange's joining connection may be adopted; else it is as after init. 0, or a
 * negative SHMB_E_* with its sentence.
 */
int join(struct shmb_session *session, struct hello *hello, int64_t deadline);

/* Attempts until `until`, for a daemon that has been gone since `since`; the first is made in any case, and has seconds. */
int join_by(struct shmb_session *session, struct hello *hello, int64_t since, int64_t until, int64_t deadline);

/* May an attempt that failed so succeed a little later? */
bool join_may_pass(int error);

/* Between two attempts, for a daemon that has been gone since `start`; not beyond `end`. */
void join_pause(int64_t start, int64_t end);

#endif
