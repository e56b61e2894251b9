/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether quotas let an allocation in: it asks before memory is looked for, waits in the line of the account that stops it, and its memory is
 * charged for as long as it has been found and does not lie in a block yet. Embedded in an allocation; loop thread only.
 */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "accounts.h"

struct session;

struct admission {
	struct session *session;
	struct account_waiter waiter; /* its two functions are the allocation's */
	uint64_t bytes, blocks;       /* that it asks for: what would be set aside */
	uint64_t until;               /* uv_hrtime(): it waits no longer than that */
	bool waits;                   /* it has begun to wait, and counts as a waiter */
	bool reserved;                /* its memory is charged, as if the blocks were there */
};

/* What stands in its way now, after a look for what is free but for that, if need be. `newcomer`: it does not wait yet. */
struct account_obstacle admission_check(struct admission *admission, bool newcomer);

/* It has found memory without having waited. */
void admission_overtake(struct admission *admission);

/* Waits in the obstacle's line for what is left of its time. -EDQUOT: as many wait as may. -ETIMEDOUT: nothing is left. */
int admission_wait(struct admission *admission, const struct account_obstacle *obstacle);

/* Would it be let into a line? */
bool admission_can_wait(const struct admission *admission);

/* From now on it counts as one that waits, `wait_ms` at most; until admission_leave. Nothing if it does already. */
void admission_begin_wait(struct admission *admission, uint32_t wait_ms);

/* Milliseconds that are left of its time; 0: none. */
uint32_t admission_left(const struct admission *admission);

/* Its memory has been found, and it will be some time until it lies in blocks; or that time is over. */
void admission_reserve(struct admission *admission);
void admission_unreserve(struct admission *admission);

/* Leaves its line, if it is in one, and counts as a waiter no more. False: it was in none. */
bool admission_leave(struct admission *admission);

#endif
