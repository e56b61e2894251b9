/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel set memory aside for ranges of the segment before they are handed out, without stopping the loop; and is the one lane on
 * which others, who clean pages or give them back, go to the kernel too. Owned by the pool; loop thread only (the system calls run on
 * libuv's thread pool, with a copy of what they need).
 */
#ifndef SERVER_COMMITTER_H
#define SERVER_COMMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "commit_piece.h"

struct extents;
struct shared_object;

struct page_run {
	uint64_t from, end; /* pages */
};

/* One request for memory. Lives with whoever asks, until its callback was called or committer_ensure did not answer 0. */
struct commit_job {
	const struct commit_range *ranges; /* borrowed */
	size_t range_count;
	/* 0: all is committed; -ENOSPC, -ENOMEM: refused, and nothing of it stays committed that was not before; -ECANCELED. */
	void (*done)(struct commit_job *job, int result);
	uint64_t kernel_free; /* bytes that the file system had left, when the answer is -ENOSPC */

	/* The committer's own. */
	struct commit_job *next;
	size_t range;          /* which one is being committed, */
	uint64_t page;         /* and from which page on: all before is done */
	uint64_t missing;      /* bytes still to be committed, as counted at the start */
	struct page_run *made; /* committed by this job and wholly inside its ranges: what a refusal gives back */
	size_t made_count, made_capacity;
	int result;
	bool cancelled;
	bool undoing;
};

/* Jobs that wait; they take turns, a piece each. */
struct commit_queue {
	struct commit_job *first, *last;
};

struct committer {
	const struct shared_object *segment;
	struct extents *extents;
	struct commit_queue small, large; /* by what is missing */
	unsigned small_in_a_row;          /* that went before a waiting large one */
	struct commit_job *current;       /* whose piece is on its way */
	uint64_t promised;                /* bytes that waiting jobs still need */
	struct commit_piece piece;        /* of the job whose turn it is */
	struct commit_piece *away;        /* on the thread pool; NULL: none */
	struct commit_piece *others;      /* wait: pieces of others, in the order in which they came */
	bool others_turn;                 /* a job's piece was the last to go */
	uint64_t inline_from;             /* uv_hrtime(), before which nothing is committed on the loop's own thread */
	uv_loop_t *loop;
	uv_work_t work;
};

void committer_init(struct committer *committer, uv_loop_t *loop, const struct shared_object *segment,
                    struct extents *extents);

/* 1: all of it is committed already, or was at once. 0: `done` will be called. -ENOSPC, -ENOMEM: refused at once. */
int committer_ensure(struct committer *committer, struct commit_job *job);

/* Ends a waiting job early; `done` is still called, with -ECANCELED unless it had failed or finished. */
void committer_cancel(struct commit_job *job);

/*
 * Has a piece of somebody else's worked off, in turns with the jobs, and calls its `done`, never at once. As at most one piece is on
 * its way, and nothing is committed at once meanwhile, whoever is given pages back by `done` knows that nobody else was at them.
 */
void committer_run(struct committer *committer, struct commit_piece *piece);

/* Is anything under way? */
bool committer_is_busy(const struct committer *committer);

#endif
