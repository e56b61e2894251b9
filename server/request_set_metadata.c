/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Set metadata: the user's own bytes, which come back with the block. They are written to a record of the table that no body names; the change of
 * the block's body makes them count, and gives the former record back. A record that a kill leaves unnamed is free for the next daemon.
 */
#include "request.h"

#include "block_change.h"
#include "errors.h"
#include "handle.h"

static int check(const struct request *request)
{
	const Shmbuddy__V1__SetMetadata *message = request->message->set_metadata;
	const Shmbuddy__V1__Handle *handle = message->handle;

	if (!handle || message->metadata.len > METADATA_MAX)
		return ERROR_INVALID_ARGUMENT;
	return block_change_check(&request->slot, &(struct handle){handle->id, handle->index, handle->incarnation});
}

static void refuse(struct request *request, int error)
{
	slot_refuse(&request->slot, SLOT_SET_METADATA, (uint32_t)error);
	if (error == ERROR_LIMIT)
		request_reply(request, error, "%s", METADATA_LIMIT_TEXT);
	else if (error == ERROR_INVALID_ARGUMENT)
		request_reply(request, error, "metadata needs a block, and has at most %u bytes", METADATA_MAX);
	else
		request_reply(request, error, NULL);
}

void request_set_metadata(struct request *request)
{
	const Shmbuddy__V1__SetMetadata *message = request->message->set_metadata;
	struct pool *pool = request->pool;
	uint32_t taken;
	int error = check(request);

	if (!error && message->metadata.len && table_take(&pool->metadata.table, &taken) < 0)
		error = ERROR_LIMIT;
	if (error) {
		refuse(request, error);
		return;
	}
	const uint32_t block = message->handle->index;
	struct block_body body = *blocks_body(&pool->blocks, block);
	body.metadata = 0;
	if (message->metadata.len) {
		metadata_write(&pool->metadata, taken, message->handle->id, message->metadata.data, message->metadata.len);
		body.metadata = taken + 1;
	}
	block_change_perform(&request->slot, SLOT_SET_METADATA, block, &body, record_state(blocks_word(&pool->blocks, block)));
	request_reply(request, 0, NULL);
}
