/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted one by one, but for memory: a name, ticket or link, which its record says who made; a request that waits; a session. Each is
 * charged to a user and, while that lives, to a session of it. Loop thread only.
 */
#ifndef SERVER_CHARGE_H
#define SERVER_CHARGE_H

#include <stdint.h>

#include "quota.h"

struct pool;
struct session;

/* Room for the sentence of a refusal. */
#define CHARGE_TEXT_MAX 384

/* May the session and its user have one more? 0, or ERROR_LIMIT, and the sentence that says whose limit it is, how much is used, and by what. */
int charge_check(const struct session *session, enum quota_kind kind, char out_text[CHARGE_TEXT_MAX]);

/* The same of the session alone. */
int charge_check_session(const struct session *session, enum quota_kind kind, char out_text[CHARGE_TEXT_MAX]);

/* The same of a user alone. For its sessions. */
int charge_check_user(struct pool *pool, uint32_t uid, enum quota_kind kind, char out_text[CHARGE_TEXT_MAX]);

/* One more, or less, that was made by a session with this SESSION_KEY, of this user, which need not be there any more. */
void charge_add(struct pool *pool, enum quota_kind kind, uint32_t uid, uint64_t session_key);
void charge_drop(struct pool *pool, enum quota_kind kind, uint32_t uid, uint64_t session_key);

/* A request of the session waits, or does not any more. */
void charge_add_waiter(struct session *session);
void charge_drop_waiter(struct session *session);

/* "user 1000 (alice)", for sentences; into `out_text`, which it returns. */
#define CHARGE_USER_MAX 64
const char *charge_user_text(uint32_t uid, char out_text[CHARGE_USER_MAX]);

#endif
