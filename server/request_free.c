/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free, one hold or a batch of them. One: the slot says what will be given back, decides, and it is. A batch: each hold is
 * marked first, so that the restart of a daemon killed in the middle knows them all; a wrong entry undoes the marks.
 */
#include "request.h"

#include "daemon.h"
#include "errors.h"
#include "handle.h"
#include "lifetime.h"

void request_free(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->free->handle;
	struct session *session = request->slot.session;
	struct hold hold;
	int error = ERROR_INVALID_ARGUMENT;

	if (message)
		error = handle_find_hold(session, &(struct handle){message->id, message->index, message->incarnation}, &hold);
	if (error) {
		slot_refuse(&request->slot, SLOT_FREE, (uint32_t)error);
		request_reply(request, error, NULL);
		return;
	}
	struct slot_record *record = slot_begin(&request->slot, SLOT_FREE);
	record->id = message->id;
	record->block = message->index;
	record->reference = hold.reference;
	if (hold.reference)
		record->next = REFERENCE_COUNT(references_word(&request->pool->references, hold.reference - 1)) - 1;
	slot_decide(&request->slot);
	lifetime_drop_hold(session, &hold);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(request->pool);
}

/* Marks one hold of the batch: what is left of it once the slot has decided. */
static void mark(struct pool *pool, const struct hold *hold)
{
	if (!hold->reference) {
		blocks_set_state(&pool->blocks, hold->block, RECORD_FREEING);
		return;
	}
	uint64_t word = references_word(&pool->references, hold->reference - 1);
	references_set(&pool->references, hold->reference - 1, REFERENCE_COUNT(word), REFERENCE_NEXT(word) - 1, RECORD_FREEING);
}

static void unmark(struct pool *pool, const struct hold *hold)
{
	if (!hold->reference) {
		blocks_set_state(&pool->blocks, hold->block, RECORD_LIVE);
		return;
	}
	uint32_t count = REFERENCE_COUNT(references_word(&pool->references, hold->reference - 1));
	references_set(&pool->references, hold->reference - 1, count, count, RECORD_LIVE);
}

/* Gives a marked hold back. A reference that stands several times in the batch is done with the first. */
static void apply(struct session *session, const struct hold *hold)
{
	const struct references *references = &session->pool->references;

	if (!hold->reference) {
		lifetime_drop_owner(session, hold->block);
		return;
	}
	uint64_t word = references_word(references, hold->reference - 1);
	if (REFERENCE_STATE(word) == RECORD_FREEING)
		lifetime_set_reference(session, hold->reference - 1, REFERENCE_NEXT(word));
}

void request_free_batch(struct request *request)
{
	const Shmbuddy__V1__FreeBatch *message = request->message->free_batch;
	struct session *session = request->slot.session;
	struct pool *pool = request->pool;
	size_t count = message->n_id, marked = 0;
	struct hold *holds = request->daemon->holds;
	int error = 0;

	if (count == 0 || count > DAEMON_BATCH_MAX || message->n_index != count) {
		slot_refuse(&request->slot, SLOT_FREE_BATCH, ERROR_INVALID_ARGUMENT);
		request_reply(request, ERROR_INVALID_ARGUMENT, "a batch has 1 to %d handles, as many ids as indexes",
		              DAEMON_BATCH_MAX);
		return;
	}
	slot_begin(&request->slot, SLOT_FREE_BATCH)->count = (uint32_t)count;
	for (; marked < count && !error; marked += !error) {
		struct handle handle = {message->id[marked], message->index[marked], message->incarnation};
		error = handle_find_hold(session, &handle, &holds[marked]);
		if (!error)
			mark(pool, &holds[marked]);
	}
	if (error) {
		for (size_t i = 0; i < marked; i++)
			unmark(pool, &holds[i]);
		slot_refuse(&request->slot, SLOT_FREE_BATCH, (uint32_t)error);
		request_reply(request, error, "handle %zu of the batch (block %llu): %s; none was freed", marked,
		              (unsigned long long)message->id[marked], error_sentence(error));
		return;
	}
	slot_decide(&request->slot);
	for (size_t i = 0; i < count; i++)
		apply(session, &holds[i]);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
