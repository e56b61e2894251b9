/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over tickets and leases: see recovery.h. Those whose deadline has passed are taken over as well, and expire when the pool is served. */
#include "recovery.h"

#include <inttypes.h>

#include "commit.h"
#include "lifetime.h"

/* The open slot's operation made the record that is marked, and it has happened, or it has not. */
static int settle(struct recovery *recovery, const char *kind, uint32_t index)
{
	if (!recovery->open)
		return recovery_contradiction(recovery, kind, index, "is marked, and no request is under way");
	if (recovery->decided)
		recovery->redone++;
	else
		recovery->undone++;
	return 0;
}

/* ---- Tickets ---------------------------------------------------------------------------------------------------- */

static int settle_ticket(struct recovery *recovery, uint32_t index)
{
	struct tickets *tickets = &recovery->pool->tickets;
	int result = settle(recovery, "ticket", index);

	if (result == 0)
		commit(&tickets->records[index].word,
		       record_with_state(tickets_word(tickets, index), recovery->decided ? RECORD_LIVE : RECORD_FREE));
	return result;
}

static int check_ticket(struct recovery *recovery, uint32_t index)
{
	const struct pool *pool = recovery->pool;
	const struct ticket_record *record = &pool->tickets.records[index];

	if (record->checksum != ticket_checksum(record, record_id(tickets_word(&pool->tickets, index))))
		return recovery_contradiction(recovery, "ticket", index, "has a wrong checksum");
	if (!blocks_is_there(&pool->blocks, record->block, record->block_id))
		return recovery_contradiction(recovery, "ticket", index, "holds block %" PRIu64 ", which does not exist",
		                              record->block_id);
	if (tickets_find_alike(&pool->tickets, record->token))
		return recovery_contradiction(recovery, "ticket", index, "has the token of another");
	return 0;
}

int recovery_tickets(struct recovery *recovery)
{
	struct tickets *tickets = &recovery->pool->tickets;
	int result = 0;

	table_adopt(&tickets->table);
	for (uint32_t index = tickets->table.used; index-- > 0 && result == 0;) {
		uint64_t word = tickets_word(tickets, index);
		if (record_id(word) > recovery->highest_id)
			recovery->highest_id = record_id(word);
		if (word & ((UINT64_C(1) << RECORD_ID_SHIFT) - 1) & ~RECORD_STATE_MASK || record_state(word) > RECORD_LIVE)
			return recovery_contradiction(recovery, "ticket", index, "is in a state that does not exist");
		if (record_state(word) == RECORD_PENDING)
			result = settle_ticket(recovery, index);
		if (result < 0)
			break;
		if (record_state(tickets_word(tickets, index)) == RECORD_FREE) {
			table_give(&tickets->table, index);
			continue;
		}
		result = check_ticket(recovery, index);
		if (result == 0)
			lifetime_adopt_ticket(recovery->pool, index);
	}
	return result;
}

/* ---- Leases ----------------------------------------------------------------------------------------------------- */

static int settle_lease(struct recovery *recovery, uint32_t index)
{
	struct leases *leases = &recovery->pool->leases;
	int result = settle(recovery, "lease", index);

	if (result == 0)
		commit(&leases->records[index].word,
		       lease_word(LEASE_DEADLINE(leases_word(leases, index)), recovery->decided ? RECORD_LIVE : RECORD_FREE));
	return result;
}

static int check_lease(struct recovery *recovery, uint32_t index)
{
	const struct pool *pool = recovery->pool;
	const struct lease_record *record = &pool->leases.records[index];

	if (record->checksum != lease_checksum(record))
		return recovery_contradiction(recovery, "lease", index, "has a wrong checksum");
	if (!blocks_is_there(&pool->blocks, record->block, record->block_id))
		return recovery_contradiction(recovery, "lease", index, "holds block %" PRIu64 ", which does not exist",
		                              record->block_id);
	if (pool->blocks.leases[record->block])
		return recovery_contradiction(recovery, "lease", index, "is the second one of block %" PRIu64, record->block_id);
	return 0;
}

int recovery_leases(struct recovery *recovery)
{
	struct leases *leases = &recovery->pool->leases;
	int result = 0;

	table_adopt(&leases->table);
	for (uint32_t index = leases->table.used; index-- > 0 && result == 0;) {
		uint64_t word = leases_word(leases, index);
		if (LEASE_STATE(word) > RECORD_LIVE || word != lease_word(LEASE_DEADLINE(word), LEASE_STATE(word)))
			return recovery_contradiction(recovery, "lease", index, "is in a state that does not exist");
		if (LEASE_STATE(word) == RECORD_PENDING)
			result = settle_lease(recovery, index);
		if (result < 0)
			break;
		if (LEASE_STATE(leases_word(leases, index)) == RECORD_FREE) {
			table_give(&leases->table, index);
			continue;
		}
		result = check_lease(recovery, index);
		if (result == 0)
			lifetime_adopt_lease(recovery->pool, index);
	}
	return result;
}
