/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing up front: see up_front.h. The file system is asked first, for an attempt that fails in the end starves everybody else
 * meanwhile. Then piece by piece, each marked when it is there: a start that is killed has lost a piece at most, which is backed and not
 * marked, and the next one goes on from there. Others may fill the file system in the middle: then it is refused, with the figures of
 * that moment.
 */
#include "up_front.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "log.h"
#include "pool.h"
#include "size.h"
#include "state_layout.h"

#define PIECE_PAGES (COMMIT_PIECE_BYTES / STATE_EXTENT)

/* Bytes that the file system has left; as many as there are where it has no limit, tmpfs(5). */
static uint64_t room(const struct pool *pool)
{
	struct statvfs status;

	if (fstatvfs(pool->segment.fd, &status) < 0 || status.f_blocks == 0)
		return UINT64_MAX;
	return (uint64_t)status.f_bavail * status.f_frsize;
}

static uint64_t missing(const struct pool *pool)
{
	return (pool->extents.pages - pool->extents.committed) * STATE_EXTENT;
}

static int refuse(const struct pool *pool, int result)
{
	char wanted[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], there[SIZE_TEXT_MAX];
	const char *smaller = pool->adopted ? "" : "choose a smaller --size, or "; /* one that is there does not shrink */

	size_format(missing(pool), wanted);
	size_format(pool->size, total);
	size_format(room(pool), there);
	if (result == -ENOSPC)
		log_error("pool %s: cannot commit its %s up front: %s of it are missing, and /dev/shm has %s left: free some there, "
		          "enlarge it "
		          "(mount -o remount,size=SIZE /dev/shm; in Docker --shm-size), %sstart it with --commit on-alloc",
		          pool->name, total, wanted, there, smaller);
	else
		log_error("pool %s: cannot commit its %s up front: %s: %s of it are missing: %sstart it with --commit "
		          "on-alloc",
		          pool->name, total, strerror(-result), wanted, smaller);
	return result;
}

int up_front_commit(struct pool *pool, bool (*is_over)(void))
{
	struct extents *extents = &pool->extents;
	uint64_t from = 0, end;
	char size[SIZE_TEXT_MAX];

	size_format(missing(pool), size);
	if (missing(pool) > room(pool))
		return refuse(pool, -ENOSPC);
	if (missing(pool))
		log_info("pool %s: committing %s up front", pool->name, size);
	while (extents_next_gap(extents, from, extents->pages, &from, &end)) {
		if (is_over())
			return -ECANCELED;
		if (end - from > PIECE_PAGES)
			end = from + PIECE_PAGES;
		int result = extents_prepare(extents, from, end);
		if (result == 0)
			result = shared_object_commit(&pool->segment, from * STATE_EXTENT, (end - from) * STATE_EXTENT);
		if (result < 0)
			return refuse(pool, result);
		extents_mark(extents, from, end, true);
		from = end;
	}
	pool_publish_counters(pool);
	return 0;
}
