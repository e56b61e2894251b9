/* SPDX-License-Identifier: Apache-2.0 */
/* Acquire: a block by its handle, which came to the session by whatever way, and a reference to it. */
#include "request.h"

#include "acquisition.h"
#include "errors.h"
#include "handle.h"

void request_acquire(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->acquire->handle;
	int error = ERROR_INVALID_ARGUMENT;

	if (message)
		error = handle_find_to_acquire(request->slot.session,
		                               &(struct handle){message->id, message->index, message->incarnation});
	if (!error)
		error = acquisition_perform(&request->slot, SLOT_ACQUIRE, message->index, (struct name_range){0});
	if (error) {
		slot_refuse(&request->slot, SLOT_ACQUIRE, (uint32_t)error);
		request_reply(request, error, NULL);
		return;
	}
	reply_block(request->connection, request->slot.index, request->slot.sequence, request->pool, message->index);
}
