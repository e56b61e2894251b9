/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern: bytes that tell whose they are, and random numbers for tests that can be run again. No state but the caller's:
 * any thread, any process.
 */
#ifndef TESTS_SUPPORT_PATTERN_H
#define TESTS_SUPPORT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fills `size` bytes with what only `seed` gives; other seeds differ in nearly every byte. */
void pattern_write(void *out_bytes, size_t size, uint64_t seed);
bool pattern_matches(const void *bytes, size_t size, uint64_t seed);

/* xorshift64*, Vigna 2016; `*state` is not 0. */
uint64_t pattern_random(uint64_t *state);
uint64_t pattern_below(uint64_t *state, uint64_t limit);

/* $SHMB_TEST_SEED, or `otherwise`; printed, so that a failure can be replayed. */
uint64_t pattern_seed(uint64_t otherwise);

#endif
