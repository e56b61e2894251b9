/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the pool holds for itself while it is given back to the kernel or cleaned: taken from the allocator, and in nobody's use. It
 * counts as free, so an allocation that finds no room because of it waits, and looks again whenever some of it has come back.
 * Owned by the pool; loop thread only. The story is told in withheld.c.
 */
#ifndef SERVER_WITHHELD_H
#define SERVER_WITHHELD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct buddy;

/* Somebody who waits. Lives with whoever waits, until `look` was called. */
struct withheld_waiter {
	/* Look again, and wait again if that fails. From a turn of the loop of its own. */
	void (*look)(struct withheld_waiter *waiter);

	/* withheld's own. */
	struct withheld_waiter *next;
	uint64_t
		until; /* when this much has been given back, it has waited for all that was withheld when it came; 0: never waited */
};

struct withheld {
	struct buddy *buddy;
	uint64_t units; /* withheld now, */
	uint64_t stuck; /* and how many of these come back only if something changes: nobody waits for them */
	uint64_t given; /* back, ever */
	struct withheld_waiter *first, **last;
	uint64_t waiting, to_look; /* waiters, and how many of them look again now */
	uv_idle_t looking;         /* runs while somebody is to look */
	uv_loop_t *loop;           /* NULL: not initialised */
	bool stopped;
};

void withheld_init(struct withheld *withheld, uv_loop_t *loop, struct buddy *buddy);

/* The daemon stops: nobody waits any more. All who wait look once more, and must end. */
void withheld_stop(struct withheld *withheld);

/* Closes its handle; the loop must run once more. Nothing if it was never initialised. */
void withheld_deinit(struct withheld *withheld);

/* Takes a free range, in units. */
void withheld_take(struct withheld *withheld, uint64_t offset, uint64_t units);

/* What a block had, which nobody holds any more, is withheld instead of being free. */
void withheld_keep(struct withheld *withheld, uint64_t units);

/* A range is free from now on; who waits looks again. */
void withheld_give(struct withheld *withheld, uint64_t offset, uint64_t units);

/* How many of the units are stuck from now on. */
void withheld_set_stuck(struct withheld *withheld, uint64_t units);

/* Does anybody wait? */
static inline bool withheld_is_awaited(const struct withheld *withheld)
{
	return withheld->waiting > 0;
}

/* Waits until some of it has come back. False: there is nothing to wait for, or it has waited long enough. */
bool withheld_wait(struct withheld *withheld, struct withheld_waiter *waiter);

#endif
