/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyed_hash: a hash of names under a secret key, for tables that only the daemon sees. Whoever does not know the key cannot choose names that
 * collide more often than others do. The polynomial hash of Carter and Wegman ("Universal classes of hash functions", 1979): seven bytes
 * at a time are the coefficients of a polynomial over the field of 2^61 - 1 elements, and the key is where it is evaluated. Two names of 255
 * bytes collide under one key of 2^55. Thread-safe.
 */
#ifndef SERVER_KEYED_HASH_H
#define SERVER_KEYED_HASH_H

#include <stddef.h>
#include <stdint.h>

struct keyed_hash {
	uint64_t key; /* below 2^61 - 1 */
};

/* Draws a key. -errno: the kernel gives no random bytes. */
int keyed_hash_init(struct keyed_hash *hash);

/* 61 bits, all equally good. */
uint64_t keyed_hash_of(const struct keyed_hash *hash, const void *bytes, size_t length);

#endif
