/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over names: see recovery.h. The index in the view is mended in place, while readers may walk it: what does not belong into a chain is
 * taken out by one store, what is missing is put at its start by one.
 */
#include "recovery.h"

#include <inttypes.h>
#include <string.h>

#include "commit.h"
#include "hash.h"
#include "lifetime.h"
#include "name.h"
#include "region.h"
#include "view.h"

static int check(struct recovery *recovery, uint32_t index)
{
	const struct pool *pool = recovery->pool;
	const struct name_record *record = &pool->names.records[index];
	const struct name_body *body = names_body(&pool->names, index);

	if (record->checksum != name_record_checksum(record) || body->checksum != name_body_checksum(body, record->first_id) ||
	    body->id != record_id(names_word(&pool->names, index)))
		return recovery_contradiction(recovery, "name", index, "has a wrong checksum");
	if (record->name_length >= sizeof record->name || name_check(record->name, record->name_length) < 0 ||
	    record->hash != hash_of(record->name, record->name_length))
		return recovery_contradiction(recovery, "name", index, "has no name that could be published");
	if (!blocks_is_there(&pool->blocks, body->block, body->block_id))
		return recovery_contradiction(recovery, "name", index, "(\"%s\") names block %" PRIu64 ", which does not exist",
		                              record->name, body->block_id);
	uint64_t size = blocks_body(&pool->blocks, body->block)->size;
	if (body->offset >= size || body->length > size - body->offset)
		return recovery_contradiction(recovery, "name", index, "(\"%s\") reaches beyond its block", record->name);
	return 0;
}

/* The open slot has decided to replace a name, and the flip may not have come to be. */
static int redo_replacement(struct recovery *recovery)
{
	const struct slot_record *slot = recovery->open;
	struct names *names = &recovery->pool->names;

	if (!slot || !recovery->decided || (slot->operation != SLOT_PUBLISH && slot->operation != SLOT_ALLOCATE) || !slot->next)
		return 0;
	if (slot->name == 0 || slot->name > names->table.used || slot->next > 2 ||
	    record_state(names_word(names, slot->name - 1)) != RECORD_LIVE)
		return recovery_contradiction(recovery, "slot", recovery->open_session, "replaces a name that does not exist");
	if (record_body(names_word(names, slot->name - 1)) != slot->next - 1) {
		names_replace(names, slot->name - 1);
		recovery->redone++;
	}
	return 0;
}

/* Is there a record that belongs into this chain, and was not met before? */
static bool belongs(const struct names *names, uint32_t link, uint32_t bucket, const uint8_t *linked)
{
	return link <= names->table.used && !linked[link - 1] && record_state(names_word(names, link - 1)) == RECORD_LIVE &&
	       ((uint32_t)names->records[link - 1].hash & (names->bucket_count - 1)) == bucket;
}

/* Takes out of all chains what does not belong there; `linked` gets a byte for each name that was met. */
static void prune_index(struct names *names, uint8_t *linked)
{
	for (uint32_t bucket = 0; bucket < names->bucket_count; bucket++) {
		_Atomic uint32_t *place = &names->buckets[bucket];
		uint32_t previous = 0, link;
		while ((link = atomic_load_explicit(place, memory_order_relaxed))) {
			if (belongs(names, link, bucket, linked)) {
				linked[link - 1] = 1;
				names->previous[link - 1] = previous;
				previous = link;
				place = &names->records[link - 1].next;
				continue;
			}
			/* On to the next, unless this leads nowhere or was met before: then the chain ends here. */
			bool dead_end = link > names->table.used || linked[link - 1];
			if (!dead_end)
				linked[link - 1] = 2;
			atomic_store_explicit(place,
			                      dead_end ? 0 : atomic_load_explicit(&names->records[link - 1].next, memory_order_relaxed),
			                      memory_order_release);
		}
	}
}

static void complete_index(struct names *names, const uint8_t *linked)
{
	for (uint32_t index = 0; index < names->table.used; index++) {
		if (record_state(names_word(names, index)) == RECORD_LIVE && linked[index] != 1)
			names_link(names, index);
	}
}

int recovery_names(struct recovery *recovery)
{
	struct names *names = &recovery->pool->names;
	int result = redo_replacement(recovery);

	if (result < 0)
		return result;
	table_adopt(&names->table);
	for (uint32_t index = names->table.used; index-- > 0 && result == 0;) {
		uint64_t word = names_word(names, index);
		enum record_state state = record_state(word);
		if (record_id(word) > recovery->highest_id)
			recovery->highest_id = record_id(word);
		if (word != record_word(record_id(word), record_body(word), state))
			return recovery_contradiction(recovery, "name", index, "is in a state that does not exist");
		if (state == RECORD_PENDING) {
			if (!recovery->open)
				return recovery_contradiction(recovery, "name", index, "is marked, and no request is under way");
			state = recovery->decided ? RECORD_LIVE : RECORD_FREE;
			commit(&names->records[index].word, record_with_state(word, state));
			if (recovery->decided)
				recovery->redone++;
			else
				recovery->undone++;
		}
		if (state == RECORD_FREE) {
			table_give(&names->table, index);
			continue;
		}
		if (state != RECORD_LIVE)
			return recovery_contradiction(recovery, "name", index, "is in a state that does not exist");
		result = check(recovery, index);
		if (result < 0)
			break;
		names_know(names, index);
		lifetime_adopt_name(recovery->pool, index);
	}
	if (result < 0)
		return result;

	uint8_t *linked;
	result = region_new(names->table.used, (void **)&linked);
	if (result < 0)
		return result;
	prune_index(names, linked);
	complete_index(names, linked);
	region_free(linked, names->table.used);

	/* Now that look-ups work: no text twice. */
	for (uint32_t index = 0; index < names->table.used && result == 0; index++) {
		uint32_t found;
		const struct name_record *record = &names->records[index];
		if (record_state(names_word(names, index)) == RECORD_LIVE &&
		    (names_find(names, record->name, record->name_length, &found) < 0 || found != index))
			result = recovery_contradiction(recovery, "name", index, "(\"%s\") is published twice", record->name);
	}
	return result;
}
