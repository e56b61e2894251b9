/* SPDX-License-Identifier: Apache-2.0 */
/* Counting one by one: see charge.h. Who made a record is in it, so that the next daemon counts the same. */
#include "charge.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "errors.h"
#include "pool.h"
#include "session.h"

/* The session with this key, if it lives still, or is being cleaned up. */
static struct session *session_of(const struct pool *pool, uint64_t key)
{
	uint32_t number = SESSION_KEY_NUMBER(key);
	struct session *session = number < pool->sessions.table.capacity ? pool->sessions.by_number[number] : NULL;

	return session && session_key(session) == key ? session : NULL;
}

void charge_add(struct pool *pool, enum quota_kind kind, uint32_t uid, uint64_t session_key)
{
	struct user *user = accounts_user(&pool->accounts, uid);
	struct session *session = session_of(pool, session_key);

	assert(user);
	accounts_charge(user, kind);
	if (session)
		account_charge(&session->account, kind, 1);
}

void charge_drop(struct pool *pool, enum quota_kind kind, uint32_t uid, uint64_t session_key)
{
	struct user *user = accounts_find(&pool->accounts, uid);
	struct session *session = session_of(pool, session_key);

	assert(user);
	accounts_uncharge(&pool->accounts, user, kind);
	if (session)
		account_uncharge(&session->account, kind, 1);
}

void charge_add_waiter(struct session *session)
{
	accounts_charge(session->user, QUOTA_WAITERS);
	account_charge(&session->account, QUOTA_WAITERS, 1);
}

void charge_drop_waiter(struct session *session)
{
	accounts_uncharge(&session->pool->accounts, session->user, QUOTA_WAITERS);
	account_uncharge(&session->account, QUOTA_WAITERS, 1);
}

/* ---- Refusals --------------------------------------------------------------------------------------------------- */

/* Room for by whom something is used. */
#define USE_MAX 160

const char *charge_user_text(uint32_t uid, char out_text[CHARGE_USER_MAX])
{
	snprintf(out_text, CHARGE_USER_MAX, uid ? "user %" PRIu32 : "user %" PRIu32 " (root)", uid);
	return out_text;
}

/* The session of this user that has most of a kind; NULL: none has any. Of sessions themselves each has one. */
static const struct session *largest(const struct pool *pool, uint32_t uid, enum quota_kind kind)
{
	const struct session *found = NULL;

	for (const struct session *session = sessions_from(&pool->sessions, 1); session;
	     session = sessions_from(&pool->sessions, session->number + 1)) {
		bool has = kind == QUOTA_SESSIONS || session->account.used[kind];
		if (session->user->uid == uid && has && (!found || session->account.used[kind] > found->account.used[kind]))
			found = session;
	}
	return found;
}

static int refuse(const char *whose, const struct account *account, enum quota_kind kind, const char *by,
                  char out_text[CHARGE_TEXT_MAX])
{
	uint64_t limit = account->quota->limit[kind], used = account->used[kind];

	snprintf(out_text, CHARGE_TEXT_MAX,
	         "the quota of %s is %" PRIu64 " %s, and %" PRIu64 " %s used%s: %shave the quota raised", whose, limit,
	         quota_kind_noun(kind, limit), used, used == 1 ? "is" : "are", by, used ? "give some back, or " : "");
	return ERROR_LIMIT;
}

/* By whom: a session that has the most, or none that is still there. */
static void describe_use(const struct pool *pool, const struct user *user, enum quota_kind kind, char out_by[USE_MAX])
{
	const struct session *most = largest(pool, user->uid, kind);
	uint64_t used = user->account.used[kind];

	if (most && kind == QUOTA_SESSIONS)
		snprintf(out_by, USE_MAX, ", by %s, pid %" PRIu32 "%s", most->program, most->pid, used == 1 ? "" : ", among others");
	else if (most && most->account.used[kind] == used)
		snprintf(out_by, USE_MAX, ", by session %" PRIu32 " (%s, pid %" PRIu32 ")", most->number, most->program, most->pid);
	else if (most)
		snprintf(out_by, USE_MAX, ", %" PRIu64 " of them by session %" PRIu32 " (%s, pid %" PRIu32 "), which has the most",
		         most->account.used[kind], most->number, most->program, most->pid);
	else if (used)
		snprintf(out_by, USE_MAX, used == 1 ? ", by a session that has ended" : ", all of them by sessions that have ended");
}

int charge_check_user(struct pool *pool, uint32_t uid, enum quota_kind kind, char out_text[CHARGE_TEXT_MAX])
{
	struct user *user = accounts_user(&pool->accounts, uid);
	char by[USE_MAX] = "", whose[CHARGE_USER_MAX];

	if (!user) {
		snprintf(out_text, CHARGE_TEXT_MAX, "the pool has as many users as it takes");
		return ERROR_LIMIT;
	}
	if (account_has_room(&user->account, kind, 1)) {
		accounts_retire(&pool->accounts, user); /* it may have been made for this question */
		return 0;
	}
	describe_use(pool, user, kind, by);
	refuse(charge_user_text(uid, whose), &user->account, kind, by, out_text);
	accounts_retire(&pool->accounts, user);
	return ERROR_LIMIT;
}

int charge_check_session(const struct session *session, enum quota_kind kind, char out_text[CHARGE_TEXT_MAX])
{
	char whose[CHARGE_USER_MAX];

	if (account_has_room(&session->account, kind, 1))
		return 0;
	snprintf(whose, sizeof whose, "this session, %" PRIu32 ",", session->number);
	return refuse(whose, &session->account, kind, "", out_text);
}

int charge_check(const struct session *session, enum quota_kind kind, char out_text[CHARGE_TEXT_MAX])
{
	int error = charge_check_session(session, kind, out_text);

	return error ? error : charge_check_user(session->pool, session->user->uid, kind, out_text);
}
