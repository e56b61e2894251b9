/* SPDX-License-Identifier: Apache-2.0 */
/* Steps with tickets, and with times to live. */
#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"

static void call_share(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_share(*session, mail->handle, &mail->share, &mail->ticket);
}

void step_share(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct known_ticket *place = known_ticket_vacancy();
	struct mail *mail = actor_mail(actor);

	if (!block || !place)
		return;
	mail->handle = block->block.handle;
	mail->share.ttl_ms = step_draw_ttl();
	mail->share.bound = model_one_in(3);
	mail->share.uid = model.actors[model_below(ACTORS)].uid;
	actor_perform(actor, call_share);
	int expected = actor->read_only ? -SHMB_E_READ_ONLY : 0;
	if (!expected)
		expected = !block->live ? -SHMB_E_STALE_HANDLE : !known_block_holds(block, actor) ? -SHMB_E_NOT_HELD : 0;
	if (!expected && known_account_refuses(actor, QUOTA_TICKETS, false))
		return;
	step_judge(mail, expected);
	if (expected)
		return;
	struct known_ticket ticket = {mail->ticket, block, actor->uid, mail->share.bound, mail->share.uid, actor_number(actor)};
	known_ticket_add(place, &ticket);
	if (mail->share.ttl_ms == STEP_TTL_SHORT_MS)
		known_ticket_drop(place);
}

static void call_redeem(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_redeem(*session, mail->ticket, &mail->block);
}

void step_redeem(struct actor *actor)
{
	struct known_ticket *ticket = known_ticket_any();
	struct mail *mail = actor_mail(actor);
	struct known_block *block = ticket->block;

	mail->ticket = ticket->ticket;
	if (block)
		step_expect_bytes(mail, block);
	actor_perform(actor, call_redeem);
	if (!block) {
		step_judge(mail, -SHMB_E_NO_SUCH_TICKET);
		return;
	}
	if (ticket->bound && ticket->for_uid != actor->uid) {
		step_judge(mail, -SHMB_E_DENIED); /* to root too */
		return;
	}
	step_judge_block(mail, block);
	block->references[actor_number(actor)]++;
	known_ticket_drop(ticket);
}

static void call_revoke(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_revoke(*session, mail->ticket);
}

void step_revoke(struct actor *actor)
{
	struct known_ticket *ticket = known_ticket_any();
	struct mail *mail = actor_mail(actor);

	mail->ticket = ticket->ticket;
	actor_perform(actor, call_revoke);
	int expected = actor->read_only                 ? -SHMB_E_READ_ONLY
	               : !ticket->block                 ? -SHMB_E_NO_SUCH_TICKET
	               : !model_may(actor, ticket->uid) ? -SHMB_E_DENIED
	                                                : 0;
	step_judge(mail, expected);
	if (!expected)
		known_ticket_drop(ticket);
}

/* ---- Times to live ---------------------------------------------------------------------------------------------- */

static void call_renew(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_renew(*session, mail->handle, mail->ttl_ms);
}

static int judge_renewal(const struct known_block *block, const struct actor *actor)
{
	if (actor->read_only)
		return -SHMB_E_READ_ONLY;
	if (!block->live)
		return -SHMB_E_STALE_HANDLE;
	return model_may(actor, block->uid) ? 0 : -SHMB_E_DENIED;
}

void step_renew(struct actor *actor)
{
	struct known_block *block = known_block_any();
	struct mail *mail = actor_mail(actor);

	for (int tries = 0; tries < 8 && block && !block->ttl_ms; tries++)
		block = known_block_any();
	if (!block)
		return;
	mail->handle = block->block.handle;
	mail->ttl_ms = model_one_in(3) ? 0 : step_draw_ttl();
	if (block->live)
		known_block_check_bytes(block);
	actor_perform(actor, call_renew);
	int expected = judge_renewal(block, actor);
	step_judge(mail, expected);
	if (expected)
		return;
	block->ttl_ms = mail->ttl_ms;
	if (block->ttl_ms == STEP_TTL_SHORT_MS)
		known_block_expire(block);
	else
		known_block_settle(block);
}
