/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recount: what the tables of a test's pool say, counted afresh from view and state, beside what the daemon's counters say. For
 * a pool at rest. Fails the running test where records overlap, are marked, or are held by nothing but one another. Owned by the caller; one
 * thread.
 */
#ifndef TESTS_SUPPORT_RECOUNT_H
#define TESTS_SUPPORT_RECOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hold_layout.h"

#define RECOUNT_RECORDS_MAX 2048

struct recount {
	uint64_t blocks, names, references, holds; /* holds: all references, each as often as it counts */
	uint64_t links;
	uint64_t pages, page_holds; /* hold pages, and what they hold */
	uint64_t sessions;
	uint64_t used, requested; /* bytes */
	uint64_t owned;           /* blocks with an owner */
	uint64_t named;           /* bytes that all names stand for, together */
	uint64_t tickets, leases;
	uint64_t sealed, cached, metadata; /* sealed blocks, cache blocks, and those with metadata */
	char name[RECOUNT_RECORDS_MAX][64];
};

/* The slots of a session's hold page. False: it has none. */
bool recount_hold_page(const char *pool, uint32_t session, uint64_t out_slots[HOLD_SLOTS]);

/* Counts, and compares with the counters. `out_recount` is large: make it static. */
void recount_pool(const char *pool, struct recount *out_recount);

#endif
