/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in: replies, whose each is, and what becomes of one that nobody waits for any more. The story: connection.c. */
#include "connection_replies.h"

#include <stdlib.h>

#include "connection_requests.h"
#include "frame.h"

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
 * the block that it leaves to its name, or to its time to live, follows.
 */
static void give_back(struct connection *connection, uint32_t index, const Shmbuddy__V1__Reply *reply)
{
	struct slot *slot = &connection->slots.slot[index];
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Handle leftover = SHMBUDDY__V1__HANDLE__INIT;
	Shmbuddy__V1__Free one = SHMBUDDY__V1__FREE__INIT;
	Shmbuddy__V1__FreeBatch many = SHMBUDDY__V1__FREE_BATCH__INIT;
	Shmbuddy__V1__Remove named = SHMBUDDY__V1__REMOVE__INIT;
	Shmbuddy__V1__Revoke revoke = SHMBUDDY__V1__REVOKE__INIT;
	const Shmbuddy__V1__Block *block =
		reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK ? reply->block : NULL; /* that the session holds now */
	shmb_handle next = {0};

	if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_RESIZED && reply->resized->moved)
		block = reply->resized->block;
	if (slot->leftover.id) {
		leftover.id = slot->leftover.id;
		leftover.index = slot->leftover.index;
		leftover.incarnation = slot->leftover.incarnation;
		named.handle = &leftover;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REMOVE;
		request.remove = &named;
	} else if (block && block->handle) {
		one.handle = block->handle;
		if (slot->kept)
			next = (shmb_handle){.id = one.handle->id, .index = one.handle->index, .incarnation = one.handle->incarnation};
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE;
		request.free = &one;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_TICKET) {
		revoke.token = reply->ticket->token;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REVOKE;
		request.revoke = &revoke;
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
	    connection_queue_own(connection, index, &request) == 0)
		return;
	/* Without memory for the request the block stays the session's until that ends, or its name's, and a ticket lives until it expires. */
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
	else if (reply->event && connection->told_event)
		connection->told_event(connection, reply->event);
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

void connection_take_replies(struct connection *connection)
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
