/* SPDX-License-Identifier: Apache-2.0 */
/* Clone: a copy of the session for another process. What there is to tell stands in clone.c. */
#include "request.h"

#include <stdio.h>

#include "clone.h"
#include "errors.h"
#include "handle.h"
#include "hold_layout.h"

void request_clone(struct request *request)
{
	const Shmbuddy__V1__Clone *message = request->message->clone;
	struct handle held[HOLD_SLOTS];
	char text[CHARGE_TEXT_MAX] = "a clone takes as many ids as indexes, and at most as many as a hold page has slots";
	int error = message->n_id == message->n_index && message->n_id <= HOLD_SLOTS ? 0 : ERROR_INVALID_ARGUMENT;

	if (!error && message->n_id && message->incarnation != request->pool->incarnation) {
		snprintf(text, sizeof text, "%s", error_sentence(ERROR_OTHER_POOL));
		error = ERROR_OTHER_POOL;
	}
	for (size_t i = 0; i < message->n_id && !error; i++)
		held[i] = (struct handle){message->id[i], message->index[i], message->incarnation};
	if (!error)
		error = clone_begin(&request->slot, held, (uint32_t)message->n_id, text);
	if (!error)
		return;
	slot_refuse(&request->slot, SLOT_CLONE, (uint32_t)error);
	request_reply(request, error, "%s", text);
}
