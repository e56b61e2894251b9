/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request asks of the allocator, and whether there is room for it, without a trial: by the orders of its blocks. Pure arithmetic.
 * Starts as all zeros.
 */
#ifndef SERVER_DEMAND_H
#define SERVER_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "buddy.h"

struct demand {
	uint64_t units;  /* of all blocks together, each with its alignment's place */
	uint32_t blocks; /* at most 65535 */
	uint16_t of_order[BUDDY_ORDERS];
};

/* One block more, as buddy_allocate takes it. -ENOMEM: no arena is so large. */
int demand_add(struct demand *demand, uint64_t units, uint64_t alignment_units);

/* Is there room for all of it: in an arena of so many units that is empty; in this one, now? Exact. */
bool demand_fits_empty(const struct demand *demand, uint64_t units);
bool demand_fits(const struct demand *demand, const struct buddy *buddy);

/* A free block of this order, or a higher one, is room for all of it. For one block that is exact, for several it may be more than they need. */
unsigned demand_order(const struct demand *demand);

#endif
