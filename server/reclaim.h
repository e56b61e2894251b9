/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of memory that is freed: it is cleaned where the pool asks for that (cleaner.h), is there for the next, and goes back to
 * the kernel when nobody has wanted it for a while (scavenger.h). Those two know the pool and not each other; here they meet.
 * Owned by the daemon, made over an open pool and gone before that is closed; loop thread only.
 */
#ifndef SERVER_RECLAIM_H
#define SERVER_RECLAIM_H

#include <stdint.h>

#include "cleaner.h"
#include "scavenger.h"

struct pool;

struct reclaim {
	struct pool *pool;
	struct scavenger scavenger;
	struct cleaner cleaner; /* not initialised where freed memory stays as it is */
};

/*
 * From here on the pool's blocks can be freed, and what is freed is free at once, as it is: taking over (takeover.h) needs no more.
 * -ENOMEM, logged: only reclaim_deinit may follow.
 */
int reclaim_init(struct reclaim *reclaim, struct pool *pool);

/* It begins to clean, and to give back after `return_after_ms`, at least 1, or SCAVENGER_NEVER: the pool is served. */
void reclaim_start(struct reclaim *reclaim, uint64_t return_after_ms);

/* The daemon stops: what is on its way to the kernel comes back when the loop goes on running, and nothing new is begun. */
void reclaim_stop(struct reclaim *reclaim);

/* Closes its handles; pool_close, which must follow, has the loop run for them. Nothing if it was never initialised. */
void reclaim_deinit(struct reclaim *reclaim);

/* A range is free again: nobody was ever given it, or somebody was. */
void reclaim_release(struct reclaim *reclaim, const struct commit_range *range);
void reclaim_free(struct reclaim *reclaim, const struct commit_range *range);

/* A range was allocated. */
static inline void reclaim_handed_out(struct reclaim *reclaim, const struct commit_range *range)
{
	scavenger_handed_out(&reclaim->scavenger, range);
}

#endif
