/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over links: see recovery.h. A link from a block that is free was on its way to be dropped (cascade.c). */
#include "recovery.h"

#include <inttypes.h>

#include "commit.h"
#include "lifetime.h"

static int settle(struct recovery *recovery, uint32_t index)
{
	if (!recovery->open)
		return recovery_contradiction(recovery, "link", index, "is marked, and no request is under way");
	if (recovery->decided)
		recovery->redone++;
	else
		recovery->undone++;
	commit(&recovery->pool->links.records[index].word, recovery->decided ? RECORD_LIVE : RECORD_FREE);
	return 0;
}

/* 1: it lives. 0: it goes. */
static int check(struct recovery *recovery, uint32_t index)
{
	const struct pool *pool = recovery->pool;
	const struct link_record *record = &pool->links.records[index];

	if (record->checksum != link_checksum(record))
		return recovery_contradiction(recovery, "link", index, "has a wrong checksum");
	if (!blocks_is_there(&pool->blocks, record->from, record->from_id))
		return 0;
	if (!blocks_is_there(&pool->blocks, record->to, record->to_id))
		return recovery_contradiction(recovery, "link", index,
		                              "from block %" PRIu64 " holds block %" PRIu64 ", which does not exist",
		                              record->from_id, record->to_id);
	if (recovery_has_collected(recovery) && blocks_is_condemned(&pool->blocks, record->to) &&
	    !blocks_is_condemned(&pool->blocks, record->from))
		return recovery_contradiction(recovery, "link", index,
		                              "from block %" PRIu64 " holds block %" PRIu64 ", whose end was decided",
		                              record->from_id, record->to_id);
	if (lifetime_find_link(pool, record->from, record->to))
		return recovery_contradiction(recovery, "link", index, "stands twice, from block %" PRIu64 " to block %" PRIu64,
		                              record->from_id, record->to_id);
	return 1;
}

int recovery_links(struct recovery *recovery)
{
	struct links *links = &recovery->pool->links;

	table_adopt(&links->table);
	for (uint32_t index = links->table.used; index-- > 0;) {
		int result = 0;
		if (links_state(links, index) > RECORD_LIVE)
			return recovery_contradiction(recovery, "link", index, "is in a state that does not exist");
		if (links_state(links, index) == RECORD_PENDING)
			result = settle(recovery, index);
		if (result == 0 && links_state(links, index) == RECORD_LIVE)
			result = check(recovery, index);
		if (result < 0)
			return result;
		if (result)
			lifetime_adopt_link(recovery->pool, index);
		else if (links_state(links, index) == RECORD_LIVE)
			links_set_state(links, index, RECORD_FREE);
		else
			table_give(&links->table, index);
	}
	return 0;
}
