/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a copy has come: a line on standard error that is written over and over, where that is a terminal and the copy takes
 * more than a second. Owned by whoever copies; one thread.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Room for any result of progress_line, the NUL included. */
#define PROGRESS_TEXT_MAX 128

struct progress {
	const char *verb;
	uint64_t done, total;          /* bytes; a total of 0 is not known */
	uint64_t started_ns, shown_ns; /* monotonic; shown 0: not yet */
	bool terminal;
};

void progress_start(struct progress *progress, const char *verb, uint64_t total);

/* `bytes` more are copied. Shows it at most ten times a second. */
void progress_add(struct progress *progress, uint64_t bytes);

/* Wipes the line away, so that what is printed next starts on a clean one. May be called again. */
void progress_end(struct progress *progress);

/* The line itself: "put: 45%, 135M of 300M, 512M/s, 1s left". Pure. `elapsed_ns` is over 0. */
void progress_line(const char *verb, uint64_t done, uint64_t total, uint64_t elapsed_ns, char out_text[PROGRESS_TEXT_MAX]);

#endif
