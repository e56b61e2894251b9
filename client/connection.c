/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The story of a request. It gets a slot, the lowest that is free, or waits in line for one; a slot that becomes free goes to
 * the head of the line directly, so that latecomers cannot starve it. Its frame is packed straight into the output queue and
 * sent from there. Replies may come in any order; slot and sequence say whose each is. It is decoded into the arena, the call
 * copies what it wants, and the slot is free.
 *
 * A caller that gives up leaves its slot busy: the daemon may still carry the request out. When that reply comes and brings
 * a block, nobody knows the block, so a Free for it goes out in the same slot. Where the request was an Allocate with a name,
 * the name still holds the block then, and a Remove follows; it is refused where somebody has found the block meanwhile, who
 * may keep it.
 *
 * Whatever is not the protocol ends the connection: after one wrong byte none of the others mean anything. A send that fails
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

/* What to do about a lost connection: the end of every sentence about one. */
#define CONNECTION_REMEDY "connect again (after shmb_close) once shmbuddyd runs"

void connection_init(struct connection *connection)
{
	memset(connection, 0, offsetof(struct connection, arena));
	connection->fd = -1;
	connection->lost = true;
	byte_queue_init(&connection->in);
	byte_queue_init(&connection->out);
	arena_init(&connection->arena, CONNECTION_DECODED_MAX);
}

void connection_start(struct connection *connection, int fd)
{
	struct timeval patience = {.tv_usec = CONNECTION_PATIENCE_MS * 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience); /* known to every socket */
	connection->fd = fd;
	connection->lost = false;
	connection->slot_count = 1;
	connection->max_frame = FRAME_MAX;
}

void connection_admit(struct connection *connection, uint32_t slots, uint32_t max_frame)
{
	connection->slot_count = slots < CONNECTION_SLOTS_MAX ? slots : CONNECTION_SLOTS_MAX;
	connection->max_frame = max_frame < FRAME_MAX ? max_frame : FRAME_MAX;
}

void connection_deinit(struct connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	byte_queue_deinit(&connection->in);
	byte_queue_deinit(&connection->out);
	arena_deinit(&connection->arena);
	connection_init(connection);
}

static void tell(struct call *call)
{
	if (call->done)
		call->done(call);
}

/* ---- Slots ------------------------------------------------------------------------------------------------------ */

static void grant(struct connection *connection, uint32_t slot, struct call *call)
{
	connection->busy |= UINT64_C(1) << slot;
	connection->slots[slot].call = call;
	call->slot = slot;
	call->state = CALL_GRANTED;
}

static void release(struct connection *connection, uint32_t slot)
{
	struct call *next = connection->first_waiting;

	connection->slots[slot].call = NULL;
	if (!next) {
		connection->busy &= ~(UINT64_C(1) << slot);
		return;
	}
	connection->first_waiting = next->next_waiting;
	if (!connection->first_waiting)
		connection->last_waiting = NULL;
	grant(connection, slot, next);
	tell(next);
}

void connection_claim(struct connection *connection, struct call *call)
{
	uint64_t usable = connection->slot_count < 64 ? (UINT64_C(1) << connection->slot_count) - 1 : UINT64_MAX;
	uint64_t idle = ~connection->busy & usable;

	if (connection->lost) {
		char text[LAST_ERROR_MAX];

		snprintf(text, sizeof text, "there is no connection to the daemon any more: %.400s; " CONNECTION_REMEDY,
		         connection->why);
		call_fail(call, ERROR_DISCONNECTED, text);
		return;
	}
	if (idle) {
		grant(connection, (uint32_t)__builtin_ctzll(idle), call);
		return;
	}
	call->state = CALL_WAITING;
	call->next_waiting = NULL;
	if (connection->last_waiting)
		connection->last_waiting->next_waiting = call;
	else
		connection->first_waiting = call;
	connection->last_waiting = call;
}

static void leave_line(struct connection *connection, struct call *call)
{
	struct call *before = NULL, **place = &connection->first_waiting;

	while (*place && *place != call) {
		before = *place;
		place = &before->next_waiting;
	}
	if (!*place)
		return;
	*place = call->next_waiting;
	if (connection->last_waiting == call)
		connection->last_waiting = before;
}

void connection_abandon(struct connection *connection, struct call *call)
{
	if (call->state == CALL_WAITING)
		leave_line(connection, call);
	else if (call->state == CALL_GRANTED)
		release(connection, call->slot);
	else if (call->state == CALL_SENT)
		connection->slots[call->slot].call = NULL;
}

void connection_lose(struct connection *connection, enum error_code code, const char *why)
{
	struct call *waiting = connection->first_waiting;
	char text[LAST_ERROR_MAX];

	if (connection->lost)
		return;
	connection->lost = true;
	name_clean(why, strlen(why), sizeof connection->why, connection->why);
	snprintf(text, sizeof text, "%.440s%s", connection->why, code == ERROR_DISCONNECTED ? "; " CONNECTION_REMEDY : "");
	shutdown(connection->fd, SHUT_RDWR); /* wakes whoever waits on it; closing it would free its number under them */
	byte_queue_consume(&connection->out, byte_queue_length(&connection->out));
	connection->first_waiting = connection->last_waiting = NULL;
	connection->busy = 0;
	for (uint32_t slot = 0; slot < connection->slot_count; slot++) {
		struct call *call = connection->slots[slot].call;

		connection->slots[slot].call = NULL;
		if (!call)
			continue;
		call_fail(call, code, text);
		tell(call);
	}
	while (waiting) {
		struct call *next = waiting->next_waiting;

		call_fail(waiting, code, text);
		tell(waiting);
		waiting = next;
	}
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

/* Queues a request in a slot. -EMSGSIZE: longer than the daemon reads. -ENOMEM. */
static int queue_request(struct connection *connection, uint32_t slot, Shmbuddy__V1__Request *request)
{
	uint8_t *bytes;
	size_t size;
	int r;

	request->slot = slot;
	request->sequence = connection->slots[slot].sequence + 1;
	size = shmbuddy__v1__request__get_packed_size(request);
	if (size > connection->max_frame)
		return -EMSGSIZE;
	r = byte_queue_reserve(&connection->out, FRAME_HEADER + size, &bytes);
	if (r < 0)
		return r;
	frame_put_header((uint32_t)size, bytes);
	shmbuddy__v1__request__pack(request, bytes + FRAME_HEADER);
	byte_queue_commit(&connection->out, FRAME_HEADER + size);
	connection->slots[slot].sequence = request->sequence;
	connection->slots[slot].named =
		request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE && *request->allocate->name;
	return 0;
}

void connection_submit(struct connection *connection, struct call *call, Shmbuddy__V1__Request *request)
{
	char text[96];
	int r = queue_request(connection, call->slot, request);

	if (r == 0) {
		call->state = CALL_SENT;
		return;
	}
	release(connection, call->slot);
	if (r == -EMSGSIZE) {
		snprintf(text, sizeof text, "the request is longer than the %u bytes that the daemon reads", connection->max_frame);
		call_fail(call, ERROR_LIMIT, text);
	} else {
		call_fail(call, ERROR_SYSTEM, "this program has no memory left for the request");
	}
}

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

/* ---- Receiving -------------------------------------------------------------------------------------------------- */

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

/* protobuf-c decodes into the arena; taking it all back at once is the arena's. */
static void *decode_alloc(void *arena, size_t size)
{
	return arena_take(arena, size);
}

static void decode_free(void *arena, void *bytes)
{
	(void)arena;
	(void)bytes;
}

/*
 * A reply that nobody waits for any more: what it brought goes back, in the same slot. The reply to that comes here too, and
 * the block that it leaves to its name follows.
 */
static void give_back(struct connection *connection, uint32_t slot, const Shmbuddy__V1__Reply *reply)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Handle leftover = SHMBUDDY__V1__HANDLE__INIT;
	Shmbuddy__V1__Free one = SHMBUDDY__V1__FREE__INIT;
	Shmbuddy__V1__FreeBatch many = SHMBUDDY__V1__FREE_BATCH__INIT;
	Shmbuddy__V1__Remove named = SHMBUDDY__V1__REMOVE__INIT;
	shmb_handle next = {0};

	if (connection->slots[slot].leftover.id) {
		leftover.id = connection->slots[slot].leftover.id;
		leftover.index = connection->slots[slot].leftover.index;
		leftover.incarnation = connection->slots[slot].leftover.incarnation;
		named.handle = &leftover;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REMOVE;
		request.remove = &named;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK && reply->block->handle) {
		one.handle = reply->block->handle;
		if (connection->slots[slot].named)
			next = (shmb_handle){.id = one.handle->id, .index = one.handle->index, .incarnation = one.handle->incarnation};
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE;
		request.free = &one;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH && reply->block_batch->n_index) {
		const Shmbuddy__V1__BlockBatch *batch = reply->block_batch;
		uint64_t *ids = arena_take(&connection->arena, batch->n_index * sizeof *ids);

		for (size_t i = 0; ids && i < batch->n_index; i++)
			ids[i] = batch->first_id + i;
		many.incarnation = batch->incarnation;
		many.n_id = many.n_index = ids ? batch->n_index : 0;
		many.id = ids;
		many.index = batch->index;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH;
		request.free_batch = &many;
	}
	connection->slots[slot].leftover = next;
	if (request.operation_case != SHMBUDDY__V1__REQUEST__OPERATION__NOT_SET &&
	    queue_request(connection, slot, &request) == 0)
		return;
	/* Without memory for the request the block stays the session's until that ends, or its name's. */
	connection->slots[slot].leftover.id = 0;
	release(connection, slot);
}

static void dispatch_reply(struct connection *connection, const Shmbuddy__V1__Reply *reply)
{
	struct call *call;

	if (reply->sequence == 0) {
		if (reply->status != SHMBUDDY__V1__STATUS__OK)
			connection_lose(connection, ERROR_PROTOCOL,
			                reply->text && *reply->text ? reply->text : "the daemon could not read a request");
		return; /* an event of a newer daemon */
	}
	if (reply->slot >= connection->slot_count || !(connection->busy >> reply->slot & 1) ||
	    connection->slots[reply->slot].sequence != reply->sequence) {
		connection_lose(connection, ERROR_PROTOCOL, "the daemon answered a request that was never sent");
		return;
	}
	call = connection->slots[reply->slot].call;
	if (!call) {
		give_back(connection, reply->slot, reply);
		return;
	}
	if (call->state != CALL_SENT) {
		connection_lose(connection, ERROR_PROTOCOL, "the daemon answered a request twice");
		return;
	}
	if (call_finish(call, reply) < 0) {
		connection_lose(connection, ERROR_PROTOCOL, "the daemon's answer contradicts the request or itself");
		return;
	}
	release(connection, reply->slot);
	tell(call);
}

static void dispatch_frames(struct connection *connection)
{
	const uint8_t *bytes = byte_queue_bytes(&connection->in);
	size_t length = byte_queue_length(&connection->in), seen = 0;

	while (!connection->lost) {
		ProtobufCAllocator allocator = {decode_alloc, decode_free, &connection->arena};
		const uint8_t *payload;
		uint32_t size;
		Shmbuddy__V1__Reply *reply;
		int r = frame_peek(bytes + seen, length - seen, connection->max_frame, &payload, &size);

		if (r == 0)
			break;
		arena_reset(&connection->arena);
		reply = r < 0 ? NULL : shmbuddy__v1__reply__unpack(&allocator, size, payload);
		if (!reply) {
			connection_lose(connection, ERROR_PROTOCOL, "what came from the daemon is not the protocol");
			break;
		}
		dispatch_reply(connection, reply);
		seen += FRAME_HEADER + size;
	}
	byte_queue_consume(&connection->in, connection->lost ? length : seen);
	arena_reset(&connection->arena);
}

void connection_dispatch(struct connection *connection, ssize_t got)
{
	if (connection->lost || got == -EAGAIN)
		return;
	if (got > 0) {
		byte_queue_commit(&connection->in, (size_t)got);
		dispatch_frames(connection);
		if (connection_has_output(connection))
			connection_flush(connection);
	} else if (got == 0 || got == -ECONNRESET || got == -EPIPE) {
		connection_lose(connection, ERROR_DISCONNECTED, "the daemon closed the connection");
	} else {
		char text[128], why[96];

		snprintf(text, sizeof text, "the socket failed: %s", strerror_r((int)-got, why, sizeof why));
		connection_lose(connection, ERROR_DISCONNECTED, text);
	}
}
