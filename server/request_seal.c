/* SPDX-License-Identifier: Apache-2.0 */
/* Seal: a block that the session holds does not change any more, neither its size nor its metadata; nor its bytes, where clients keep to it. */
#include "request.h"

#include "block_change.h"
#include "errors.h"

void request_seal(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->seal->handle;
	const struct blocks *blocks = &request->pool->blocks;
	int error = ERROR_INVALID_ARGUMENT;

	if (message)
		error = block_change_check(&request->slot, &(struct handle){message->id, message->index, message->incarnation});
	if (error == ERROR_SEALED) /* as it is wanted */
		error = 0;
	if (error) {
		slot_refuse(&request->slot, SLOT_SEAL, (uint32_t)error);
		request_reply(request, error, NULL);
		return;
	}
	struct block_body body = *blocks_body(blocks, message->index);
	body.flags |= BLOCK_SEALED;
	block_change_perform(&request->slot, SLOT_SEAL, message->index, &body,
	                     record_state(blocks_word(blocks, message->index)));
	request_reply(request, 0, NULL);
}
