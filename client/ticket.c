/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets: make one for a block, get the block of one, take one back. Their text form is ticket_text.c's. */
#include <errno.h>
#include <string.h>

#include "block.h"

/* The wire's form, which borrows the ticket. */
static ProtobufCBinaryData wire_token(const shmb_ticket *ticket)
{
	return (ProtobufCBinaryData){sizeof ticket->token, (uint8_t *)(uintptr_t)ticket->token};
}

struct share_call {
	struct call call;
	shmb_ticket *out_ticket;
};

static int take_ticket(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	const struct share_call *share = (const struct share_call *)call;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_TICKET ||
	    reply->ticket->token.len != sizeof share->out_ticket->token)
		return -EPROTO;
	memcpy(share->out_ticket->token, reply->ticket->token.data, sizeof share->out_ticket->token);
	return 0;
}

int shmb_share(shmb_session *session, shmb_handle handle, const shmb_share_options *options, shmb_ticket *out_ticket)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Share body = SHMBUDDY__V1__SHARE__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct share_call share;
	int r = block_check_handle(handle);

	if (r == 0 && !out_ticket)
		r = last_error_set(ERROR_INVALID_ARGUMENT, "out_ticket is NULL");
	if (r == 0 && options)
		r = block_check_ttl(options->ttl_ms);
	if (r < 0)
		return r;
	body.handle = &wire;
	if (options) {
		body.ttl_ms = options->ttl_ms;
		body.bound = options->bound;
		body.uid = options->bound ? options->uid : 0;
	}
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SHARE;
	request.share = &body;
	call_init(&share.call, take_ticket);
	share.out_ticket = out_ticket;
	return session_perform(session, &share.call, &request);
}

int shmb_redeem(shmb_session *session, shmb_ticket ticket, shmb_block *out_block)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Redeem body = SHMBUDDY__V1__REDEEM__INIT;

	if (!out_block)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_block is NULL");
	body.token = wire_token(&ticket);
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REDEEM;
	request.redeem = &body;
	return block_fetch(session, &request, NULL, out_block);
}

int shmb_revoke(shmb_session *session, shmb_ticket ticket)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Revoke body = SHMBUDDY__V1__REVOKE__INIT;
	struct call call;

	body.token = wire_token(&ticket);
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REVOKE;
	request.revoke = &body;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}
