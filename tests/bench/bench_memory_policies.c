/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_memory_policies: what a blocking allocate-and-free pair costs under each memory policy of the daemon. A daemon for each; in
 * each round all take turns, so that whatever disturbs the machine disturbs them all. A figure is the median over the rounds of the
 * round's median, in microseconds, and beside it the median of the rounds' ratios to the default. "written" writes to each page of the
 * block in between, as a program would: what a page costs that is new to the process shows there. Judges nothing.
 */
#include <errno.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"

#define ROUNDS 31
#define PAGE 4096

struct policy {
	const char *name;
	const char *commit, *zero, *return_after;
};

static const struct policy policies[] = {
	{"default", "on-alloc", "never", "1s"},
	{"--return-after never", "on-alloc", "never", "never"},
	{"--return-after 1ms", "on-alloc", "never", "1ms"},
	{"--commit up-front", "up-front", "never", "1s"},
	{"--zero on-free", "on-alloc", "on-free", "1s"},
	{"both", "up-front", "on-free", "1s"},
};
#define POLICIES (sizeof policies / sizeof policies[0])

static const struct work {
	const char *name;
	uint64_t size;
	int pairs; /* in a round */
	int write;
} works[] = {
	{"4 KiB", 4096, 300, 0},
	{"4 KiB, written", 4096, 300, 1},
	{"1 MiB", 1 << 20, 60, 0},
	{"1 MiB, written", 1 << 20, 60, 1},
};
#define WORKS (sizeof works / sizeof works[0])

static void must(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "bench_memory_policies: %s: %s\n", what, shmb_last_error());
	exit(1);
}

/* One round: the median of its pairs, ns. */
static double measure(shmb_session *session, const struct work *work, struct samples *samples)
{
	for (int i = 0; i < work->pairs; i++) {
		shmb_block block;
		double start = clock_ns();
		must(shmb_alloc(session, work->size, NULL, &block), "allocate");
		for (uint64_t at = 0; work->write && at < work->size; at += PAGE)
			((volatile char *)block.data)[at] = 1;
		must(shmb_free(session, block.handle), "free");
		samples_add(samples, clock_ns() - start);
	}
	double median = samples_median(samples);
	samples_clear(samples);
	return median;
}

int main(void)
{
	static struct daemon_fixture daemons[POLICIES];
	static struct samples medians[WORKS][POLICIES], ratios[WORKS][POLICIES], round;
	shmb_session *sessions[POLICIES];

	for (size_t i = 0; i < POLICIES; i++) {
		daemon_fixture_start(&daemons[i], "--size", "64M", "--log-level", "warning", "--commit", policies[i].commit,
		                     "--zero", policies[i].zero, "--return-after", policies[i].return_after, NULL);
		must(shmb_connect(&(shmb_connect_options){.socket_path = daemons[i].socket_path}, &sessions[i]), "connect");
	}
	for (size_t n = 0; n <= ROUNDS; n++) {
		for (size_t w = 0; w < WORKS; w++) {
			double median[POLICIES];
			/* Another one first in each round: whoever comes first finds the machine cold. */
			for (size_t k = 0; k < POLICIES; k++) {
				size_t i = (n + k) % POLICIES;
				median[i] = measure(sessions[i], &works[w], &round);
			}
			for (size_t i = 0; i < POLICIES && n > 0; i++) { /* the first round is to warm up */
				samples_add(&medians[w][i], median[i]);
				samples_add(&ratios[w][i], median[i] / median[0]);
			}
		}
	}
	printf("%-24s", "us a pair, ratio");
	for (size_t w = 0; w < WORKS; w++)
		printf("%20s", works[w].name);
	printf("\n");
	for (size_t i = 0; i < POLICIES; i++) {
		printf("%-24s", policies[i].name);
		for (size_t w = 0; w < WORKS; w++)
			printf("%12.1f %7.2f", samples_median(&medians[w][i]) / 1e3, samples_median(&ratios[w][i]));
		printf("\n");
		shmb_close(sessions[i]);
		daemon_fixture_stop(&daemons[i]);
	}
	return 0;
}
