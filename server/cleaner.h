/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cleaner sees to it that nobody is handed what another wrote (--zero on-free): memory that somebody had is free again only when it
 * reads as zeros. Owned by reclaim (reclaim.h); loop thread only. The story: cleaner.c.
 */
#ifndef SERVER_CLEANER_H
#define SERVER_CLEANER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "buddy.h"
#include "commit_piece.h"

struct pool;

struct cleaner {
	struct pool *pool;
	void (*freed)(struct cleaner *cleaner);
	void *memory;       /* of the bitmaps; NULL: not initialised */
	struct buddy dirty; /* its free units are the dirty ones */
	bool on;            /* started */
	bool stopped;
	bool away;           /* the piece is on its way to the kernel */
	bool paused;         /* the kernel refused; until the timer rings */
	bool stale;          /* the first round is not over: there is memory that a former daemon left */
	uint64_t hole_pages; /* of it to a system call, where nothing is marked */
	uint64_t cursor;     /* unit: cleaning goes round the segment */
	struct commit_piece piece;
	struct {
		uint64_t offset, end;
	} taken[COMMIT_PIECE_RUNS]; /* units, out of the dirty ones, for the runs of the piece */
	uv_timer_t timer;
	bool complained;
};

/* `freed` is called whenever what was dirty has become free. -ENOMEM. */
int cleaner_init(struct cleaner *cleaner, struct pool *pool, void (*freed)(struct cleaner *cleaner));

/*
 * From now on what is freed is cleaned. With `stale` all that is free now is dirty, and withheld until it was cleaned; in the pages that
 * are not marked, `hole_pages` may go to a system call. Nothing if it was not initialised.
 */
void cleaner_start(struct cleaner *cleaner, bool stale, uint64_t hole_pages);

/* The daemon stops: what is on its way comes back, nothing new is begun. */
void cleaner_stop(struct cleaner *cleaner);

/* Closes its handle; the loop must run once more. Nothing if it was never initialised. */
void cleaner_deinit(struct cleaner *cleaner);

/* Somebody had this range, and nobody does any more. False: it is clean, and the caller's to release. True: it will be, later. */
bool cleaner_takes(struct cleaner *cleaner, const struct commit_range *range);

#endif
