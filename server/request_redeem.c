/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redeem, and revoke: what becomes of a ticket by whoever shows its token. Redeemed, the session gets a reference, and the ticket goes, in one
 * operation (acquisition.c). Revoked, it goes: the slot says which, decides, and it is gone. One whose deadline has passed is not there,
 * whether or not the timer has come to it.
 */
#include "request.h"

#include "acquisition.h"
#include "errors.h"
#include "lifetime.h"

static int find(const struct pool *pool, const ProtobufCBinaryData *token, uint32_t *out_index)
{
	if (token->len != TICKET_TOKEN_SIZE)
		return ERROR_INVALID_ARGUMENT;
	uint32_t link = tickets_find(&pool->tickets, token->data);
	if (!link || pool->tickets.records[link - 1].deadline <= deadlines_now(&pool->deadlines))
		return ERROR_NO_SUCH_TICKET;
	*out_index = link - 1;
	return 0;
}

void request_redeem(struct request *request)
{
	struct pool *pool = request->pool;
	uint32_t uid = request->slot.session->record->uid, index = 0, block = 0;
	int error = find(pool, &request->message->redeem->token, &index);

	if (!error) {
		const struct ticket_record *ticket = &pool->tickets.records[index];
		block = ticket->block;
		/* Nobody else: not root either, who may take it back and share it anew. */
		if (ticket->for_uid != TICKET_FOR_ALL && ticket->for_uid != uid)
			error = ERROR_DENIED;
	}
	if (!error)
		error = acquisition_redeem(&request->slot, index);
	if (error) {
		slot_refuse(&request->slot, SLOT_REDEEM, (uint32_t)error);
		request_reply(request, error, "%s",
		              error == ERROR_DENIED ? "the ticket was made for another user" : error_sentence(error));
		return;
	}
	reply_block(request->connection, request->slot.index, request->slot.sequence, pool, block);
	pool_publish_counters(pool);
}

void request_revoke(struct request *request)
{
	struct pool *pool = request->pool;
	uint32_t uid = request->slot.session->record->uid, index = 0;
	int error = find(pool, &request->message->revoke->token, &index);

	if (!error && pool->tickets.records[index].uid != uid && uid != 0)
		error = ERROR_DENIED;
	if (error) {
		slot_refuse(&request->slot, SLOT_REVOKE, (uint32_t)error);
		request_reply(request, error, "%s",
		              error == ERROR_DENIED ? "another user made the ticket: only that user and root may take it back"
		                                    : error_sentence(error));
		return;
	}
	struct slot_record *record = slot_begin(&request->slot, SLOT_REVOKE);
	record->ticket = index + 1;
	record->id = record_id(tickets_word(&pool->tickets, index));
	slot_decide(&request->slot);
	lifetime_drop_ticket(pool, index);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
