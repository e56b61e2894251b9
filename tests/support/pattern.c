/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that tell whose they are: see pattern.h. */
#include "tests/support/pattern.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Word n of the pattern: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t word_of(uint64_t seed, uint64_t n)
{
	uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void pattern_write(void *out_bytes, size_t size, uint64_t seed)
{
	uint8_t *to = out_bytes;

	for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
		uint64_t word = word_of(seed, at);
		memcpy(to + at, &word, size - at < sizeof word ? size - at : sizeof word);
	}
}

bool pattern_matches(const void *bytes, size_t size, uint64_t seed)
{
	const uint8_t *from = bytes;

	for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
		uint64_t word = word_of(seed, at);
		if (memcmp(from + at, &word, size - at < sizeof word ? size - at : sizeof word) != 0)
			return false;
	}
	return true;
}

uint64_t pattern_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t pattern_below(uint64_t *state, uint64_t limit)
{
	return pattern_random(state) % limit;
}

uint64_t pattern_seed(uint64_t otherwise)
{
	const char *text = getenv("SHMB_TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : otherwise;

	printf("seed: SHMB_TEST_SEED=0x%" PRIx64 "\n", seed);
	return seed ? seed : 1;
}
