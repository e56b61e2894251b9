/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a reference: see acquisition.h. The body names the reference and what its count becomes; a new one is PENDING until the slot has
 * decided (state_layout.h). A ticket that it is taken by goes when the reference is there, so that at each store something holds the block.
 */
#include "acquisition.h"

#include "errors.h"
#include "lifetime.h"

/* What is taken, and how. */
struct acquisition {
	const struct slot *slot;
	enum slot_operation operation;
	uint32_t block;
	struct name_range range; /* of the block, that the answer is about */
	uint32_t ticket;         /* record, plus one, that goes for it; 0: none */
};

/* Steps 1 and 2 of the slot. */
static void begin(const struct acquisition *acquisition, uint32_t reference, uint32_t next)
{
	const struct blocks *blocks = &acquisition->slot->session->pool->blocks;
	struct slot_record *record = slot_begin(acquisition->slot, acquisition->operation);

	record->block = acquisition->block;
	record->id = record_id(blocks_word(blocks, acquisition->block));
	if (acquisition->ticket) {
		record->ticket = acquisition->ticket;
	} else {
		record->offset = acquisition->range.offset;
		record->length = acquisition->range.length;
	}
	record->reference = reference + 1;
	record->next = next;
}

/* The reference is there: the last of step 5, and step 6. */
static void end(const struct acquisition *acquisition)
{
	if (acquisition->ticket)
		lifetime_drop_ticket(acquisition->slot->session->pool, acquisition->ticket - 1);
	slot_done(acquisition->slot);
}

/* The session has a reference already: its count rises. */
static int take_again(const struct acquisition *acquisition, uint32_t reference)
{
	struct session *session = acquisition->slot->session;
	uint32_t count = REFERENCE_COUNT(references_word(&session->pool->references, reference));

	if (count == REFERENCE_COUNT_MAX)
		return ERROR_LIMIT;
	begin(acquisition, reference, count + 1);
	slot_decide(acquisition->slot);
	lifetime_set_reference(session, reference, count + 1);
	end(acquisition);
	return 0;
}

static int take(const struct acquisition *acquisition)
{
	struct session *session = acquisition->slot->session;
	struct pool *pool = session->pool;
	uint32_t block = acquisition->block, link = lifetime_find_reference(session, block), reference;

	/* Whoever was told a block's handle may hold it by his page. Left behind by a kill, the mark costs a look. */
	blocks_share(&pool->blocks, block);
	if (link)
		return take_again(acquisition, link - 1);
	if (table_take(&pool->references.table, &reference) < 0)
		return ERROR_LIMIT;
	begin(acquisition, reference, 1);
	references_write(&pool->references, reference, session->number, block, record_id(blocks_word(&pool->blocks, block)));
	slot_decide(acquisition->slot);
	lifetime_add_reference(session, reference);
	end(acquisition);
	return 0;
}

int acquisition_perform(const struct slot *slot, enum slot_operation operation, uint32_t block, struct name_range range)
{
	return take(&(struct acquisition){slot, operation, block, range, 0});
}

int acquisition_redeem(const struct slot *slot, uint32_t ticket)
{
	uint32_t block = slot->session->pool->tickets.records[ticket].block;

	return take(&(struct acquisition){slot, SLOT_REDEEM, block, {0}, ticket + 1});
}
