/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a frame to its handler: see dispatch.h. To add a request: a message and a case in proto/shmbuddy.proto, a line in the
 * table below, a request_NAME.c, and its face in client/.
 */
#include "dispatch.h"

#include <stdbool.h>

#include "arena.h"
#include "connection.h"
#include "daemon.h"
#include "errors.h"
#include "frame.h"
#include "request.h"

struct operation {
	void (*handle)(struct request *request);
	bool writes;  /* refused to read-only sessions */
	bool records; /* takes effect exactly once, by its slot */
};

#define OPERATION(name) [SHMBUDDY__V1__REQUEST__OPERATION_##name]
static const struct operation operations[] = {
	OPERATION(GOODBYE) = {request_goodbye, false, false},
	OPERATION(PING) = {request_ping, false, false},
	OPERATION(ALLOCATE) = {request_allocate, true, true},
	OPERATION(FREE) = {request_free, false, true},
	OPERATION(ALLOCATE_BATCH) = {request_allocate_batch, true, true},
	OPERATION(FREE_BATCH) = {request_free_batch, false, true},
	OPERATION(PUBLISH) = {request_publish, true, true},
	OPERATION(UNPUBLISH) = {request_unpublish, true, true},
	OPERATION(LOOKUP) = {request_lookup, false, true},
	OPERATION(REMOVE) = {request_remove, true, true},
	OPERATION(LIST_CLIENTS) = {request_list_clients, false, false},
	OPERATION(LIST_HOLDERS) = {request_list_holders, false, false},
};
#undef OPERATION

static void end_with(struct request *request, int status, const char *text)
{
	request_reply(request, status, "%s", text);
	connection_end(request->connection);
}

static void handle(struct request *request, const struct operation *operation)
{
	struct session *session = request->slot.session;
	struct slot *slot = &request->slot;
	enum slot_turn turn = slot_turn(slot);

	if (turn == SLOT_TURN_UNDER_WAY)
		return;
	/* What is not recorded may come again. */
	if (turn == SLOT_TURN_WRONG || (turn == SLOT_TURN_REPEAT && !operation->records)) {
		end_with(request, ERROR_PROTOCOL,
		         "the request's slot is busy or does not exist, or its sequence was used: the connection ends");
		return;
	}
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
	operation->handle(request);
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
		else
			end_with(&request, ERROR_PROTOCOL, "the first request must be hello: the connection ends");
	} else if (operation == SHMBUDDY__V1__REQUEST__OPERATION_HELLO || session->dead) {
		end_with(&request, ERROR_PROTOCOL, "hello comes first and once, goodbye last: the connection ends");
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
