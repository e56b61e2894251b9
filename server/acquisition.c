/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a reference: see acquisition.h. The body names the reference and what its count becomes; a new one is PENDING until the slot has
 * decided (state_layout.h).
 */
#include "acquisition.h"

#include "errors.h"
#include "lifetime.h"

/* Steps 1 and 2 of the slot. */
static void begin(const struct slot *slot, enum slot_operation operation, uint32_t block, uint32_t reference, uint32_t next)
{
	const struct blocks *blocks = &slot->session->pool->blocks;
	struct slot_record *record = slot_begin(slot, operation);

	record->block = block;
	record->id = record_id(blocks_word(blocks, block));
	record->reference = reference + 1;
	record->next = next;
}

/* The session has a reference already: its count rises. */
static int take_again(const struct slot *slot, enum slot_operation operation, uint32_t block, uint32_t reference)
{
	struct session *session = slot->session;
	uint32_t count = REFERENCE_COUNT(references_word(&session->pool->references, reference));

	if (count == REFERENCE_COUNT_MAX)
		return ERROR_LIMIT;
	begin(slot, operation, block, reference, count + 1);
	slot_decide(slot);
	lifetime_set_reference(session, reference, count + 1);
	slot_done(slot);
	return 0;
}

int acquisition_perform(const struct slot *slot, enum slot_operation operation, uint32_t block)
{
	struct session *session = slot->session;
	struct pool *pool = session->pool;
	uint32_t link = lifetime_find_reference(session, block), reference;

	/* Whoever was told a block's handle may hold it by his page. Left behind by a kill, the mark costs a look. */
	blocks_share(&pool->blocks, block);
	if (link)
		return take_again(slot, operation, block, link - 1);
	if (table_take(&pool->references.table, &reference) < 0)
		return ERROR_LIMIT;
	begin(slot, operation, block, reference, 1);
	references_write(&pool->references, reference, session->number, block, record_id(blocks_word(&pool->blocks, block)));
	slot_decide(slot);
	lifetime_add_reference(session, reference);
	slot_done(slot);
	return 0;
}
