/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_session: a raw_client that has said hello, and says requests word by word (raw_request.h). A test chooses slots and
 * sequences itself where it wants to (raw_session_send); the named calls use slot 0 and the next sequence. What cannot be
 * sent or received fails the running test; what the daemon answers is the test's to judge. Owned by the test; one thread.
 */
#ifndef TESTS_SUPPORT_RAW_SESSION_H
#define TESTS_SUPPORT_RAW_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shmbuddy.pb-c.h"
#include "tests/support/raw_client.h"

#define RAW_SESSION_TOKEN_SIZE 16

struct raw_session {
	struct raw_client client; /* .fd is -1 while closed */
	uint64_t sequence;        /* the last used in slot 0 */
	uint32_t number, incarnation, slots;
	uint64_t size; /* bytes of the segment */
	uint8_t token[RAW_SESSION_TOKEN_SIZE];
	int segment, view, lock; /* descriptors received with the welcome; -1: none */
};

#define RAW_SESSION_CLOSED ((struct raw_session){.client = {.fd = -1}, .segment = -1, .view = -1, .lock = -1})

/* Connects, says hello and keeps the welcome. */
void raw_session_open(struct raw_session *session, const char *socket_path, Shmbuddy__V1__Access access);

/*
 * The same with a token, on a new connection: the status of the answer. Descriptors stay what they are; with SESSION_ENDED the
 * incarnation becomes that of the daemon's pool.
 */
Shmbuddy__V1__Status raw_session_resume(struct raw_session *session, const char *socket_path);

/*
 * Adopts a clone whose token is set, on a new connection: `*out_status` is the answer's, and with OK the session is as if it were opened. A
 * negative errno: the daemon ended before it answered.
 */
int raw_session_adopt(struct raw_session *session, const char *socket_path, Shmbuddy__V1__Status *out_status);

/* Asks for the session's hold page, on a connection of its own. 0: `*out_status` is the answer's. A negative errno: the daemon ended first. */
int raw_session_open_holds(const struct raw_session *session, const char *socket_path, Shmbuddy__V1__Status *out_status);

/* Ends the connection alone: process, lock and mappings stay. */
void raw_session_disconnect(struct raw_session *session);

/* Closes all there is; without a goodbye. May be called twice. */
void raw_session_close(struct raw_session *session);

/* Fills in slot and sequence, sends, and receives the reply, for shmbuddy__v1__reply__free_unpacked(). */
Shmbuddy__V1__Reply *raw_session_send(struct raw_session *session, uint32_t slot, uint64_t sequence,
                                      Shmbuddy__V1__Request *request);

/* The status of one request each. `out_block` may be NULL; `name` may be NULL where it may be empty. */
Shmbuddy__V1__Status raw_session_call(struct raw_session *session, Shmbuddy__V1__Request *request);
Shmbuddy__V1__Status raw_session_ping(struct raw_session *session);
Shmbuddy__V1__Status raw_session_allocate(struct raw_session *session, uint64_t size, const char *name,
                                          Shmbuddy__V1__Handle *out_handle);
Shmbuddy__V1__Status raw_session_free(struct raw_session *session, const Shmbuddy__V1__Handle *handle);
Shmbuddy__V1__Status raw_session_publish(struct raw_session *session, const Shmbuddy__V1__Handle *handle, const char *name);
Shmbuddy__V1__Status raw_session_unpublish(struct raw_session *session, const char *name);
Shmbuddy__V1__Status raw_session_acquire(struct raw_session *session, const Shmbuddy__V1__Handle *handle);
Shmbuddy__V1__Status raw_session_lookup(struct raw_session *session, const char *name, Shmbuddy__V1__Handle *out_handle);

/* Events that come before the reply are passed over. */
Shmbuddy__V1__Status raw_session_subscribe(struct raw_session *session, uint32_t kinds, const char *prefix);

/* Sessions of the pool, and the blocks and bytes that this one holds, as ListClients tells it. */
struct raw_session_holdings {
	size_t sessions;
	uint64_t blocks, bytes;
};
void raw_session_holdings(struct raw_session *session, struct raw_session_holdings *out_holdings);

/* Waits until the pool has `count` sessions, this one included: what dies is cleaned up a moment later. */
void raw_session_wait_for_sessions(struct raw_session *session, size_t count);

#endif
