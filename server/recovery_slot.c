/* SPDX-License-Identifier: Apache-2.0 */
/* The one slot that was open: see recovery.h. What its body says by itself is done once more; closing it comes last. */
#include "recovery.h"

#include "commit.h"
#include "slot.h"

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
		blocks_drop_owner(&pool->blocks, slot->block, RECORD_LIVE);
	return 0;
}

static void redo_drop_name(struct pool *pool, uint32_t index)
{
	commit(&pool->names.records[index].word,
	       record_word(record_id(atomic_load_explicit(&pool->names.records[index].word, memory_order_relaxed)), 0,
	                   RECORD_FREE));
}

static int redo_acquisition(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;

	if (slot->reference == 0 || slot->reference > pool->references.table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "takes a reference that does not exist");
	/* A new one is PENDING and becomes LIVE with all that is pending; another is given its new count. */
	if (REFERENCE_STATE(references_word(&pool->references, slot->reference - 1)) == RECORD_LIVE)
		commit(&pool->references.records[slot->reference - 1].word, REFERENCE_WORD(slot->next, slot->next, RECORD_LIVE));
	return 0;
}

/* Which of the block's bodies counts. One that the operation filled is whole, for the slot was decided after that. */
static int redo_change(struct recovery *recovery, const struct slot_record *slot)
{
	struct blocks *blocks = &recovery->pool->blocks;

	if (slot->block >= blocks->table.used || slot->next > 1)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "changes a block that does not exist");
	uint64_t word = blocks_word(blocks, slot->block);
	if (blocks_is_there(blocks, slot->block, slot->id) && record_body(word) != slot->next)
		blocks_flip(blocks, slot->block, record_state(word));
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
	case SLOT_LOOKUP:
	case SLOT_ACQUIRE: return redo_acquisition(recovery, slot);
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
	case SLOT_SEAL:
	case SLOT_SET_METADATA: return redo_change(recovery, slot);
	case SLOT_RESIZE: return slot->count ? 0 : redo_change(recovery, slot); /* a new block is PENDING */
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
