/* SPDX-License-Identifier: Apache-2.0 */
/* A request that came again gets the outcome that its slot recorded; nothing is done twice. */
#include "request.h"

#include <stdlib.h>

#include "connection.h"
#include "errors.h"

/* The blocks of a batch, found among those that the session still holds; one that was freed since is not there. */
static void repeat_batch(struct request *request, const struct slot_record *record)
{
	const struct blocks *blocks = &request->pool->blocks;
	uint32_t *indexes = malloc(record->count * sizeof *indexes);

	if (!indexes) {
		connection_close(request->connection);
		return;
	}
	for (uint32_t i = 0; i < record->count; i++)
		indexes[i] = REPLY_NO_BLOCK;
	for (uint32_t link = request->slot.session->blocks; link; link = blocks->owned[link - 1].next) {
		uint64_t id = record_id(blocks_word(blocks, link - 1));
		if (id >= record->id && id - record->id < record->count)
			indexes[id - record->id] = link - 1;
	}
	reply_block_batch(request->connection, request->slot.index, request->slot.sequence, request->pool, record->id, indexes,
	                  record->count);
	free(indexes);
}

void request_repeat(struct request *request)
{
	const struct slot_record *record = &request->slot.session->record->slots[request->slot.index];

	if (record->status) {
		request_reply(request, (int)record->status, NULL);
	} else if (record->operation == SLOT_ALLOCATE_BATCH) {
		repeat_batch(request, record);
	} else if (record->operation == SLOT_ALLOCATE || record->operation == SLOT_LOOKUP) {
		if (blocks_is_live(&request->pool->blocks, record->block, record->id))
			reply_block(request->connection, request->slot.index, request->slot.sequence, request->pool, record->block);
		else
			request_reply(request, ERROR_STALE_HANDLE, NULL);
	} else {
		request_reply(request, 0, NULL);
	}
}
