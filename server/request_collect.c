/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collect: frees circles of links that nothing holds. The request keeps its slot, and is answered when the run has ended that began after it
 * (collector.h), which many may share. Nothing is recorded: to collect once more does no harm.
 */
#include "request.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "collector.h"
#include "connection.h"
#include "errors.h"

/* A request that waits. Owned by itself: it is freed when it ends. */
struct collect_wait {
	struct collector_waiter waiter; /* first: it is known by it */
	struct deferred deferred;
	struct slot slot;
};

/* The last word on it. */
static void finish(struct collect_wait *wait)
{
	struct session *session = wait->slot.session;
	uint32_t slot = wait->slot.index;

	session->deferred[slot] = NULL; /* whatever ends the session from now on has nothing to cancel */
	free(wait);
	/* A client that is gone takes its session along here. It may have another connection by now, or none. */
	if (session->connection)
		connection_flush(session->connection);
	session_arrive(session, slot);
}

static void answer(const struct slot *slot, const struct collection *collection)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Collection result = SHMBUDDY__V1__COLLECTION__INIT;

	result.marked = collection->marked;
	result.freed = collection->freed;
	result.freed_bytes = collection->freed_bytes;
	result.slices = collection->slices;
	result.longest_us = collection->longest_ns / 1000;
	result.duration_us = collection->duration_ns / 1000;
	reply.slot = slot->index;
	reply.sequence = slot->sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_COLLECTION;
	reply.collection = &result;
	reply_send(slot->session->connection, &reply);
}

static void ended(struct collector_waiter *waiter, const struct collection *collection, int result)
{
	struct collect_wait *wait = (struct collect_wait *)waiter; /* its first member */
	const struct slot *slot = &wait->slot;

	if (result == 0)
		answer(slot, collection);
	else
		reply_status(slot->session->connection, slot->index, slot->sequence, ERROR_SYSTEM, "%s",
		             result == -ENOMEM ? "the daemon itself has no memory left for a run"
		                               : "a hold page could not be read, so nothing was freed: try again");
	finish(wait);
}

static void cancel(struct deferred *deferred, bool lost)
{
	struct collect_wait *wait = (struct collect_wait *)((char *)deferred - offsetof(struct collect_wait, deferred));

	(void)lost;
	collector_leave(&wait->slot.session->pool->collector, &wait->waiter);
	finish(wait);
}

void request_collect(struct request *request)
{
	struct collect_wait *wait = malloc(sizeof *wait);

	if (!wait) {
		request_reply(request, ERROR_SYSTEM, "the daemon itself has no memory left");
		return;
	}
	*wait = (struct collect_wait){.waiter = {.ended = ended}, .deferred = {cancel}, .slot = request->slot};
	if (collector_wait(&request->pool->collector, &wait->waiter) < 0) {
		free(wait);
		request_reply(request, ERROR_LIMIT, "as many requests wait for a collection as may: %d; try again later",
		              COLLECTOR_WAITERS_MAX);
		return;
	}
	session_depart(request->slot.session, request->slot.index, &wait->deferred);
}
