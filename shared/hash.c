/* SPDX-License-Identifier: Apache-2.0 */
/* FNV-1a with 64 bits: G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV Non-Cryptographic Hash Algorithm", where the
 * two constants and the test vectors come from. */
#include "hash.h"

#define OFFSET_BASIS UINT64_C(0xcbf29ce484222325)
#define PRIME UINT64_C(0x100000001b3)

uint64_t hash_of(const void *bytes, size_t length)
{
	const uint8_t *next = bytes;
	uint64_t hash = OFFSET_BASIS;

	for (; length > 0; length--)
		hash = (hash ^ *next++) * PRIME;
	return hash;
}
