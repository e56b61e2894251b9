/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a frame to its handler: see dispatch.h. To add a request: a message and a case in proto/shmbuddy.proto, a line in the
 * table below, a request_NAME.c, and its face in client/.
 */
#include "dispatch.h"

#include <stdbool.h>

#include "adoption.h"
#include "arena.h"
#include "connection.h"
#include "daemon.h"
#include "errors.h"
#include "frame.h"
#include "request.h"

struct operation {
	void (*handle)(struct request *request);
	bool writes;                 /* refused to read-only sessions */
	enum slot_operation records; /* takes effect exactly once, by its slot; SLOT_NOTHING: is of no consequence */
};

#define OPERATION(name) [SHMBUDDY__V1__REQUEST__OPERATION_##name]
static const struct operation operations[] = {
	OPERATION(GOODBYE) = {request_goodbye, false, SLOT_NOTHING},
	OPERATION(PING) = {request_ping, false, SLOT_NOTHING},
	OPERATION(ALLOCATE) = {request_allocate, true, SLOT_ALLOCATE},
	OPERATION(FREE) = {request_free, false, SLOT_FREE},
	OPERATION(ALLOCATE_BATCH) = {request_allocate_batch, true, SLOT_ALLOCATE_BATCH},
	OPERATION(FREE_BATCH) = {request_free_batch, false, SLOT_FREE_BATCH},
	OPERATION(PUBLISH) = {request_publish, true, SLOT_PUBLISH},
	OPERATION(UNPUBLISH) = {request_unpublish, true, SLOT_UNPUBLISH},
	OPERATION(LOOKUP) = {request_lookup, false, SLOT_LOOKUP},
	OPERATION(ACQUIRE) = {request_acquire, false, SLOT_ACQUIRE},
	OPERATION(CLONE) = {request_clone, false, SLOT_CLONE},
	OPERATION(LINK) = {request_link, true, SLOT_LINK},
	OPERATION(UNLINK) = {request_unlink, true, SLOT_UNLINK},
	OPERATION(COLLECT) = {request_collect, true, SLOT_NOTHING},
	OPERATION(SHARE) = {request_share, true, SLOT_SHARE},
	OPERATION(REDEEM) = {request_redeem, false, SLOT_REDEEM},
	OPERATION(REVOKE) = {request_revoke, true, SLOT_REVOKE},
	OPERATION(RENEW) = {request_renew, true, SLOT_RENEW},
	OPERATION(SEAL) = {request_seal, true, SLOT_SEAL},
	OPERATION(SET_METADATA) = {request_set_metadata, true, SLOT_SET_METADATA},
	OPERATION(RESIZE) = {request_resize, true, SLOT_RESIZE},
	OPERATION(REMOVE) = {request_remove, true, SLOT_REMOVE},
	OPERATION(LIST_CLIENTS) = {request_list_clients, false, SLOT_NOTHING},
	OPERATION(LIST_HOLDERS) = {request_list_holders, false, SLOT_NOTHING},
	OPERATION(LIST_USERS) = {request_list_users, false, SLOT_NOTHING},
	OPERATION(END_SESSION) = {request_end_session, true, SLOT_NOTHING},
	OPERATION(SUBSCRIBE) = {request_subscribe, false, SLOT_NOTHING},
};
#undef OPERATION

static void end_with(struct request *request, int status, const char *text)
{
	request_reply(request, status, "%s", text);
	connection_end(request->connection);
}

/* What is not recorded may come again, with a new sequence; what is recorded is repeated as what it was. */
static bool is_repeat(const struct slot *slot, const struct operation *operation)
{
	return operation->records && slot->session->record->slots[slot->index].operation == operation->records;
}

static void handle(struct request *request, const struct operation *operation)
{
	struct session *session = request->slot.session;
	struct slot *slot = &request->slot;
	enum slot_turn turn = slot_turn(slot);

	if (turn == SLOT_TURN_UNDER_WAY)
		return;
	if (turn == SLOT_TURN_WRONG || (turn == SLOT_TURN_REPEAT && !is_repeat(slot, operation))) {
		end_with(request, ERROR_PROTOCOL,
		         "the request's slot is busy or does not exist, or its sequence was used: the connection ends");
		return;
	}
	adoption_confirm(session);
	session->requests++;
	pool_count(&session->pool->counters->requests, 1);
	if (turn == SLOT_TURN_REPEAT) {
		request_repeat(request);
		return;
	}
	session->seen[slot->index] = slot->sequence;
	if (operation->writes && session->read_only) {
		request_reply(request, ERROR_READ_ONLY, "the session is read-only: connect for reading and writing");
		return;
	}
	request->pool->events.acting = session->number; /* events are to say so */
	operation->handle(request);
	name_waiters_tell(&request->pool->name_waiters);
	request->pool->events.acting = 0;
}

static void *take(void *arena, size_t size)
{
	return arena_take(arena, size);
}

static void give(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer; /* all at once, by arena_reset */
}

void dispatch_frame(struct daemon *daemon, struct connection *connection, const uint8_t *payload, size_t size)
{
	ProtobufCAllocator allocator = {.alloc = take, .free = give, .allocator_data = &daemon->arena};
	const Shmbuddy__V1__Request *message = shmbuddy__v1__request__unpack(&allocator, size, payload);
	struct request request = {.daemon = daemon, .connection = connection, .message = message};

	if (!message) {
		end_with(&request, ERROR_PROTOCOL, "the frame is not a request of this protocol: the connection ends");
		arena_reset(&daemon->arena);
		return;
	}
	struct session *session = connection->session;
	request.slot = (struct slot){session, message->slot, message->sequence};
	unsigned operation = message->operation_case;
	if (!session) {
		if (operation == SHMBUDDY__V1__REQUEST__OPERATION_HELLO && !connection->greeted)
			request_hello(&request);
		else if (operation == SHMBUDDY__V1__REQUEST__OPERATION_OPEN_HOLDS && !connection->greeted)
			request_open_holds(&request);
		else
			end_with(&request, ERROR_PROTOCOL, "the first request must be hello: the connection ends");
	} else if (operation == SHMBUDDY__V1__REQUEST__OPERATION_HELLO || session->dead) {
		end_with(&request, ERROR_PROTOCOL, "hello comes first and once, goodbye last: the connection ends");
	} else if (operation == SHMBUDDY__V1__REQUEST__OPERATION_RELEASED) {
		request.pool = session->pool;
		request_released(&request);
	} else if (operation >= sizeof operations / sizeof operations[0] || !operations[operation].handle) {
		request_reply(&request, ERROR_UNKNOWN_OPERATION,
		              "this daemon (protocol version %d) does not know the operation: use a newer shmbuddyd",
		              DAEMON_PROTOCOL_VERSION);
	} else {
		request.pool = session->pool;
		handle(&request, &operations[operation]);
	}
	arena_reset(&daemon->arena);
}
