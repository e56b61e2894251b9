/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a block alive: see lifetime.h. */
#include "lifetime.h"

#include <assert.h>

#include "cache.h"
#include "charge.h"
#include "dying.h"
#include "errors.h"
#include "page_holds.h"
#include "reclaim.h"

uint32_t lifetime_find_reference(const struct session *session, uint32_t block)
{
	return pair_index_find(&session->pool->references.by_holder, session->number, block);
}

/* A holder of the block has gone, and others are left: only links, perhaps, and from what it holds itself. */
static void suspect(struct pool *pool, uint32_t index)
{
	const struct blocks *blocks = &pool->blocks;

	if (blocks->links_to[index] && blocks->links_from[index] && !blocks_is_rooted(blocks, index))
		collector_suspect(pool);
}

void lifetime_free_unheld(struct pool *pool, uint32_t index)
{
	if (blocks_is_condemned(&pool->blocks, index))
		collector_dropped(pool, index);
	else if (blocks_is_cached(&pool->blocks, index))
		cache_settle(pool, index);
	else if (blocks_is_unheld(&pool->blocks, index))
		dying_begin(pool, index);
	else
		suspect(pool, index);
}

/* ---- What may change of a block --------------------------------------------------------------------------------- */

int lifetime_seclude(struct session *session, uint32_t block)
{
	struct pool *pool = session->pool;
	uint32_t owner = blocks_body(&pool->blocks, block)->owner;
	uint64_t word = blocks_word(&pool->blocks, block);

	if ((owner && owner != session->number) || pool->blocks.links_to[block] || pool->blocks.tickets[block])
		return ERROR_IN_USE;
	for (uint32_t link = pool->blocks.references[block]; link; link = pool->references.of_block[link - 1].next) {
		if (pool->references.records[link - 1].session != session->number)
			return ERROR_IN_USE;
	}
	if (!(word & RECORD_SHARED) || !pool->page_holds.pages)
		return 0;
	blocks_set_state(&pool->blocks, block, RECORD_DYING);
	int held = page_holds_any(pool, block, session->number);
	if (held == 0)
		return 0;
	blocks_set_state(&pool->blocks, block, record_state(word));
	return held < 0 ? ERROR_LIMIT : ERROR_IN_USE;
}

void lifetime_change_body(struct pool *pool, uint32_t block, enum record_state state)
{
	const struct block_body *former = blocks_body(&pool->blocks, block);

	blocks_flip(&pool->blocks, block, state);
	const struct block_body *body = blocks_body(&pool->blocks, block);
	/* Of what becomes less, the differences wrap, and the sums are right again. */
	if (body->owner) {
		struct account *account = &pool->sessions.by_number[body->owner]->account;
		account_charge(account, QUOTA_BYTES, body->granted - former->granted);
		if (body->granted < former->granted)
			account_line_wake(&pool->accounts.lines, &account->line);
	} else {
		pool->unowned_bytes += body->granted - former->granted;
	}
	payer_resized(pool, block, former->granted);
	pool->requested += body->size - former->size;
	if (body->metadata != former->metadata)
		metadata_give(&pool->metadata, former->metadata);
	if (body->granted < former->granted) {
		uint64_t end = pool->blocks.records[block].offset + former->granted, length = former->granted - body->granted;
		reclaim_free(pool->reclaim, &(struct commit_range){end - length, length});
	}
}

/* ---- Holders ---------------------------------------------------------------------------------------------------- */

/* A live block goes into its owner's list. */
static void own(struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;

	index_list_push(pool->blocks.owned, &session->blocks, index);
	session->held++;
	account_charge(&session->account, QUOTA_BLOCKS, 1);
	account_charge(&session->account, QUOTA_BYTES, blocks_body(&pool->blocks, index)->granted);
	payer_begin(pool, index, session->user);
}

void lifetime_add_owner(struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;

	blocks_set_state(&pool->blocks, index, RECORD_LIVE);
	own(session, index);
	pool->block_count++;
	pool->requested += blocks_body(&pool->blocks, index)->size;
	pool_count(&pool->counters->allocations, 1);
}

void lifetime_adopt_block(struct pool *pool, uint32_t index)
{
	const struct block_body *body = blocks_body(&pool->blocks, index);

	pool->block_count++;
	pool->requested += body->size;
	if (body->owner) {
		own(pool->sessions.by_number[body->owner], index);
	} else {
		pool->unowned_blocks++;
		pool->unowned_bytes += body->granted;
		payer_begin(pool, index, accounts_user(&pool->accounts, pool->blocks.records[index].uid));
	}
}

void lifetime_drop_owner(struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;
	const struct block_body *body = blocks_body(&pool->blocks, index);

	index_list_step_over(pool->blocks.owned, &session->walk_blocks, index);
	index_list_remove(pool->blocks.owned, &session->blocks, index);
	session->held -= lifetime_find_reference(session, index) == 0;
	account_uncharge(&session->account, QUOTA_BLOCKS, 1);
	account_uncharge(&session->account, QUOTA_BYTES, body->granted);
	account_line_wake(&pool->accounts.lines, &session->account.line);
	if (!blocks_is_owned_alone(&pool->blocks, index)) {
		pool->unowned_blocks++;
		pool->unowned_bytes += body->granted;
		blocks_drop_owner(&pool->blocks, index, RECORD_LIVE);
		payer_settle(pool, index);
		if (blocks_is_cached(&pool->blocks, index))
			cache_settle(pool, index);
		suspect(pool, index);
		return;
	}
	dying_begin(pool, index);
}

/* Something else holds a live block from now on. */
static void add_holder(struct pool *pool, uint32_t index)
{
	dying_revive(pool, index);
	collector_touched(pool, index);
	if (blocks_is_cached(&pool->blocks, index))
		cache_settle(pool, index);
}

void lifetime_adopt_reference(struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;
	uint32_t block = pool->references.records[index].block;

	index_list_push(pool->references.of_block, &pool->blocks.references[block], index);
	index_list_push(pool->references.of_session, &session->references, index);
	pair_index_add(&pool->references.by_holder, index, session->number, block);
	session->reference_count++;
	session->held += blocks_body(&pool->blocks, block)->owner != session->number;
	payer_hold(pool, block, session->user);
}

void lifetime_add_reference(struct session *session, uint32_t index)
{
	references_set(&session->pool->references, index, 1, 1, RECORD_LIVE);
	lifetime_adopt_reference(session, index);
	add_holder(session->pool, session->pool->references.records[index].block);
}

int lifetime_copy_hold(struct session *copy, uint32_t block)
{
	struct pool *pool = copy->pool;
	uint32_t reference;

	if (lifetime_find_reference(copy, block))
		return 0;
	if (table_take(&pool->references.table, &reference) < 0)
		return ERROR_LIMIT;
	blocks_share(&pool->blocks, block);
	references_write_live(&pool->references, reference, copy->number, block, record_id(blocks_word(&pool->blocks, block)));
	lifetime_adopt_reference(copy, reference);
	add_holder(pool, block);
	return 0;
}

void lifetime_set_reference(struct session *session, uint32_t index, uint32_t count)
{
	struct pool *pool = session->pool;
	uint32_t block = pool->references.records[index].block;

	if (count) {
		references_set(&pool->references, index, count, count, RECORD_LIVE);
		return;
	}
	references_set(&pool->references, index, 0, 0, RECORD_FREE);
	pair_index_remove(&pool->references.by_holder, index);
	index_list_remove(pool->references.of_block, &pool->blocks.references[block], index);
	index_list_step_over(pool->references.of_session, &session->walk_references, index);
	index_list_remove(pool->references.of_session, &session->references, index);
	session->reference_count--;
	session->held -= blocks_body(&pool->blocks, block)->owner != session->number;
	payer_let_go(pool, block, session->user);
	lifetime_free_unheld(pool, block);
}

/* A record of a user has come, or is about to go: it counts, and it holds a block, for that user. */
static void add_charge(struct pool *pool, enum quota_kind kind, uint32_t uid, uint64_t session, uint32_t block)
{
	charge_add(pool, kind, uid, session);
	payer_hold(pool, block, accounts_find(&pool->accounts, uid));
}

static void drop_charge(struct pool *pool, enum quota_kind kind, uint32_t uid, uint64_t session, uint32_t block)
{
	payer_let_go(pool, block, accounts_find(&pool->accounts, uid));
	charge_drop(pool, kind, uid, session);
}

void lifetime_adopt_name(struct pool *pool, uint32_t index)
{
	const struct name_body *body = names_body(&pool->names, index);

	index_list_push(pool->names.of_block, &pool->blocks.names[body->block], index);
	pool->name_count++;
	add_charge(pool, QUOTA_NAMES, body->uid, body->session, body->block);
}

void lifetime_add_name(struct pool *pool, uint32_t index)
{
	names_set_live(&pool->names, index);
	lifetime_adopt_name(pool, index);
	events_emit_name(pool, EVENT_NAME_PUBLISHED, index);
	add_holder(pool, names_body(&pool->names, index)->block);
	name_waiters_published(&pool->name_waiters, pool->names.records[index].name, pool->names.records[index].name_length);
}

void lifetime_drop_name(struct pool *pool, uint32_t index)
{
	const struct name_body *body = names_body(&pool->names, index);
	uint32_t block = body->block;

	events_emit_name(pool, EVENT_NAME_REMOVED, index); /* while its record says what it was */
	index_list_remove(pool->names.of_block, &pool->blocks.names[block], index);
	names_drop(&pool->names, index);
	pool->name_count--;
	drop_charge(pool, QUOTA_NAMES, body->uid, body->session, block);
	cache_unnamed(pool, block);
	lifetime_free_unheld(pool, block);
}

void lifetime_replace_name(struct pool *pool, uint32_t index)
{
	const struct name_body *before = names_body(&pool->names, index);

	events_emit_name(pool, EVENT_NAME_REMOVED, index);
	names_replace(&pool->names, index);
	events_emit_name(pool, EVENT_NAME_PUBLISHED, index);
	const struct name_body *now = names_body(&pool->names, index);
	index_list_remove(pool->names.of_block, &pool->blocks.names[before->block], index);
	index_list_push(pool->names.of_block, &pool->blocks.names[now->block], index);
	add_charge(pool, QUOTA_NAMES, now->uid, now->session, now->block);
	drop_charge(pool, QUOTA_NAMES, before->uid, before->session, before->block);
	add_holder(pool, now->block);
	cache_unnamed(pool, before->block);
	lifetime_free_unheld(pool, before->block); /* held still where it is the same block */
}

uint32_t lifetime_find_link(const struct pool *pool, uint32_t from, uint32_t to)
{
	return pair_index_find(&pool->links.by_ends, from, to);
}

void lifetime_adopt_link(struct pool *pool, uint32_t index)
{
	const struct link_record *record = &pool->links.records[index];

	index_list_push(pool->links.of_from, &pool->blocks.links_from[record->from], index);
	index_list_push(pool->links.of_to, &pool->blocks.links_to[record->to], index);
	pair_index_add(&pool->links.by_ends, index, record->from, record->to);
	pool->link_count++;
	add_charge(pool, QUOTA_LINKS, record->uid, record->session, record->to);
}

void lifetime_add_link(struct pool *pool, uint32_t index)
{
	links_set_state(&pool->links, index, RECORD_LIVE);
	lifetime_adopt_link(pool, index);
	add_holder(pool, pool->links.records[index].to);
}

void lifetime_drop_link(struct pool *pool, uint32_t index)
{
	const struct link_record *record = &pool->links.records[index];
	uint32_t to = record->to;

	collector_link_goes(pool, index);
	index_list_remove(pool->links.of_from, &pool->blocks.links_from[record->from], index);
	index_list_remove(pool->links.of_to, &pool->blocks.links_to[to], index);
	pair_index_remove(&pool->links.by_ends, index);
	pool->link_count--;
	links_set_state(&pool->links, index, RECORD_FREE);
	drop_charge(pool, QUOTA_LINKS, record->uid, record->session, to);
	lifetime_free_unheld(pool, to);
}

void lifetime_adopt_ticket(struct pool *pool, uint32_t index)
{
	const struct ticket_record *record = &pool->tickets.records[index];

	index_list_push(pool->tickets.of_block, &pool->blocks.tickets[record->block], index);
	tickets_add(&pool->tickets, index);
	deadlines_set(&pool->deadlines, DEADLINE_TICKET, index, record->deadline);
	add_charge(pool, QUOTA_TICKETS, record->uid, record->session, record->block);
}

void lifetime_add_ticket(struct pool *pool, uint32_t index)
{
	tickets_set_state(&pool->tickets, index, RECORD_LIVE);
	lifetime_adopt_ticket(pool, index);
	add_holder(pool, pool->tickets.records[index].block);
}

void lifetime_drop_ticket(struct pool *pool, uint32_t index)
{
	const struct ticket_record *record = &pool->tickets.records[index];
	uint32_t block = record->block;

	index_list_remove(pool->tickets.of_block, &pool->blocks.tickets[block], index);
	deadlines_remove(&pool->deadlines, DEADLINE_TICKET, index);
	tickets_set_state(&pool->tickets, index, RECORD_FREE);
	drop_charge(pool, QUOTA_TICKETS, record->uid, record->session, block);
	lifetime_free_unheld(pool, block);
}

void lifetime_adopt_lease(struct pool *pool, uint32_t index)
{
	pool->blocks.leases[pool->leases.records[index].block] = index + 1;
	pool->leases.count++;
	deadlines_set(&pool->deadlines, DEADLINE_LEASE, index, LEASE_DEADLINE(leases_word(&pool->leases, index)));
	payer_settle(pool, pool->leases.records[index].block);
}

void lifetime_add_lease(struct pool *pool, uint32_t index, uint64_t deadline)
{
	leases_set(&pool->leases, index, deadline);
	lifetime_adopt_lease(pool, index);
	add_holder(pool, pool->leases.records[index].block);
}

void lifetime_renew_lease(struct pool *pool, uint32_t index, uint64_t deadline)
{
	leases_set(&pool->leases, index, deadline);
	deadlines_set(&pool->deadlines, DEADLINE_LEASE, index, deadline);
}

void lifetime_drop_lease(struct pool *pool, uint32_t index)
{
	uint32_t block = pool->leases.records[index].block;

	pool->blocks.leases[block] = 0;
	pool->leases.count--;
	deadlines_remove(&pool->deadlines, DEADLINE_LEASE, index);
	leases_set(&pool->leases, index, 0);
	payer_settle(pool, block);
	lifetime_free_unheld(pool, block);
}

void lifetime_drop_cached(struct pool *pool, uint32_t block)
{
	blocks_drop_cached(&pool->blocks, block);
	payer_settle(pool, block);
	cache_settle(pool, block);
	lifetime_free_unheld(pool, block);
}

void lifetime_add_cached(struct pool *pool, uint32_t block)
{
	payer_settle(pool, block);
	/* Its holder may have it by a hold page alone: from now on it is held, and need not be looked for. */
	add_holder(pool, block);
}

void lifetime_drop_hold(struct session *session, const struct hold *hold)
{
	if (!hold->reference) {
		lifetime_drop_owner(session, hold->block);
		return;
	}
	uint64_t word = references_word(&session->pool->references, hold->reference - 1);
	assert(REFERENCE_COUNT(word) > 0);
	lifetime_set_reference(session, hold->reference - 1, REFERENCE_COUNT(word) - 1);
}
