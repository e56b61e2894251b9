/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing in place: see extension.h. Happy path: the tail is free and committed already, and all is done at once. Else the committer has the
 * request's slot until it has been to the kernel. Meanwhile the block may go, or change: whoever is told that the tail is there looks again.
 * The tail is memory that others may wait for: taking it goes past them, and counts as that; where memory is set aside for one of
 * them (wait_queue.h), it is not taken.
 * A daemon that is killed leaves marks in `extents`, at most.
 */
#include "extension.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "pool.h"
#include "reclaim.h"
#include "session.h"
#include "size.h"

static struct pool *pool_of(const struct extension *extension)
{
	return extension->slot.session->pool;
}

int extension_new(const struct slot *slot, uint32_t block, uint64_t size, struct extension **out_extension)
{
	struct extension *extension = calloc(1, sizeof *extension);

	if (!extension)
		return -ENOMEM;
	extension->slot = *slot;
	extension->block = block;
	extension->id = record_id(blocks_word(&pool_of(extension)->blocks, block));
	extension->size = size;
	*out_extension = extension;
	return 0;
}

void extension_free(struct extension *extension)
{
	free(extension);
}

void extension_merge(struct extension *extension)
{
	admission_unreserve(&extension->admission);
}

void extension_release(struct extension *extension)
{
	admission_unreserve(&extension->admission);
	reclaim_release(pool_of(extension)->reclaim, &extension->tail);
}

static void committed(struct commit_job *job, int result)
{
	struct extension *extension = (struct extension *)job; /* its first member */
	struct session *session = extension->slot.session;
	struct pool *pool = session->pool;
	uint32_t slot = extension->slot.index;
	bool dead = session->dead;

	session->deferred[slot] = NULL;
	if (dead || result < 0)
		extension_release(extension);
	session_arrive(session, slot); /* a dead one goes with it */
	if (dead) {
		extension_free(extension);
		return;
	}
	pool->events.acting = session->number;
	extension->finished(extension, result < 0 ? -ENOSPC : 0);
	pool->events.acting = 0;
}

/* Of a session that is lost the kernel's work is brought to its end: the outcome is recorded, for when it comes back. */
static void cancel(struct deferred *deferred, bool lost)
{
	struct extension *extension = (struct extension *)((char *)deferred - offsetof(struct extension, deferred));

	if (!lost)
		committer_cancel(&extension->job);
}

/* Does a quota stand in its way? Else it is charged with its tail. */
static bool is_stopped(struct extension *extension)
{
	struct session *session = extension->slot.session;
	struct admission *admission = &extension->admission;

	*admission = (struct admission){.session = session, .bytes = extension->tail.length};
	if (accounts_limit_memory(&session->pool->accounts, &session->account, session->user) &&
	    admission_check(admission, true).line)
		return true;
	admission_reserve(admission);
	return false;
}

/* Nobody makes others pay for more than they do. */
static bool is_payer(const struct extension *extension)
{
	return payer_of(pool_of(extension), extension->block) == extension->slot.session->user;
}

static int take_tail(struct extension *extension)
{
	struct pool *pool = pool_of(extension);
	uint64_t offset = pool->blocks.records[extension->block].offset, rounded, whole;
	uint64_t granted = blocks_body(&pool->blocks, extension->block)->granted;

	if (!is_payer(extension) || wait_queue_is_set_aside(&pool->wait_queue))
		return -ENOMEM;
	if (size_round_up(extension->size, pool->unit, &rounded) < 0 ||
	    buddy_grow(&pool->buddy, offset / pool->unit, granted / pool->unit, rounded / pool->unit, &whole) < 0)
		return -ENOMEM;
	extension->tail = (struct commit_range){offset + granted, whole * pool->unit - granted};
	reclaim_handed_out(pool->reclaim, &extension->tail);
	if (is_stopped(extension)) {
		reclaim_release(pool->reclaim, &extension->tail);
		return -ENOMEM;
	}
	wait_queue_overtake(&pool->wait_queue);
	return 0;
}

int extension_start(struct extension *extension)
{
	struct session *session = extension->slot.session;
	int result = take_tail(extension);

	if (result < 0)
		return result;
	extension->job.ranges = &extension->tail;
	extension->job.range_count = 1;
	extension->job.done = committed;
	result = committer_ensure(&pool_of(extension)->committer, &extension->job);
	if (result < 0) {
		extension_release(extension);
		return -ENOSPC;
	}
	if (result == 0) {
		extension->deferred.cancel = cancel;
		session_depart(session, extension->slot.index, &extension->deferred);
	}
	return result;
}

bool extension_fits(const struct extension *extension)
{
	const struct pool *pool = pool_of(extension);

	return blocks_is_live(&pool->blocks, extension->block, extension->id) && is_payer(extension) &&
	       pool->blocks.records[extension->block].offset + blocks_body(&pool->blocks, extension->block)->granted ==
	           extension->tail.offset;
}
