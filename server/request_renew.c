/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renew: another time to live for a block. A lease that is there gets another deadline, or goes, by one store that the slot's body tells; a new
 * one is PENDING until the slot has decided. With no lease there, and none wanted, nothing changes and that is recorded.
 *
 * When a time to live has passed, the block's names go; and as long as it has not, the block is charged to the user that allocated it (payer.c). So
 * it is for that user, and root. Who else holds the block keeps it by a hold of his own, and pays for it.
 */
#include "request.h"

#include "errors.h"
#include "handle.h"
#include "lifetime.h"

static int check(const struct request *request, const char **out_text)
{
	const Shmbuddy__V1__Renew *message = request->message->renew;
	const Shmbuddy__V1__Handle *handle = message->handle;
	const struct pool *pool = request->pool;
	struct session *session = request->slot.session;

	if (!handle || message->ttl_ms > DEADLINES_TTL_MAX) {
		*out_text = "a time to live is of a block, and 30 days at most";
		return ERROR_INVALID_ARGUMENT;
	}
	struct handle found = {handle->id, handle->index, handle->incarnation};
	int error = handle_find_to_acquire(session, &found);
	if (error)
		return error;
	if (session->record->uid == pool->blocks.records[found.index].uid || session->record->uid == 0)
		return 0;
	*out_text = "another user allocated the block: its time to live is for that user and root";
	return ERROR_DENIED;
}

/* Steps 1 and 2 of the slot. */
static void begin(const struct request *request, uint32_t lease, uint64_t deadline)
{
	const Shmbuddy__V1__Handle *handle = request->message->renew->handle;
	struct slot_record *record = slot_begin(&request->slot, SLOT_RENEW);

	record->block = handle->index;
	record->id = handle->id;
	record->lease = lease;
	record->deadline = deadline;
}

/* 0, or ERROR_LIMIT: nothing has happened. */
static int add(const struct request *request, uint64_t deadline)
{
	const Shmbuddy__V1__Handle *handle = request->message->renew->handle;
	struct pool *pool = request->pool;
	uint32_t index;

	if (table_take(&pool->leases.table, &index) < 0)
		return ERROR_LIMIT;
	begin(request, index + 1, deadline);
	leases_write(&pool->leases, index, handle->index, handle->id, deadline);
	slot_decide(&request->slot);
	lifetime_add_lease(pool, index, deadline);
	slot_done(&request->slot);
	return 0;
}

static void change(const struct request *request, uint32_t link, uint64_t deadline)
{
	struct pool *pool = request->pool;

	begin(request, link, deadline);
	slot_decide(&request->slot);
	if (link && deadline)
		lifetime_renew_lease(pool, link - 1, deadline);
	else if (link)
		lifetime_drop_lease(pool, link - 1);
	slot_done(&request->slot);
}

void request_renew(struct request *request)
{
	struct pool *pool = request->pool;
	uint64_t ttl = request->message->renew->ttl_ms, deadline = ttl ? deadlines_after(&pool->deadlines, ttl) : 0;
	const char *text = NULL;
	int error = check(request, &text);

	if (!error) {
		uint32_t link = pool->blocks.leases[request->message->renew->handle->index];
		if (deadline && !link)
			error = add(request, deadline);
		else
			change(request, link, deadline);
	}
	if (error) {
		slot_refuse(&request->slot, SLOT_RENEW, (uint32_t)error);
		request_reply(request, error, "%s", text ? text : error_sentence(error));
		return;
	}
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
