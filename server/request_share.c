/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Share: a ticket for a block that the session holds. It is a hold of its own, written PENDING and decided as a name is; what the session does
 * with its own hold afterwards, and whether it lives, is all the same to it. A kill before the decision leaves no ticket, one after it leaves
 * the ticket, whose token a repeated request gets as long as it lives.
 */
#include "request.h"

#include "charge.h"
#include "errors.h"
#include "handle.h"
#include "lifetime.h"

/* Milliseconds, where the client does not say how long. As shmbuddy.h says: SHMB_TICKET_TTL_MS. */
#define DEFAULT_TTL 60000

static int check(const struct request *request, const char **out_text)
{
	const Shmbuddy__V1__Share *message = request->message->share;
	const Shmbuddy__V1__Handle *handle = message->handle;

	if (!handle || message->ttl_ms > DEADLINES_TTL_MAX || (message->bound && message->uid == TICKET_FOR_ALL)) {
		*out_text = "a ticket is for a block and, where it is bound, for a user, and lives for 30 days at most";
		return ERROR_INVALID_ARGUMENT;
	}
	return handle_check_held(request->slot.session, &(struct handle){handle->id, handle->index, handle->incarnation});
}

/* What may fail before anything has happened. 0, or an ERROR_*. */
static int prepare(struct tickets *tickets, uint8_t out_token[TICKET_TOKEN_SIZE], uint32_t *out_index, const char **out_text)
{
	if (tickets_draw(tickets, out_token) < 0) {
		*out_text = "the kernel gives the daemon no random bytes";
		return ERROR_SYSTEM;
	}
	if (table_take(&tickets->table, out_index) < 0) {
		*out_text = "the pool has as many tickets as it can have: let some be redeemed, taken back, or expire";
		return ERROR_LIMIT;
	}
	return 0;
}

void request_share(struct request *request)
{
	const Shmbuddy__V1__Share *message = request->message->share;
	struct pool *pool = request->pool;
	uint8_t token[TICKET_TOKEN_SIZE];
	const char *text = NULL;
	uint32_t index;
	char room[CHARGE_TEXT_MAX];
	int error = check(request, &text);

	if (!error) {
		error = charge_check(request->slot.session, QUOTA_TICKETS, room);
		text = error ? room : text;
	}
	if (!error)
		error = prepare(&pool->tickets, token, &index, &text);
	if (error) {
		slot_refuse(&request->slot, SLOT_SHARE, (uint32_t)error);
		request_reply(request, error, "%s", text ? text : error_sentence(error));
		return;
	}
	struct slot_record *record = slot_begin(&request->slot, SLOT_SHARE);
	record->id = pool_take_ids(pool, 1);
	record->ticket = index + 1;
	tickets_write(&pool->tickets, index,
	              &(struct ticket_content){
					  .id = record->id,
					  .block = message->handle->index,
					  .block_id = message->handle->id,
					  .deadline = deadlines_after(&pool->deadlines, message->ttl_ms ? message->ttl_ms : DEFAULT_TTL),
					  .session = session_key(request->slot.session),
					  .uid = request->slot.session->record->uid,
					  .for_uid = message->bound ? message->uid : TICKET_FOR_ALL,
					  .token = token,
				  });
	slot_decide(&request->slot);
	lifetime_add_ticket(pool, index);
	slot_done(&request->slot);
	reply_ticket(request->connection, request->slot.index, request->slot.sequence, token);
	pool_publish_counters(pool);
}
