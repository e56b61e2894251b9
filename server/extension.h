/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One block on its way to a larger size in its place: what lies behind it is taken from the allocator, then committed, which may take a while, in
 * which other requests run; until the block's record says so, only the allocator knows of it. Owned by whoever made it. Loop thread only.
 */
#ifndef SERVER_EXTENSION_H
#define SERVER_EXTENSION_H

#include <stdint.h>

#include "admission.h"
#include "committer.h"
#include "session.h"
#include "slot.h"

struct extension {
	struct commit_job job; /* first: the committer knows the extension by it; its `kernel_free` is of a refusal */
	struct deferred deferred;
	struct slot slot;
	uint32_t block;             /* index of its record */
	uint64_t id, size;          /* of the block, and what it is to have, bytes */
	struct commit_range tail;   /* behind the block */
	struct admission admission; /* for the tail, which the session's user is charged with until it is the block's */
	/*
	 * extension_start's last word: 0; -ENOSPC, after which nothing is left of it. Frees the extension. The slot is not busy any more. Not called
	 * where the session has ended meanwhile: then all of it is given back, and it is freed.
	 */
	void (*finished)(struct extension *extension, int result);
};

/* For a block of the slot's pool. -ENOMEM. */
int extension_new(const struct slot *slot, uint32_t block, uint64_t size, struct extension **out_extension);
void extension_free(struct extension *extension);

/*
 * 1: the tail is taken and committed. 0: `finished` will be called. -ENOMEM: it is not free, it is set aside for others, the block
 * cannot grow where it is, another user is charged with it, or a quota is in the way;
 * -ENOSPC: the kernel has no memory for it.
 */
int extension_start(struct extension *extension);

/* Is the block still there, and ends where the tail begins, and is its user still charged with it? */
bool extension_fits(const struct extension *extension);

/* The tail is the block's from now on, which is charged with it. */
void extension_merge(struct extension *extension);

/* Gives the tail back. */
void extension_release(struct extension *extension);

#endif
