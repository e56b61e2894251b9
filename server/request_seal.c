/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seal: a block that the session holds does not change any more, neither its size nor its metadata; nor its bytes, where clients keep to it.
 * As a cache block it stays when nobody holds it (cache.h), and no name keeps it: so that is for the user that allocated it, and root. It
 * holds no others by links: a circle through it would hold it, and the pool would keep the circle.
 */
#include "request.h"

#include "block_change.h"
#include "errors.h"
#include "handle.h"

static int check(const struct request *request)
{
	const Shmbuddy__V1__Seal *message = request->message->seal;
	const Shmbuddy__V1__Handle *handle = message->handle;
	uint32_t uid = request->slot.session->record->uid;

	if (!handle)
		return ERROR_INVALID_ARGUMENT;
	int error = block_change_check(&request->slot, &(struct handle){handle->id, handle->index, handle->incarnation});
	if (error && error != ERROR_SEALED) /* as it is wanted */
		return error;
	if (!message->cached)
		return 0;
	if (uid != 0 && uid != request->pool->blocks.records[handle->index].uid)
		return ERROR_DENIED;
	return request->pool->blocks.links_from[handle->index] ? ERROR_IN_USE : 0;
}

void request_seal(struct request *request)
{
	const Shmbuddy__V1__Handle *handle = request->message->seal->handle;
	const struct blocks *blocks = &request->pool->blocks;
	int error = check(request);

	if (error) {
		slot_refuse(&request->slot, SLOT_SEAL, (uint32_t)error);
		request_reply(request, error, "%s",
		              error == ERROR_DENIED ? "another user allocated the block: only that user can make it a cache block"
		              : error == ERROR_IN_USE
		                  ? "the block holds others by links, and a cache block does not: unlink them first"
		                  : error_sentence(error));
		return;
	}
	struct block_body body = *blocks_body(blocks, handle->index);
	body.flags |= BLOCK_SEALED;
	if (request->message->seal->cached)
		body.flags |= BLOCK_CACHED;
	block_change_perform(&request->slot, SLOT_SEAL, handle->index, &body, record_state(blocks_word(blocks, handle->index)));
	if (body.flags & BLOCK_CACHED)
		lifetime_add_cached(request->pool, handle->index);
	request_reply(request, 0, NULL);
	pool_publish_counters(request->pool);
}
