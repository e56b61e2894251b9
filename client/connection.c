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
#include <stdlib.h>
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
 * A request that nobody waits for any more is sent on so many sockets: should it be what makes the daemon end, it must not end each of
 * its successors.
 */
#define TRIES_MAX 3

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

	if (connection->fd >= 0)
		close(connection->fd);
	byte_queue_deinit(&connection->in);
	byte_queue_deinit(&connection->out);
	arena_deinit(&connection->arena);
	slots_deinit(&connection->slots, false);
	connection_init(connection);
	connection->told_over = told_over;
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

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

/* The packed request with its header: room for it, and what it takes. */
static void pack(const Shmbuddy__V1__Request *request, size_t size, uint8_t *out_frame)
{
	frame_put_header((uint32_t)size, out_frame);
	shmbuddy__v1__request__pack(request, out_frame + FRAME_HEADER);
}

static int queue_request(struct connection *connection, const Shmbuddy__V1__Request *request)
{
	size_t size = shmbuddy__v1__request__get_packed_size(request);
	uint8_t *bytes;
	int r = byte_queue_reserve(&connection->out, FRAME_HEADER + size, &bytes);

	if (r < 0)
		return r;
	pack(request, size, bytes);
	byte_queue_commit(&connection->out, FRAME_HEADER + size);
	return 0;
}

/* The request of a slot that has no call, or will soon have none. -ENOMEM: it cannot be sent again. */
static int keep_frame(struct slot *slot, const Shmbuddy__V1__Request *request)
{
	size_t size = shmbuddy__v1__request__get_packed_size(request);

	slot->frame = malloc(FRAME_HEADER + size);
	if (!slot->frame)
		return -ENOMEM;
	slot->frame_size = FRAME_HEADER + size;
	pack(request, size, slot->frame);
	return 0;
}

/* Gives a request its place and its number. -EMSGSIZE: longer than the daemon reads. */
static int number_request(struct connection *connection, uint32_t index, Shmbuddy__V1__Request *request)
{
	struct slot *slot = &connection->slots.slot[index];

	request->slot = index;
	request->sequence = slot->sequence + 1;
	if (shmbuddy__v1__request__get_packed_size(request) > connection->max_frame)
		return -EMSGSIZE;
	return 0;
}

/* From here on its number is used. */
static void number_is_used(struct connection *connection, const Shmbuddy__V1__Request *request)
{
	struct slot *slot = &connection->slots.slot[request->slot];

	slot->sequence = request->sequence;
	slot->sent = !connection->lost;
	slot->tries = 0;
	slot->brings = request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE ||
	               request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH ||
	               request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_LOOKUP;
	slot->named = request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE && *request->allocate->name;
}

void connection_submit(struct connection *connection, struct call *call, Shmbuddy__V1__Request *request)
{
	char text[96];
	int r = number_request(connection, call->slot, request);

	if (r == 0 && !connection->lost)
		r = queue_request(connection, request);
	if (r == 0) {
		number_is_used(connection, request);
		call->request = request;
		call->state = CALL_SENT;
		return;
	}
	slots_release(&connection->slots, call->slot);
	if (r == -EMSGSIZE) {
		snprintf(text, sizeof text, "the request is longer than the %u bytes that the daemon reads", connection->max_frame);
		call_fail(call, ERROR_LIMIT, text);
	} else {
		call_fail(call, ERROR_SYSTEM, "this program has no memory left for the request");
	}
}

bool connection_abandon(struct connection *connection, struct call *call)
{
	struct slot *slot = &connection->slots.slot[call->slot];

	if (call->state == CALL_WAITING) {
		slots_leave_line(&connection->slots, call);
		return false;
	}
	if (call->state == CALL_GRANTED || !slot->sent) {
		slots_release(&connection->slots, call->slot);
		return false;
	}
	/* Without memory for the frame the slot stays busy, whatever becomes of the socket: its request may be under way. */
	if (slot->brings)
		keep_frame(slot, call->request);
	slot->call = NULL;
	return true;
}

/* Of what has no answer yet that which is waited for, and then what nobody waits for but may bring a block. */
static int queue_again(struct connection *connection, bool waited_for)
{
	for (uint32_t index = 0; index < connection->slots.count; index++) {
		struct slot *slot = &connection->slots.slot[index];
		int r;

		if (!slots_is_busy(&connection->slots, index) || waited_for != (slot->call != NULL))
			continue;
		if (!waited_for && (slot->frame ? ++slot->tries > TRIES_MAX : !slot->brings)) {
			slots_release(&connection->slots, index);
			continue;
		}
		if (slot->call ? slot->call->state != CALL_SENT : !slot->frame)
			continue; /* a slot just granted has sent nothing yet */
		r = slot->call ? queue_request(connection, slot->call->request)
		               : byte_queue_append(&connection->out, slot->frame, slot->frame_size);
		if (r < 0)
			return r;
		slot->sent = true;
		slot->sent_again = slot->sequence;
	}
	return 0;
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
static void give_back(struct connection *connection, uint32_t index, const Shmbuddy__V1__Reply *reply)
{
	struct slot *slot = &connection->slots.slot[index];
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Handle leftover = SHMBUDDY__V1__HANDLE__INIT;
	Shmbuddy__V1__Free one = SHMBUDDY__V1__FREE__INIT;
	Shmbuddy__V1__FreeBatch many = SHMBUDDY__V1__FREE_BATCH__INIT;
	Shmbuddy__V1__Remove named = SHMBUDDY__V1__REMOVE__INIT;
	shmb_handle next = {0};

	if (slot->leftover.id) {
		leftover.id = slot->leftover.id;
		leftover.index = slot->leftover.index;
		leftover.incarnation = slot->leftover.incarnation;
		named.handle = &leftover;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REMOVE;
		request.remove = &named;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK && reply->block->handle) {
		one.handle = reply->block->handle;
		if (slot->named)
			next = (shmb_handle){.id = one.handle->id, .index = one.handle->index, .incarnation = one.handle->incarnation};
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE;
		request.free = &one;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH && reply->block_batch->n_index) {
		const Shmbuddy__V1__BlockBatch *batch = reply->block_batch;
		uint64_t *ids = arena_take(&connection->arena, batch->n_index * sizeof *ids);

		/* In place: those that have been freed since are left out. */
		for (size_t i = 0; ids && i < batch->n_index; i++) {
			if (batch->index[i] == UINT32_MAX)
				continue;
			ids[many.n_id] = batch->first_id + i;
			batch->index[many.n_id++] = batch->index[i];
		}
		many.incarnation = batch->incarnation;
		many.n_index = many.n_id;
		many.id = ids;
		many.index = batch->index;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH;
		request.free_batch = &many;
	}
	slot->leftover = next;
	free(slot->frame);
	slot->frame = NULL;
	if (request.operation_case != SHMBUDDY__V1__REQUEST__OPERATION__NOT_SET &&
	    number_request(connection, index, &request) == 0 && keep_frame(slot, &request) == 0 &&
	    byte_queue_append(&connection->out, slot->frame, slot->frame_size) == 0) {
		number_is_used(connection, &request);
		return;
	}
	/* Without memory for the request the block stays the session's until that ends, or its name's. */
	slot->leftover.id = 0;
	slots_release(&connection->slots, index);
}

/* A reply to no request: a request that could not be read, or an event. */
static void dispatch_event(struct connection *connection, const Shmbuddy__V1__Reply *reply)
{
	bool known = protobuf_c_enum_descriptor_get_value(&shmbuddy__v1__status__descriptor, (int)reply->status);

	if (reply->status != SHMBUDDY__V1__STATUS__OK)
		connection_end(connection, known ? (enum error_code)reply->status : ERROR_PROTOCOL,
		               reply->text && *reply->text ? reply->text : "the daemon could not read a request");
	else if (reply->session_over && connection->told_over)
		connection->told_over(connection, reply->session_over->incarnation);
	/* else an event of a newer daemon */
}

static void dispatch_reply(struct connection *connection, const Shmbuddy__V1__Reply *reply)
{
	struct slots *slots = &connection->slots;
	struct slot *slot = &slots->slot[reply->slot < SLOTS_MAX ? reply->slot : 0];
	struct call *call = slot->call;

	if (reply->sequence == 0) {
		dispatch_event(connection, reply);
		return;
	}
	connection->answered = true;
	if (reply->slot < slots->count && slot->sent_again == reply->sequence &&
	    (!slots_is_busy(slots, reply->slot) || slot->sequence != reply->sequence)) {
		slot->sent_again = 0; /* answered twice, as it may be */
		return;
	}
	if (!slots_is_busy(slots, reply->slot) || slot->sequence != reply->sequence) {
		connection_end(connection, ERROR_PROTOCOL, "the daemon answered a request that was never sent");
		return;
	}
	if (!call) {
		give_back(connection, reply->slot, reply);
		return;
	}
	if (call->state != CALL_SENT) {
		connection_end(connection, ERROR_PROTOCOL, "the daemon answered a request twice");
		return;
	}
	if (call_finish(call, reply) < 0) {
		connection_end(connection, ERROR_PROTOCOL, "the daemon's answer contradicts the request or itself");
		return;
	}
	slots_release(slots, reply->slot);
	if (call->done)
		call->done(call);
}

static void dispatch_frames(struct connection *connection)
{
	const uint8_t *bytes = byte_queue_bytes(&connection->in);
	size_t length = byte_queue_length(&connection->in), seen = 0;

	while (!connection->lost && !connection->admitted) {
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
			connection_end(connection, ERROR_PROTOCOL, "what came from the daemon is not the protocol");
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
		connection_lose(connection, "the daemon closed the connection");
	} else {
		char text[128], why[96];

		if (got == -EBADF || got == -ENOTSOCK)
			connection->fd = -1; /* the program has closed it; the number is somebody else's now */
		snprintf(text, sizeof text, "the socket failed: %s", strerror_r((int)-got, why, sizeof why));
		connection_lose(connection, text);
	}
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
	dispatch_frames(connection);
	if (!connection->lost && (queue_again(connection, true) < 0 || queue_again(connection, false) < 0))
		connection_lose(connection, "this program has no memory left for its requests");
	return 0;
}
