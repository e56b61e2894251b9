/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The census: a pool at rest holds what the ledger says, and nothing else. Each client holds each block as often as it was told;
 * each block is where it was and has its bytes; each published name is there, and leads to its block; all counts equal a fresh
 * recount; no two blocks overlap. Whatever differs fails the test. For parked clients; main thread only.
 */
#ifndef TESTS_STORM_CENSUS_H
#define TESTS_STORM_CENSUS_H

#include "tests/storm/crew.h"

struct census {
	uint64_t blocks, names, holds, bytes; /* that were found, and are as they must be */
};

/* Waits until the sessions of the dead are gone, then counts. */
void census_take(const char *pool, const struct crew *crew, struct census *out_census);

/* The same for a pool that everybody has left, with nothing in it. */
void census_take_empty(const char *pool, const char *socket_path);

#endif
