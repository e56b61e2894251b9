/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "age.h"
#include "size.h"

#define SECOND_NS UINT64_C(1000000000)

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *verb, uint64_t total)
{
	*progress = (struct progress){.verb = verb, .total = total, .terminal = isatty(STDERR_FILENO) == 1};
	if (progress->terminal)
		progress->started_ns = monotonic_ns();
}

void progress_add(struct progress *progress, uint64_t bytes)
{
	char text[PROGRESS_TEXT_MAX];
	uint64_t now;

	progress->done += bytes;
	if (!progress->terminal)
		return;
	now = monotonic_ns();
	if (now - progress->started_ns < SECOND_NS || now - progress->shown_ns < SECOND_NS / 10)
		return;
	progress_line(progress->verb, progress->done, progress->total, now - progress->started_ns, text);
	fprintf(stderr, "\r%s\033[K", text); /* ECMA-48 EL: clears to the end of the line */
	progress->shown_ns = now;
}

void progress_end(struct progress *progress)
{
	if (progress->shown_ns != 0)
		fputs("\r\033[K", stderr);
	progress->shown_ns = 0;
}

/* A value that may be beyond 64 bits: what is 2^63 or more becomes that. */
static uint64_t bounded(double value)
{
	return value < 0x1p63 ? (uint64_t)value : UINT64_C(1) << 63;
}

void progress_line(const char *verb, uint64_t done, uint64_t total, uint64_t elapsed_ns, char out_text[PROGRESS_TEXT_MAX])
{
	/* floating point, because bytes times nanoseconds do not fit 64 bits */
	double rate = (double)done / ((double)elapsed_ns / (double)SECOND_NS);
	char done_text[SIZE_TEXT_MAX], total_text[SIZE_TEXT_MAX], rate_text[SIZE_TEXT_MAX], left_text[AGE_TEXT_MAX];

	size_format(done, done_text);
	size_format(bounded(rate), rate_text);
	if (total == 0 || done == 0 || done > total) {
		snprintf(out_text, PROGRESS_TEXT_MAX, "%s: %s, %s/s", verb, done_text, rate_text);
		return;
	}
	size_format(total, total_text);
	age_format(bounded((double)(total - done) / rate * (double)SECOND_NS), left_text);
	snprintf(out_text, PROGRESS_TEXT_MAX, "%s: %u%%, %s of %s, %s/s, %s left", verb,
	         (unsigned)((double)done / (double)total * 100.0), done_text, total_text, rate_text, left_text);
}
