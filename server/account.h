/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one user, or one session, has of everything that is counted, and what it may have. Embedded; loop thread only. Derived: the tables
 * are the truth, and each count changes where they do.
 */
#ifndef SERVER_ACCOUNT_H
#define SERVER_ACCOUNT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "account_line.h"
#include "quota.h"

struct account {
	uint64_t used[QUOTA_KIND_COUNT]; /* may be over the limit: what has come to it by itself is never refused */
	const struct quota *quota;       /* borrowed */
	struct account_line line;        /* who waits for bytes or blocks of it */
};

static inline void account_charge(struct account *account, enum quota_kind kind, uint64_t amount)
{
	account->used[kind] += amount;
}

static inline void account_uncharge(struct account *account, enum quota_kind kind, uint64_t amount)
{
	assert(account->used[kind] >= amount);
	account->used[kind] -= amount;
}

static inline bool account_has_room(const struct account *account, enum quota_kind kind, uint64_t amount)
{
	uint64_t limit = account->quota->limit[kind];

	return limit == QUOTA_NONE || (account->used[kind] <= limit && amount <= limit - account->used[kind]);
}

#endif
