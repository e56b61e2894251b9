/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over metadata: see recovery.h. A record is in use where a live block names it, and free otherwise, whatever it says. */
#include "recovery.h"

#include <inttypes.h>

#include "region.h"
#include "view.h"

static int check(struct recovery *recovery, uint32_t index, uint32_t link)
{
	const struct metadata *metadata = &recovery->pool->metadata;
	uint64_t id = record_id(blocks_word(&recovery->pool->blocks, index));

	if (link > metadata->table.used)
		return recovery_contradiction(recovery, "block", index, "(block %" PRIu64 ") has metadata that does not exist", id);
	const struct metadata_record *record = &metadata->records[link - 1];
	if (record->block_id != id || record->length == 0 || record->length > sizeof record->bytes ||
	    record->checksum != metadata_checksum(record))
		return recovery_contradiction(recovery, "metadata", link - 1, "of block %" PRIu64 " is not what was written", id);
	return 0;
}

int recovery_metadata(struct recovery *recovery)
{
	const struct blocks *blocks = &recovery->pool->blocks;
	struct table *table = &recovery->pool->metadata.table;
	uint8_t *named;
	int result = region_new(table->used, (void **)&named);

	if (result < 0)
		return result;
	const uint32_t count = table->used;
	table_adopt(table);
	for (uint32_t index = 0; index < blocks->table.used && result == 0; index++) {
		uint32_t link = record_is_live(blocks_word(blocks, index)) ? blocks_body(blocks, index)->metadata : 0;
		if (!link)
			continue;
		result = check(recovery, index, link);
		if (result == 0)
			named[link - 1] = 1;
	}
	for (uint32_t index = table->used; index-- > 0 && result == 0;) {
		if (!named[index])
			table_give(table, index);
	}
	region_free(named, count);
	return result;
}
