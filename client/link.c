/* SPDX-License-Identifier: Apache-2.0 */
/* Links: a block holds another. */
#include "block.h"

/* 0, or a negative SHMB_E_*: handles that are none. */
static int check(shmb_handle from, shmb_handle to)
{
	int r = block_check_handle(from);

	return r < 0 ? r : block_check_handle(to);
}

int shmb_link(shmb_session *session, shmb_handle from, shmb_handle to)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Link body = SHMBUDDY__V1__LINK__INIT;
	Shmbuddy__V1__Handle ends[] = {block_wire_handle(from), block_wire_handle(to)};
	struct call call;
	int r = check(from, to);

	if (r < 0)
		return r;
	body.from = &ends[0];
	body.to = &ends[1];
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LINK;
	request.link = &body;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

int shmb_unlink(shmb_session *session, shmb_handle from, shmb_handle to)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Unlink body = SHMBUDDY__V1__UNLINK__INIT;
	Shmbuddy__V1__Handle ends[] = {block_wire_handle(from), block_wire_handle(to)};
	struct call call;
	int r = check(from, to);

	if (r < 0)
		return r;
	body.from = &ends[0];
	body.to = &ends[1];
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_UNLINK;
	request.unlink = &body;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}
