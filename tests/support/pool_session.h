/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_session: sessions of the public library on a fixture's daemon, and what a test wants to know of its pool. Whatever
 * fails here fails the running test with the library's own sentence. A test that includes this includes shmbuddy.h itself
 * too, which links the library. Sessions belong to the test; main thread only.
 */
#ifndef TESTS_SUPPORT_POOL_SESSION_H
#define TESTS_SUPPORT_POOL_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"

/* Fails unless a call of the library returned 0, or -SHMB_E_`error`. */
#define assert_ok(call) pool_session_judge((call), 0, #call, __FILE__, __LINE__)
#define assert_refused(call, error) pool_session_judge((call), -(SHMB_E_##error), #call, __FILE__, __LINE__)
void pool_session_judge(int result, int expected, const char *call, const char *file, int line);

shmb_session *pool_session_open(const struct daemon_fixture *daemon);
shmb_session *pool_session_open_read_only(const struct daemon_fixture *daemon);
shmb_session *pool_session_open_as(const struct daemon_fixture *daemon, uid_t uid); /* as root, in the name of that user */

/* So many acquisitions go by request; then the session has a hold page (client/hold_page.c). */
#define POOL_SESSION_BEFORE_PAGE 4

/* Has the session acquire the block and free it, so often. */
void pool_session_get_page(shmb_session *session, shmb_handle handle);

shmb_status pool_session_status(shmb_session *session);

/*
 * Waits until the pool uses exactly `used` bytes: how many nanoseconds that took. Fails after five seconds, which is no
 * measure of speed but a net under what never comes.
 */
uint64_t pool_session_await_used(shmb_session *session, uint64_t used);

/* The same for the number of sessions, ours included. */
void pool_session_await_clients(shmb_session *session, uint64_t clients);

/* Fails unless nothing is left in the pool, and its free memory is one piece again, whose length is given. */
void pool_session_assert_empty(shmb_session *session, uint64_t longest_free);

/* Fails unless counters and listings agree: live blocks counted and summed up, without overlap, and names. */
void pool_session_recount(shmb_session *session);

uint64_t pool_session_now_ns(void); /* monotonic */

#endif
