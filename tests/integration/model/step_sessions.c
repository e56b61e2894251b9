/* SPDX-License-Identifier: Apache-2.0 */
/* Steps with sessions: they come, go, are ended by others, die, and are cloned. */
#include "tests/integration/model/expected_events.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"

/* So many are there at least. */
#define ACTORS_MIN 3

void step_open(struct actor *actor)
{
	struct actor *vacant = actor_vacant();

	(void)actor;
	if (vacant)
		actor_open(vacant);
}

static void call_close(shmb_session **session, struct mail *mail)
{
	shmb_close(*session);
	*session = NULL;
	mail->result = 0;
}

/* It connects again, or its process ends. */
static void close_session(struct actor *actor)
{
	struct mail *mail = actor_mail(actor);

	puppet_perform(&actor->puppet, call_close);
	step_judge(mail, 0);
	if (model_one_in(2) || actor_count() < ACTORS_MIN)
		actor_connect(actor);
	else
		puppet_kill(&actor->puppet);
}

/* Closing gives back whatever it holds, at once. */
void step_close(struct actor *actor)
{
	actor_lost(actor);
	close_session(actor);
}

void step_kill(struct actor *actor)
{
	struct actor *victim = &model.actors[model_below(ACTORS)]; /* one that waits, perhaps */

	(void)actor;
	if (victim->there && actor_count() > ACTORS_MIN)
		actor_kill(victim);
}

static void call_ping(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_ping(*session);
}

static void call_end_session(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_end_session(*session, mail->number, mail->kill);
}

void step_end_session(struct actor *actor)
{
	struct actor *victim = actor_idle();
	struct mail *mail = actor_mail(actor);

	if (victim == actor || actor_count() <= ACTORS_MIN)
		return;
	/*
	 * Both have been heard since the daemon began: a daemon that has taken over a clone's session knows its process from its next call
	 * on, and the request to end a session is not sent twice.
	 */
	puppet_perform(&actor->puppet, call_ping);
	step_judge(mail, 0);
	actor_mail(victim);
	puppet_perform(&victim->puppet, call_ping);
	step_judge(victim->puppet.mail, 0);
	mail->number = victim->session;
	mail->kill = model_one_in(2);
	actor_perform(actor, call_end_session);
	bool may = model_may(actor, victim->uid) || actor->uid == model.uid;
	int expected = actor->read_only ? -SHMB_E_READ_ONLY : may ? 0 : -SHMB_E_DENIED;
	step_judge(mail, expected);
	if (expected)
		return;
	if (mail->kill) {
		puppet_await_end(&victim->puppet);
		actor_lost(victim);
		return;
	}
	actor_mail(victim);
	puppet_perform(&victim->puppet, call_ping);
	step_judge(victim->puppet.mail, -SHMB_E_SESSION_ENDED);
	actor_lost(victim);
	close_session(victim);
}

/* ---- Clones ----------------------------------------------------------------------------------------------------- */

static void call_clone(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_clone(*session, &mail->clone);
}

static void call_adopt(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_adopt(*session, mail->clone);
	if (mail->result == 0)
		mail->result = shmb_session_number(*session, &mail->number);
}

/* The clone holds what its parent holds, each once. Its block, for one, is looked at where it was in the parent. */
static const struct known_block *copy_holds(struct actor *child, const struct actor *parent)
{
	const struct known_block *last = NULL;

	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		struct known_block *block = &model.blocks[i];
		if (!block->live || !known_block_holds(block, parent))
			continue;
		block->references[actor_number(child)] = 1;
		last = block;
	}
	return last;
}

/* The child is forked, and takes its clone over; its parent may have gone by then. */
void step_clone(struct actor *actor)
{
	struct actor *child = actor_vacant();
	struct mail *mail = actor_mail(actor);

	if (!child)
		return;
	puppet_perform(&actor->puppet, call_clone);
	if (known_account_refuses(actor, QUOTA_SESSIONS, false))
		return;
	step_judge(mail, 0);
	shmb_clone_token clone = mail->clone;
	child->uid = actor->uid;
	child->read_only = actor->read_only;
	child->session = clone.session;
	child->there = true;
	child->wait = ACTOR_IDLE;
	expected_events_add_session(SHMB_EVENT_SESSION_OPENED, child);
	const struct known_block *block = copy_holds(child, actor);
	puppet_fork(&child->puppet, &actor->puppet);
	if (model_one_in(3) && actor_count() > ACTORS_MIN)
		actor_kill(actor);
	mail = actor_mail(child);
	mail->clone = clone;
	if (block)
		step_expect_bytes(mail, block);
	puppet_perform(&child->puppet, call_adopt);
	step_judge(mail, 0);
	MODEL_EQUAL(mail->number, clone.session);
	MODEL_CHECK(!block || mail->intact);
}
