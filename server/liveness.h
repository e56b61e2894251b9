/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The liveness lock: how the daemon knows that a client's process, as it connected, is still there.
 *
 * Two things say so: its pidfd is not readable (peer.h), and it holds this lock, a read lock on a byte of the session's own, far beyond
 * the view's end. The daemon takes the lock itself, on a description opened for this alone, and sends the description away: so
 * it is held exactly as long as the description is open in the client, or on its way there. It vanishes at exit, at kill -9 and
 * at exec, it stays while the process is stopped, and a restarted daemon can test it without believing in pids.
 *
 * The byte goes by the session's serial number, which no other session gets: whoever keeps a description beyond his session's end holds
 * nobody else's lock. A process that locks other bytes through a description of its own can delay the end of a session whose process called
 * exec, until it lets go of that description, at its own end at the latest; it gains nothing else.
 *
 * The kernel keeps a file's locks in one list: a look costs some 3 ns a session of the pool.
 */
#ifndef SERVER_LIVENESS_H
#define SERVER_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

struct shared_object;

/* Opens a description of the view that holds the session's lock. The caller sends it, and closes it. */
int liveness_open_lock(const struct shared_object *view, uint64_t serial, int *out_fd);

/* Has the client let go of it? */
bool liveness_lock_is_free(const struct shared_object *view, uint64_t serial);

#endif
