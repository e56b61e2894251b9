/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event-driven core: one socket, what waits to be sent, what came in, and the request slots. It never blocks by itself
 * and knows no thread: whoever owns it holds a lock around every function but connection_read, which touches only the socket
 * and the room that connection_prepare made. A blocking caller and an event loop drive the same functions:
 *
 *     claim a slot -> submit the request -> flush -> prepare, read, dispatch until the call is done
 *
 * The socket may be lost and replaced by another one (connection_adopt): the slots outlive it.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arena.h"
#include "byte_queue.h"
#include "slots.h"

struct connection {
	int fd;                   /* owned; -1: none */
	bool lost;                /* nothing is sent or received, until another socket is adopted */
	int64_t lost_at;          /* deadline.h; the first that was lost since a request was answered */
	unsigned fruitless;       /* sockets lost since then, that one included */
	bool answered;            /* on this socket */
	enum error_code over;     /* why there will be no other socket; 0: there may be */
	char why[LAST_ERROR_MAX]; /* it was lost, or is over */
	bool deaf;                /* the daemon takes no more bytes; what it has said may still be read */
	bool admitted;            /* hello was answered here: what comes behind that is for whoever adopts the socket */
	struct byte_queue in, out;
	uint32_t max_frame; /* longest payload, either way */
	struct slots slots;
	struct arena arena; /* replies, decoded, while they are looked at */

	/* The daemon wants the session to end (an event). Under the lock; may call connection_end. NULL: nobody minds. */
	void (*told_over)(struct connection *connection, uint32_t incarnation);

	/* Something has happened that the session is subscribed to (an event). Under the lock. NULL: nobody minds. */
	void (*told_event)(struct connection *connection, const Shmbuddy__V1__Event *event);
};

/* No socket yet. */
void connection_init(struct connection *connection);

/* Takes `fd`, a connected or connecting stream socket, over; one slot until connection_admit says more. */
void connection_start(struct connection *connection, int fd);

/* What the daemon grants once it has answered hello. Nothing more is taken in until the socket is adopted. */
void connection_admit(struct connection *connection, uint32_t slots, uint32_t max_frame);

/*
 * Goes on with the socket of `from`, on which hello was answered, and whose own slots are free; `from` is as after init then. What was
 * not answered on the old socket is queued again, as it was: same slots, same sequences. -EPROTO: the daemon grants fewer slots than are
 * busy; nothing was changed.
 */
int connection_adopt(struct connection *connection, struct connection *from);

/* Closes the socket, which is lost: nobody may be waiting for it to read or to write. */
void connection_close_socket(struct connection *connection);

/* Closes and frees. Whatever is outstanding is forgotten: nobody may be waiting. The connection is then as after init. */
void connection_deinit(struct connection *connection);

/* The same where nothing is known of its memory, which is not given back. */
void connection_forget(struct connection *connection);

/* Gives `call` a slot, CALL_GRANTED, or a place in line, CALL_WAITING; or it fails, CALL_DONE, where the connection is over. */
void connection_claim(struct connection *connection, struct call *call);

/*
 * Queues the request of a call that has a slot; without a socket it is sent with the next one. Where that fails, so does the call, and the
 * slot is free again.
 */
void connection_submit(struct connection *connection, struct call *call, Shmbuddy__V1__Request *request);

/* Where so many bytes wait for the socket to take them, what nobody waits for is not queued behind them. */
#define CONNECTION_TELL_MAX 65536

/* Sends a request that has no slot and no reply; without a socket, without memory, or behind more than CONNECTION_TELL_MAX, it is lost. */
void connection_tell(struct connection *connection, const Shmbuddy__V1__Request *request);

/*
 * Forgets a call that is not done; its memory may go. A slot whose request is on its way stays busy until the reply comes;
 * blocks that such a reply brings are given back at once, a name that came with an allocation included. (Where three sockets in a row are
 * lost without it, nobody asks for it any more, and such a block stays the session's.) False: it was never sent, and will
 * not be.
 */
bool connection_abandon(struct connection *connection, struct call *call);

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

/* The socket is of no use any more; it stays open until another is adopted. Calls that are `once` fail with DISCONNECTED. */
void connection_lose(struct connection *connection, const char *why);

/*
 * It is over for good: every call fails with `code`, and so do later ones, but for ERROR_PROTOCOL: those with ERROR_DISCONNECTED. The
 * descriptor stays until deinit.
 */
void connection_end(struct connection *connection, enum error_code code, const char *why);

#endif
