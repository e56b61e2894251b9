/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over references: see recovery.h. */
#include "recovery.h"

#include <inttypes.h>

#include "commit.h"
#include "lifetime.h"
#include "session.h"

/* What the open slot's operation makes of a reference that it marked. */
static int settle(struct recovery *recovery, uint32_t index, uint64_t word)
{
	struct reference_record *record = &recovery->pool->references.records[index];
	uint32_t count = REFERENCE_COUNT(word);

	if (!recovery->open)
		return recovery_contradiction(recovery, "reference", index, "is marked, and no request is under way");
	if (recovery->decided)
		recovery->redone++;
	else
		recovery->undone++;
	if (REFERENCE_STATE(word) == RECORD_FREEING && recovery->decided)
		count = REFERENCE_NEXT(word);
	else if (REFERENCE_STATE(word) == RECORD_PENDING && !recovery->decided)
		count = 0;
	commit(&record->word, count ? REFERENCE_WORD(count, count, RECORD_LIVE) : REFERENCE_WORD(0, 0, RECORD_FREE));
	return 0;
}

static int check(struct recovery *recovery, uint32_t index, uint64_t word)
{
	const struct pool *pool = recovery->pool;
	const struct reference_record *record = &pool->references.records[index];

	if (record->checksum != reference_checksum(record))
		return recovery_contradiction(recovery, "reference", index, "has a wrong checksum");
	if (REFERENCE_COUNT(word) == 0 || REFERENCE_COUNT(word) != REFERENCE_NEXT(word))
		return recovery_contradiction(recovery, "reference", index, "has a count that cannot be");
	if (!blocks_is_there(&pool->blocks, record->block, record->block_id))
		return recovery_contradiction(recovery, "reference", index, "holds block %" PRIu64 ", which does not exist",
		                              record->block_id);
	if (record->session >= pool->sessions.table.used || !pool->sessions.by_number[record->session])
		return recovery_contradiction(recovery, "reference", index, "belongs to session %" PRIu32 ", which does not exist",
		                              record->session);
	if (lifetime_find_reference(pool->sessions.by_number[record->session], record->block))
		return recovery_contradiction(recovery, "reference", index,
		                              "stands twice for session %" PRIu32 " and block %" PRIu64, record->session,
		                              record->block_id);
	return 0;
}

int recovery_references(struct recovery *recovery)
{
	struct references *references = &recovery->pool->references;
	int result = 0;

	table_adopt(&references->table);
	for (uint32_t index = references->table.used; index-- > 0 && result == 0;) {
		uint64_t word = references_word(references, index);
		if (REFERENCE_STATE(word) == RECORD_PENDING || REFERENCE_STATE(word) == RECORD_FREEING) {
			result = settle(recovery, index, word);
			word = references_word(references, index);
		}
		if (result < 0)
			break;
		if (REFERENCE_STATE(word) == RECORD_FREE) {
			table_give(&references->table, index);
			continue;
		}
		if (REFERENCE_STATE(word) != RECORD_LIVE)
			return recovery_contradiction(recovery, "reference", index, "is in a state that does not exist");
		result = check(recovery, index, word);
		if (result == 0)
			lifetime_adopt_reference(recovery->pool->sessions.by_number[references->records[index].session], index);
	}
	return result;
}
