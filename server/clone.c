/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloning a session.
 *
 * Happy path. A session is opened without a process: CLONING. It gets a reference, LIVE at once, to each block that its parent holds: as owner,
 * by a reference, or by hold page; of the last the parent says which, since a page has ids alone, and anybody may acquire what lives. Then,
 * in one stretch, the request's slot decides, the clone becomes CLONED, the slot is done, and the token goes out. What follows is told in
 * adoption.c.
 *
 * A hundred thousand blocks take longer than others ought to wait. So clones take turns with requests, a slice each, one clone at a time; the
 * parent's other requests go on meanwhile. What it takes or gives back then may or may not be in the clone. What it holds all the time is:
 * the parent's two lists are walked from their heads as they were at the beginning, what is new goes in before those, and what leaves a list
 * has the walk step over it (index_list_step_over).
 *
 * What may go wrong:
 *
 * - There are no more sessions, references or memory: the clone ends, and the request is refused.
 * - The parent ends, or is asked to: the clone ends. An administrator ends the clone: the request is refused.
 * - A block in the parent's hold page is DYING: it is settled first, which reads the hold pages, and counts as so much work.
 * - The daemon dies. Before the slot decided: the next daemon ends what is CLONING, and the request, sent again, makes another clone.
 *   After it: the clone was whole, and becomes CLONED; the request gets its token.
 * - The daemon stops: the same, as before the decision.
 *
 * A clone is a session, and takes a reference a block, which a user may have without cloning; of clones that wait a user has at most
 * WAITING_MAX.
 */
#include "clone.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adoption.h"
#include "charge.h"
#include "commit.h"
#include "connection.h"
#include "errors.h"
#include "handle.h"
#include "lifetime.h"
#include "log.h"
#include "pool.h"
#include "reply.h"
#include "slot.h"

/* References made in one turn of the loop, or hold pages read: some 50 microseconds. */
#define SLICE 256

/* Clones of one user that are under way, or wait to be adopted. */
#define WAITING_MAX 64

#define ENDED "an administrator has ended the session"

struct clone {
	struct slot slot; /* of the request; its session is the parent */
	struct session *copy;
	struct clone *next;
	bool begun;
	uint32_t done, count; /* of those: */
	struct handle held[];
};

static void begin_walk(struct clone *clone)
{
	struct session *parent = clone->slot.session;

	parent->walk_blocks = parent->blocks;
	parent->walk_references = parent->references;
	clone->begun = true;
}

/* What its handle says, if that can be held still. Returns what the work was, as a part of a slice. */
static unsigned copy_by_handle(struct clone *clone, const struct handle *handle, int *out_error)
{
	struct pool *pool = clone->copy->pool;
	bool dying =
		handle->index < pool->blocks.table.used && record_state(blocks_word(&pool->blocks, handle->index)) == RECORD_DYING;

	if (handle_find_to_acquire(clone->slot.session, handle) == 0)
		*out_error = lifetime_copy_hold(clone->copy, handle->index);
	return 1 + (dying ? pool->page_holds.pages : 0);
}

/* A slice. 0, or an ERROR_*; then `*out_whole` says whether anything is left. */
static int copy_some(struct clone *clone, bool *out_whole)
{
	struct session *parent = clone->slot.session;
	const struct pool *pool = parent->pool;
	unsigned budget = SLICE;
	int error = 0;

	if (!clone->begun)
		begin_walk(clone);
	for (uint32_t link; budget && !error && (link = parent->walk_blocks); budget--) {
		parent->walk_blocks = pool->blocks.owned[link - 1].next;
		error = lifetime_copy_hold(clone->copy, link - 1);
	}
	for (uint32_t link; budget && !error && (link = parent->walk_references); budget--) {
		parent->walk_references = pool->references.of_session[link - 1].next;
		error = lifetime_copy_hold(clone->copy, pool->references.records[link - 1].block);
	}
	while (budget && !error && clone->done < clone->count) {
		unsigned work = copy_by_handle(clone, &clone->held[clone->done++], &error);
		budget -= work < budget ? work : budget;
	}
	*out_whole = !parent->walk_blocks && !parent->walk_references && clone->done == clone->count;
	return error;
}

/* All in one stretch: state_layout.h. */
static void decide(const struct clone *clone)
{
	struct session *copy = clone->copy;
	struct slot_record *record = slot_begin(&clone->slot, SLOT_CLONE);

	record->block = copy->number;
	record->id = copy->serial;
	slot_decide(&clone->slot);
	commit(&copy->record->word, copy->serial << 8 | SESSION_CLONED);
	slot_done(&clone->slot);
}

static const char *why_not(int error)
{
	switch (error) {
	case ERROR_LIMIT:
		return "the pool has no references left for all that the session holds: give blocks back, or end other sessions";
	case ERROR_DENIED: return "an administrator has ended the clone";
	default: return ENDED;
	}
}

/* Takes the first clone off the line, with what it came to; answers, where anybody waits for that. */
static void conclude(struct clones *clones, int error)
{
	struct clone *clone = clones->first;
	const struct slot *slot = &clone->slot;
	struct session *parent = slot->session, *copy = clone->copy;
	struct connection *connection = parent->connection;

	clones->first = clone->next;
	if (!clones->first)
		clones->last = NULL;
	parent->walk_blocks = parent->walk_references = 0;
	if (parent->dead || error) {
		session_end(copy, "it was a clone, and did not become whole");
	} else {
		decide(clone);
		adoption_await(copy);
		log_info("session %" PRIu32 " (%s): clone of session %" PRIu32 ", blocks: %" PRIu64, copy->number, copy->program,
		         parent->number, copy->reference_count);
		reply_clone_token(connection, slot->index, slot->sequence, copy);
	}
	if (error && !parent->dead) {
		slot_refuse(slot, SLOT_CLONE, (uint32_t)error);
		reply_status(connection, slot->index, slot->sequence, error, "%s", why_not(error));
	}
	session_arrive(copy, 0);
	session_arrive(parent, slot->index); /* last: dead ones go along here */
	free(clone);
}

/* A slice of the first one. True: that is done with. */
static bool go_on(struct clones *clones)
{
	struct clone *clone = clones->first;
	const struct session *parent = clone->slot.session;
	bool whole = false;
	int error;

	if (parent->dead || parent->asked_to_end)
		error = ERROR_SESSION_ENDED;
	else if (clone->copy->dead)
		error = ERROR_DENIED;
	else
		error = copy_some(clone, &whole);
	if (!error && !whole)
		return false;
	conclude(clones, error);
	return true;
}

static void slice(uv_idle_t *idle)
{
	struct clones *clones = idle->data;
	struct connection *connection = clones->first->slot.session->connection;

	if (go_on(clones) && connection)
		connection_flush(connection);
	if (!clones->first)
		uv_idle_stop(idle);
	pool_publish_counters(clones->pool);
}

/* Clones of this user that nobody has adopted. */
static uint32_t waiting(const struct pool *pool, uint32_t uid)
{
	uint32_t count = adoption_count(pool, uid);

	for (const struct clone *clone = pool->clones.first; clone; clone = clone->next)
		count += clone->copy->record->uid == uid;
	return count;
}

static int refuse(int error, const char *text, char out_text[CHARGE_TEXT_MAX])
{
	snprintf(out_text, CHARGE_TEXT_MAX, "%s", text);
	return error;
}

int clone_begin(const struct slot *slot, const struct handle *held, uint32_t count, char out_text[CHARGE_TEXT_MAX])
{
	struct session *parent = slot->session;
	struct clones *clones = &parent->pool->clones;

	if (parent->asked_to_end)
		return refuse(ERROR_SESSION_ENDED, ENDED, out_text);
	if (waiting(parent->pool, parent->record->uid) >= WAITING_MAX)
		return refuse(ERROR_LIMIT,
		              "64 clones of this user wait to be adopted: fork their processes first, or wait 10 seconds", out_text);
	int error = charge_check_user(parent->pool, parent->record->uid, QUOTA_SESSIONS, out_text);
	if (error)
		return error;
	struct clone *clone = calloc(1, sizeof *clone + count * sizeof *held);
	int result = clone ? session_open_clone(parent, &clone->copy) : -ENOMEM;
	if (result < 0) {
		free(clone);
		return result == -EDQUOT
		           ? refuse(ERROR_LIMIT, "the pool has as many sessions as it takes (max-sessions): end some of them",
		                    out_text)
		           : refuse(ERROR_SYSTEM, "the daemon has no memory left for another session", out_text);
	}
	clone->slot = *slot;
	clone->count = count;
	if (count)
		memcpy(clone->held, held, count * sizeof *held);
	session_depart(parent, slot->index, NULL);
	session_depart(clone->copy, 0, NULL); /* it is not reaped while it is filled */
	if (clones->last)
		clones->last->next = clone;
	else
		clones->first = clone;
	clones->last = clone;
	if (clones->first == clone)
		go_on(clones); /* most are small, and answered with that */
	if (clones->first)
		uv_idle_start(&clones->slices, slice);
	pool_publish_counters(parent->pool);
	return 0;
}

int clones_init(struct clones *clones, struct pool *pool)
{
	*clones = (struct clones){.pool = pool};
	int result = uv_idle_init(pool->loop, &clones->slices);

	if (result < 0)
		return result;
	clones->slices.data = clones;
	clones->loop = pool->loop;
	return 0;
}

void clones_close(struct clones *clones)
{
	if (clones->loop)
		uv_close((uv_handle_t *)&clones->slices, NULL);
	clones->loop = NULL;
}
