/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event-driven core: one socket, what waits to be sent, what came in, and the request slots. It never blocks by itself
 * and knows no thread: whoever owns it holds a lock around every function but connection_read, which touches only the socket
 * and the room that connection_prepare made. A blocking caller and an event loop drive the same functions:
 *
 *     claim a slot -> submit the request -> flush -> prepare, read, dispatch until the call is done
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arena.h"
#include "byte_queue.h"
#include "call.h"

/* Request slots used at most, whatever the daemon offers: one bit each in `busy`. */
#define CONNECTION_SLOTS_MAX 64

struct connection_slot {
	uint64_t sequence;    /* of the last request sent */
	struct call *call;    /* that has the slot; NULL: free, or its caller is gone while the reply is still to come */
	bool named;           /* that request allocates and publishes in one step */
	shmb_handle leftover; /* a block nobody asked for any more, which only its name will hold soon; id 0: none */
};

struct connection {
	int fd;                   /* owned; -1: none */
	bool lost;                /* nothing will be sent or received any more */
	bool deaf;                /* the daemon takes no more bytes; what it has said may still be read */
	char why[LAST_ERROR_MAX]; /* it was lost */
	struct byte_queue in, out;
	uint32_t max_frame; /* longest payload, either way */
	uint32_t slot_count;
	uint64_t busy; /* bit n: slot n */
	struct connection_slot slots[CONNECTION_SLOTS_MAX];
	struct call *first_waiting; /* for a slot, the oldest; there is none while a slot is free */
	struct call *last_waiting;
	struct arena arena; /* replies, decoded, while they are looked at */
};

/* No socket yet. */
void connection_init(struct connection *connection);

/* Takes `fd`, a connected or connecting stream socket, over; one slot until connection_admit says more. */
void connection_start(struct connection *connection, int fd);

/* What the daemon grants once it has answered hello. */
void connection_admit(struct connection *connection, uint32_t slots, uint32_t max_frame);

/* Closes and frees. Whatever is outstanding is forgotten: nobody may be waiting. The connection is then as after init. */
void connection_deinit(struct connection *connection);

/* Gives `call` the lowest free slot: CALL_GRANTED. Else it waits in line, CALL_WAITING, or fails: CALL_DONE. */
void connection_claim(struct connection *connection, struct call *call);

/* Queues the request of a call that has a slot. Where that fails, so does the call, and the slot is free again. */
void connection_submit(struct connection *connection, struct call *call, Shmbuddy__V1__Request *request);

/*
 * Forgets a call that is not done; its memory may go. A slot whose request is on its way stays busy until the reply comes;
 * blocks that such a reply brings are given back at once, a name that came with an allocation included.
 */
void connection_abandon(struct connection *connection, struct call *call);

/* Sends what the socket takes. A daemon that is gone shows when reading. */
void connection_flush(struct connection *connection);

/* Whether connection_flush left something. */
static inline bool connection_has_output(const struct connection *connection)
{
	return byte_queue_length(&connection->out) > 0;
}

/* Makes room to read into, which stays in place until connection_dispatch. -ENOMEM. */
int connection_prepare(struct connection *connection);

/* How a wait for the socket goes on; all zeros at its start. */
struct connection_patience {
	bool exhausted; /* the cheap way was tried */
};

/*
 * Without the lock: reads what comes within `left` nanoseconds (INT64_MAX: for ever). Returns a number of bytes, 0 at the end
 * of the stream, -EAGAIN where nothing came or where `output` and the socket takes bytes again, or another negative errno.
 */
ssize_t connection_read(struct connection *connection, int64_t left, bool output, struct connection_patience *patience);

/* Waits for `events` of poll(2), at most `left` nanoseconds. Spurious returns are to be expected. */
void connection_poll(const struct connection *connection, short events, int64_t left);

/* With what connection_read returned: completes the calls whose replies are there. */
void connection_dispatch(struct connection *connection, ssize_t got);

/* Ends it: every call fails with `code`, and later ones with ERROR_DISCONNECTED. The descriptor stays until deinit. */
void connection_lose(struct connection *connection, enum error_code code, const char *why);

#endif
