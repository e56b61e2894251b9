/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session is subscribed to, and the events that have come. Part of a session; guarded by the mutex of its exchange. The public face
 * is in shmbuddy.h.
 */
#ifndef CLIENT_EVENTS_H
#define CLIENT_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "event_queue.h"
#include "shmbuddy.pb-c.h"

struct connection;
struct hello;
struct shmb_session;

/* All zeros: subscribed to nothing. */
struct events {
	uint32_t kinds; /* subscribed to, SHMB_EVENT_*; 0: nothing */
	bool refused;   /* it was more, and a daemon has not taken it up again: the next call is told */
	char prefix[SHMB_NAME_MAX + 1];
	struct event_queue queue;
};

/* The connection's word that an event came. */
void events_told(struct connection *connection, const Shmbuddy__V1__Event *message);

/* Under the mutex: what the session is subscribed to, for a hello that takes it up again; `out_prefix` has room for any. */
void events_ask_again(const struct shmb_session *session, struct hello *hello, char out_prefix[SHMB_NAME_MAX + 1]);

/* Under the mutex, before anything else is heard on the new socket: the daemon has answered that hello. */
void events_taken_up_again(struct shmb_session *session, const struct hello *hello);

/* In a child, which is subscribed to nothing. `orderly` as in fork_guard.h. */
void events_in_child(struct events *events, bool orderly);

#endif
