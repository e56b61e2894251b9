/* SPDX-License-Identifier: Apache-2.0 */
/*
 * charges: what each user and each session of a test's pool has, counted afresh from view and state by the rule of server/payer.c, as slowly and
 * plainly as can be. For a pool at rest, of which recount.h would say that its tables are sound. Owned by the caller; one thread.
 */
#ifndef TESTS_SUPPORT_CHARGES_H
#define TESTS_SUPPORT_CHARGES_H

#include <stdint.h>

#include "server/quota.h"

#define CHARGES_USERS_MAX 64
#define CHARGES_SESSIONS_MAX 256 /* by number */

struct charges {
	struct charges_user {
		uint32_t uid;
		uint64_t used[QUOTA_KIND_COUNT];
		uint64_t doubtful; /* bytes more that may be charged to it: of blocks that several users have in hold pages alone */
	} users[CHARGES_USERS_MAX]; /* without those that have nothing */
	unsigned user_count;
	uint64_t sessions[CHARGES_SESSIONS_MAX][QUOTA_KIND_COUNT];
};

/* Of a pool by its name. `out_charges` is large: make it static. */
void charges_count(const char *pool, struct charges *out_charges);

/* What was counted of one user; all zeros where it has nothing. */
struct charges_user charges_of(const struct charges *charges, uint32_t uid);

#endif
