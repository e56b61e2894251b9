/* SPDX-License-Identifier: Apache-2.0 */
/*
 * samples: times that a benchmark took, in nanoseconds, and what can be said of them. Beside it the clock, and a loop of
 * dependent multiplications that tells how fast the machine is right now. One thread.
 */
#ifndef TESTS_BENCH_SAMPLES_H
#define TESTS_BENCH_SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct samples {
	double *ns;
	size_t count, capacity;
};

static inline double clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline void samples_add(struct samples *samples, double ns)
{
	if (samples->count == samples->capacity) {
		samples->capacity = samples->capacity ? samples->capacity * 2 : 1024;
		samples->ns = realloc(samples->ns, samples->capacity * sizeof *samples->ns);
		if (!samples->ns) {
			fprintf(stderr, "no memory for more samples\n");
			exit(1);
		}
	}
	samples->ns[samples->count++] = ns;
}

static inline int samples_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value that `share` (0 to 1) of the samples do not exceed; 0 where there are none. Sorts them. */
static inline double samples_quantile(struct samples *samples, double share)
{
	if (samples->count == 0)
		return 0;
	qsort(samples->ns, samples->count, sizeof *samples->ns, samples_compare);
	return samples->ns[(size_t)(share * (double)(samples->count - 1))];
}

static inline double samples_median(struct samples *samples)
{
	return samples_quantile(samples, 0.5);
}

static inline void samples_clear(struct samples *samples)
{
	samples->count = 0;
}

static inline void samples_free(struct samples *samples)
{
	free(samples->ns);
	*samples = (struct samples){0};
}

/* Nanoseconds for 10,000 multiplications, each of which waits for the one before. */
static inline double calibrate(void)
{
	static volatile uint64_t sink;
	uint64_t x = sink | 1;
	double start = clock_ns();

	for (int i = 0; i < 10000; i++)
		x = (x ^ x >> 29) * UINT64_C(6364136223846793005);
	sink = x;
	return clock_ns() - start;
}

#endif
