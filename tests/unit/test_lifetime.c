/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps a block alive, over a real pool under a name of this process: every order in which its holds can go, then a
 * hundred thousand random operations against a simple model, with the view compared to a fresh recount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "errors.h"
#include "server/handle.h"
#include "server/lifetime.h"
#include "tests/support/charges.h"
#include "tests/unit/draw.h"
#include "tests/unit/pool_fixture.h"
#include "view.h"

#define SESSIONS 4
#define POOL_SIZE (UINT64_C(1) << 22)

static struct view view;

/* What is counted of users and sessions, against a count of the tables. */
static void recount_accounts(void)
{
	static struct charges charges;
	const struct user *user;

	pool_publish_counters(&fixture.pool);
	charges_count(fixture.pool.name, &charges);
	for (uint32_t uid = 0; accounts_list(&fixture.pool.accounts, uid, &user, 1); uid = user->uid + 1) {
		struct charges_user counted = charges_of(&charges, user->uid);
		assert_memory_equal(user->account.used, counted.used, sizeof counted.used);
	}
	assert_int_equal(fixture.pool.accounts.count, charges.user_count);
	for (size_t i = 0; i < SESSIONS; i++)
		assert_memory_equal(fixture.sessions[i].account.used, charges.sessions[i + 1], sizeof charges.sessions[0]);
}

/* Two users, and root, with four sessions. */
static int setup(void **state)
{
	static const uint32_t uids[SESSIONS] = {1000, 1001, 1000, 0};

	(void)state;
	if (pool_fixture_open("lifetime", POOL_SIZE, uids, SESSIONS) < 0)
		return -1;
	return view_open(fixture.pool.view.base, fixture.pool.view.size, &view);
}

static int teardown(void **state)
{
	(void)state;
	return pool_fixture_close();
}

/* ---- Operations as the requests do them, without slots ---- */

static uint32_t publish(uint32_t block, const char *name)
{
	const struct session *publisher = &fixture.sessions[draw(SESSIONS)];
	struct names *names = &fixture.pool.names;
	uint32_t index;

	assert_int_equal(table_take(&names->table, &index), 0);
	names_write(names, index,
	            &(struct name_content){.id = pool_take_ids(&fixture.pool, 1),
	                                   .block_id = pool_fixture_id(block),
	                                   .session = session_key(publisher),
	                                   .block = block,
	                                   .uid = publisher->user->uid,
	                                   .name = name,
	                                   .name_length = strlen(name)});
	lifetime_add_name(&fixture.pool, index);
	return index;
}

static uint32_t share(uint32_t block)
{
	struct tickets *tickets = &fixture.pool.tickets;
	uint8_t token[TICKET_TOKEN_SIZE];
	uint32_t index;

	assert_int_equal(tickets_draw(tickets, token), 0);
	assert_int_equal(table_take(&tickets->table, &index), 0);
	tickets_write(tickets, index,
	              &(struct ticket_content){.id = pool_take_ids(&fixture.pool, 1),
	                                       .block_id = pool_fixture_id(block),
	                                       .block = block,
	                                       .deadline = 1000,
	                                       .session = session_key(&fixture.sessions[1]),
	                                       .uid = fixture.sessions[1].user->uid,
	                                       .token = token});
	lifetime_add_ticket(&fixture.pool, index);
	assert_int_equal(tickets_find(tickets, token), index + 1);
	return index;
}

static uint32_t lease(uint32_t block)
{
	struct leases *leases = &fixture.pool.leases;
	uint32_t index;

	assert_int_equal(table_take(&leases->table, &index), 0);
	leases_write(leases, index, block, pool_fixture_id(block), 1000);
	lifetime_add_lease(&fixture.pool, index, 1000);
	lifetime_renew_lease(&fixture.pool, index, 2000);
	return index;
}

static void replace(uint32_t name, uint32_t block)
{
	struct names *names = &fixture.pool.names;
	const struct session *publisher = &fixture.sessions[draw(SESSIONS)];

	names_write_next(names, name,
	                 &(struct name_content){.id = pool_take_ids(&fixture.pool, 1),
	                                        .block_id = pool_fixture_id(block),
	                                        .session = session_key(publisher),
	                                        .block = block,
	                                        .uid = publisher->user->uid});
	lifetime_replace_name(&fixture.pool, name);
}

static void assert_empty(void)
{
	const struct pool *pool = &fixture.pool;

	assert_int_equal(pool->block_count, 0);
	assert_int_equal(pool->name_count, 0);
	assert_int_equal(pool->tickets.count, 0);
	assert_int_equal(pool->leases.count, 0);
	assert_null(priority_heap_first(&pool->deadlines.heap));
	assert_int_equal(pool->requested, 0);
	assert_int_equal(pool->unowned_blocks, 0);
	assert_int_equal(pool->unowned_bytes, 0);
	assert_int_equal(buddy_free_units(&pool->buddy), POOL_SIZE / POOL_FIXTURE_UNIT);
	assert_true(buddy_is_valid(&pool->buddy));
	for (size_t i = 0; i < SESSIONS; i++) {
		assert_int_equal(fixture.sessions[i].account.used[QUOTA_BLOCKS], 0);
		assert_int_equal(fixture.sessions[i].reference_count, 0);
		assert_int_equal(fixture.sessions[i].account.used[QUOTA_BYTES], 0);
		assert_int_equal(fixture.sessions[i].blocks, 0);
		assert_int_equal(fixture.sessions[i].references, 0);
	}
}

/* ---- By hand ---- */

enum { OWNER, REFERENCE, NAME, TICKET, LEASE, HOLDS };

/* Order number n, of the HOLDS! that there are: its digits in the factorial base say which of those that are left comes next. */
static void order_of(unsigned n, unsigned out_order[HOLDS])
{
	unsigned left[HOLDS] = {OWNER, REFERENCE, NAME, TICKET, LEASE};

	for (unsigned k = 0, count = HOLDS; k < HOLDS; k++, count--) {
		unsigned at = n % count;
		n /= count;
		out_order[k] = left[at];
		memmove(&left[at], &left[at + 1], (count - at - 1) * sizeof left[0]);
	}
}

struct holds {
	uint32_t block, reference, name, ticket, lease;
};

static void drop(struct session *owner, struct session *user, unsigned which, const struct holds *holds)
{
	switch (which) {
	case OWNER: lifetime_drop_owner(owner, holds->block); break;
	case REFERENCE:
		lifetime_set_reference(user, holds->reference, 0);
		assert_int_equal(lifetime_find_reference(user, holds->block), 0);
		break;
	case NAME: lifetime_drop_name(&fixture.pool, holds->name); break;
	case TICKET: lifetime_drop_ticket(&fixture.pool, holds->ticket); break;
	case LEASE: lifetime_drop_lease(&fixture.pool, holds->lease); break;
	}
}

/* Owner, reference, name, ticket and lease go in every order; the block goes with the last of them, and not before. */
static void test_every_order(void **state)
{
	const struct pool *pool = &fixture.pool;
	struct session *owner = &fixture.sessions[0], *user = &fixture.sessions[1];
	struct view_block seen;

	(void)state;
	for (unsigned i = 0; i < 120; i++) {
		unsigned order[HOLDS];
		struct holds holds = {0};
		bool owned = true;
		order_of(i, order);
		assert_true(pool_fixture_try_allocate(owner, 100, false, &holds.block));
		uint64_t id = pool_fixture_id(holds.block);
		struct handle handle = pool_fixture_handle(holds.block);
		holds.reference = pool_fixture_refer(user, holds.block);
		holds.name = publish(holds.block, "name");
		holds.ticket = share(holds.block);
		holds.lease = lease(holds.block);
		uint64_t frees = pool->counters->frees;
		for (size_t k = 0; k < HOLDS; k++) {
			assert_true(blocks_is_live(&pool->blocks, holds.block, id));
			assert_int_equal(handle_find(pool, &handle), 0);
			assert_int_equal(view_read_block(&view, holds.block, &seen), 1);
			assert_int_equal(seen.owner, owned ? owner->number : 0);
			assert_int_equal(pool->unowned_blocks, !owned);
			assert_int_equal(pool->unowned_bytes, owned ? 0 : 128);
			assert_int_equal(pool->block_count, 1);
			assert_int_equal(pool->requested, 100);
			assert_int_equal(pool->counters->frees, frees);
			assert_int_equal(owner->account.used[QUOTA_BYTES], owned ? 128 : 0);
			assert_int_equal(owner->account.used[QUOTA_BLOCKS], owned);
			drop(owner, user, order[k], &holds);
			owned = owned && order[k] != OWNER;
		}
		assert_false(blocks_is_live(&pool->blocks, holds.block, id));
		assert_int_equal(handle_find(pool, &handle), ERROR_STALE_HANDLE);
		assert_int_equal(pool->counters->frees, frees + 1);
		assert_empty();
	}
}

/* A name that goes over to another block lets the one before go; one that stays with its block does not. */
static void test_replaced_name(void **state)
{
	struct session *owner = &fixture.sessions[0];
	uint32_t first = 0, second = 0;

	(void)state;
	assert_true(pool_fixture_try_allocate(owner, 1, false, &first));
	assert_true(pool_fixture_try_allocate(owner, 2, false, &second));
	uint64_t first_id = pool_fixture_id(first), second_id = pool_fixture_id(second);
	uint32_t name = publish(first, "a name");
	lifetime_drop_owner(owner, first);
	replace(name, first);
	assert_true(blocks_is_live(&fixture.pool.blocks, first, first_id));
	replace(name, second);
	assert_false(blocks_is_live(&fixture.pool.blocks, first, first_id));
	assert_int_equal(fixture.pool.name_count, 1);
	lifetime_drop_owner(owner, second);
	assert_true(blocks_is_live(&fixture.pool.blocks, second, second_id));
	lifetime_drop_name(&fixture.pool, name);
	assert_empty();
}

/* Whoever holds it stands in the way of whoever wants it for himself. */
static void test_seclusion(void **state)
{
	struct session *owner = &fixture.sessions[0], *user = &fixture.sessions[1];
	uint32_t block = 0;

	(void)state;
	assert_true(pool_fixture_try_allocate(owner, 100, false, &block));
	uint64_t word = blocks_word(&fixture.pool.blocks, block);
	assert_int_equal(lifetime_seclude(owner, block), 0);
	assert_int_equal(lifetime_seclude(user, block), ERROR_IN_USE);
	uint32_t own = pool_fixture_refer(owner, block);
	assert_int_equal(lifetime_seclude(owner, block), 0);
	uint32_t reference = pool_fixture_refer(user, block);
	assert_int_equal(lifetime_seclude(owner, block), ERROR_IN_USE);
	lifetime_drop_owner(owner, block);
	assert_int_equal(lifetime_seclude(user, block), ERROR_IN_USE);
	lifetime_set_reference(owner, own, 0);
	assert_int_equal(lifetime_seclude(user, block), 0);
	uint32_t name = publish(block, "name"); /* is no session */
	uint32_t timed = lease(block);          /* nor is time */
	assert_int_equal(lifetime_seclude(user, block), 0);
	assert_int_equal(record_state(blocks_word(&fixture.pool.blocks, block)), record_state(word));
	lifetime_drop_lease(&fixture.pool, timed);
	lifetime_drop_name(&fixture.pool, name);
	uint32_t ticket = share(block);
	assert_int_equal(lifetime_seclude(user, block), ERROR_IN_USE);
	lifetime_drop_ticket(&fixture.pool, ticket);
	assert_int_equal(lifetime_seclude(user, block), 0);
	assert_int_equal(lifetime_copy_hold(&fixture.sessions[2], block), 0); /* as a clone does */
	assert_int_equal(lifetime_seclude(user, block), ERROR_IN_USE);
	lifetime_set_reference(&fixture.sessions[2], lifetime_find_reference(&fixture.sessions[2], block) - 1, 0);
	assert_int_equal(lifetime_seclude(user, block), 0);

	/* A hold page may have it, and none does. */
	blocks_share(&fixture.pool.blocks, block);
	fixture.pool.page_holds.pages = 1;
	assert_int_equal(lifetime_seclude(user, block), 0);
	assert_int_equal(record_state(blocks_word(&fixture.pool.blocks, block)), RECORD_DYING);
	blocks_set_state(&fixture.pool.blocks, block, RECORD_LIVE);
	fixture.pool.page_holds.pages = 0;
	lifetime_set_reference(user, reference, 0);
	assert_empty();
}

/* What another block holds, its readers reach; what a block holds itself is no matter. */
static void test_seclusion_of_linked_blocks(void **state)
{
	struct session *owner = &fixture.sessions[0];
	struct links *links = &fixture.pool.links;
	uint32_t from = 0, to = 0, link = 0;

	(void)state;
	assert_true(pool_fixture_try_allocate(owner, 100, false, &from));
	assert_true(pool_fixture_try_allocate(owner, 100, false, &to));
	assert_int_equal(table_take(&links->table, &link), 0);
	links_write(
		links, link,
		&(struct link_record){.from = from, .to = to, .from_id = pool_fixture_id(from), .to_id = pool_fixture_id(to)});
	lifetime_add_link(&fixture.pool, link);
	assert_int_equal(lifetime_seclude(owner, from), 0);
	assert_int_equal(lifetime_seclude(owner, to), ERROR_IN_USE);
	lifetime_drop_link(&fixture.pool, link);
	assert_int_equal(lifetime_seclude(owner, to), 0);
	lifetime_drop_owner(owner, from);
	lifetime_drop_owner(owner, to);
	assert_empty();
}

static void change(uint32_t block, uint64_t size, uint64_t granted, uint32_t metadata)
{
	struct block_body body = *blocks_body(&fixture.pool.blocks, block);

	body.size = size;
	body.granted = granted;
	body.metadata = metadata;
	blocks_fill_body(&fixture.pool.blocks, block, &body);
	lifetime_change_body(&fixture.pool, block, RECORD_LIVE);
}

/* Sums, metadata and the tail follow from the body that counts; whether the block has an owner or not. */
static void test_change(void **state)
{
	struct pool *pool = &fixture.pool;
	struct session *owner = &fixture.sessions[0], *user = &fixture.sessions[1];
	struct view_block seen;
	uint32_t block = 0, metadata;

	(void)state;
	pool->sessions.by_number[owner->number] = owner;
	for (int owned = 1; owned >= 0; owned--) {
		uint64_t granted;
		assert_true(pool_fixture_try_allocate(owner, 1000, false, &block));
		uint32_t reference = pool_fixture_refer(user, block);
		if (!owned)
			lifetime_drop_owner(owner, block);
		assert_int_equal(table_take(&pool->metadata.table, &metadata), 0);
		metadata_write(&pool->metadata, metadata, pool_fixture_id(block), (const uint8_t *)"shape", 5);
		change(block, 100, 128, metadata + 1);
		assert_int_equal(pool->requested, 100);
		assert_int_equal(owner->account.used[QUOTA_BYTES], owned ? 128 : 0);
		assert_int_equal(pool->unowned_bytes, owned ? 0 : 128);
		assert_int_equal(buddy_free_units(&pool->buddy), POOL_SIZE / POOL_FIXTURE_UNIT - 2);
		assert_int_equal(pool->metadata.table.free_count, 0);
		uint64_t offset = pool->blocks.records[block].offset / POOL_FIXTURE_UNIT;
		assert_int_equal(buddy_grow(&pool->buddy, offset, 2, 64, &granted), 0);
		change(block, 4000, granted * POOL_FIXTURE_UNIT, 0);
		assert_int_equal(pool->requested, 4000);
		assert_int_equal(owner->account.used[QUOTA_BYTES], owned ? 4096 : 0);
		assert_int_equal(pool->unowned_bytes, owned ? 0 : 4096);
		assert_int_equal(pool->metadata.table.free_count, 1);
		assert_int_equal(view_read_block(&view, block, &seen), 1);
		assert_true(seen.size == 4000 && seen.granted == 4096 && seen.metadata == 0);
		/* Its metadata goes with it. */
		assert_int_equal(table_take(&pool->metadata.table, &metadata), 0);
		change(block, 4000, 4096, metadata + 1);
		if (owned)
			lifetime_drop_owner(owner, block);
		lifetime_set_reference(user, reference, 0);
		assert_int_equal(pool->metadata.table.free_count, 1);
		assert_empty();
		pool->metadata.table.free_count = pool->metadata.table.used = 0;
	}
	pool->sessions.by_number[owner->number] = NULL;
}

/* ---- At random, against a model ---- */

enum { BLOCKS = 300, NAMES = 200, STEPS = 100000 };

struct model_block {
	bool live;
	uint64_t id, size, granted;
	uint32_t index;
	int owner; /* -1: none */
	uint32_t references[SESSIONS];
	unsigned names;
};
struct model_name {
	int block; /* -1: not published */
	uint32_t index;
};
static struct model_block blocks[BLOCKS];
static struct model_name names[NAMES];
static uint64_t model_frees, model_allocations;

static void free_if_unheld(struct model_block *block)
{
	bool held = block->owner >= 0 || block->names;

	for (size_t i = 0; i < SESSIONS; i++)
		held = held || block->references[i];
	if (held)
		return;
	block->live = false;
	model_frees++;
}

static void name_text(size_t name, char out_text[32])
{
	snprintf(out_text, 32, "the name %zu", name);
}

static void unpublish(size_t name)
{
	struct model_block *block = &blocks[names[name].block];

	lifetime_drop_name(&fixture.pool, names[name].index);
	names[name].block = -1;
	block->names--;
	free_if_unheld(block);
}

static void replace_by(size_t name, struct model_block *block)
{
	struct model_block *before = &blocks[names[name].block];

	replace(names[name].index, block->index);
	names[name].block = (int)(block - blocks);
	block->names++;
	before->names--;
	free_if_unheld(before);
}

/* As a session's end does it, all at once. */
static void drop_session(size_t number)
{
	struct session *session = &fixture.sessions[number];

	while (session->references)
		lifetime_set_reference(session, session->references - 1, 0);
	while (session->blocks)
		lifetime_drop_owner(session, session->blocks - 1);
	for (size_t i = 0; i < BLOCKS; i++) {
		bool concerned = blocks[i].live && (blocks[i].owner == (int)number || blocks[i].references[number]);
		if (!concerned)
			continue;
		blocks[i].references[number] = 0;
		if (blocks[i].owner == (int)number)
			blocks[i].owner = -1;
		free_if_unheld(&blocks[i]);
	}
}

static void give_back(struct model_block *block, size_t number)
{
	struct session *session = &fixture.sessions[number];
	struct handle handle = {block->id, block->index, fixture.pool.incarnation};
	struct hold hold;
	int error = handle_find_hold(session, &handle, &hold);

	if (!block->live) {
		assert_int_equal(error, ERROR_STALE_HANDLE);
		return;
	}
	if (block->references[number]) {
		assert_int_equal(error, 0);
		assert_true(hold.reference > 0);
		block->references[number]--;
	} else if (block->owner == (int)number) {
		assert_int_equal(error, 0);
		assert_int_equal(hold.reference, 0);
		block->owner = -1;
	} else {
		assert_int_equal(error, ERROR_NOT_HELD);
		return;
	}
	assert_int_equal(hold.block, block->index);
	lifetime_drop_hold(session, &hold);
	free_if_unheld(block);
}

static void one_step(void)
{
	struct model_block *block = &blocks[draw(BLOCKS)];
	size_t number = draw(SESSIONS), name = draw(NAMES);
	struct session *session = &fixture.sessions[number];
	uint64_t what = draw(1000);
	char text[32];

	if (what < 2) {
		drop_session(number);
	} else if (!block->live) {
		if (what < 100) {
			give_back(block, number); /* a stale handle, or none at all */
			return;
		}
		uint64_t size = 1 + draw(UINT64_C(1) << draw(15));
		if (!pool_fixture_try_allocate(session, size, false, &block->index))
			return;
		*block = (struct model_block){
			.live = true, .id = pool_fixture_id(block->index), .size = size, .index = block->index, .owner = (int)number};
		for (block->granted = POOL_FIXTURE_UNIT; block->granted < size;)
			block->granted *= 2;
		model_allocations++;
	} else if (what < 250) {
		uint32_t link = lifetime_find_reference(session, block->index);
		assert_int_equal(link != 0, block->references[number] != 0);
		block->references[number]++;
		if (link)
			lifetime_set_reference(session, link - 1, block->references[number]);
		else
			pool_fixture_refer(session, block->index);
	} else if (what < 350 && names[name].block < 0) {
		name_text(name, text);
		names[name] = (struct model_name){.block = (int)(block - blocks), .index = publish(block->index, text)};
		block->names++;
	} else if (what < 410 && names[name].block >= 0) {
		unpublish(name);
	} else if (what < 450 && names[name].block >= 0) {
		replace_by(name, block);
	} else {
		give_back(block, number);
	}
}

/* The pool's sums, the view, and each block's lists, against the model. */
static void recount(void)
{
	struct pool *pool = &fixture.pool;
	uint64_t live = 0, requested = 0, granted = 0, unowned = 0, unowned_bytes = 0, published = 0, seen = 0;
	uint64_t owned[SESSIONS] = {0}, bytes[SESSIONS] = {0}, references[SESSIONS] = {0};
	static bool used[POOL_SIZE / POOL_FIXTURE_UNIT];

	memset(used, 0, sizeof used);
	for (size_t i = 0; i < BLOCKS; i++) {
		const struct model_block *block = &blocks[i];
		struct view_block there;
		if (!block->live)
			continue;
		live++;
		requested += block->size;
		granted += block->granted;
		assert_int_equal(view_read_block(&view, block->index, &there), 1);
		assert_int_equal(there.id, block->id);
		assert_int_equal(there.size, block->size);
		assert_int_equal(there.granted, block->granted);
		assert_int_equal(there.owner, block->owner + 1);
		for (uint64_t unit = there.offset / POOL_FIXTURE_UNIT; unit < (there.offset + there.granted) / POOL_FIXTURE_UNIT;
		     unit++) {
			assert_false(used[unit]); /* no two overlap */
			used[unit] = true;
		}
		if (block->owner >= 0) {
			owned[block->owner]++;
			bytes[block->owner] += block->granted;
		} else {
			unowned++;
			unowned_bytes += block->granted;
		}
		for (size_t k = 0; k < SESSIONS; k++) {
			uint32_t link = lifetime_find_reference(&fixture.sessions[k], block->index);
			references[k] += block->references[k] != 0;
			assert_int_equal(link ? REFERENCE_COUNT(references_word(&pool->references, link - 1)) : 0, block->references[k]);
		}
		unsigned names_listed = 0;
		for (uint32_t link = pool->blocks.names[block->index]; link; link = pool->names.of_block[link - 1].next)
			names_listed++;
		assert_int_equal(names_listed, block->names);
	}
	for (size_t i = 0; i < NAMES; i++) {
		char text[32];
		uint32_t index;
		name_text(i, text);
		int found = view_find_name(&view, text, strlen(text), &index);
		assert_int_equal(found, names[i].block >= 0);
		if (!found)
			continue;
		struct view_name there;
		published++;
		assert_int_equal(index, names[i].index);
		assert_int_equal(view_read_name(&view, index, &there), 1);
		assert_int_equal(there.block_id, blocks[names[i].block].id);
		assert_true(blocks[names[i].block].live);
	}
	for (uint32_t i = 0; i < pool->blocks.table.used; i++) {
		struct view_block there;
		int result = view_read_block(&view, i, &there);
		assert_true(result >= 0);
		seen += result == 1;
	}
	for (size_t i = 0; i < SESSIONS; i++) {
		assert_int_equal(fixture.sessions[i].account.used[QUOTA_BLOCKS], owned[i]);
		assert_int_equal(fixture.sessions[i].account.used[QUOTA_BYTES], bytes[i]);
		assert_int_equal(fixture.sessions[i].reference_count, references[i]);
	}
	assert_int_equal(seen, live);
	recount_accounts();
	assert_int_equal(pool->block_count, live);
	assert_int_equal(pool->name_count, published);
	assert_int_equal(pool->requested, requested);
	assert_int_equal(pool->unowned_blocks, unowned);
	assert_int_equal(pool->unowned_bytes, unowned_bytes);
	assert_true(buddy_is_valid(&pool->buddy));

	pool_publish_counters(pool);
	const struct view_counters *counters = view.counters;
	assert_int_equal(counters->used, granted);
	assert_int_equal(counters->requested, requested);
	assert_int_equal(counters->blocks, live);
	assert_int_equal(counters->names, published);
	assert_int_equal(counters->allocations, model_allocations);
	assert_int_equal(counters->frees, model_frees);
}

static void test_against_model(void **state)
{
	(void)state;
	memset(blocks, 0, sizeof blocks);
	model_frees = fixture.pool.counters->frees;
	model_allocations = fixture.pool.counters->allocations;
	for (size_t i = 0; i < NAMES; i++)
		names[i].block = -1;
	for (int step = 0; step < STEPS; step++) {
		one_step();
		if (step % 500 == 0)
			recount();
	}
	recount();
	for (size_t i = 0; i < SESSIONS; i++)
		drop_session(i);
	recount();
	for (size_t i = 0; i < NAMES; i++) {
		if (names[i].block >= 0)
			unpublish(i);
	}
	recount();
	assert_empty();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_order), TEST(test_replaced_name), TEST(test_seclusion),
		TEST(test_change),      TEST(test_against_model), TEST(test_seclusion_of_linked_blocks),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
