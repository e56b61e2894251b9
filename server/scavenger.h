/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scavenger gives memory back to the kernel: whole pages that have been free for a while (the word is that of Go's runtime). It
 * also finds the pages that a killed daemon left backed and unmarked. Owned by reclaim (reclaim.h); loop thread only. The story:
 * scavenger.c.
 */
#ifndef SERVER_SCAVENGER_H
#define SERVER_SCAVENGER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "commit_piece.h"
#include "page_set.h"
#include "state_layout.h"

struct pool;

/* A delay that never ends: what is free stays committed. */
#define SCAVENGER_NEVER UINT64_MAX

enum scavenger_state {
	SCAVENGER_CLOSED, /* not initialised, or closed */
	SCAVENGER_OFF,    /* it does nothing: not started, stopped, or never to */
	SCAVENGER_ASLEEP, /* nothing was freed since it found nothing to do */
	SCAVENGER_WAITS,  /* for the delay to be over */
	SCAVENGER_WALKS,  /* through the free blocks, a slice a turn of the loop */
	SCAVENGER_AWAY,   /* its piece is on its way to the kernel */
};

struct scavenger {
	struct pool *pool;
	struct page_set idle; /* committed pages that were free at the last walk, and not handed out since */
	uint64_t delay_ms;
	enum scavenger_state state;
	uv_timer_t timer;
	bool freed; /* something, since the walk began */
	bool found; /* something to do, in this walk */

	/* The walk: through the free blocks of an order, then those of the order below. */
	unsigned order;
	uint64_t cursor; /* page */

	/* Pages of free blocks that are not marked are punched too, for they may be backed all the same: in this walk. */
	bool strays;
	uint64_t stray_pages; /* to a system call */

	struct commit_piece piece;
	struct {
		uint64_t offset, end;
	} taken[COMMIT_PIECE_RUNS]; /* units, from the allocator, for the runs of the piece */
	bool complained;
};

/* -ENOMEM. */
int scavenger_init(struct scavenger *scavenger, struct pool *pool);

/*
 * From now on, memory that was free for `delay_ms` milliseconds, at least 1, or SCAVENGER_NEVER, goes back; after twice that all of it
 * has. `stray_pages`, unless 0: strays are looked for first, and so many pages that are not marked may go to a system call.
 */
void scavenger_start(struct scavenger *scavenger, uint64_t delay_ms, uint64_t stray_pages);

/* The daemon stops: what is on its way comes back, nothing new is begun. */
void scavenger_stop(struct scavenger *scavenger);

/* Closes its handle; the loop must run once more. Nothing if it was never initialised. */
void scavenger_deinit(struct scavenger *scavenger);

/* Ends its sleep. */
void scavenger_wake(struct scavenger *scavenger);

/* A range was allocated: its pages are not idle. */
static inline void scavenger_handed_out(struct scavenger *scavenger, const struct commit_range *range)
{
	page_set_remove(&scavenger->idle, range->offset / STATE_EXTENT,
	                (range->offset + range->length + STATE_EXTENT - 1) / STATE_EXTENT);
}

/* Something is free that was not before. */
static inline void scavenger_freed(struct scavenger *scavenger)
{
	scavenger->freed = true;
	if (scavenger->state == SCAVENGER_ASLEEP)
		scavenger_wake(scavenger);
}

#endif
