/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for blocks: see allocation.h.
 *
 * Happy path. Quotas let it in, memory is found at once (allocation_memory.c), the kernel has backed it already, and it is written
 * (allocation_records.c): all in one turn of the loop.
 *
 * What may come in between:
 *
 * - The kernel must back it first: the committer calls back. Meanwhile its user is charged with it.
 * - A quota stops it. Its user's idle cache blocks go first, in slices if they are many. With a time to wait it stands in the line of that account (account_line.h), and when its turn has come looks for memory.
 * - There is no memory. It stands in the pool's line (wait_queue.h), for its time, or, without one, for what is on its way back by itself. A
 *   quota that was used up meanwhile has it step aside, into the other line.
 * - Its session ends: whichever line or job it is in, it is cancelled there.
 */
#include "allocation.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "allocation_memory.h"
#include "charge.h"
#include "pool.h"
#include "session.h"

/* How long one that does not wait may take to make room in its account. */
#define MAKE_ROOM_MS 1000

int allocation_new(size_t count, bool batch, struct allocation **out_allocation)
{
	/* Not calloc: it passes by malloc's fast path, and the lists are written before they are read. */
	struct allocation *allocation =
		malloc(sizeof *allocation + count * (sizeof *allocation->ranges + sizeof *allocation->sizes));

	if (!allocation)
		return -ENOMEM;
	*allocation = (struct allocation){.count = count, .batch = batch};
	allocation->operation = batch ? SLOT_ALLOCATE_BATCH : SLOT_ALLOCATE;
	allocation->ranges = (struct commit_range *)(allocation + 1);
	allocation->sizes = (uint64_t *)(allocation->ranges + count);
	allocation->indexes = &allocation->index;
	if (batch)
		allocation->indexes = allocation->kept = malloc(count * sizeof *allocation->kept);
	if (!allocation->indexes) {
		free(allocation);
		return -ENOMEM;
	}
	*out_allocation = allocation;
	return 0;
}

void allocation_free(struct allocation *allocation)
{
	free(allocation->kept);
	free(allocation);
}

/* The last word on an allocation that did not get its answer at once. */
static void finish(struct allocation *allocation, int result)
{
	admission_leave(&allocation->admission);
	struct session *session = allocation->slot.session;
	uint32_t slot = allocation->slot.index; /* `finished` frees the allocation */

	session->deferred[slot] = NULL; /* whatever ends the session now has nothing to cancel */
	session->pool->events.acting = session->number;
	allocation->finished(allocation, result);
	session->pool->events.acting = 0;
	session_arrive(session, slot);
}

static void committed(struct commit_job *job, int result)
{
	struct allocation *allocation = (struct allocation *)job; /* its first member */

	admission_unreserve(&allocation->admission);
	if (allocation->slot.session->dead) {
		allocation_release(allocation);
		result = -ECANCELED;
	} else if (result < 0) {
		result = allocation_refuse_by_kernel(allocation);
	}
	finish(allocation, result);
}

/* Others of the same user come while the kernel is asked. */
static void reserve(struct allocation *allocation)
{
	struct admission *admission = &allocation->admission;

	admission->bytes = 0;
	for (size_t i = 0; i < allocation->count; i++)
		admission->bytes += allocation->ranges[i].length;
	admission_reserve(admission);
}

/* What was found. 1: it is committed. 0: the committer has it. -ENOSPC: refused. */
static int commit_found(struct allocation *allocation)
{
	allocation->job.ranges = allocation->ranges;
	allocation->job.range_count = allocation->count;
	allocation->job.done = committed;
	int result = committer_ensure(&allocation->slot.session->pool->committer, &allocation->job);
	if (result == 0)
		reserve(allocation);
	return result < 0 ? allocation_refuse_by_kernel(allocation) : result;
}

/* ---- Waiting ---------------------------------------------------------------------------------------------------- */

static struct allocation *of_waiter(struct waiter *waiter)
{
	return (struct allocation *)((char *)waiter - offsetof(struct allocation, waiter));
}

static bool take(struct waiter *waiter)
{
	struct allocation *allocation = of_waiter(waiter);
	struct account_obstacle obstacle;

	return !allocation_is_stopped(allocation, false, &obstacle) && allocation_find(allocation) == 0;
}

/* Memory may be there, and its quota is used up by others of its user meanwhile: it waits for that, and stands in nobody's way. */
static bool step_aside(struct waiter *waiter)
{
	struct allocation *allocation = of_waiter(waiter);
	struct account_obstacle obstacle;

	if (!allocation_is_stopped(allocation, false, &obstacle) ||
	    (allocation->wait_ms && !admission_can_wait(&allocation->admission)))
		return false;
	wait_queue_leave(waiter);
	if (allocation->wait_ms)
		admission_wait(&allocation->admission, &obstacle); /* it can */
	else
		finish(allocation, -ENOMEM);
	return true;
}

static void ended(struct waiter *waiter, int result)
{
	struct allocation *allocation = of_waiter(waiter);

	if (result == 0) {
		result = commit_found(allocation);
		if (result == 0)
			return;
		finish(allocation, result > 0 ? 0 : result);
		return;
	}
	if (result == -EBUSY)
		allocation_refuse_set_aside(allocation);
	allocation->refusal.waited_ms = allocation->wait_ms;
	finish(allocation, -ENOMEM);
}

static void cancel(struct deferred *deferred, bool lost)
{
	struct allocation *allocation = (struct allocation *)((char *)deferred - offsetof(struct allocation, deferred));

	if (wait_queue_leave(&allocation->waiter) || account_line_leave(&allocation->admission.waiter))
		finish(allocation, -ECANCELED);
	else if (!lost)
		committer_cancel(&allocation->job);
}

/* 0, unless it is to wait and may not: -EDQUOT, with the sentence; -ENOMEM: its time is over. */
static int begin_wait(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX])
{
	struct admission *admission = &allocation->admission;

	if (!allocation->wait_ms)
		return 0;
	if (!admission->waits && charge_check(allocation->slot.session, QUOTA_WAITERS, out_text))
		return -EDQUOT;
	admission_begin_wait(admission, allocation->wait_ms);
	return admission_left(admission) ? 0 : -ENOMEM;
}

/*
 * A quota stops it. 0: it waits for room there; with `more` it makes some itself, and so waits for a moment even if it was not told to. -ENOMEM,
 * -EDQUOT: it does not.
 */
static int wait_for_account(struct allocation *allocation, const struct account_obstacle *obstacle, bool more,
                            char out_text[CHARGE_TEXT_MAX])
{
	struct pool *pool = allocation->slot.session->pool;
	struct account_lines *lines = &pool->accounts.lines;
	int result;

	if (!obstacle->never)
		collector_want_memory(pool); /* circles that nobody holds are charged still */
	if (obstacle->never || (!allocation->wait_ms && !more))
		return -ENOMEM;
	if (allocation->wait_ms) {
		result = begin_wait(allocation, out_text);
		if (result == 0)
			result = admission_wait(&allocation->admission, obstacle);
	} else {
		result = account_line_join(lines, obstacle->line, &allocation->admission.waiter, MAKE_ROOM_MS);
	}
	if (result == 0 && more)
		account_line_wake(lines, obstacle->line);
	return result == -ETIMEDOUT ? -ENOMEM : result;
}

/* There is no room, or what there is, is set aside. 0: it waits. -ENOMEM, -EDQUOT: it does not. */
static int wait_for_memory(struct allocation *allocation, bool set_aside, char out_text[CHARGE_TEXT_MAX])
{
	struct wait_queue *queue = &allocation->slot.session->pool->wait_queue;

	if (set_aside)
		allocation_refuse_set_aside(allocation);
	if (set_aside && !allocation->wait_ms)
		return -ENOMEM;
	int result = begin_wait(allocation, out_text);
	if (result < 0)
		return result;
	collector_want_memory(allocation->slot.session->pool); /* who waits for it, or not at all, waits for that at least */
	allocation->waiter.take = take;
	allocation->waiter.step_aside = step_aside;
	allocation->waiter.ended = ended;
	return wait_queue_join(queue, &allocation->waiter, allocation->wait_ms ? admission_left(&allocation->admission) : 0);
}

/* 1: found and committed. 0: it waits, for room or for the committer. -ENOMEM, -ENOSPC, -EDQUOT: refused. */
static int look_for_memory(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX])
{
	struct wait_queue *queue = &allocation->slot.session->pool->wait_queue;
	struct account_obstacle obstacle;

	if (allocation_is_stopped(allocation, true, &obstacle)) {
		enum eviction_result made = allocation_make_room(allocation, &obstacle, true);
		if (made != EVICTION_ENOUGH)
			return wait_for_account(allocation, &obstacle, made == EVICTION_MORE, out_text);
	}
	bool set_aside = wait_queue_is_set_aside(queue);
	int result = set_aside ? -ENOMEM : allocation_find(allocation);

	if (result == 0) {
		wait_queue_overtake(queue);
		if (allocation->admission.bytes)
			admission_overtake(&allocation->admission); /* it has been counted: there are quotas */
		return commit_found(allocation);
	}
	if (result == -EAGAIN)
		eviction_begin(allocation->slot.session->pool);
	if (!allocation_count_demand(allocation))
		return -ENOMEM;
	return wait_for_memory(allocation, set_aside, out_text);
}

static struct allocation *of_account_waiter(struct account_waiter *waiter)
{
	return (struct allocation *)((char *)waiter - offsetof(struct allocation, admission.waiter));
}

/* Its account has room, or its time is over: a look, the last one in that case. It may wait again, elsewhere. */
static void look_again(struct allocation *allocation)
{
	char text[CHARGE_TEXT_MAX];
	int result = look_for_memory(allocation, text);

	if (result == 0)
		return;
	if (result < 0 && !admission_left(&allocation->admission))
		allocation->refusal.waited_ms = allocation->wait_ms;
	finish(allocation, result > 0 ? 0 : result == -ENOSPC ? -ENOSPC : -ENOMEM);
}

static enum account_turn turn(struct account_waiter *waiter)
{
	struct allocation *allocation = of_account_waiter(waiter);
	struct account_obstacle obstacle;

	if (allocation_is_stopped(allocation, false, &obstacle) && obstacle.line == waiter->line) {
		enum eviction_result made = allocation_make_room(allocation, &obstacle, false);
		if (made == EVICTION_MORE)
			return ACCOUNT_TURN_AGAIN;
		if (made == EVICTION_NONE && allocation->wait_ms)
			return ACCOUNT_TURN_STAYS;
		if (made == EVICTION_NONE) {
			account_line_leave(waiter);
			finish(allocation, -ENOMEM);
			return ACCOUNT_TURN_LEFT;
		}
	}
	account_line_leave(waiter);
	look_again(allocation);
	return ACCOUNT_TURN_LEFT;
}

static void timed_out(struct account_waiter *waiter)
{
	struct allocation *allocation = of_account_waiter(waiter);

	if (allocation->wait_ms)
		look_again(allocation);
	else
		finish(allocation, -ENOMEM); /* it was only to make room, which has taken too long */
}

int allocation_start(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX])
{
	struct session *session = allocation->slot.session;

	if (allocation->count > session->pool->blocks.table.capacity)
		return allocation_refuse_too_many(allocation);
	allocation->admission.session = session;
	allocation->admission.blocks = allocation->count;
	allocation->admission.waiter.turn = turn;
	allocation->admission.waiter.timed_out = timed_out;
	int result = look_for_memory(allocation, out_text);
	if (result == 0) {
		allocation->deferred.cancel = cancel;
		session_depart(session, allocation->slot.index, &allocation->deferred);
	} else if (result < 0) {
		admission_leave(&allocation->admission);
	}
	return result;
}
