/* SPDX-License-Identifier: Apache-2.0 */
/* Request slots: see slot.h, and state_layout.h for the story. */
#include "slot.h"

#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "commit.h"
#include "session.h"

static struct slot_record *record_of(const struct slot *slot)
{
	return &slot->session->record->slots[slot->index];
}

static void set_phase(const struct slot *slot, enum slot_phase phase)
{
	commit(&record_of(slot)->word, SLOT_WORD(slot->sequence, phase));
}

/* Over all of the sequence too: a body never passes for the outcome of another request. */
static uint32_t checksum(const struct slot_record *record, uint64_t sequence)
{
	const uint8_t *first = (const uint8_t *)&record->operation;

	return checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first)) ^ (uint32_t)sequence ^
	       (uint32_t)(sequence >> 32);
}

static void seal(const struct slot *slot)
{
	record_of(slot)->checksum = checksum(record_of(slot), slot->sequence);
}

bool slot_is_sealed(const struct slot_record *record)
{
	return record->checksum == checksum(record, SLOT_SEQUENCE(atomic_load_explicit(&record->word, memory_order_relaxed)));
}

enum slot_turn slot_turn(const struct slot *slot)
{
	const struct session *session = slot->session;

	if (slot->index >= SESSION_SLOTS || slot->sequence == 0 || slot->sequence > SLOT_SEQUENCE_MAX)
		return SLOT_TURN_WRONG;
	if (session->busy_slots & UINT64_C(1) << slot->index)
		return slot->sequence == session->seen[slot->index] ? SLOT_TURN_UNDER_WAY : SLOT_TURN_WRONG;
	uint64_t word = atomic_load_explicit(&record_of(slot)->word, memory_order_relaxed);
	if (slot->sequence == SLOT_SEQUENCE(word) && SLOT_PHASE(word) == SLOT_DONE)
		return SLOT_TURN_REPEAT;
	if (slot->sequence <= SLOT_SEQUENCE(word) || slot->sequence < session->seen[slot->index])
		return SLOT_TURN_WRONG;
	return SLOT_TURN_NEW;
}

struct slot_record *slot_begin(const struct slot *slot, enum slot_operation operation)
{
	struct slot_record *record = record_of(slot);

	set_phase(slot, SLOT_FILLING);
	free(slot->session->batches[slot->index]);
	slot->session->batches[slot->index] = NULL;
	memset((uint8_t *)record + sizeof record->word, 0, sizeof *record - sizeof record->word);
	record->operation = operation;
	return record;
}

void slot_decide(const struct slot *slot)
{
	seal(slot);
	set_phase(slot, SLOT_DECIDED);
}

void slot_done(const struct slot *slot)
{
	set_phase(slot, SLOT_DONE);
}

void slot_refuse(const struct slot *slot, enum slot_operation operation, uint32_t status)
{
	slot_begin(slot, operation)->status = status;
	seal(slot);
	slot_done(slot);
}
