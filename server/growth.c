/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing a pool.
 *
 * What it may grow to was fixed when it was made: tables are reserved for that much, clients map that much. No block lies
 * beyond its size, hence a client whose mapping goes further than the segment touches nothing there. That makes growing three steps:
 *
 *   1. the segment's end: the object is as long as the whole pages of the size
 *   2. the state's size: from here on the pool has grown
 *   3. the view's size, by which clients know that offsets up to there are good
 *
 * Killed after 1, the object is longer than the state says: nothing was ever handed out there, and the next start makes it end where it
 * should. Killed after 2, the view says less than the state: the next start says it again. Each step sets what it finds to what
 * it must be, and changes nothing the second time; so every start runs them, whether or not its pool is to grow.
 *
 * Any other disagreement is refused before (leftover.c): an object that ends before the state's size or beyond the most that it may
 * have, a view that says more than the state.
 *
 * Until then the private side (allocator, extents) is made for the new size, and pool->size is the old one: records are checked
 * against what was there. Where the old size ended in the middle of a page, that page is in the segment as a whole, and its
 * bit in `extents` speaks for all of it.
 */
#include "growth.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "commit.h"
#include "log.h"
#include "pool.h"
#include "size.h"
#include "state_layout.h"

static void set_size(_Atomic uint64_t *size, uint64_t bytes)
{
	if (atomic_load_explicit(size, memory_order_relaxed) != bytes)
		commit(size, bytes);
}

int growth_run(struct pool *pool)
{
	uint64_t end = shared_object_round(pool->grown_size);
	char before[SIZE_TEXT_MAX], after[SIZE_TEXT_MAX];
	int result = pool->segment.size == end ? 0 : shared_object_set_end(&pool->segment, end);

	size_format(pool->size, before);
	size_format(pool->grown_size, after);
	if (result < 0) {
		log_error("pool %s: its segment cannot grow from %s to %s: %s (see ulimit -f); it stays as it is", pool->name,
		          before, after, strerror(-result));
		return result;
	}
	set_size(&pool->state_header->size, pool->grown_size);
	set_size(&pool->header->size, pool->grown_size);
	if (pool->grown_size > pool->size)
		log_info("pool %s: grown from %s to %s", pool->name, before, after);
	pool->size = pool->grown_size;
	return 0;
}
