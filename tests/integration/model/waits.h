/* SPDX-License-Identifier: Apache-2.0 */
/* waits: actors whose calls wait, for memory or for a name; and how they come to an end. */
#ifndef TESTS_INTEGRATION_MODEL_WAITS_H
#define TESTS_INTEGRATION_MODEL_WAITS_H

#include <stdbool.h>

#include "shmbuddy.h"
#include "tests/integration/model/actor.h"

struct known_name;

/* The actor's call has been posted: it waits. */
void waits_begin(struct actor *actor, enum actor_wait wait);

/* Takes the answers that there are, and those that there must be. */
void waits_hear(void);

/* Is there room for whoever waits for memory, and nobody has it? */
bool waits_are_due(const shmb_status *status);

/* Does somebody wait for the name who has lost his daemon meanwhile? The next one may not have heard of him. */
bool waits_may_miss(const struct known_name *name);

/* Does somebody wait for memory? */
bool waits_for_memory_is_there(void);

/* So many wait: not so many that nobody is left. */
bool waits_has_room(void);

#endif
