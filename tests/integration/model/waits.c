/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits: see waits.h. Who waits for a name is answered by what publishes it, even if that goes at once. Who waits for memory is answered
 * when there is room. One at most does: of several, some may have to stand back for whom there is room (wait_queue.c), and who, the model does
 * not know.
 */
#include "tests/integration/model/waits.h"

#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"

#define WAITING_MAX 3

void waits_begin(struct actor *actor, enum actor_wait wait)
{
	actor->wait = wait;
	actor->deaths = model.deaths;
}

bool waits_may_miss(const struct known_name *name)
{
	for (int i = 0; i < ACTORS; i++) {
		const struct actor *actor = &model.actors[i];
		if (actor->there && actor->wait == ACTOR_WAITS_FOR_NAME && &model.names[actor->name] == name &&
		    actor->deaths != model.deaths)
			return true;
	}
	return false;
}

static void hear(struct actor *actor)
{
	enum actor_wait wait = actor->wait;

	puppet_await(&actor->puppet);
	actor->wait = ACTOR_IDLE;
	if (wait == ACTOR_WAITS_FOR_MEMORY)
		step_take_allocated(actor, actor->name == NOBODY ? NULL : &model.names[actor->name]);
	else
		step_take_found(actor, &model.names[actor->name]);
}

void waits_hear(void)
{
	for (int i = 0; i < ACTORS; i++) {
		struct actor *actor = &model.actors[i];
		if (!actor->there || actor->wait == ACTOR_IDLE)
			continue;
		bool found = actor->wait == ACTOR_WAITS_FOR_NAME && model.names[actor->name].block;
		if (!found && !puppet_has_answered(&actor->puppet))
			continue;
		hear(actor);
		i = -1; /* that may have brought others what they wait for */
	}
}

static const struct actor *waits_for_memory(void)
{
	for (int i = 0; i < ACTORS; i++)
		if (model.actors[i].there && model.actors[i].wait == ACTOR_WAITS_FOR_MEMORY)
			return &model.actors[i];
	return NULL;
}

bool waits_are_due(const shmb_status *status)
{
	const struct actor *actor = waits_for_memory();

	return actor && actor->need <= status->longest_free;
}

bool waits_for_memory_is_there(void)
{
	return waits_for_memory() != NULL;
}

bool waits_has_room(void)
{
	int waiting = 0;

	for (int i = 0; i < ACTORS; i++)
		waiting += model.actors[i].there && model.actors[i].wait != ACTOR_IDLE;
	return waiting < WAITING_MAX;
}
