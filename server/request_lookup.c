/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookup: a block, or a range of one, by its name, and a reference to the block for the session. Where there is no such name, and
 * the client is ready to wait, the request keeps its slot, and is answered when the name is published, or its time is over.
 */
#include "request.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "acquisition.h"
#include "charge.h"
#include "connection.h"
#include "duration.h"
#include "errors.h"
#include "name.h"

/* A look-up that waits. Owned by itself: it is freed when it ends. */
struct lookup_wait {
	struct name_waiter waiter; /* first: it is known by it */
	struct deferred deferred;
	struct slot slot;
	uint32_t wait_ms;
	char name[];
};

/* 0: the slot's session has a reference to the block, decided and recorded. Else an ERROR_*, of which nothing is recorded. */
static int find(const struct slot *slot, const char *name, size_t length)
{
	const struct pool *pool = slot->session->pool;
	uint32_t index;

	if (names_find(&pool->names, name, length, &index) < 0)
		return ERROR_NO_SUCH_NAME;
	return acquisition_perform(slot, SLOT_LOOKUP, names_body(&pool->names, index)->block, names_range(&pool->names, index));
}

/* What the slot has recorded. */
static void answer(const struct slot *slot)
{
	const struct session *session = slot->session;
	const struct slot_record *record = &session->record->slots[slot->index];

	reply_range(session->connection, slot->index, slot->sequence, session->pool, record->block,
	            (struct name_range){record->offset, record->length});
}

/* ---- Waiting ---------------------------------------------------------------------------------------------------- */

/* It waits no more: whatever ends the session from now on has nothing to cancel. */
static void retire(struct lookup_wait *wait)
{
	name_waiters_leave(&wait->waiter);
	charge_drop_waiter(wait->slot.session);
	wait->slot.session->deferred[wait->slot.index] = NULL;
}

/* The last word on it. */
static void finish(struct lookup_wait *wait)
{
	struct session *session = wait->slot.session;
	uint32_t slot = wait->slot.index;

	free(wait);
	/* A client that is gone takes its session along here. It may have another connection by now, or none. */
	if (session->connection)
		connection_flush(session->connection);
	session_arrive(session, slot);
}

static void published(struct name_waiter *waiter)
{
	struct lookup_wait *wait = (struct lookup_wait *)waiter; /* its first member */
	const struct slot *slot = &wait->slot;
	struct connection *connection = slot->session->connection;
	int error = find(slot, wait->name, waiter->length);

	if (error == ERROR_NO_SUCH_NAME)
		return; /* gone again: it waits on */
	retire(wait);
	if (error) {
		slot_refuse(slot, SLOT_LOOKUP, (uint32_t)error);
		reply_status(connection, slot->index, slot->sequence, error, NULL);
	} else {
		answer(slot);
	}
	finish(wait);
}

static void timed_out(struct name_waiter *waiter)
{
	struct lookup_wait *wait = (struct lookup_wait *)waiter;
	const struct slot *slot = &wait->slot;
	char time[DURATION_TEXT_MAX];

	retire(wait);
	duration_format(wait->wait_ms, time);
	slot_refuse(slot, SLOT_LOOKUP, ERROR_NO_SUCH_NAME);
	reply_status(slot->session->connection, slot->index, slot->sequence, ERROR_NO_SUCH_NAME,
	             "nothing was published under this name within %s", time);
	finish(wait);
}

static void cancel(struct deferred *deferred, bool lost)
{
	struct lookup_wait *wait = (struct lookup_wait *)((char *)deferred - offsetof(struct lookup_wait, deferred));

	(void)lost;
	retire(wait);
	finish(wait);
}

/* 0: it waits. Else an ERROR_*; with a sentence, unless `out_text` is left alone. */
static int wait_for_name(const struct slot *slot, const char *name, uint32_t wait_ms, char out_text[CHARGE_TEXT_MAX])
{
	size_t length = strlen(name);
	int error = charge_check(slot->session, QUOTA_WAITERS, out_text);
	struct lookup_wait *wait = error ? NULL : malloc(sizeof *wait + length);

	if (!wait)
		return error ? error : ERROR_SYSTEM;
	*wait = (struct lookup_wait){
		.waiter = {.name = wait->name, .length = length, .published = published, .timed_out = timed_out},
		.deferred = {cancel},
		.slot = *slot,
		.wait_ms = wait_ms,
	};
	memcpy(wait->name, name, length);
	if (name_waiters_join(&slot->session->pool->name_waiters, &wait->waiter, wait_ms) < 0) {
		free(wait);
		return ERROR_LIMIT;
	}
	charge_add_waiter(slot->session);
	session_depart(slot->session, slot->index, &wait->deferred);
	return 0;
}

/* ---- The request ------------------------------------------------------------------------------------------------ */

static void refuse(struct request *request, int error, bool waits, const char *text)
{
	slot_refuse(&request->slot, SLOT_LOOKUP, (uint32_t)error);
	if (text[0])
		request_reply(request, error, "%s", text);
	else if (waits && error == ERROR_LIMIT)
		request_reply(request, error,
		              "nothing is published under this name, and as many wait for names as may: %d; try again later",
		              NAME_WAITERS_MAX);
	else if (waits && error == ERROR_SYSTEM)
		request_reply(request, error, "the daemon itself has no memory left");
	else
		request_reply(request, error, NULL);
}

void request_lookup(struct request *request)
{
	const char *name = request->message->lookup->name;
	uint32_t wait_ms = request->message->lookup->wait_ms;
	char text[CHARGE_TEXT_MAX] = "";
	bool waits = false;
	int error = name_check(name, strlen(name)) < 0 ? ERROR_BAD_NAME : find(&request->slot, name, strlen(name));

	if (error == ERROR_NO_SUCH_NAME && wait_ms) {
		waits = true;
		error = wait_for_name(&request->slot, name, wait_ms, text);
		if (!error)
			return;
	}
	if (error)
		refuse(request, error, waits, text);
	else
		answer(&request->slot);
}
