/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for a demand: see demand.h.
 *
 * A block of order k comes out of a free block of order k or above, the smallest that serves, and its rest stays free. So blocks
 * of order k and above fit if and only if the free blocks of these orders have as many units together, whatever comes first: where a block
 * is taken out of a larger one, none of the orders between was free, so that the larger one had room to spare. With an alignment above its
 * size a block takes a place of the alignment's order, and what is left of that is free for others of less alignment, of which
 * there are none in one request.
 */
#include "demand.h"

#include <errno.h>

#include "size.h"

int demand_add(struct demand *demand, uint64_t units, uint64_t alignment_units)
{
	uint64_t place = units > alignment_units ? units : alignment_units;

	if (place > BUDDY_UNITS_MAX)
		return -ENOMEM;
	unsigned order = size_order_for(place);
	demand->of_order[order]++;
	demand->units += UINT64_C(1) << order;
	demand->blocks++;
	return 0;
}

bool demand_fits_empty(const struct demand *demand, uint64_t units)
{
	uint64_t wanted = 0;

	for (unsigned order = BUDDY_ORDERS; order-- > 0;) {
		wanted += (uint64_t)demand->of_order[order] << order;
		if (wanted > units >> order << order)
			return false;
	}
	return true;
}

bool demand_fits(const struct demand *demand, const struct buddy *buddy)
{
	uint64_t wanted = 0, there = 0;

	for (unsigned order = BUDDY_ORDERS; order-- > 0;) {
		wanted += (uint64_t)demand->of_order[order] << order;
		there += buddy_free_blocks(buddy, order) << order;
		if (wanted > there)
			return false;
	}
	return true;
}

unsigned demand_order(const struct demand *demand)
{
	return size_order_for(demand->units);
}
