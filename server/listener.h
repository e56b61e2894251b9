/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes clients in, within bounds, and keeps the list of all connections. Owned by the daemon; loop thread only.
 */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <stdint.h>
#include <uv.h>

#include "connection.h"

/* Milliseconds in which a client must say hello. */
#define LISTENER_HELLO_MS 5000

/* Connections of one uid that have not said hello: the oldest gives way to the newest. */
#define LISTENER_STRANGERS_MAX 64

struct listener_events {
	void (*frame)(struct connection *connection, const uint8_t *payload, size_t size);
	void (*lost)(struct connection *connection); /* a connection that has a session is over */
};

struct listener {
	uv_pipe_t pipe;
	uv_timer_t timer; /* runs while there are strangers */
	struct connection_host host;
	struct listener_events events;
	struct connection *strangers, *newest_stranger; /* not yet greeted, the oldest first */
	struct connection *known;                       /* the others */
	uint32_t count, max;
	bool open;
	void *data; /* the owner's */
};

/* Listens on a bound socket, which it takes over, and takes in up to `max` connections at a time. */
int listener_start(struct listener *listener, uv_loop_t *loop, int fd, uint32_t max, const struct listener_events *events,
                   void *data);

/* The connection has a session now. */
void listener_greeted(struct listener *listener, struct connection *connection);

/* Takes nobody in any more and closes all connections. Once the loop has run to its end, deinit. */
void listener_stop(struct listener *listener);
void listener_deinit(struct listener *listener);

#endif
