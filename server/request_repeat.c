/* SPDX-License-Identifier: Apache-2.0 */
/* A request that came again gets the outcome that its slot recorded; nothing is done twice. */
#include "request.h"

#include "errors.h"

/* The blocks of a batch; one that was freed since is not there any more. */
static void repeat_batch(struct request *request, const struct slot_record *record)
{
	const struct blocks *blocks = &request->pool->blocks;
	uint32_t *kept = request->slot.session->batches[request->slot.index];

	for (uint32_t i = 0; i < record->count; i++) {
		if (kept[i] != REPLY_NO_BLOCK && !blocks_is_live(blocks, kept[i], record->id + i))
			kept[i] = REPLY_NO_BLOCK; /* for good */
	}
	reply_block_batch(request->connection, request->slot.index, request->slot.sequence, request->pool, record->id, kept,
	                  record->count);
}

void request_repeat(struct request *request)
{
	const struct slot_record *record = &request->slot.session->record->slots[request->slot.index];

	if (record->status) {
		request_reply(request, (int)record->status, NULL);
	} else if (record->operation == SLOT_ALLOCATE_BATCH) {
		repeat_batch(request, record);
	} else if (record->operation == SLOT_ALLOCATE || record->operation == SLOT_LOOKUP || record->operation == SLOT_ACQUIRE) {
		if (blocks_is_live(&request->pool->blocks, record->block, record->id))
			reply_block(request->connection, request->slot.index, request->slot.sequence, request->pool, record->block);
		else
			request_reply(request, ERROR_STALE_HANDLE, NULL);
	} else if (record->operation == SLOT_RESIZE) {
		if (blocks_is_live(&request->pool->blocks, record->block, record->id))
			reply_resized(request->connection, request->slot.index, request->slot.sequence, request->pool, record->block,
			              record->count > 0);
		else
			request_reply(request, ERROR_STALE_HANDLE, NULL);
	} else {
		request_reply(request, 0, NULL);
	}
}
