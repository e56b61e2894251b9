/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's socket: frames in, bytes out, within bounds. Knows nothing of what frames mean; whoever hosts it is told of each
 * frame and of the end. Made by the listener, frees itself after its end. Loop thread only.
 */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "byte_queue.h"
#include "peer.h"

struct connection;
struct session;

/* Reply bytes queued, beyond which a connection is not read until its client has taken them. */
#define CONNECTION_QUEUE_MAX (256u << 10)

/* Bytes read at once, and worked on in one turn of the loop: some 1,500 of the smallest requests, a millisecond or two. */
#define CONNECTION_READ_SIZE 16384

struct connection_host {
	/* A frame's payload; valid during the call. */
	void (*frame)(struct connection *connection, const uint8_t *payload, size_t size);
	/* The length of a frame was wrong: -EPROTO, or -EMSGSIZE. The connection ends once what is queued is written. */
	void (*malformed)(struct connection *connection, int error);
	/* The connection is over: take it off your lists. Called once; it is freed afterwards. */
	void (*closed)(struct connection *connection);
	uint8_t *read_buffer; /* CONNECTION_READ_SIZE, shared by all: no connection keeps one while it is idle */
	void *data;           /* the host's own */
};

/* Somebody who writes to a connection on his own account, beside its host; he sets himself as its `guest`. */
struct connection_guest {
	void (*drained)(struct connection_guest *guest); /* the socket took less than it was given, and has taken all by now */
	void (*closed)(struct connection_guest *guest);  /* the connection is over: he is to forget it */
};

struct connection {
	uv_pipe_t pipe;
	const struct connection_host *host;
	struct connection *prev, *next; /* the host's lists */
	struct connection_guest *guest; /* NULL: none */
	struct session *session;        /* NULL before hello, and after the session's end */
	struct peer peer;
	uint64_t opened_at;        /* uv_now() */
	struct byte_queue in;      /* the start of a frame whose rest has not come */
	struct byte_queue out;     /* replies not yet given to the socket */
	struct byte_queue sending; /* what uv_write is working on: must not move */
	uv_write_t write;
	bool greeted; /* hello was answered: frames may be long */
	bool writing; /* uv_write is working */
	bool paused;  /* not read: too much is queued */
	bool sated;   /* a read has filled the buffer: the next one is another turn's */
	bool ending;  /* closes when all is written */
	bool closing;
};

/* Takes a client from a listening pipe. -errno: nothing was made. */
int connection_accept(const struct connection_host *host, uv_stream_t *server, struct connection **out_connection);

/* Starts to read. */
int connection_start(struct connection *connection);

/* Reads what has come already, without waiting until the loop gets to it. Not to be called from within a frame. */
void connection_read_now(struct connection *connection);

/* Room for `size` bytes at the end of the queue, or NULL: no memory, and the connection was closed. */
uint8_t *connection_reserve(struct connection *connection, size_t size);
void connection_commit(struct connection *connection, size_t size);

/* Is something queued that was not given to the socket? */
static inline bool connection_has_output(const struct connection *connection)
{
	return byte_queue_length(&connection->out) > 0;
}

/* Drops what is queued and was not given to the socket. */
void connection_discard(struct connection *connection);

/* Gives the queue to the socket. Happens by itself after each read; to be called for replies that come later. */
void connection_flush(struct connection *connection);

/* Sends the queue at once, `count` descriptors (at most 4) with its first byte. The queue was empty before this reply. */
int connection_flush_with(struct connection *connection, const int *descriptors, size_t count);

/* Closes once what is queued has been written; reads no more. */
void connection_end(struct connection *connection);

/* Closes at once. */
void connection_close(struct connection *connection);

/* The socket's descriptor, the pipe's property. */
int connection_descriptor(const struct connection *connection);

#endif
