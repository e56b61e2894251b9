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

/* The clone, unless it has ended. */
static void repeat_clone(struct request *request, const struct slot_record *record)
{
	const struct session *copy = request->pool->sessions.by_number[record->block];

	if (copy && copy->serial == record->id && !copy->dead)
		reply_clone_token(request->connection, request->slot.index, request->slot.sequence, copy);
	else
		request_reply(request, ERROR_LIMIT, "nobody adopted the clone in time: clone the session again");
}

/* The token, as long as there is that ticket; its record may have another by now. */
static void repeat_share(struct request *request, const struct slot_record *record)
{
	const struct tickets *tickets = &request->pool->tickets;
	uint64_t word = tickets_word(tickets, record->ticket - 1);

	if (record_id(word) == record->id && record_state(word) == RECORD_LIVE)
		reply_ticket(request->connection, request->slot.index, request->slot.sequence,
		             tickets->records[record->ticket - 1].token);
	else
		request_reply(request, ERROR_NO_SUCH_TICKET, NULL);
}

/* The block as it is now. A range that was looked up may have gone, where this session has shrunk the block since: then the rest of it, if any. */
static void repeat_block(struct request *request, const struct slot_record *record)
{
	const struct blocks *blocks = &request->pool->blocks;
	struct name_range range = {0};

	if (record->operation == SLOT_LOOKUP)
		range = (struct name_range){record->offset, record->length};
	if (!blocks_is_live(blocks, record->block, record->id) || range.offset >= blocks_body(blocks, record->block)->size) {
		request_reply(request, ERROR_STALE_HANDLE, NULL);
		return;
	}
	if (range.length > blocks_body(blocks, record->block)->size - range.offset)
		range.length = 0;
	reply_range(request->connection, request->slot.index, request->slot.sequence, request->pool, record->block, range);
}

void request_repeat(struct request *request)
{
	const struct slot_record *record = &request->slot.session->record->slots[request->slot.index];

	if (record->status) {
		request_reply(request, (int)record->status, NULL);
	} else if (record->operation == SLOT_ALLOCATE_BATCH) {
		repeat_batch(request, record);
	} else if (record->operation == SLOT_CLONE) {
		repeat_clone(request, record);
	} else if (record->operation == SLOT_SHARE) {
		repeat_share(request, record);
	} else if (record->operation == SLOT_ALLOCATE || record->operation == SLOT_LOOKUP || record->operation == SLOT_ACQUIRE ||
	           record->operation == SLOT_REDEEM) {
		repeat_block(request, record);
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
