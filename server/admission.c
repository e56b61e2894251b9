/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quotas before memory: see admission.h.
 *
 * What a user has is charged when blocks come to be. Between finding memory and that the kernel may have to be asked, and others of the same
 * user come meanwhile: so what is found is charged at once where it takes longer than this stretch, and uncharged right before the blocks
 * are written, or where they are not.
 */
#include "admission.h"

#include <errno.h>

#include "charge.h"
#include "pool.h"
#include "session.h"

static struct account_wish wish_of(const struct admission *admission)
{
	struct session *session = admission->session;
	const struct pool *pool = session->pool;

	return (struct account_wish){
		.session = &session->account,
		.user = session->user,
		.bytes = admission->bytes,
		.blocks = admission->blocks,
		.free = (buddy_free_units(&pool->buddy) + pool->withheld.units) * pool->unit,
		.size = pool->size,
	};
}

struct account_obstacle admission_check(struct admission *admission, bool newcomer)
{
	struct pool *pool = admission->session->pool;
	struct account_wish wish = wish_of(admission);
	struct account_obstacle obstacle = accounts_obstacle(&pool->accounts, &wish, newcomer);

	/* What only a look at the hold pages keeps is charged still. */
	while (obstacle.line && !obstacle.never && !obstacle.set_aside && dying_hurry(pool)) {
		wish = wish_of(admission);
		obstacle = accounts_obstacle(&pool->accounts, &wish, newcomer);
	}
	return obstacle;
}

void admission_overtake(struct admission *admission)
{
	struct account_wish wish = wish_of(admission);

	accounts_overtake(&admission->session->pool->accounts, &wish);
}

void admission_begin_wait(struct admission *admission, uint32_t wait_ms)
{
	if (admission->waits)
		return;
	admission->waits = true;
	admission->until = uv_hrtime() + wait_ms * UINT64_C(1000000);
	charge_add_waiter(admission->session);
}

uint32_t admission_left(const struct admission *admission)
{
	uint64_t now = uv_hrtime();

	return now < admission->until ? (uint32_t)((admission->until - now + 999999) / 1000000) : 0;
}

bool admission_can_wait(const struct admission *admission)
{
	return admission_left(admission) && admission->session->pool->accounts.lines.count < ACCOUNT_WAITERS_MAX;
}

int admission_wait(struct admission *admission, const struct account_obstacle *obstacle)
{
	uint32_t left = admission_left(admission);

	if (!left)
		return -ETIMEDOUT;
	return account_line_join(&admission->session->pool->accounts.lines, obstacle->line, &admission->waiter, left);
}

bool admission_leave(struct admission *admission)
{
	bool in_line = account_line_leave(&admission->waiter);

	if (admission->waits)
		charge_drop_waiter(admission->session);
	admission->waits = false;
	return in_line;
}

void admission_reserve(struct admission *admission)
{
	struct session *session = admission->session;

	admission->reserved = true;
	account_charge(&session->account, QUOTA_BYTES, admission->bytes);
	account_charge(&session->account, QUOTA_BLOCKS, admission->blocks);
	accounts_charge_memory(&session->pool->accounts, session->user, admission->bytes, admission->blocks);
}

void admission_unreserve(struct admission *admission)
{
	struct session *session = admission->session;

	if (!admission->reserved)
		return;
	admission->reserved = false;
	account_uncharge(&session->account, QUOTA_BYTES, admission->bytes);
	account_uncharge(&session->account, QUOTA_BLOCKS, admission->blocks);
	account_line_wake(&session->pool->accounts.lines, &session->account.line);
	accounts_uncharge_memory(&session->pool->accounts, session->user, admission->bytes, admission->blocks);
}
