/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expected_events: what the watcher must be told of a step, no more and no less, in whatever order. Nothing where others are in the pool.
 */
#ifndef TESTS_INTEGRATION_MODEL_EXPECTED_EVENTS_H
#define TESTS_INTEGRATION_MODEL_EXPECTED_EVENTS_H

#include "shmbuddy.h"

struct actor;
struct known_block;
struct known_name;

/* Subscribes the watcher, which is not told of itself. */
void expected_events_begin(void);

void expected_events_add_block(enum shmb_event_kind kind, const struct known_block *block);
void expected_events_add_name(enum shmb_event_kind kind, const struct known_name *name);
void expected_events_add_session(enum shmb_event_kind kind, const struct actor *actor);

/* Takes as many events as are expected. */
void expected_events_take(void);

/* The daemon has died: some were lost, and nobody knows how many. Those that there are, are taken; nothing is expected any more. */
void expected_events_forget(void);

#endif
