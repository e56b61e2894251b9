/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of freed memory: see reclaim.h. */
#include "reclaim.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "pool.h"
#include "state_layout.h"

/* Few pages hide in a hole, and to punch one costs next to nothing: it goes in pieces of 1 GiB. Many: in pieces of a commit's. */
#define FEW_STRAYS (4 * COMMIT_PIECE_BYTES / STATE_EXTENT)
#define HOLE_PAGES ((UINT64_C(1) << 30) / STATE_EXTENT)

/* What was cleaned is free, and may go back to the kernel. */
static void freed(struct cleaner *cleaner)
{
	struct reclaim *reclaim = (struct reclaim *)((char *)cleaner - offsetof(struct reclaim, cleaner));

	scavenger_freed(&reclaim->scavenger);
}

int reclaim_init(struct reclaim *reclaim, struct pool *pool)
{
	*reclaim = (struct reclaim){.pool = pool};
	int result = scavenger_init(&reclaim->scavenger, pool);
	if (result == 0 && pool->zero_on_free)
		result = cleaner_init(&reclaim->cleaner, pool, freed);
	if (result < 0) {
		log_error("pool %s: cannot keep account of its free memory: %s (see ulimit -v)", pool->name, strerror(-result));
		return result;
	}
	pool->reclaim = reclaim;
	return 0;
}

void reclaim_deinit(struct reclaim *reclaim)
{
	scavenger_deinit(&reclaim->scavenger);
	cleaner_deinit(&reclaim->cleaner);
}

/* Pages that are backed and not marked: a former daemon left them, or a client has written where it had nothing. */
static uint64_t count_strays(const struct pool *pool)
{
	struct stat status;
	uint64_t backed = fstat(pool->segment.fd, &status) == 0 ? (uint64_t)status.st_blocks * 512 / STATE_EXTENT : 0;

	return backed > pool->extents.committed ? backed - pool->extents.committed : 0;
}

void reclaim_start(struct reclaim *reclaim, uint64_t return_after_ms)
{
	const struct pool *pool = reclaim->pool;
	uint64_t strays = count_strays(pool), hole_pages = strays <= FEW_STRAYS ? HOLE_PAGES : COMMIT_PIECE_BYTES / STATE_EXTENT;

	if (strays)
		log_info("pool %s: the kernel backs %" PRIu64 " pages more than are accounted for: looking for them in free memory",
		         pool->name, strays);
	/* What is dirty is not free, and the cleaner punches what is not marked anyway. */
	cleaner_start(&reclaim->cleaner, pool->adopted, hole_pages);
	scavenger_start(&reclaim->scavenger, pool->up_front ? SCAVENGER_NEVER : return_after_ms,
	                strays && !pool->zero_on_free ? hole_pages : 0);
}

void reclaim_stop(struct reclaim *reclaim)
{
	scavenger_stop(&reclaim->scavenger);
	cleaner_stop(&reclaim->cleaner);
}

void reclaim_release(struct reclaim *reclaim, const struct commit_range *range)
{
	struct pool *pool = reclaim->pool;

	buddy_release(&pool->buddy, range->offset / pool->unit, range->length / pool->unit);
	wait_queue_wake(&pool->wait_queue);
	scavenger_freed(&reclaim->scavenger);
}

void reclaim_free(struct reclaim *reclaim, const struct commit_range *range)
{
	if (!cleaner_takes(&reclaim->cleaner, range))
		reclaim_release(reclaim, range);
}
