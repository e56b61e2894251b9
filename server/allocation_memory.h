/* SPDX-License-Identifier: Apache-2.0 */
/* How an allocation (allocation.h) gets at memory, and what its refusal says. Part of it; loop thread only. */
#ifndef SERVER_ALLOCATION_MEMORY_H
#define SERVER_ALLOCATION_MEMORY_H

#include <stdbool.h>

#include "allocation.h"
#include "eviction.h"

/*
 * Finds memory for all blocks, if need be what is free but for a look at the hold pages, or when idle cache blocks have gone. 0, -ENOMEM, or
 * -EAGAIN: there is none yet, and more can go.
 */
int allocation_find(struct allocation *allocation);

/* Gives back what was found. */
void allocation_release(struct allocation *allocation);

/* What of its quotas stands in its way. False: nothing. The refusal says it, should it come to that. `newcomer`: it does not wait yet. */
bool allocation_is_stopped(struct allocation *allocation, bool newcomer, struct account_obstacle *out_obstacle);

/*
 * Has cache blocks go that are charged to the same account, or, where what is guaranteed to others is in the way, anybody's. EVICTION_MORE: to be
 * gone on with; EVICTION_NONE: that would not do. `newcomer` as above.
 */
enum eviction_result allocation_make_room(struct allocation *allocation, const struct account_obstacle *obstacle,
                                          bool newcomer);

/* Counts what it asks for, for the line of those who wait. False: an empty pool would not have room for it either; the refusal says so. */
bool allocation_count_demand(struct allocation *allocation);

/* There may be room; it is another's, who came before. -ENOMEM. */
int allocation_refuse_set_aside(struct allocation *allocation);

/* More blocks than the pool has records: no free helps. -ENOMEM. */
int allocation_refuse_too_many(struct allocation *allocation);

/* The kernel does not back what was found, which is given back. -ENOSPC. */
int allocation_refuse_by_kernel(struct allocation *allocation);

#endif
