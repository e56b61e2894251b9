/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out: requests packed into the output queue, and what is kept of them until their answers have come. The story: connection.c. */
#include "connection_requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "frame.h"

/*
 * A request that nobody waits for any more is sent on so many sockets: should it be what makes the daemon end, it must not end each of
 * its successors.
 */
#define TRIES_MAX 3

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
	               request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_LOOKUP ||
	               request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ACQUIRE ||
	               request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_SHARE ||
	               request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_REDEEM;
	slot->kept = request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE &&
	             (*request->allocate->name || request->allocate->ttl_ms);
}

void connection_submit(struct connection *connection, struct call *call, Shmbuddy__V1__Request *request)
{
	char text[96];

	call_update_wait(call);
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

void connection_tell(struct connection *connection, const Shmbuddy__V1__Request *request)
{
	if (!connection->lost && byte_queue_length(&connection->out) <= CONNECTION_TELL_MAX &&
	    queue_request(connection, request) == 0)
		connection_flush(connection);
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
	if (call->wait_ms)
		*call->wait_ms = 0; /* sent again, it is for the answer alone */
	if (slot->brings)
		keep_frame(slot, call->request);
	slot->call = NULL;
	return true;
}

/* Of what has no answer yet that which is waited for, and then what nobody waits for but may bring something. */
static int queue_some_again(struct connection *connection, bool waited_for)
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
		if (slot->call)
			call_update_wait(slot->call);
		r = slot->call ? queue_request(connection, slot->call->request)
		               : byte_queue_append(&connection->out, slot->frame, slot->frame_size);
		if (r < 0)
			return r;
		slot->sent = true;
		slot->sent_again = slot->sequence;
	}
	return 0;
}

int connection_queue_again(struct connection *connection)
{
	int r = queue_some_again(connection, true);

	return r < 0 ? r : queue_some_again(connection, false);
}

int connection_queue_own(struct connection *connection, uint32_t index, Shmbuddy__V1__Request *request)
{
	struct slot *slot = &connection->slots.slot[index];
	int r = number_request(connection, index, request);

	if (r == 0)
		r = keep_frame(slot, request);
	if (r == 0)
		r = byte_queue_append(&connection->out, slot->frame, slot->frame_size);
	if (r == 0)
		number_is_used(connection, request);
	return r;
}
