/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One trip to the thread pool for pages of a segment: what is done there, and to which bytes. Filled and read on the loop's thread,
 * worked off on another; the committer (committer.h) sees to it that of one segment at most one is on its way.
 */
#ifndef SERVER_COMMIT_PIECE_H
#define SERVER_COMMIT_PIECE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes in one trip: a quarter to half a millisecond, during which others wait for the segment in the kernel. */
#define COMMIT_PIECE_BYTES (UINT64_C(1) << 20)

/* Runs in one trip: a system call each. */
#define COMMIT_PIECE_RUNS 32

struct commit_range {
	uint64_t offset, length; /* bytes */
};

enum commit_action {
	COMMIT_BACK,  /* have the kernel back them */
	COMMIT_PUNCH, /* give them back to the kernel: they read as zeros */
	COMMIT_ZERO,  /* write zeros; the pages are backed and stay so */
};

struct commit_piece {
	enum commit_action action;
	struct commit_range runs[COMMIT_PIECE_RUNS];
	size_t count;
	size_t finished; /* runs that went well */
	int result;      /* 0, or the -errno of the run after those */

	/* Called on the loop's thread when it has come back; for those that go by committer_run. */
	void (*done)(struct commit_piece *piece);
	struct commit_piece *next; /* the committer's own */
};

/* Works a piece off, on any thread: fills in `finished` and `result`. */
void commit_piece_run(struct commit_piece *piece, int fd);

/* Writes zeros into a backed range, on any thread. -errno. */
int commit_piece_zero(int fd, const struct commit_range *range);

#endif
