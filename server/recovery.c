/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over a pool.
 *
 * The records of view and state are the truth; everything else (free bitmaps, lists, sums, free indexes) is made from them here.
 * A daemon that was killed left a prefix of its stores (state_layout.h), hence at most one slot is open:
 *
 *   FILLING   its operation has not happened: what is PENDING becomes FREE, what is FREEING becomes LIVE again. The slot becomes EMPTY
 *             with the sequence before, so that the request, sent again, is executed.
 *   DECIDED   it has happened: what is PENDING becomes LIVE, what is FREEING goes, and what the slot's body says by itself (a
 *             reference's count, an owner, a name) is done once more. The slot becomes DONE: sent again, it gets its outcome.
 *
 * The slot is closed last. Killed before that, the next daemon finds it open still, and does the same again: each step sets
 * what it finds to what it must be, and changes nothing the second time.
 *
 * Then every record is checked: checksums, bounds, overlaps (the allocator refuses to take a range twice), and that what it refers
 * to is there. A record that contradicts others is named and the daemon refuses to start; nothing is erased, and whoever
 * runs it may look, or start with --discard. Only what a kill can leave is mended:
 *
 * - a block that nothing holds any more: its last hold went in one store, the block would have gone in the next. Freed.
 * - the name index: a record linked and not alive, or alive and not linked. Each store of the mending leaves it valid for readers,
 *   who may be looking at it.
 * - a session marked dead: the reaper goes on with it.
 *
 * Sessions come back without a connection, as lost ones. Whose lock is free, or whose process has ended, or has given its pid to
 * another that started later, is over.
 */
#include "recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "commit.h"
#include "lifetime.h"
#include "log.h"
#include "reaper.h"
#include "slot.h"

int recovery_contradiction(const struct recovery *recovery, const char *kind, uint32_t index, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	log_error("pool %s: %s record %" PRIu32 " %s: the pool is left as it is; start with --discard to throw it away",
	          recovery->pool->name, kind, index, text);
	return RECOVERY_CONTRADICTION;
}

int recovery_count_records(const struct table *table, uint32_t *out_count)
{
	off_t end = (off_t)(table->at + (uint64_t)table->capacity * table->stride), last = (off_t)table->at;
	off_t at = (off_t)table->at;

	/* Pages that were never written are holes. Below the last that was, all are committed: tables are, from their start. */
	while (at < end && (at = lseek(table->object->fd, at, SEEK_DATA)) >= 0 && at < end) {
		at = lseek(table->object->fd, at, SEEK_HOLE);
		if (at < 0)
			return -errno;
		last = at < end ? at : end;
	}
	if (at < 0 && errno != ENXIO)
		return -errno;
	*out_count = (uint32_t)(((uint64_t)last - table->at + table->stride - 1) / table->stride);
	if (*out_count > table->capacity)
		*out_count = table->capacity;
	return 0;
}

/* An owner that the open slot's operation took away. */
static int redo_free(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;

	if (slot->reference) {
		if (slot->reference > pool->references.table.used)
			return recovery_contradiction(recovery, "slot", recovery->open_session, "frees a reference that does not exist");
		struct reference_record *record = &pool->references.records[slot->reference - 1];
		uint64_t word = references_word(&pool->references, slot->reference - 1);
		if (REFERENCE_STATE(word) != RECORD_FREE && record->block_id == slot->id &&
		    record->session == recovery->open_session)
			commit(&record->word,
			       slot->next ? REFERENCE_WORD(slot->next, slot->next, RECORD_LIVE) : REFERENCE_WORD(0, 0, RECORD_FREE));
		return 0;
	}
	if (slot->block >= pool->blocks.table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "frees a block that does not exist");
	if (blocks_is_live(&pool->blocks, slot->block, slot->id) &&
	    blocks_body(&pool->blocks, slot->block)->owner == recovery->open_session)
		blocks_drop_owner(&pool->blocks, slot->block);
	return 0;
}

static void redo_drop_name(struct pool *pool, uint32_t index)
{
	commit(&pool->names.records[index].word,
	       record_word(record_id(atomic_load_explicit(&pool->names.records[index].word, memory_order_relaxed)), 0,
	                   RECORD_FREE));
}

static int redo_lookup(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;

	if (slot->reference == 0 || slot->reference > pool->references.table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session,
		                              "looks up by a reference that does not exist");
	/* A new one is PENDING and becomes LIVE with all that is pending; another is given its new count. */
	if (REFERENCE_STATE(references_word(&pool->references, slot->reference - 1)) == RECORD_LIVE)
		commit(&pool->references.records[slot->reference - 1].word, REFERENCE_WORD(slot->next, slot->next, RECORD_LIVE));
	return 0;
}

int recovery_open_slot(struct recovery *recovery)
{
	const struct slot_record *slot = recovery->open;
	struct pool *pool = recovery->pool;

	if (!slot || !recovery->decided)
		return 0;
	if (!slot_is_sealed(slot))
		return recovery_contradiction(recovery, "slot", recovery->open_session, "was decided, and its checksum is wrong");
	switch ((enum slot_operation)slot->operation) {
	case SLOT_FREE: return redo_free(recovery, slot);
	case SLOT_LOOKUP: return redo_lookup(recovery, slot);
	case SLOT_UNPUBLISH:
		if (slot->name == 0 || slot->name > pool->names.table.used)
			return recovery_contradiction(recovery, "slot", recovery->open_session,
			                              "unpublishes a name that does not exist");
		if (record_id(atomic_load_explicit(&pool->names.records[slot->name - 1].word, memory_order_relaxed)) == slot->id)
			redo_drop_name(pool, slot->name - 1);
		return 0;
	case SLOT_REMOVE:
		for (uint32_t i = 0; i < pool->names.table.used; i++) {
			uint64_t word = atomic_load_explicit(&pool->names.records[i].word, memory_order_relaxed);
			if (record_state(word) == RECORD_LIVE && pool->names.records[i].block_id == slot->id)
				redo_drop_name(pool, i);
		}
		return 0;
	case SLOT_ALLOCATE:
	case SLOT_ALLOCATE_BATCH:
	case SLOT_FREE_BATCH:
	case SLOT_PUBLISH: return 0; /* the marks say all */
	case SLOT_NOTHING: break;
	}
	return recovery_contradiction(recovery, "slot", recovery->open_session, "has an operation that does not exist");
}

void recovery_close_slot(struct recovery *recovery)
{
	if (!recovery->open)
		return;
	uint64_t sequence = SLOT_SEQUENCE(atomic_load_explicit(&recovery->open->word, memory_order_relaxed));
	commit(&recovery->open->word, recovery->decided ? SLOT_WORD(sequence, SLOT_DONE) : SLOT_WORD(sequence - 1, SLOT_EMPTY));
}

/* Frees what nothing holds, after all that holds is known. */
void recovery_unheld(struct recovery *recovery)
{
	struct pool *pool = recovery->pool;

	for (uint32_t i = 0; i < pool->blocks.table.used; i++) {
		if (record_state(blocks_word(&pool->blocks, i)) == RECORD_LIVE && blocks_is_unheld(&pool->blocks, i)) {
			lifetime_free_unheld(pool, i);
			recovery->unheld++;
		}
	}
}

/* From where on ids are given out: above every one that a record bears, for no id is given out twice. */
static int take_over_ids(struct recovery *recovery)
{
	struct pool *pool = recovery->pool;
	uint64_t reserved = atomic_load_explicit(&pool->state_header->ids_reserved, memory_order_relaxed);

	if (recovery->highest_id && reserved <= recovery->highest_id)
		return recovery_contradiction(recovery, "header", 0,
		                              "has handed out ids below %" PRIu64 ", and there is one of %" PRIu64, reserved,
		                              recovery->highest_id);
	if (reserved > RECORD_ID_MAX)
		return recovery_contradiction(recovery, "header", 0, "has handed out more ids than there are");
	pool->next_id = reserved ? reserved : 1;
	return 0;
}

/* The pool is not served: what was made of its sessions goes, and their records stay as they are. */
static int abandon(struct pool *pool, int result)
{
	struct session *session;

	for (uint32_t number = 1; (session = sessions_from(&pool->sessions, number)); number++) {
		number = session->number;
		reaper_bury(session);
	}
	return result;
}

int recovery_run(struct pool *pool)
{
	struct recovery recovery = {.pool = pool};
	int result = recovery_count_records(&pool->blocks.table, &pool->blocks.table.used);

	if (result == 0)
		result = recovery_count_records(&pool->references.table, &pool->references.table.used);
	if (result == 0)
		result = recovery_count_records(&pool->names.table, &pool->names.table.used);
	if (result == 0)
		result = extents_recover(&pool->extents);
	if (result == 0)
		result = recovery_sessions(&recovery);
	if (result == 0)
		result = recovery_open_slot(&recovery);
	if (result == 0)
		result = recovery_blocks(&recovery);
	if (result == 0)
		result = recovery_references(&recovery);
	if (result == 0)
		result = recovery_names(&recovery);
	if (result == 0)
		result = take_over_ids(&recovery);
	if (result < 0)
		return abandon(pool, result);
	recovery_unheld(&recovery);
	recovery_close_slot(&recovery);
	result = recovery_liveness(&recovery);
	if (result < 0)
		return abandon(pool, result);
	log_info("pool %s: taken over: %" PRIu64 " blocks, %" PRIu64 " names, %" PRIu32 " sessions; %s%" PRIu64
	         " records redone, %" PRIu64 " undone, %" PRIu64 " unheld blocks freed",
	         pool->name, pool->block_count, pool->name_count, pool->sessions.count,
	         recovery.open ? "one request was under way: " : "", recovery.redone, recovery.undone, recovery.unheld);
	return 0;
}
