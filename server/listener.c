/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking clients in: see listener.h.
 *
 * Whoever connects and says nothing costs a descriptor and little else, for LISTENER_HELLO_MS. A thousand of them cost their own uid's
 * strangers their place, and nobody else: a client that says hello at once has long been greeted when it would be its turn to
 * give way.
 */
#include "listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "log.h"
#include "reply.h"

/* Connections waiting to be accepted: as many as the kernel takes (net.core.somaxconn). */
#define BACKLOG 4096

/* Milliseconds between looks at the strangers. */
#define LOOK_INTERVAL 250

static struct listener *listener_of(const struct connection *connection)
{
	return connection->host->data;
}

static void add(struct connection **first, struct connection **last, struct connection *connection)
{
	/* The list of strangers grows at its end, the other one at its start. */
	connection->prev = connection->next = NULL;
	if (last) {
		connection->prev = *last;
		if (*last)
			(*last)->next = connection;
		else
			*first = connection;
		*last = connection;
		return;
	}
	connection->next = *first;
	if (*first)
		(*first)->prev = connection;
	*first = connection;
}

static void take_off(struct listener *listener, struct connection *connection)
{
	if (connection->prev)
		connection->prev->next = connection->next;
	else if (listener->strangers == connection)
		listener->strangers = connection->next;
	else
		listener->known = connection->next;
	if (connection->next)
		connection->next->prev = connection->prev;
	else if (listener->newest_stranger == connection)
		listener->newest_stranger = connection->prev;
}

static void send_off(struct connection *connection, int status, const char *text)
{
	reply_status(connection, 0, 0, status, "%s", text);
	connection_end(connection);
	/* It has had its word; what its socket did not take is lost. */
	connection_close(connection);
}

/* Who said hello is no stranger, even if the loop has not come to it: many may have arrived while the daemon was kept busy. */
static void send_off_stranger(struct connection *connection, int status, const char *text)
{
	connection_read_now(connection);
	if (!connection->greeted && !connection->closing)
		send_off(connection, status, text);
}

/* The uid's oldest stranger gives way if there are too many of them. */
static void bound_strangers(struct listener *listener, const struct connection *newest)
{
	struct connection *oldest = NULL;
	unsigned count = 0;

	for (struct connection *c = listener->strangers; c; c = c->next) {
		if (c->peer.uid != newest->peer.uid)
			continue;
		if (!oldest)
			oldest = c;
		count++;
	}
	if (count <= LISTENER_STRANGERS_MAX)
		return;
	log_debug("uid %u has %u connections without hello: the oldest gives way", (unsigned)newest->peer.uid, count);
	send_off_stranger(oldest, ERROR_LIMIT, "too many connections of this user have not said hello: say hello at once");
}

static void look_at_strangers(uv_timer_t *timer)
{
	struct listener *listener = timer->data;
	uint64_t now = uv_now(timer->loop);

	while (listener->strangers && now - listener->strangers->opened_at >= LISTENER_HELLO_MS)
		send_off_stranger(listener->strangers, ERROR_LIMIT, "no hello within 5 seconds: the connection ends");
	if (!listener->strangers)
		uv_timer_stop(timer);
}

static void client_arrived(uv_stream_t *server, int status)
{
	struct listener *listener = server->data;
	struct connection *connection;

	if (status < 0) {
		/* libuv has closed what it could not take (EMFILE), so that it does not spin. */
		log_warning("a client could not be taken in: %s", uv_strerror(status));
		return;
	}
	int result = connection_accept(&listener->host, server, &connection);
	if (result < 0) {
		log_warning("a client could not be taken in: %s", uv_strerror(result));
		return;
	}
	listener->count++;
	add(&listener->strangers, &listener->newest_stranger, connection);
	if (listener->count > listener->max) {
		log_warning("%u clients are connected, as many as the daemon takes: one is sent away", listener->max);
		send_off(connection, ERROR_LIMIT,
		         "the daemon has as many connections as it takes: close some, or raise its limit of open files");
		return;
	}
	bound_strangers(listener, connection);
	if (connection_start(connection) < 0) {
		connection_close(connection);
		return;
	}
	if (!uv_is_active((uv_handle_t *)&listener->timer))
		uv_timer_start(&listener->timer, look_at_strangers, LOOK_INTERVAL, LOOK_INTERVAL);
}

static void closed(struct connection *connection)
{
	struct listener *listener = listener_of(connection);

	take_off(listener, connection);
	listener->count--;
	if (connection->session)
		listener->events.lost(connection);
}

static void frame(struct connection *connection, const uint8_t *payload, size_t size)
{
	listener_of(connection)->events.frame(connection, payload, size);
}

static void malformed(struct connection *connection, int error)
{
	reply_status(connection, 0, 0, ERROR_PROTOCOL, "%s: the connection ends",
	             error == -EMSGSIZE ? "the frame is longer than 1 MiB (4 KiB before hello)" : "a frame cannot be empty");
	connection_end(connection);
}

int listener_start(struct listener *listener, uv_loop_t *loop, int fd, uint32_t max, const struct listener_events *events,
                   void *data)
{
	*listener = (struct listener){
		.max = max,
		.events = *events,
		.data = data,
		.host = {.frame = frame, .malformed = malformed, .closed = closed, .data = listener},
	};
	listener->host.read_buffer = malloc(CONNECTION_READ_SIZE);
	if (!listener->host.read_buffer)
		return -ENOMEM;
	int result = uv_pipe_init(loop, &listener->pipe, 0);
	if (result < 0)
		return result;
	uv_timer_init(loop, &listener->timer);
	listener->open = true;
	listener->pipe.data = listener;
	listener->timer.data = listener;
	result = uv_pipe_open(&listener->pipe, fd);
	if (result == 0)
		result = uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, client_arrived);
	return result;
}

void listener_greeted(struct listener *listener, struct connection *connection)
{
	take_off(listener, connection);
	add(&listener->known, NULL, connection);
	connection->greeted = true;
}

void listener_stop(struct listener *listener)
{
	if (listener->open) {
		uv_close((uv_handle_t *)&listener->pipe, NULL);
		uv_close((uv_handle_t *)&listener->timer, NULL);
		listener->open = false;
	}
	while (listener->strangers)
		connection_close(listener->strangers);
	while (listener->known)
		connection_close(listener->known);
}

void listener_deinit(struct listener *listener)
{
	free(listener->host.read_buffer);
	listener->host.read_buffer = NULL;
}
