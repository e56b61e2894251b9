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
	commit(&pool->names.records[index].word, record_with_state(names_word(&pool->names, index), RECORD_FREE));
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

/* It was whole before the slot decided. */
static int redo_clone(struct recovery *recovery, const struct slot_record *slot)
{
	struct sessions *sessions = &recovery->pool->sessions;

	if (slot->block == 0 || slot->block >= sessions->table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "makes a session that does not exist");
	struct session_record *record = &sessions->records[slot->block];
	if (atomic_load_explicit(&record->word, memory_order_relaxed) == (slot->id << 8 | SESSION_CLONING))
		commit(&record->word, slot->id << 8 | SESSION_CLONED);
	return 0;
}

static int redo_unlink(struct recovery *recovery, const struct slot_record *slot)
{
	struct links *links = &recovery->pool->links;

	if (slot->reference == 0 || slot->reference > links->table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "drops a link that does not exist");
	struct link_record *record = &links->records[slot->reference - 1];
	if (links_state(links, slot->reference - 1) == RECORD_LIVE && record->from == slot->block && record->to_id == slot->id)
		commit(&record->word, RECORD_FREE);
	return 0;
}

static int redo_drop_ticket(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;

	if (slot->ticket == 0 || slot->ticket > pool->tickets.table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "takes a ticket that does not exist");
	/* No other ticket can have come into its record since: the slot is still open. */
	_Atomic uint64_t *word = &pool->tickets.records[slot->ticket - 1].word;
	commit(word, record_with_state(atomic_load_explicit(word, memory_order_relaxed), RECORD_FREE));
	return 0;
}

static int redo_redemption(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;
	int result = redo_acquisition(recovery, slot);

	if (result < 0)
		return result;
	/* First of all what is pending, which would come later: the block is to be held at each store. */
	if (REFERENCE_STATE(references_word(&pool->references, slot->reference - 1)) == RECORD_PENDING) {
		commit(&pool->references.records[slot->reference - 1].word, REFERENCE_WORD(1, 1, RECORD_LIVE));
		recovery->redone++;
	}
	return redo_drop_ticket(recovery, slot);
}

/* A new lease is PENDING and becomes LIVE with all that is pending; another is given its new deadline, or goes. */
static int redo_renewal(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;

	if (slot->lease > pool->leases.table.used)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "renews a lease that does not exist");
	if (slot->lease && LEASE_STATE(leases_word(&pool->leases, slot->lease - 1)) == RECORD_LIVE)
		commit(&pool->leases.records[slot->lease - 1].word,
		       lease_word(slot->deadline, slot->deadline ? RECORD_LIVE : RECORD_FREE));
	return 0;
}

static int redo_remove(struct recovery *recovery, const struct slot_record *slot)
{
	struct pool *pool = recovery->pool;

	if (slot->lease)
		return redo_renewal(recovery, slot); /* the names go later */
	if (blocks_is_there(&pool->blocks, slot->block, slot->id) && blocks_is_cached(&pool->blocks, slot->block))
		blocks_drop_cached(&pool->blocks, slot->block);
	for (uint32_t i = 0; i < pool->names.table.used; i++) {
		if (record_state(names_word(&pool->names, i)) == RECORD_LIVE && names_body(&pool->names, i)->block_id == slot->id)
			redo_drop_name(pool, i);
	}
	for (uint32_t i = 0; i < pool->leases.table.used; i++) {
		uint64_t word = leases_word(&pool->leases, i);
		if (LEASE_STATE(word) == RECORD_LIVE && pool->leases.records[i].block_id == slot->id)
			commit(&pool->leases.records[i].word, lease_word(0, RECORD_FREE));
	}
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
	case SLOT_CLONE: return redo_clone(recovery, slot);
	case SLOT_UNPUBLISH:
		if (slot->name == 0 || slot->name > pool->names.table.used)
			return recovery_contradiction(recovery, "slot", recovery->open_session,
			                              "unpublishes a name that does not exist");
		if (record_id(names_word(&pool->names, slot->name - 1)) == slot->id)
			redo_drop_name(pool, slot->name - 1);
		return 0;
	case SLOT_REMOVE: return redo_remove(recovery, slot);
	case SLOT_REDEEM: return redo_redemption(recovery, slot);
	case SLOT_REVOKE: return redo_drop_ticket(recovery, slot);
	case SLOT_RENEW: return redo_renewal(recovery, slot);
	case SLOT_SEAL:
	case SLOT_SET_METADATA: return redo_change(recovery, slot);
	case SLOT_RESIZE: return slot->count ? 0 : redo_change(recovery, slot); /* a new block is PENDING */
	case SLOT_ALLOCATE:
	case SLOT_ALLOCATE_BATCH:
	case SLOT_FREE_BATCH:
	case SLOT_PUBLISH:
	case SLOT_LINK: return 0; /* the marks say all, but for a name that is replaced: recovery_names.c */
	case SLOT_UNLINK: return redo_unlink(recovery, slot);
	case SLOT_SHARE: return 0; /* the marks say all */
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
