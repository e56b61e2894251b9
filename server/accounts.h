/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts of a pool's users, by uid: one for all sessions of a user. One is there while anything is charged to it, and of each user of
 * whom the command line says something. Owned by the pool; loop thread only.
 *
 * Who pays for a block is told in payer.c, what waits for room in account_line.c.
 */
#ifndef SERVER_ACCOUNTS_H
#define SERVER_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"

/* Users at a time. Each has a session, or something that is kept for it. */
#define ACCOUNTS_MAX (UINT32_C(1) << 16)
#define ACCOUNTS_BUCKETS 4096u

struct user {
	struct account account;
	const struct quota *session_quota; /* of each of its sessions; borrowed */
	uint64_t guarantee;                /* bytes that are kept for it; 0: none */
	uint32_t uid, index;
	bool pinned;   /* the command line speaks of it: it stays */
	uint32_t next; /* link: in its bucket, or of those that are free */
};

struct accounts {
	struct user *users; /* sparse */
	uint32_t used, free, count;
	uint32_t buckets[ACCOUNTS_BUCKETS];
	struct user *last; /* that was looked for */
	struct quotas nothing;
	const struct quotas *quotas; /* borrowed, or `nothing` */
	uint64_t guaranteed, unmet;  /* bytes: to all; and of these, what they do not have yet */
	struct account_lines lines;
	struct account_line promised; /* who waits for memory, and what is free is guaranteed to others */
};

/* `quotas` may be NULL: nothing is limited. It outlives the accounts. -ENOMEM. */
int accounts_init(struct accounts *accounts, uv_loop_t *loop, struct timeouts *timeouts, const struct quotas *quotas);

/* Closes its handle; the loop must run once more. Nothing if it was never initialised. */
void accounts_close(struct accounts *accounts);
void accounts_deinit(struct accounts *accounts);

/* The user's account; NULL: it has none. The one that was looked for last is found at once. */
struct user *accounts_look_up(struct accounts *accounts, uint32_t uid);
static inline struct user *accounts_find(struct accounts *accounts, uint32_t uid)
{
	return accounts->last && accounts->last->uid == uid ? accounts->last : accounts_look_up(accounts, uid);
}

/* The same, made if there is none. NULL: there are as many as may be. */
struct user *accounts_user(struct accounts *accounts, uint32_t uid);

/* Takes an account away that nothing is charged to, unless the command line speaks of its user. */
void accounts_retire(struct accounts *accounts, struct user *user);

/* The users with the lowest uids from this one on, by uid: how many, `most` at most. One pass over all users. */
size_t accounts_list(const struct accounts *accounts, uint32_t from, const struct user *out_users[], size_t most);

/* What is guaranteed to a user, and not used. */
static inline uint64_t accounts_unmet(const struct user *user)
{
	uint64_t used = user->account.used[QUOTA_BYTES];

	return user->guarantee > used ? user->guarantee - used : 0;
}

/*
 * Memory of blocks, whose granted bytes count. To uncharge takes the account away if that was the last. Each block is charged so,
 * in the most frequent of requests.
 */
static inline void accounts_charge_memory(struct accounts *accounts, struct user *user, uint64_t bytes, uint64_t blocks)
{
	accounts->unmet -= accounts_unmet(user);
	account_charge(&user->account, QUOTA_BYTES, bytes);
	account_charge(&user->account, QUOTA_BLOCKS, blocks);
	accounts->unmet += accounts_unmet(user);
}

static inline void accounts_uncharge_memory(struct accounts *accounts, struct user *user, uint64_t bytes, uint64_t blocks)
{
	accounts->unmet -= accounts_unmet(user);
	account_uncharge(&user->account, QUOTA_BYTES, bytes);
	account_uncharge(&user->account, QUOTA_BLOCKS, blocks);
	accounts->unmet += accounts_unmet(user);
	account_line_wake(&accounts->lines, &user->account.line);
	account_line_wake(&accounts->lines, &accounts->promised);
	if (!user->account.used[QUOTA_SESSIONS])
		accounts_retire(accounts, user);
}

/* From one user to another, whatever they may have. */
void accounts_move_memory(struct accounts *accounts, struct user *from, struct user *to, uint64_t bytes, uint64_t blocks);

/* One of the other kinds. */
void accounts_charge(struct user *user, enum quota_kind kind);
void accounts_uncharge(struct accounts *accounts, struct user *user, enum quota_kind kind);

/* Memory that a session asks for. */
struct account_wish {
	struct account *session;
	struct user *user;
	uint64_t bytes, blocks;
	uint64_t free, size; /* bytes: of the pool, now, and altogether */
};

enum account_limit { ACCOUNT_FITS, ACCOUNT_OF_SESSION, ACCOUNT_OF_USER, ACCOUNT_OF_OTHERS };

/* Can anything stand in the way of memory for this session? Most pools have no quotas. */
static inline bool accounts_limit_memory(const struct accounts *accounts, const struct account *session,
                                         const struct user *user)
{
	const uint64_t *own = session->quota->limit, *shared = user->account.quota->limit;

	return (own[QUOTA_BYTES] & own[QUOTA_BLOCKS] & shared[QUOTA_BYTES] & shared[QUOTA_BLOCKS]) != QUOTA_NONE ||
	       accounts->unmet;
}

/* What stands in the way of a wish. */
struct account_obstacle {
	enum account_limit limit;  /* ACCOUNT_OF_OTHERS: what is guaranteed to them */
	enum quota_kind kind;      /* QUOTA_BYTES or QUOTA_BLOCKS */
	struct account_line *line; /* in which it would wait; NULL where nothing stands in the way */
	bool set_aside;            /* there would be room, but for one who waits in that line, and came before */
	bool never;                /* the wish is larger than the limit */
};

/* `newcomer`: it does not wait yet, and may not go past those for whom room is set aside. */
struct account_obstacle accounts_obstacle(struct accounts *accounts, const struct account_wish *wish, bool newcomer);

/* Somebody has got what he wished for without having waited. */
void accounts_overtake(struct accounts *accounts, const struct account_wish *wish);

/* Bytes that are guaranteed to others than this user, and that they do not have. */
uint64_t accounts_promised_to_others(const struct accounts *accounts, const struct user *user);

#endif
