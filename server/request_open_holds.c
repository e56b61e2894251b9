/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenHolds: the hold page of a session, asked for by its process on a connection of its own: a descriptor can only come with the first byte
 * of what is sent, and the session's connection may have anything under way.
 */
#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "connection.h"
#include "daemon.h"
#include "errors.h"
#include "hold_layout.h"
#include "log.h"

/* 0, or an ERROR_* with its sentence. */
static int find(struct request *request, struct session **out_session, const char **out_text)
{
	const Shmbuddy__V1__OpenHolds *message = request->message->open_holds;
	struct session *session = NULL;

	if (message->token.len == sizeof session->record->token)
		session = session_find(&request->daemon->pool, message->token.data);
	if (!session) {
		*out_text = "the pool has no session with this token: it ended, or the pool was made anew";
		return ERROR_SESSION_ENDED;
	}
	if (!session_is_of(session, &request->connection->peer)) {
		*out_text = "the session with this token belongs to another process or user";
		return ERROR_DENIED;
	}
	if (session->asked_to_end) {
		*out_text = "an administrator has ended the session";
		return ERROR_SESSION_ENDED;
	}
	int result = session_open_hold_page(session);
	if (result < 0) {
		log_warning("session %" PRIu32 ": no hold page can be made: %s", session->number, strerror(-result));
		*out_text = strerror(-result);
		return result == -EMFILE || result == -ENFILE ? ERROR_LIMIT : ERROR_SYSTEM;
	}
	*out_session = session;
	return 0;
}

void request_open_holds(struct request *request)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__HoldPage page = SHMBUDDY__V1__HOLD_PAGE__INIT;
	struct connection *connection = request->connection;
	struct session *session;
	const char *text;
	int error = find(request, &session, &text);

	if (error) {
		request_reply(request, error, "%s: the connection ends", text);
		connection_end(connection);
		return;
	}
	page.slots = HOLD_SLOTS;
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_HOLD_PAGE;
	reply.hold_page = &page;
	reply_send(connection, &reply);
	if (!connection->closing && connection_flush_with(connection, &session->hold_page, 1) < 0)
		connection_discard(connection); /* it ends without an answer: the client goes on without a page */
	connection_end(connection);
}
