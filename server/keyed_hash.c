/* SPDX-License-Identifier: Apache-2.0 */
/* A hash under a secret key: see keyed_hash.h. */
#include "keyed_hash.h"

#include <string.h>

#include "random.h"

#define PRIME ((UINT64_C(1) << 61) - 1)
#define CHUNK 7u /* bytes: below the prime */

int keyed_hash_init(struct keyed_hash *hash)
{
	int result = random_bytes(&hash->key, sizeof hash->key);

	hash->key %= PRIME;
	return result;
}

/* Modulo the prime, of which 2^61 is one more. Both below it. */
static uint64_t multiply(uint64_t one, uint64_t other)
{
	unsigned __int128 product = (unsigned __int128)one * other;
	uint64_t sum = (uint64_t)(product & PRIME) + (uint64_t)(product >> 61);

	return sum >= PRIME ? sum - PRIME : sum;
}

uint64_t keyed_hash_of(const struct keyed_hash *hash, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	uint64_t sum = length + 1; /* the highest coefficient: what differs in length alone differs in it */

	for (size_t left = length; left; at += CHUNK) {
		uint64_t chunk = 0;
		size_t size = left < CHUNK ? left : CHUNK;
		memcpy(&chunk, at, size);
		sum = multiply(sum, hash->key) + chunk;
		sum = sum >= PRIME ? sum - PRIME : sum;
		left -= size;
	}
	return multiply(sum, hash->key);
}
