/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribe: the client wants to be told of events, of others than before, or of none any more. Changes no table. */
#include "request.h"

#include "connection.h"

void request_subscribe(struct request *request)
{
	const Shmbuddy__V1__Subscribe *message = request->message->subscribe;
	const char *text;
	int error = events_subscribe(request->pool, request->connection, message->kinds, message->prefix, &text);

	if (error) {
		request_reply(request, error, "%s", text);
		return;
	}
	request_reply(request, 0, NULL);
	if (!request->connection->closing)
		events_tell_pressure(request->pool, request->connection);
}
