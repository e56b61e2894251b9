/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays for a block.
 *
 * The rule. A block is charged, with the bytes set aside for it, to exactly one user:
 *
 *   1. to the user that allocated it, while any session of that user owns or refers to it, a name or link or ticket of that user holds it, or
 *      its time to live, which is that user's, lasts, or it is a cache block;
 *   2. else to one of the users that hold it by a reference, name, ticket or link: the one with the lowest uid, root last;
 *   3. else, where only hold pages have it, to the user of the first session whose page was found to have it. Until a page is found, as before.
 *
 * Rules 1 and 2 are a function of what the tables say, and rule 3 of the pages. So nothing of it is stored: the next daemon comes to the same
 * payers, wherever the former one was killed, and no store of an operation is about it. That is also why it is the lowest uid and not
 * whoever came first: when somebody came is not in the tables. The charge can move when somebody takes hold, then, but never to a user who holds
 * nothing, and never from the user that allocated the block and still holds it.
 *
 * A link is a hold of the user that made it, whoever holds the block it comes from: a charge that followed links would move whole structures, of
 * any size, with each hold on their first block.
 *
 * The session that owns a block is charged too, on an account of its own (lifetime.c); that charge goes with the ownership, and moves to no
 * other session.
 *
 * How. A user's holds on a block, other than as its owner, are counted together, as a stake. While a block has an owner, its user pays: the
 * blocks that are never shared cost nothing here. Else the payer is looked for among the stakes when one comes or goes: O(users that hold the
 * block). A move may take an account beyond its limit: it is refused more until it is below.
 */
#include "payer.h"

#include <assert.h>

#include "pool.h"
#include "region.h"

int payers_init(struct payers *payers, uint32_t max_blocks, uint64_t holds)
{
	/* No more than links can tell apart: more holds than that have no room in the address space either. */
	uint32_t capacity = holds < UINT32_MAX / 2 ? (uint32_t)holds : UINT32_MAX / 2;

	*payers = (struct payers){.capacity = capacity, .max_blocks = max_blocks};
	int result = region_new(capacity * sizeof *payers->stakes, (void **)&payers->stakes);
	if (result == 0)
		result = region_new(capacity * sizeof *payers->of_block, (void **)&payers->of_block);
	if (result == 0)
		result = region_new(max_blocks * sizeof *payers->first, (void **)&payers->first);
	if (result == 0)
		result = region_new(max_blocks * sizeof *payers->moved, (void **)&payers->moved);
	if (result == 0)
		result = pair_index_init(&payers->by_holder, capacity);
	if (result < 0)
		payers_deinit(payers);
	return result;
}

void payers_deinit(struct payers *payers)
{
	region_free(payers->stakes, payers->capacity * sizeof *payers->stakes);
	region_free(payers->of_block, payers->capacity * sizeof *payers->of_block);
	region_free(payers->first, payers->max_blocks * sizeof *payers->first);
	region_free(payers->moved, payers->max_blocks * sizeof *payers->moved);
	pair_index_deinit(&payers->by_holder);
	*payers = (struct payers){0};
}

struct user *payer_of(struct pool *pool, uint32_t block)
{
	uint32_t moved = pool->payers.moved[block];

	return moved ? &pool->accounts.users[moved - 1] : accounts_find(&pool->accounts, pool->blocks.records[block].uid);
}

static uint64_t granted(const struct pool *pool, uint32_t block)
{
	return blocks_body(&pool->blocks, block)->granted;
}

/* `user` pays from now on. */
static void move(struct pool *pool, uint32_t block, struct user *user)
{
	struct user *before = payer_of(pool, block);

	if (user == before)
		return;
	pool->payers.moved[block] = user->uid == pool->blocks.records[block].uid ? 0 : user->index + 1;
	accounts_move_memory(&pool->accounts, before, user, granted(pool, block), 1);
}

/* Before another by rule 2? Root comes last. */
static bool comes_first(const struct user *user, const struct user *other)
{
	return !other || user->uid - 1 < other->uid - 1;
}

void payer_settle(struct pool *pool, uint32_t block)
{
	const struct payers *payers = &pool->payers;
	uint32_t uid = pool->blocks.records[block].uid;
	struct user *found = NULL;

	if (blocks_body(&pool->blocks, block)->owner || pool->blocks.leases[block] || blocks_is_cached(&pool->blocks, block)) {
		found = payers->moved[block] ? accounts_user(&pool->accounts, uid) : NULL;
		if (found)
			move(pool, block, found);
		return;
	}
	for (uint32_t link = payers->first[block]; link; link = payers->of_block[link - 1].next) {
		struct user *user = &pool->accounts.users[payers->stakes[link - 1].user];
		if (user->uid == uid) {
			found = user;
			break;
		}
		if (comes_first(user, found))
			found = user;
	}
	if (found)
		move(pool, block, found);
}

void payer_begin(struct pool *pool, uint32_t block, struct user *user)
{
	assert(user->uid == pool->blocks.records[block].uid && !pool->payers.moved[block]);
	accounts_charge_memory(&pool->accounts, user, granted(pool, block), 1);
}

void payer_end(struct pool *pool, uint32_t block)
{
	struct user *user = payer_of(pool, block);

	if (pool->payers.moved[block])
		pool->payers.moved[block] = 0;
	accounts_uncharge_memory(&pool->accounts, user, granted(pool, block), 1);
}

void payer_resized(struct pool *pool, uint32_t block, uint64_t former_granted)
{
	struct user *user = payer_of(pool, block);
	uint64_t now = granted(pool, block);

	if (now > former_granted)
		accounts_charge_memory(&pool->accounts, user, now - former_granted, 0);
	else if (now < former_granted)
		accounts_uncharge_memory(&pool->accounts, user, former_granted - now, 0);
}

void payer_found(struct pool *pool, uint32_t block, struct user *user)
{
	move(pool, block, user);
}

bool payer_others_hold(const struct pool *pool, uint32_t block, uint32_t uid)
{
	const struct payers *payers = &pool->payers;

	/* A user has one stake in a block at most: the second one, at the latest, is another's. */
	for (uint32_t link = payers->first[block]; link; link = payers->of_block[link - 1].next) {
		if (pool->accounts.users[payers->stakes[link - 1].user].uid != uid)
			return true;
	}
	return false;
}

/* ---- Stakes ----------------------------------------------------------------------------------------------------- */

static uint32_t take_stake(struct payers *payers)
{
	uint32_t link = payers->free;

	if (!link) {
		assert(payers->used < payers->capacity);
		return payers->used++;
	}
	payers->free = payers->stakes[link - 1].count;
	return link - 1;
}

void payer_hold(struct pool *pool, uint32_t block, struct user *user)
{
	struct payers *payers = &pool->payers;
	uint32_t link = pair_index_find(&payers->by_holder, user->index, block);

	if (link) {
		payers->stakes[link - 1].count++;
		return;
	}
	uint32_t stake = take_stake(payers);
	payers->stakes[stake] = (struct stake){.user = user->index, .count = 1};
	index_list_push(payers->of_block, &payers->first[block], stake);
	pair_index_add(&payers->by_holder, stake, user->index, block);
	payer_settle(pool, block);
}

void payer_let_go(struct pool *pool, uint32_t block, struct user *user)
{
	struct payers *payers = &pool->payers;
	uint32_t link = pair_index_find(&payers->by_holder, user->index, block);

	assert(link);
	if (--payers->stakes[link - 1].count)
		return;
	pair_index_remove(&payers->by_holder, link - 1);
	index_list_remove(payers->of_block, &payers->first[block], link - 1);
	payers->stakes[link - 1] = (struct stake){.count = payers->free};
	payers->free = link;
	payer_settle(pool, block);
}
