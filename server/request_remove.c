/* SPDX-License-Identifier: Apache-2.0 */
/* Remove: frees a block that only names of the caller's uid, its time to live, and its being a cache block hold, names included. */
#include "request.h"

#include "errors.h"
#include "lifetime.h"

static int check(const struct request *request, const struct handle *handle)
{
	struct pool *pool = request->pool;
	uint32_t uid = request->slot.session->record->uid;

	int error = lifetime_find_block(pool, handle);

	if (error)
		return error == ERROR_STALE_HANDLE ? ERROR_NO_SUCH_BLOCK : error;
	if (blocks_body(&pool->blocks, handle->index)->owner || pool->blocks.references[handle->index] ||
	    pool->blocks.links_to[handle->index] || pool->blocks.tickets[handle->index])
		return ERROR_IN_USE;
	int held = dying_is_held(pool, handle->index, 0);
	if (held)
		return held < 0 ? ERROR_LIMIT : ERROR_IN_USE;
	if ((pool->blocks.leases[handle->index] || blocks_is_cached(&pool->blocks, handle->index)) &&
	    pool->blocks.records[handle->index].uid != uid && uid != 0)
		return ERROR_DENIED;
	for (uint32_t link = pool->blocks.names[handle->index]; link; link = pool->names.of_block[link - 1].next) {
		if (names_body(&pool->names, link - 1)->uid != uid && uid != 0)
			return ERROR_DENIED;
	}
	return 0;
}

void request_remove(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->remove->handle;
	struct pool *pool = request->pool;
	int error = ERROR_INVALID_ARGUMENT;

	if (message)
		error = check(request, &(struct handle){message->id, message->index, message->incarnation});
	if (error) {
		slot_refuse(&request->slot, SLOT_REMOVE, (uint32_t)error);
		if (error == ERROR_IN_USE)
			request_reply(request, error,
			              "sessions, tickets, or other blocks by links, hold block %llu: it is freed when they let go of it",
			              (unsigned long long)message->id);
		else if (error == ERROR_LIMIT)
			request_reply(request, error, DYING_TOO_MUCH);
		else
			request_reply(request, error, NULL);
		return;
	}
	struct slot_record *record = slot_begin(&request->slot, SLOT_REMOVE);
	record->id = message->id;
	record->block = message->index;
	slot_decide(&request->slot);
	/* The last of them takes the block with it. */
	if (pool->blocks.leases[message->index])
		lifetime_drop_lease(pool, pool->blocks.leases[message->index] - 1);
	for (uint32_t link = pool->blocks.names[message->index], next; link; link = next) {
		next = pool->names.of_block[link - 1].next;
		lifetime_drop_name(pool, link - 1);
	}
	if (blocks_is_there(&pool->blocks, message->index, message->id) && blocks_is_cached(&pool->blocks, message->index))
		lifetime_drop_cached(pool, message->index);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
