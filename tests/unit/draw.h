/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers that can be replayed: SHMB_TEST_SEED is the seed, or else the time, and it is printed. One for each program
 * that includes it.
 */
#ifndef TESTS_DRAW_H
#define TESTS_DRAW_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t draw_state;

static inline void draw_seed(void)
{
	const char *text = getenv("SHMB_TEST_SEED");

	draw_state = text ? (uint64_t)strtoull(text, NULL, 0) : (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	if (draw_state == 0)
		draw_state = 1;
	printf("SHMB_TEST_SEED=%" PRIu64 " replays this run\n", draw_state);
	fflush(stdout);
}

/* 0 to below - 1. */
static inline uint64_t draw(uint64_t below)
{
	draw_state ^= draw_state >> 12; /* xorshift64*, Vigna 2016 */
	draw_state ^= draw_state << 25;
	draw_state ^= draw_state >> 27;
	return (draw_state * UINT64_C(2685821657736338717) >> 16) % below;
}

#endif
