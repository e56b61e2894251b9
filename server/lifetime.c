/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a block alive: see lifetime.h. */
#include "lifetime.h"

#include <assert.h>

#include "dying.h"
#include "errors.h"

/* Condemned blocks live as long as they can be rescued. */
static bool lives(const struct pool *pool, uint32_t index)
{
	return record_state(blocks_word(&pool->blocks, index)) != RECORD_DYING ||
	       (blocks_is_condemned(&pool->blocks, index) && !collector_has_decided(pool));
}

int lifetime_find_block(const struct pool *pool, const struct handle *handle)
{
	if (handle->incarnation != pool->incarnation)
		return ERROR_OTHER_POOL;
	return blocks_is_there(&pool->blocks, handle->index, handle->id) && lives(pool, handle->index) ? 0 : ERROR_STALE_HANDLE;
}

int lifetime_find_to_acquire(struct pool *pool, const struct handle *handle)
{
	if (handle->incarnation == pool->incarnation && blocks_is_there(&pool->blocks, handle->index, handle->id) &&
	    record_state(blocks_word(&pool->blocks, handle->index)) == RECORD_DYING) {
		if (blocks_is_condemned(&pool->blocks, handle->index))
			collector_rescue(pool, handle->index);
		else
			dying_settle(pool, handle->index);
	}
	return lifetime_find_block(pool, handle);
}

uint32_t lifetime_find_reference(const struct session *session, uint32_t block)
{
	return pair_index_find(&session->pool->references.by_holder, session->number, block);
}

int lifetime_find_hold(const struct session *session, const struct handle *handle, struct hold *out_hold)
{
	const struct pool *pool = session->pool;
	int error = lifetime_find_block(pool, handle);

	if (error)
		return error;
	uint32_t link = lifetime_find_reference(session, handle->index);
	if (link && REFERENCE_NEXT(references_word(&pool->references, link - 1)) > 0) {
		*out_hold = (struct hold){handle->index, link};
		return 0;
	}
	if (blocks_body(&pool->blocks, handle->index)->owner == session->number &&
	    record_state(blocks_word(&pool->blocks, handle->index)) == RECORD_LIVE) {
		*out_hold = (struct hold){handle->index, 0};
		return 0;
	}
	return ERROR_NOT_HELD;
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
	else if (blocks_is_unheld(&pool->blocks, index))
		dying_begin(pool, index);
	else
		suspect(pool, index);
}

int lifetime_check_held(struct session *session, const struct handle *handle)
{
	struct pool *pool = session->pool;
	int error = lifetime_find_to_acquire(pool, handle);

	if (error)
		return error;
	if (blocks_body(&pool->blocks, handle->index)->owner == session->number ||
	    lifetime_find_reference(session, handle->index) || dying_count_holds(session, handle->id))
		return 0;
	return ERROR_NOT_HELD;
}

/* A live block goes into its owner's list. */
static void own(struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;

	index_list_push(pool->blocks.owned, &session->blocks, index);
	session->block_count++;
	session->held++;
	session->bytes += blocks_body(&pool->blocks, index)->granted;
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
	}
}

void lifetime_drop_owner(struct session *session, uint32_t index)
{
	struct pool *pool = session->pool;
	const struct block_body *body = blocks_body(&pool->blocks, index);

	index_list_step_over(pool->blocks.owned, &session->walk_blocks, index);
	index_list_remove(pool->blocks.owned, &session->blocks, index);
	session->block_count--;
	session->held -= lifetime_find_reference(session, index) == 0;
	session->bytes -= body->granted;
	if (!blocks_is_owned_alone(&pool->blocks, index)) {
		pool->unowned_blocks++;
		pool->unowned_bytes += body->granted;
		blocks_drop_owner(&pool->blocks, index, RECORD_LIVE);
		suspect(pool, index);
		return;
	}
	dying_begin(pool, index);
}

/* Something else holds a live block from now on. */
static void held(struct pool *pool, uint32_t index)
{
	dying_revive(pool, index);
	collector_touched(pool, index);
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
}

void lifetime_add_reference(struct session *session, uint32_t index)
{
	references_set(&session->pool->references, index, 1, 1, RECORD_LIVE);
	lifetime_adopt_reference(session, index);
	held(session->pool, session->pool->references.records[index].block);
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
	held(pool, block);
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
	lifetime_free_unheld(pool, block);
}

void lifetime_adopt_name(struct pool *pool, uint32_t index)
{
	index_list_push(pool->names.of_block, &pool->blocks.names[names_body(&pool->names, index)->block], index);
	pool->name_count++;
}

void lifetime_add_name(struct pool *pool, uint32_t index)
{
	names_set_live(&pool->names, index);
	lifetime_adopt_name(pool, index);
	held(pool, names_body(&pool->names, index)->block);
	name_waiters_published(&pool->name_waiters, pool->names.records[index].name, pool->names.records[index].name_length);
}

void lifetime_drop_name(struct pool *pool, uint32_t index)
{
	uint32_t block = names_body(&pool->names, index)->block;

	index_list_remove(pool->names.of_block, &pool->blocks.names[block], index);
	names_drop(&pool->names, index);
	pool->name_count--;
	lifetime_free_unheld(pool, block);
}

void lifetime_replace_name(struct pool *pool, uint32_t index)
{
	uint32_t before = names_body(&pool->names, index)->block;

	names_replace(&pool->names, index);
	uint32_t block = names_body(&pool->names, index)->block;
	index_list_remove(pool->names.of_block, &pool->blocks.names[before], index);
	index_list_push(pool->names.of_block, &pool->blocks.names[block], index);
	held(pool, block);
	lifetime_free_unheld(pool, before); /* held still where it is the same block */
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
}

void lifetime_add_link(struct pool *pool, uint32_t index)
{
	links_set_state(&pool->links, index, RECORD_LIVE);
	lifetime_adopt_link(pool, index);
	held(pool, pool->links.records[index].to);
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
	lifetime_free_unheld(pool, to);
}

void lifetime_adopt_ticket(struct pool *pool, uint32_t index)
{
	const struct ticket_record *record = &pool->tickets.records[index];

	index_list_push(pool->tickets.of_block, &pool->blocks.tickets[record->block], index);
	tickets_add(&pool->tickets, index);
	deadlines_set(&pool->deadlines, DEADLINE_TICKET, index, record->deadline);
}

void lifetime_add_ticket(struct pool *pool, uint32_t index)
{
	tickets_set_state(&pool->tickets, index, RECORD_LIVE);
	lifetime_adopt_ticket(pool, index);
	held(pool, pool->tickets.records[index].block);
}

void lifetime_drop_ticket(struct pool *pool, uint32_t index)
{
	uint32_t block = pool->tickets.records[index].block;

	index_list_remove(pool->tickets.of_block, &pool->blocks.tickets[block], index);
	deadlines_remove(&pool->deadlines, DEADLINE_TICKET, index);
	tickets_set_state(&pool->tickets, index, RECORD_FREE);
	lifetime_free_unheld(pool, block);
}

void lifetime_adopt_lease(struct pool *pool, uint32_t index)
{
	pool->blocks.leases[pool->leases.records[index].block] = index + 1;
	pool->leases.count++;
	deadlines_set(&pool->deadlines, DEADLINE_LEASE, index, LEASE_DEADLINE(leases_word(&pool->leases, index)));
}

void lifetime_add_lease(struct pool *pool, uint32_t index, uint64_t deadline)
{
	leases_set(&pool->leases, index, deadline);
	lifetime_adopt_lease(pool, index);
	held(pool, pool->leases.records[index].block);
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
	lifetime_free_unheld(pool, block);
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
