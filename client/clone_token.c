/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones for children: the parent's request, and the child's first call. A session knows by itself which blocks it holds by its hold page;
 * the daemon knows the rest. In the child the segment goes where the fork left the parent's addresses reserved (mapping.c).
 */
#include <errno.h>
#include <string.h>

#include "offline.h"
#include "session.h"

struct clone_call {
	struct call call;
	shmb_clone_token *out_clone;
};

static int take_token(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	shmb_clone_token *out_clone = ((struct clone_call *)call)->out_clone;
	const Shmbuddy__V1__CloneToken *token = reply->clone_token;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_CLONE_TOKEN || token->session == 0 ||
	    token->token.len != sizeof out_clone->token)
		return -EPROTO;
	out_clone->session = token->session;
	memcpy(out_clone->token, token->token.data, sizeof out_clone->token);
	return 0;
}

int shmb_clone(shmb_session *session, shmb_clone_token *out_clone)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Clone body = SHMBUDDY__V1__CLONE__INIT;
	shmb_clone_token token = {0};
	struct clone_call clone = {.out_clone = &token};
	shmb_handle held[HOLD_SLOTS];
	uint64_t ids[HOLD_SLOTS];
	uint32_t indexes[HOLD_SLOTS];
	int r;

	if (!out_clone)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_clone is NULL");
	r = session_enter(session);
	if (r < 0)
		return r;
	body.n_id = body.n_index = holds_list(session, held);
	for (size_t i = 0; i < body.n_id; i++) {
		ids[i] = held[i].id;
		indexes[i] = held[i].index;
	}
	body.id = ids;
	body.index = indexes;
	body.incarnation = session->incarnation;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_CLONE;
	request.clone = &body;
	call_init(&clone.call, take_token);
	r = session_perform(session, &clone.call, &request);
	if (r < 0)
		return r;
	token.incarnation = session->incarnation;
	*out_clone = token;
	return 0;
}

int shmb_adopt(shmb_session *session, shmb_clone_token clone)
{
	if (!session)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the session is NULL");
	if (session->access == SHMB_OFFLINE)
		return offline_refuse();
	if (clone.session == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the clone is none: its session's number is 0");
	return session_adopt(session, &clone);
}
