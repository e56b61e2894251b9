/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing a block: see block_change.h. The idle body is filled, the slot decides, and one store makes that body count. Killed before the slot
 * decided, the idle body means nothing; killed after it, the next daemon has it count, as the slot says which (recovery_slot.c).
 */
#include "block_change.h"

#include "errors.h"
#include "handle.h"
#include "pool.h"
#include "session.h"

int block_change_check(const struct slot *slot, const struct handle *handle)
{
	int error = handle_check_held(slot->session, handle);

	if (error)
		return error;
	return blocks_body(&slot->session->pool->blocks, handle->index)->flags & BLOCK_SEALED ? ERROR_SEALED : 0;
}

void block_change_perform(const struct slot *slot, enum slot_operation operation, uint32_t block,
                          const struct block_body *body, enum record_state state)
{
	struct pool *pool = slot->session->pool;
	uint64_t word = blocks_word(&pool->blocks, block);
	struct slot_record *record = slot_begin(slot, operation);

	record->id = record_id(word);
	record->block = block;
	record->next = !record_body(word);
	blocks_fill_body(&pool->blocks, block, body);
	slot_decide(slot);
	lifetime_change_body(pool, block, state);
	slot_done(slot);
}
