/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_buddy [LOG2_UNITS [STEPS]]: what the buddy allocator costs, beside glibc's malloc and a loop of
 * dependent multiplications that tells how fast the machine is today. Prints, judges nothing.
 *
 * One unit stands for 64 bytes, so that 2^20 units, the default, are an arena of 64 MiB. Each line is
 * the best of several rounds, in nanoseconds for a pair of allocate and free.
 */
#include "server/buddy.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define ROUNDS 7
#define BYTES_A_UNIT 64
#define FILLED_AT_MOST (UINT64_C(1) << 22) /* units, so that a huge arena is filled in good time */

static uint64_t steps = 400000;
static volatile uint64_t calibration_sink;
static double calibration_ns;
static void *volatile malloc_sink;

/* What a measurement works on. Blocks are (offset, units) for the arena and pointers for malloc. */
struct ground {
	struct buddy buddy;
	uint64_t units, footprint;
	void *memory;
	struct piece {
		uint64_t offset, units;
		void *pointer;
	} * live;
	uint64_t live_count;
	uint64_t random;
};

/* Units of the arena that the measurements fill. */
static uint64_t filled_units(uint64_t units)
{
	return units < FILLED_AT_MOST ? units : FILLED_AT_MOST;
}

static uint64_t draw(struct ground *ground)
{
	uint64_t x = ground->random; /* xorshift64*, Vigna 2016 */

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	ground->random = x;
	return x * UINT64_C(2685821657736338717);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void open_ground(struct ground *ground, uint64_t units)
{
	*ground = (struct ground){.units = units, .random = UINT64_C(88172645463325252)};
	ground->footprint = buddy_footprint(units);
	ground->memory =
		mmap(NULL, ground->footprint, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ground->live = calloc(filled_units(units), sizeof(*ground->live));
	if (ground->memory == MAP_FAILED || !ground->live || buddy_init(&ground->buddy, ground->memory, units) < 0) {
		fprintf(stderr, "bench_buddy: cannot make an arena of %llu units\n", (unsigned long long)units);
		exit(1);
	}
}

static void close_ground(struct ground *ground)
{
	munmap(ground->memory, ground->footprint);
	free(ground->live);
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_buddy: the arena has no room for %s\n", what);
	exit(1);
}

/* All of (at most 2^22) units as single units, then every second one of them free, picked at random. */
static void fill_half(struct ground *ground)
{
	uint64_t offset, granted, count = filled_units(ground->units);

	if (count < ground->units && buddy_reserve(&ground->buddy, count, ground->units - count) < 0)
		fail("the reserve");
	for (uint64_t i = 0; i < count; i++)
		if (buddy_allocate(&ground->buddy, 1, 1, &offset, &granted) < 0)
			fail("half-full");
	for (uint64_t i = 0; i < count; i++)
		if (draw(ground) >> 63)
			buddy_release(&ground->buddy, i, 1);
}

/* 1 to 512 units, log-uniform; in small arenas up to 1/32 of the arena. */
static uint64_t churn_size(struct ground *ground)
{
	uint64_t octaves = ground->units < (1u << 14) ? 5 : 9;
	uint64_t top = UINT64_C(1) << (draw(ground) >> 32) % octaves;

	return top + (draw(ground) >> 32) % top;
}

/* Live blocks of random sizes until half of the arena (or 2^21 units) is taken. */
static void fill_churn(struct ground *ground)
{
	uint64_t half = filled_units(ground->units) / 2;
	struct piece piece;

	while (ground->units - buddy_free_units(&ground->buddy) < half) {
		if (buddy_allocate(&ground->buddy, churn_size(ground), 1, &piece.offset, &piece.units) < 0)
			fail("churn");
		piece.pointer = malloc(piece.units * BYTES_A_UNIT);
		ground->live[ground->live_count++] = piece;
	}
}

static void run_calibration(struct ground *ground)
{
	uint64_t x = ground->random | 1;

	for (uint64_t i = 0; i < steps; i++)
		for (int j = 0; j < 10; j++)
			x = (x ^ x >> 29) * UINT64_C(6364136223846793005);
	calibration_sink = x;
}

static void run_tight(struct ground *ground)
{
	uint64_t offset, granted;

	for (uint64_t i = 0; i < steps; i++) {
		if (buddy_allocate(&ground->buddy, 1, 1, &offset, &granted) < 0)
			fail("one unit");
		buddy_release(&ground->buddy, offset, granted);
	}
}

static void run_malloc_tight(struct ground *ground)
{
	(void)ground;
	for (uint64_t i = 0; i < steps; i++) {
		malloc_sink = malloc(BYTES_A_UNIT);
		free(malloc_sink);
	}
}

/* A random live block goes, a new one of random size comes. */
static void run_churn(struct ground *ground)
{
	for (uint64_t i = 0; i < steps; i++) {
		struct piece *piece = &ground->live[draw(ground) % ground->live_count];

		buddy_release(&ground->buddy, piece->offset, piece->units);
		if (buddy_allocate(&ground->buddy, churn_size(ground), 1, &piece->offset, &piece->units) < 0)
			fail("churn");
	}
}

static void run_malloc_churn(struct ground *ground)
{
	for (uint64_t i = 0; i < steps; i++) {
		struct piece *piece = &ground->live[draw(ground) % ground->live_count];

		free(piece->pointer);
		piece->pointer = malloc(churn_size(ground) * BYTES_A_UNIT);
	}
}

static double measure(const char *what, void (*run)(struct ground *), struct ground *ground, double beside)
{
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns();
		double spent;

		run(ground);
		spent = (now_ns() - start) / (double)steps;
		if (round == 0 || spent < best)
			best = spent;
	}
	printf("%-34s %8.1f ns", what, best);
	if (calibration_ns > 0)
		printf("   %6.2f x calibration", best / calibration_ns);
	if (beside > 0)
		printf("   %6.2f x malloc", best / beside);
	printf("\n");
	return best;
}

int main(int argc, char **argv)
{
	unsigned log2_units = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20;
	struct ground ground;
	double beside;

	if (argc > 2)
		steps = strtoull(argv[2], NULL, 10);
	if (log2_units < 10 || log2_units >= BUDDY_ORDERS || steps == 0) {
		fprintf(stderr, "usage: bench_buddy [LOG2_UNITS (10 to 40) [STEPS]]\n");
		return 2;
	}
	printf("arena of 2^%u units, pairs of allocate and free\n", log2_units);

	open_ground(&ground, UINT64_C(1) << log2_units);
	calibration_ns = measure("calibration, 10 multiplications", run_calibration, &ground, 0);
	beside = measure("malloc, 64 B, tight", run_malloc_tight, &ground, 0);
	measure("buddy, 1 unit, tight, empty arena", run_tight, &ground, beside);
	close_ground(&ground);

	open_ground(&ground, (UINT64_C(1) << log2_units) - 1);
	measure("the same with 2^n - 1 units", run_tight, &ground, beside);
	close_ground(&ground);

	open_ground(&ground, UINT64_C(1) << log2_units);
	fill_half(&ground);
	measure("buddy, 1 unit, tight, half full", run_tight, &ground, beside);
	close_ground(&ground);

	open_ground(&ground, UINT64_C(1) << log2_units);
	fill_churn(&ground);
	beside = measure("malloc, churn", run_malloc_churn, &ground, 0);
	measure("buddy, churn", run_churn, &ground, beside);
	for (uint64_t i = 0; i < ground.live_count; i++)
		free(ground.live[i].pointer);
	close_ground(&ground);
	return 0;
}
