/* SPDX-License-Identifier: Apache-2.0 */
/* Steps with links: blocks hold each other, in chains, trees and circles. */
#include "tests/integration/model/adrift.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"

static void call_link(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_link(*session, mail->handle, mail->to);
}

void step_link(struct actor *actor)
{
	struct known_block *from = known_block_of(actor), *to = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	struct known_link *back = model_one_in(2) ? known_link_any() : NULL;
	if (back) { /* a circle: as a rule somebody else holds it too, for a while */
		from = back->to;
		to = back->from;
	}
	if (!from || !to || known_link_count() == KNOWN_LINKS)
		return;
	mail->handle = from->block.handle;
	mail->to = to->block.handle;
	actor_perform(actor, call_link);
	int expected = actor->read_only ? -SHMB_E_READ_ONLY
	               : from == to     ? -SHMB_E_INVALID_ARGUMENT
	                                : step_judge_hold(from, actor);
	if (!expected)
		expected = step_judge_hold(to, actor);
	if (!expected && from->cached)
		expected = -SHMB_E_SEALED;
	if (!expected && !known_link_find(from, to) && known_account_refuses(actor, QUOTA_LINKS, false))
		return;
	step_judge(mail, expected);
	if (!expected && !known_link_find(from, to))
		MODEL_CHECK(known_link_add(from, to, actor));
}

static void call_unlink(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_unlink(*session, mail->handle, mail->to);
}

void step_unlink(struct actor *actor)
{
	struct known_link *link = known_link_any();
	struct mail *mail = actor_mail(actor);

	for (int tries = 0; tries < 20 && link && !known_block_holds(link->from, actor); tries++)
		link = known_link_any();
	struct known_block *from = link ? link->from : known_block_any(), *to = link ? link->to : known_block_any();
	if (model_one_in(8))
		to = known_block_any(); /* which it hardly ever holds */
	if (!from || !to)
		return;
	mail->handle = from->block.handle;
	mail->to = to->block.handle;
	actor_perform(actor, call_unlink);
	int expected = actor->read_only ? -SHMB_E_READ_ONLY
	               : from == to     ? -SHMB_E_INVALID_ARGUMENT
	                                : step_judge_hold(from, actor);
	if (!expected && !to->live)
		expected = -SHMB_E_STALE_HANDLE;
	if (!expected && !known_link_find(from, to))
		expected = -SHMB_E_NO_SUCH_LINK;
	step_judge(mail, expected);
	if (!expected)
		known_link_drop(known_link_find(from, to));
}

/* ---- Circles ---------------------------------------------------------------------------------------------------- */

/* Links two blocks to each other, and lets go of both. Not where a quota may keep it from the second: by steps there are circles too. */
static void call_abandon(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_link(*session, mail->handle, mail->to);
	if (mail->result == 0)
		mail->result = shmb_link(*session, mail->to, mail->handle);
	if (mail->result == 0)
		mail->result = shmb_free(*session, mail->handle);
	if (mail->result == 0)
		mail->result = shmb_free(*session, mail->to);
}

void step_abandon(struct actor *actor)
{
	struct known_block *one = known_block_of(actor), *other = known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (actor->read_only || !one || !other || one == other || one->cached || other->cached ||
	    known_link_count() + 2 > KNOWN_LINKS || model.script.limits || !known_block_holds(one, actor) ||
	    !known_block_holds(other, actor))
		return;
	mail->handle = one->block.handle;
	mail->to = other->block.handle;
	actor_perform(actor, call_abandon);
	step_judge(mail, 0);
	if (!known_link_find(one, other))
		MODEL_CHECK(known_link_add(one, other, actor));
	if (!known_link_find(other, one))
		MODEL_CHECK(known_link_add(other, one, actor));
	known_block_let_go(one, actor);
	known_block_let_go(other, actor);
}

static void call_collect(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_collect(*session, &mail->collection);
}

/* What only circles hold is gone then. */
void step_collect(struct actor *actor)
{
	struct mail *mail = actor_mail(actor);

	actor_perform(actor, call_collect);
	step_judge(mail, actor->read_only ? -SHMB_E_READ_ONLY : 0);
	if (!actor->read_only)
		adrift_judge(&mail->collection);
}
