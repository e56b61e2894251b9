/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has the kernel set memory aside for ranges of the segment before they are handed out, without stopping the loop. Owned by the
 * pool; loop thread only (the system calls run on libuv's thread pool, with a copy of what they need).
 */
#ifndef SERVER_COMMITTER_H
#define SERVER_COMMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct extents;
struct shared_object;

struct commit_range {
	uint64_t offset, length; /* bytes */
};

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

/* Runs of pages that one system call each commits or punches, in one trip to the thread pool. */
#define COMMITTER_PIECE_RUNS 32

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
	uv_loop_t *loop;
	uv_work_t work;
	struct committer_piece {
		int fd;
		bool punch;
		struct page_run runs[COMMITTER_PIECE_RUNS];
		size_t count;
		size_t finished; /* runs that went well */
		int result;
	} piece;
};

void committer_init(struct committer *committer, uv_loop_t *loop, const struct shared_object *segment,
                    struct extents *extents);

/* 1: all of it is committed already, or was at once. 0: `done` will be called. -ENOSPC, -ENOMEM: refused at once. */
int committer_ensure(struct committer *committer, struct commit_job *job);

/* Ends a waiting job early; `done` is still called, with -ECANCELED unless it had failed or finished. */
void committer_cancel(struct commit_job *job);

/* Is anything under way? */
bool committer_is_busy(const struct committer *committer);

#endif
