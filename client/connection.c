/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The story of a request. It gets a slot, the lowest that is free, or waits in line for one. Its frame is packed straight into the
 * output queue and sent from there. Replies may come in any order; slot and sequence say whose each is. It is decoded into the
 * arena, the call copies what it wants, and the slot is free.
 *
 * When the socket is lost, the slots stay as they are. On the next one every request without an answer is sent again, in its slot
 * and with its sequence, packed anew from what its caller, who still waits, had asked for. The daemon does each once: what has
 * happened gets its recorded answer. Only a request that the daemon was still working on is answered twice, if it ended
 * just before it came again; the second answer is passed over.
 *
 * A caller that gives up leaves its slot busy: the daemon may still carry the request out. Not where it was never sent: what the caller
 * believes undone must not be done an hour later; so of what was sent only requests that may bring a block leave a copy of their frame, to
 * be sent again on another socket. When such a reply comes and brings a block, nobody knows the block, so a Free for it goes out in the same slot. Where the request was an Allocate with a name,
 * the name still holds the block then, and a Remove follows; it is refused where somebody has found the block meanwhile, who
 * may keep it.
 *
 * Whatever is not the protocol ends the connection for good: after one wrong byte none of the others mean anything. A send that fails
 * does not, because the daemon's last words may still be in the socket: reading comes to the end by itself.
 */
#include "connection.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "connection_replies.h"
#include "connection_requests.h"
#include "deadline.h"
#include "frame.h"
#include "name.h"

/* Room for one read. Replies are small; a page of a listing takes several. */
#define CONNECTION_READ_MIN ((size_t)4096)

/*
 * A plain blocking receive is one system call where poll and receive are two, but the kernel's timer for it (SO_RCVTIMEO) is
 * late by up to an eighth of long times. So the receive is patient for this long only, and poll, whose timer is exact, does
 * the rest. Replies that take longer do not feel the difference.
 */
#define CONNECTION_PATIENCE_MS 100

/*
 * Decoded replies at most: a full frame of the smallest messages that a listing consists of, some 20 bytes on the wire, is
 * ten times as large in memory.
 */
#define CONNECTION_DECODED_MAX ((size_t)16 << 20)

void connection_init(struct connection *connection)
{
	memset(connection, 0, offsetof(struct connection, arena));
	connection->fd = -1;
	connection->lost = true;
	connection->told_over = NULL;
	connection->told_event = NULL;
	arena_init(&connection->arena, CONNECTION_DECODED_MAX);
}

void connection_start(struct connection *connection, int fd)
{
	struct timeval patience = {.tv_usec = CONNECTION_PATIENCE_MS * 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience); /* known to every socket */
	connection->fd = fd;
	connection->lost = false;
	connection->slots.count = 1;
	connection->max_frame = FRAME_MAX;
}

void connection_admit(struct connection *connection, uint32_t slots, uint32_t max_frame)
{
	connection->slots.count = slots < SLOTS_MAX ? slots : SLOTS_MAX;
	connection->max_frame = max_frame < FRAME_MAX ? max_frame : FRAME_MAX;
	connection->admitted = true;
}

void connection_deinit(struct connection *connection)
{
	void (*told_over)(struct connection *, uint32_t) = connection->told_over;
	void (*told_event)(struct connection *, const Shmbuddy__V1__Event *) = connection->told_event;

	if (connection->fd >= 0)
		close(connection->fd);
	byte_queue_deinit(&connection->in);
	byte_queue_deinit(&connection->out);
	arena_deinit(&connection->arena);
	slots_deinit(&connection->slots, false);
	connection_init(connection);
	connection->told_over = told_over;
	connection->told_event = told_event;
}

void connection_forget(struct connection *connection)
{
	byte_queue_init(&connection->in);
	byte_queue_init(&connection->out);
	arena_init(&connection->arena, connection->arena.limit);
	slots_deinit(&connection->slots, true);
	connection_deinit(connection);
}

void connection_claim(struct connection *connection, struct call *call)
{
	char text[LAST_ERROR_MAX];

	if (connection->over == ERROR_PROTOCOL) {
		snprintf(text, sizeof text,
		         "there is no connection to the daemon any more: %.400s; connect again (after shmb_close)", connection->why);
		call_fail(call, ERROR_DISCONNECTED, text);
	} else if (connection->over) {
		call_fail(call, connection->over, connection->why);
	} else if (connection->lost && call->once) {
		call_fail(call, ERROR_DISCONNECTED, connection->why);
	} else {
		slots_claim(&connection->slots, call);
	}
}

void connection_close_socket(struct connection *connection)
{
	int fd = connection->fd;

	connection->fd = -1;
	if (fd >= 0)
		close(fd);
}

static void drop_socket(struct connection *connection, const char *why)
{
	connection->lost = true;
	name_clean(why, strlen(why), sizeof connection->why, connection->why);
	shutdown(connection->fd, SHUT_RDWR); /* wakes whoever waits on it; closing it would free its number under them */
	byte_queue_consume(&connection->out, byte_queue_length(&connection->out));
}

void connection_lose(struct connection *connection, const char *why)
{
	if (connection->lost)
		return;
	drop_socket(connection, why);
	/* One that has brought nothing is no new beginning. */
	if (connection->answered)
		connection->fruitless = 0;
	if (connection->fruitless++ == 0)
		connection->lost_at = deadline_now();
	slots_fail(&connection->slots, true, ERROR_DISCONNECTED, connection->why);
}

void connection_end(struct connection *connection, enum error_code code, const char *why)
{
	if (connection->over)
		return;
	drop_socket(connection, why);
	connection->over = code;
	slots_fail(&connection->slots, false, code, connection->why);
}

int connection_adopt(struct connection *connection, struct connection *from)
{
	if (from->slots.count < connection->slots.count)
		return -EPROTO;
	connection_close_socket(connection);
	byte_queue_deinit(&connection->in);
	byte_queue_consume(&connection->out, byte_queue_length(&connection->out));
	connection->fd = from->fd;
	connection->in = from->in;
	connection->lost = connection->deaf = false;
	connection->max_frame = from->max_frame;
	/* As many as at the first time: who waits in line would else be overtaken. */
	if (connection->slots.count == 0)
		connection->slots.count = from->slots.count;
	connection->answered = false;
	from->fd = -1;
	byte_queue_init(&from->in);
	connection_deinit(from);

	/* What came behind the welcome first: it may have the answer to what would be sent again. */
	connection_take_replies(connection);
	if (!connection->lost && connection_queue_again(connection) < 0)
		connection_lose(connection, "this program has no memory left for its requests");
	return 0;
}

/* ---- The socket ------------------------------------------------------------------------------------------------- */

void connection_flush(struct connection *connection)
{
	while (connection_has_output(connection) && !connection->lost) {
		size_t length = byte_queue_length(&connection->out);
		ssize_t sent = connection->deaf
		                   ? -1
		                   : send(connection->fd, byte_queue_bytes(&connection->out), length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			byte_queue_consume(&connection->out, (size_t)sent);
			continue;
		}
		if (!connection->deaf && sent < 0 && errno == EINTR)
			continue;
		if (!connection->deaf && sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
			return;
		connection->deaf = true;
		byte_queue_consume(&connection->out, length);
	}
}

int connection_prepare(struct connection *connection)
{
	uint8_t *room;

	return byte_queue_reserve(&connection->in, CONNECTION_READ_MIN, &room);
}

void connection_poll(const struct connection *connection, short events, int64_t left)
{
	struct pollfd pollfd = {.fd = connection->fd, .events = events};
	struct timespec timeout = deadline_timespec(left);

	ppoll(&pollfd, 1, left == INT64_MAX ? NULL : &timeout, NULL);
}

static ssize_t receive(struct connection *connection, int flags)
{
	/* What is queued stays where it is, so the room behind it may be written without the lock. */
	ssize_t got = recv(connection->fd, connection->in.data + connection->in.end, byte_queue_room(&connection->in), flags);

	return got >= 0 ? got : errno == EINTR ? -EAGAIN : -errno;
}

ssize_t connection_read(struct connection *connection, int64_t left, bool output, struct connection_patience *patience)
{
	if (!output && !patience->exhausted && left >= 2 * CONNECTION_PATIENCE_MS * DEADLINE_MS) {
		ssize_t got = receive(connection, 0);

		if (got == -EAGAIN)
			patience->exhausted = true;
		return got;
	}
	connection_poll(connection, (short)(output ? POLLIN | POLLOUT : POLLIN), left);
	return receive(connection, MSG_DONTWAIT);
}

void connection_dispatch(struct connection *connection, ssize_t got)
{
	if (connection->lost || got == -EAGAIN)
		return;
	if (got > 0) {
		byte_queue_commit(&connection->in, (size_t)got);
		connection_take_replies(connection);
		if (connection_has_output(connection))
			connection_flush(connection);
	} else if (got == 0 || got == -ECONNRESET || got == -EPIPE) {
		connection_lose(connection, "the daemon closed the connection");
	} else {
		char text[128], why[96];

		if (got == -EBADF || got == -ENOTSOCK)
			connection->fd = -1; /* the program has closed it; the number is somebody else's now */
		snprintf(text, sizeof text, "the socket failed: %s", strerror_r((int)-got, why, sizeof why));
		connection_lose(connection, text);
	}
}
