/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts of users: see accounts.h.
 *
 * A guarantee keeps memory free: the sum of what is guaranteed and not used, `unmet`, changes with each charge of a user that has a
 * guarantee, and an allocation is refused that would leave less free than others are still to get. What stays within its user's own
 * guarantee is never refused for that. It is a promise of bytes, not of one piece: how the free memory is cut up is not looked at. A guarantee
 * that comes with a restart, on a pool that is full already, is met as others give back.
 */
#include "accounts.h"

#include <errno.h>
#include <stddef.h>

#include "region.h"

static uint32_t *bucket_of(struct accounts *accounts, uint32_t uid)
{
	/* Multiplied by the golden ratio, as D. Knuth tells (TAOCP 6.4): uids come in rows. */
	return &accounts->buckets[(uid * UINT32_C(2654435769)) >> 20];
}
_Static_assert(ACCOUNTS_BUCKETS == 1u << (32 - 20), "as many as bucket_of knows");

struct user *accounts_look_up(struct accounts *accounts, uint32_t uid)
{
	for (uint32_t link = *bucket_of(accounts, uid); link; link = accounts->users[link - 1].next) {
		if (accounts->users[link - 1].uid == uid)
			return accounts->last = &accounts->users[link - 1];
	}
	return NULL;
}

static struct user *add(struct accounts *accounts, uint32_t uid)
{
	const struct quota_entry *entry = quotas_find(accounts->quotas, uid);
	uint32_t *bucket = bucket_of(accounts, uid), index = accounts->free ? accounts->free - 1 : accounts->used;

	if (index == ACCOUNTS_MAX)
		return NULL;
	struct user *user = &accounts->users[index];
	if (accounts->free)
		accounts->free = user->next;
	else
		accounts->used++;
	*user = (struct user){
		.account = {.quota = entry ? &entry->user : &accounts->quotas->user},
		.session_quota = entry ? &entry->session : &accounts->quotas->session,
		.guarantee = entry ? entry->guarantee : 0,
		.uid = uid,
		.index = index,
		.pinned = entry != NULL,
		.next = *bucket,
	};
	*bucket = index + 1;
	accounts->count++;
	accounts->last = user;
	return user;
}

struct user *accounts_user(struct accounts *accounts, uint32_t uid)
{
	struct user *user = accounts_find(accounts, uid);

	return user ? user : add(accounts, uid);
}

static bool is_in_use(const struct user *user)
{
	uint64_t sum = user->pinned;

	for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++)
		sum |= user->account.used[kind];
	return sum != 0;
}

/* While it has sessions it is not looked at any further. */
void accounts_retire(struct accounts *accounts, struct user *user)
{
	uint32_t *place = bucket_of(accounts, user->uid);

	if (user->account.used[QUOTA_SESSIONS] || is_in_use(user))
		return;
	while (*place != user->index + 1)
		place = &accounts->users[*place - 1].next;
	*place = user->next;
	account_line_close(&accounts->lines, &user->account.line);
	user->next = accounts->free;
	accounts->free = user->index + 1;
	accounts->count--;
	accounts->last = NULL;
}

size_t accounts_list(const struct accounts *accounts, uint32_t from, const struct user *out_users[], size_t most)
{
	size_t count = 0;

	for (uint32_t i = 0; i < accounts->used; i++) {
		const struct user *user = &accounts->users[i];
		if (user->uid < from || !is_in_use(user) || (count == most && user->uid > out_users[most - 1]->uid))
			continue;
		size_t at = count < most ? count++ : most - 1;
		for (; at > 0 && out_users[at - 1]->uid > user->uid; at--)
			out_users[at] = out_users[at - 1];
		out_users[at] = user;
	}
	return count;
}

/* ---- Charging --------------------------------------------------------------------------------------------------- */

void accounts_move_memory(struct accounts *accounts, struct user *from, struct user *to, uint64_t bytes, uint64_t blocks)
{
	if (from == to)
		return;
	accounts_charge_memory(accounts, to, bytes, blocks);
	accounts_uncharge_memory(accounts, from, bytes, blocks);
}

void accounts_charge(struct user *user, enum quota_kind kind)
{
	account_charge(&user->account, kind, 1);
}

void accounts_uncharge(struct accounts *accounts, struct user *user, enum quota_kind kind)
{
	account_uncharge(&user->account, kind, 1);
	accounts_retire(accounts, user);
}

/* ---- Limits ----------------------------------------------------------------------------------------------------- */

uint64_t accounts_promised_to_others(const struct accounts *accounts, const struct user *user)
{
	return accounts->unmet - accounts_unmet(user);
}

static struct account_obstacle fits(void)
{
	return (struct account_obstacle){.limit = ACCOUNT_FITS};
}

static struct account_obstacle check(struct account *account, enum account_limit limit, const struct account_wish *wish,
                                     bool newcomer)
{
	const uint64_t *most = account->quota->limit;
	struct account_obstacle obstacle = {.limit = limit, .line = &account->line};

	if (!account_has_room(account, QUOTA_BYTES, wish->bytes)) {
		obstacle.kind = QUOTA_BYTES;
		obstacle.never = wish->bytes > most[QUOTA_BYTES];
	} else if (!account_has_room(account, QUOTA_BLOCKS, wish->blocks)) {
		obstacle.kind = QUOTA_BLOCKS;
		obstacle.never = wish->blocks > most[QUOTA_BLOCKS];
	} else if (newcomer && account_line_is_set_aside(&account->line)) {
		obstacle.set_aside = true;
	} else {
		return fits();
	}
	return obstacle;
}

static struct account_obstacle check_promises(struct accounts *accounts, const struct account_wish *wish, bool newcomer)
{
	struct account_obstacle obstacle = {.limit = ACCOUNT_OF_OTHERS, .kind = QUOTA_BYTES, .line = &accounts->promised};
	uint64_t promised = accounts_promised_to_others(accounts, wish->user);

	if (!promised || wish->bytes <= accounts_unmet(wish->user))
		return fits();
	/* Without any promise there would be no room either: that is the pool's to say. Asked again when there is. */
	if (wish->bytes > wish->free && wish->bytes <= wish->size)
		return fits();
	if (wish->free < promised || wish->bytes > wish->free - promised) {
		uint64_t to_others = accounts->guaranteed - wish->user->guarantee;
		obstacle.never = wish->size < to_others || wish->bytes > wish->size - to_others;
		return obstacle;
	}
	obstacle.set_aside = newcomer && account_line_is_set_aside(&accounts->promised);
	return obstacle.set_aside ? obstacle : fits();
}

struct account_obstacle accounts_obstacle(struct accounts *accounts, const struct account_wish *wish, bool newcomer)
{
	struct account_obstacle obstacle = check(wish->session, ACCOUNT_OF_SESSION, wish, newcomer);

	if (obstacle.limit == ACCOUNT_FITS)
		obstacle = check(&wish->user->account, ACCOUNT_OF_USER, wish, newcomer);
	if (obstacle.limit == ACCOUNT_FITS && accounts->unmet)
		obstacle = check_promises(accounts, wish, newcomer);
	return obstacle;
}

void accounts_overtake(struct accounts *accounts, const struct account_wish *wish)
{
	account_line_overtake(&wish->session->line);
	account_line_overtake(&wish->user->account.line);
	account_line_overtake(&accounts->promised);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

int accounts_init(struct accounts *accounts, uv_loop_t *loop, struct timeouts *timeouts, const struct quotas *quotas)
{
	*accounts = (struct accounts){0};
	int result = region_new(ACCOUNTS_MAX * sizeof *accounts->users, (void **)&accounts->users);

	if (result < 0)
		return result;
	quotas_init(&accounts->nothing);
	accounts->quotas = quotas ? quotas : &accounts->nothing;
	accounts->guaranteed = accounts->unmet = accounts->quotas->guaranteed;
	account_lines_init(&accounts->lines, loop, timeouts);
	for (size_t i = 0; i < accounts->quotas->count; i++)
		add(accounts, accounts->quotas->entries[i].uid);
	return 0;
}

void accounts_close(struct accounts *accounts)
{
	account_lines_deinit(&accounts->lines);
}

void accounts_deinit(struct accounts *accounts)
{
	region_free(accounts->users, ACCOUNTS_MAX * sizeof *accounts->users);
	accounts->users = NULL;
}
