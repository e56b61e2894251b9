/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions of the model: see actor.h. */
#include "tests/integration/model/actor.h"

#include <string.h>

#include "tests/integration/model/adrift.h"
#include "tests/integration/model/expected_events.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/rest.h"

/* Whoever else there is, besides root. */
static const uid_t users[] = {0, 4711, 4712};

int actor_number(const struct actor *actor)
{
	return (int)(actor - model.actors);
}

unsigned actor_count(void)
{
	unsigned count = 0;

	for (int i = 0; i < ACTORS; i++)
		count += model.actors[i].there;
	return count;
}

struct actor *actor_idle(void)
{
	for (uint64_t tries = 0, at = model_below(ACTORS); tries < ACTORS; tries++, at = (at + 1) % ACTORS)
		if (model.actors[at].there && model.actors[at].wait == ACTOR_IDLE)
			return &model.actors[at];
	return NULL;
}

struct actor *actor_vacant(void)
{
	for (int i = 0; i < ACTORS; i++)
		if (!model.actors[i].there)
			return &model.actors[i];
	return NULL;
}

struct mail *actor_mail(struct actor *actor)
{
	struct mail *mail = actor->puppet.mail;

	MODEL_CHECK(!actor->puppet.called);
	memset(mail, 0, sizeof *mail);
	return mail;
}

struct mail *actor_perform(struct actor *actor, puppet_call *call)
{
	puppet_post(&actor->puppet, call);
	if (model.killing) {
		usleep((useconds_t)model_below(150));
		model_ask(MODEL_KILL_DAEMON, &(char){0}, 1);
		model.deaths++;
	}
	puppet_await(&actor->puppet);
	adrift_hear(actor->puppet.mail);
	if (model.allocating)
		adrift_look_for_evicted();
	return actor->puppet.mail;
}

static void call_connect(shmb_session **session, struct mail *mail)
{
	shmb_connect_options options = {.socket_path = mail->socket_path, .program = mail->program};

	options.access = mail->read_only ? SHMB_READ_ONLY : SHMB_READ_WRITE;
	shmb_close(*session);
	*session = NULL;
	mail->result = shmb_connect(&options, session);
	if (mail->result == 0)
		mail->result = shmb_session_number(*session, &mail->number);
}

void actor_connect(struct actor *actor)
{
	struct mail *mail = actor_mail(actor);

	if (model.script.limits)
		rest_await(); /* sessions that have just ended count no more */
	mail->read_only = actor->read_only;
	snprintf(mail->socket_path, sizeof mail->socket_path, "%s", model.script.socket_path);
	snprintf(mail->program, sizeof mail->program, "%s", model.script.prefix);
	puppet_perform(&actor->puppet, call_connect);
	if (known_account_refuses(actor, QUOTA_SESSIONS, false)) {
		puppet_kill(&actor->puppet);
		return;
	}
	if (mail->result < 0)
		model_fail(__FILE__, __LINE__, "cannot connect: %s", mail->sentence);
	actor->session = mail->number;
	actor->there = true;
	actor->wait = ACTOR_IDLE;
	expected_events_add_session(SHMB_EVENT_SESSION_OPENED, actor);
}

void actor_open(struct actor *actor)
{
	actor->uid = model.script.users ? users[model_below(3)] : model.uid;
	actor->read_only = model_one_in(6);
	puppet_start(&actor->puppet, actor->uid);
	actor_connect(actor);
}

/* What its session has made stays, and is its user's. */
static void forget_maker(int number)
{
	for (int i = 0; i < KNOWN_NAMES; i++)
		model.names[i].by = model.names[i].by == number ? NOBODY : model.names[i].by;
	for (int i = 0; i < KNOWN_TICKETS; i++)
		model.tickets[i].by = model.tickets[i].by == number ? NOBODY : model.tickets[i].by;
	for (int i = 0; i < KNOWN_LINKS; i++)
		model.links[i].by = model.links[i].by == number ? NOBODY : model.links[i].by;
}

void actor_lost(struct actor *actor)
{
	actor->there = false;
	actor->wait = ACTOR_IDLE;
	expected_events_add_session(SHMB_EVENT_SESSION_ENDED, actor);
	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		struct known_block *block = &model.blocks[i];
		if (!block->live)
			continue;
		block->references[actor_number(actor)] = 0;
		if (block->owner == actor_number(actor))
			block->owner = NOBODY;
		known_block_settle(block);
	}
	forget_maker(actor_number(actor));
}

void actor_kill(struct actor *actor)
{
	puppet_kill(&actor->puppet);
	actor_lost(actor);
}
