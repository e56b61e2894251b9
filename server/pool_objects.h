/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fresh pool is in shared memory: segment, view and state, made, thrown away, and removed at the end. Their geometry is decided here, from the
 * options, and stands in their headers, whose magic is stored last. What a former daemon left is leftover.h's. Functions return 0 or a negative
 * errno.
 */
#ifndef SERVER_POOL_OBJECTS_H
#define SERVER_POOL_OBJECTS_H

#include <stdint.h>

#include "pool.h"

/* Locks the state, and makes it where there is none; logs why it cannot. `*out_leftover` is the size of the one that was there, 0: none. */
int pool_objects_lock(struct pool *pool, uint64_t *out_leftover);

/* Removes what an earlier pool of this name left; logs that, or why it cannot. The state keeps its place, for it carries the lock. */
int pool_objects_discard(struct pool *pool, uint64_t leftover);

/* Makes them, whole, in place of what was discarded. */
int pool_objects_make(struct pool *pool, const struct pool_options *options);

void pool_objects_remove(struct pool *pool);

#endif
