/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remove: frees a block that only names of the caller's uid, its time to live, and its being a cache block hold, names included.
 *
 * A few names go with the request. Very many would hold up everybody else: then the request does no more than give the block a time to live that
 * has passed (LEASE_REMOVED), in one store, and expiry.c takes its names away, in turns with other requests, and then the block. A kill in between
 * leaves less to do for the next daemon, for which that time has passed too. Who gets hold of the block by a name that is still there
 * keeps it, as with any that expires.
 */
#include "request.h"

#include "errors.h"
#include "handle.h"
#include "lifetime.h"
#include "page_holds.h"

/* Names that go in one piece. */
#define NAMES_AT_ONCE 64

static int check(const struct request *request, const struct handle *handle)
{
	struct pool *pool = request->pool;
	uint32_t uid = request->slot.session->record->uid;

	int error = handle_find_to_acquire(request->slot.session, handle);

	if (error)
		return error == ERROR_STALE_HANDLE ? ERROR_NO_SUCH_BLOCK : error;
	if (blocks_body(&pool->blocks, handle->index)->owner || pool->blocks.references[handle->index] ||
	    pool->blocks.links_to[handle->index] || pool->blocks.tickets[handle->index])
		return ERROR_IN_USE;
	int held = page_holds_any(pool, handle->index, 0);
	if (held)
		return held < 0 ? ERROR_LIMIT : ERROR_IN_USE;
	if ((pool->blocks.leases[handle->index] || blocks_is_cached(&pool->blocks, handle->index)) &&
	    pool->blocks.records[handle->index].uid != uid && uid != 0)
		return ERROR_DENIED;
	/* Nothing but names is left that others may hold it by. */
	return uid != 0 && payer_others_hold(pool, handle->index, uid) ? ERROR_DENIED : 0;
}

static bool has_many_names(const struct pool *pool, uint32_t block)
{
	unsigned count = 0;

	for (uint32_t link = pool->blocks.names[block]; link && count <= NAMES_AT_ONCE;
	     link = pool->names.of_block[link - 1].next)
		count++;
	return count > NAMES_AT_ONCE;
}

/* Steps 1 and 2 of the slot. */
static void begin(const struct request *request, uint32_t lease)
{
	struct slot_record *record = slot_begin(&request->slot, SLOT_REMOVE);

	record->id = request->message->remove->handle->id;
	record->block = request->message->remove->handle->index;
	record->lease = lease;
	record->deadline = lease ? LEASE_REMOVED : 0;
}

/* False: there is no lease to be had, and nothing has happened. (There are as many as blocks.) */
static bool leave_to_expiry(const struct request *request, uint32_t block, uint64_t id)
{
	struct pool *pool = request->pool;
	uint32_t link = pool->blocks.leases[block], index;

	if (link) {
		begin(request, link);
		slot_decide(&request->slot);
		lifetime_renew_lease(pool, link - 1, LEASE_REMOVED);
	} else {
		if (table_take(&pool->leases.table, &index) < 0)
			return false;
		begin(request, index + 1);
		leases_write(&pool->leases, index, block, id, LEASE_REMOVED);
		slot_decide(&request->slot);
		lifetime_add_lease(pool, index, LEASE_REMOVED);
	}
	slot_done(&request->slot);
	return true;
}

static void remove_at_once(const struct request *request, uint32_t block, uint64_t id)
{
	struct pool *pool = request->pool;

	begin(request, 0);
	slot_decide(&request->slot);
	/* The last of them takes the block with it. */
	if (pool->blocks.leases[block])
		lifetime_drop_lease(pool, pool->blocks.leases[block] - 1);
	for (uint32_t link = pool->blocks.names[block], next; link; link = next) {
		next = pool->names.of_block[link - 1].next;
		lifetime_drop_name(pool, link - 1);
	}
	if (blocks_is_there(&pool->blocks, block, id) && blocks_is_cached(&pool->blocks, block))
		lifetime_drop_cached(pool, block);
	slot_done(&request->slot);
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
			request_reply(
				request, error,
				"not names alone hold block %llu, but sessions, tickets, or other blocks by links: nothing was changed",
				(unsigned long long)message->id);
		else if (error == ERROR_LIMIT)
			request_reply(request, error, PAGE_HOLDS_TOO_MUCH);
		else
			request_reply(request, error, NULL);
		return;
	}
	if (!has_many_names(pool, message->index) || !leave_to_expiry(request, message->index, message->id))
		remove_at_once(request, message->index, message->id);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
