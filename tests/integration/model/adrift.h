/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adrift: blocks that nothing but circles of links holds. They live until the daemon collects them, by itself or because memory is wanted, and that
 * may be at any time: so they may be there or not, until somebody has asked for a collection. Whoever takes hold of one before that, has it with
 * all that it holds.
 */
#ifndef TESTS_INTEGRATION_MODEL_ADRIFT_H
#define TESTS_INTEGRATION_MODEL_ADRIFT_H

#include <stdbool.h>

#include "shmbuddy.h"

struct known_block;
struct mail;

bool adrift_has(const struct known_block *block);

/* Takes notice of those that are gone. */
void adrift_look(void);

/* Takes notice of what the answer to a call says: it may have come upon one that is gone. */
void adrift_hear(const struct mail *mail);

/*
 * Takes notice of idle cache blocks that have gone: fails where that was not for an allocation. After that the names tell what they stand for now.
 * Only where the model is alone are there cache blocks.
 */
void adrift_look_for_evicted(void);

/* A collection has been made that began when all of this was known: they are gone, and its report fits. */
void adrift_judge(const shmb_collection *collection);

/* Has the watcher ask for a collection, and judges it. */
void adrift_collect(void);

#endif
