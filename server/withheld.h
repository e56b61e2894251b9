/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the pool holds for itself while it is given back to the kernel or cleaned: taken from the allocator, and in nobody's use. It
 * counts as free, so an allocation that finds no room because of it waits until it has come back (wait_queue.h): all that is
 * withheld is on its way, unless it is stuck. It comes back through withheld_give alone, so that no wake-up can be lost.
 * Owned by the pool; loop thread only.
 */
#ifndef SERVER_WITHHELD_H
#define SERVER_WITHHELD_H

#include <stdint.h>

struct buddy;
struct wait_queue;

struct withheld {
	struct buddy *buddy;
	struct wait_queue *queue;
	uint64_t units; /* withheld now, */
	uint64_t stuck; /* and how many of these come back only if something changes: nobody waits for them */
	uint64_t given; /* back, ever */
};

void withheld_init(struct withheld *withheld, struct buddy *buddy, struct wait_queue *queue);

/* Takes a free range, in units. */
void withheld_take(struct withheld *withheld, uint64_t offset, uint64_t units);

/* What a block had, which nobody holds any more, is withheld instead of being free. */
void withheld_keep(struct withheld *withheld, uint64_t units);

/* A range is free from now on: who waits gets it. */
void withheld_give(struct withheld *withheld, uint64_t offset, uint64_t units);

/* How many of the units are stuck from now on. */
void withheld_set_stuck(struct withheld *withheld, uint64_t units);

#endif
