/* SPDX-License-Identifier: Apache-2.0 */
/* Goodbye: the client has unmapped the segment, so all that it holds can be given back. The reply goes out when it has been. */
#include "request.h"

#include "connection.h"

void request_goodbye(struct request *request)
{
	struct session *session = request->slot.session;

	session->goodbye_slot = request->slot.index;
	session->goodbye_sequence = request->slot.sequence;
	events_unsubscribe(request->connection);
	session_end(session, "goodbye");
}
