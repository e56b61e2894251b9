/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over blocks: see recovery.h. The allocator, told to take each block's range, finds overlaps. */
#include "recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "commit.h"
#include "lifetime.h"
#include "view.h"

/* What the open slot's operation makes of a record that it marked. */
static int settle(struct recovery *recovery, uint32_t index, enum record_state state)
{
	struct blocks *blocks = &recovery->pool->blocks;

	if (!recovery->open)
		return recovery_contradiction(recovery, "block", index, "is marked, and no request is under way");
	if (recovery->decided)
		recovery->redone++;
	else
		recovery->undone++;
	if (state == RECORD_FREEING && recovery->decided)
		blocks_drop_owner(blocks, index, RECORD_LIVE);
	else if (state == RECORD_FREEING || recovery->decided)
		blocks_set_state(blocks, index, RECORD_LIVE);
	else
		commit(&blocks->records[index].word, record_word(record_id(blocks_word(blocks, index)), 0, RECORD_FREE));
	return 0;
}

static int check(struct recovery *recovery, uint32_t index)
{
	const struct pool *pool = recovery->pool;
	const struct block_record *record = &pool->blocks.records[index];
	uint64_t id = record_id(blocks_word(&pool->blocks, index)), gap_from, gap_end;
	const struct block_body *body = blocks_body(&pool->blocks, index);

	if (record->checksum != block_record_checksum(record, id) || body->checksum != block_body_checksum(body, id))
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") has a wrong checksum", id);
	if (record->offset % pool->unit || body->granted % pool->unit || body->granted == 0 || body->size > body->granted ||
	    record->offset > pool->size || body->granted > pool->size - record->offset || record->tag[sizeof record->tag - 1])
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") lies outside of the segment", id);
	if (body->owner && (body->owner >= pool->sessions.table.used || !pool->sessions.by_number[body->owner]))
		return recovery_contradiction(recovery, "block", index,
		                              "(block %" PRIu64 ") belongs to session %" PRIu32 ", which does not exist", id,
		                              body->owner);
	if (body->flags & ~(BLOCK_SEALED | BLOCK_CACHED) || (body->flags & (BLOCK_SEALED | BLOCK_CACHED)) == BLOCK_CACHED)
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") has flags that do not exist", id);
	/* One that is DYING may have been about to shrink. */
	if (record_state(blocks_word(&pool->blocks, index)) == RECORD_ORPHAN && body->owner)
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") has no holder, and an owner", id);
	if (extents_next_gap(&pool->extents, record->offset / STATE_EXTENT,
	                     (record->offset + body->granted + STATE_EXTENT - 1) / STATE_EXTENT, &gap_from, &gap_end))
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") has memory that was never committed",
		                              id);
	return 0;
}

static int adopt(struct recovery *recovery, uint32_t index)
{
	struct pool *pool = recovery->pool;
	int result = check(recovery, index);

	if (result < 0)
		return result;
	const struct block_body *body = blocks_body(&pool->blocks, index);
	uint64_t offset = pool->blocks.records[index].offset / pool->unit;
	if (buddy_reserve(&pool->buddy, offset, body->granted / pool->unit) < 0)
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") overlaps another",
		                              record_id(blocks_word(&pool->blocks, index)));
	lifetime_adopt_block(pool, index);
	return 0;
}

int recovery_blocks(struct recovery *recovery)
{
	struct blocks *blocks = &recovery->pool->blocks;
	int result = 0;

	table_adopt(&blocks->table);
	for (uint32_t index = blocks->table.used; index-- > 0 && result == 0;) {
		uint64_t word = blocks_word(blocks, index);
		enum record_state state = record_state(word);
		if (record_id(word) > recovery->highest_id)
			recovery->highest_id = record_id(word);
		if (state > RECORD_ORPHAN || ((word & RECORD_CONDEMNED) && state != RECORD_DYING) ||
		    word & ~(RECORD_ID_MAX << RECORD_ID_SHIFT | RECORD_BODY | RECORD_CONDEMNED | RECORD_SHARED | RECORD_STATE_MASK))
			return recovery_contradiction(recovery, "block", index, "is in a state that does not exist");
		if (state == RECORD_PENDING || state == RECORD_FREEING)
			result = settle(recovery, index, state);
		if (result < 0)
			break;
		if (record_state(blocks_word(blocks, index)) == RECORD_FREE)
			table_give(&blocks->table, index);
		else
			result = adopt(recovery, index);
	}
	return result;
}
