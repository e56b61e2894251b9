/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hold page of a session, `/shmbuddy.POOL.hold.N`: the blocks that it holds without having asked the daemon. The client maps it
 * read-write; the daemon reads it by pread(2), never maps it, and believes nothing of it but for this one session.
 *
 * A slot is 0, or the id of a block that the session holds once; with HOLD_CLAIMED, one of its threads is about to take it, or to give it
 * back together with others, and no other thread may. To take hold, a client
 *
 *   1. changes a slot from 0 to the id, claimed, 2. has a full fence, 3. loads the word of the block's record in the view (view_layout.h):
 *   4. where the word says that this very block may be held (record_is_holdable), it holds it. Else it lets go, and asks the daemon.
 *
 * To let go, it 1. sets the slot to 0, 2. has a full fence, 3. loads the word: 4. where that says that the daemon waits for it
 * (record_awaits_release), it tells the daemon, by a message that may get lost.
 *
 * The daemon, when it knows of no holder any more, stores DYING into the word, has a full fence, and then reads the slots. Of the two, a
 * client's slot and the daemon's word, each side stores one, and then loads the other, with a fence in between; so at least one of them sees what
 * the other has stored (the store buffering test, "SB", of litmus tests). Either the client sees DYING, and has not got hold; or the
 * daemon sees the slot, and the block lives. Likewise for letting go: either the daemon sees 0, or the client sees that it is awaited.
 *
 * Before a block shrinks, or is evicted, the daemon stores DYING likewise, reads the slots of others, and takes DYING back before it does
 * anything else, or frees it.
 *
 * Cache blocks (BLOCK_CACHED) go when they were not used for longest, and a hold is a use that the daemon does not see. So whoever lets go
 * of one leaves a trail: which block it was, and the clock of the view's header then. An entry belongs to one of HOLD_TRAIL_SETS sets
 * by its block; of the HOLD_TRAIL_WAYS in a set the oldest gives way. The trail is read before something is evicted.
 *
 * Ids are never used twice, so a slot never means another block than it did. A slot that changes while it is read may be read in parts:
 * what comes of that is neither the old nor the new value, and the daemon takes a block for free, which it was about to be, or for held, and looks
 * again. A page outlives the daemon; it goes with the session.
 */
#ifndef SHARED_HOLD_LAYOUT_H
#define SHARED_HOLD_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HOLD_PAGE_SIZE 8192u

/* Slots of one cache line: a thread starts at a line of its own. */
#define HOLD_LINE 8u
#define HOLD_LINES 63u
#define HOLD_SLOTS (HOLD_LINES * HOLD_LINE)

#define HOLD_CLAIMED (UINT64_C(1) << 63)

#define HOLD_TRAIL_WAYS 4u
#define HOLD_TRAIL_SETS 128u
#define HOLD_TRAIL (HOLD_TRAIL_SETS * HOLD_TRAIL_WAYS)

struct hold_page {
	_Atomic uint64_t
		notice; /* not 0: the daemon has something to say, which is heard by a request. Written by the daemon, with pwrite(2) */
	uint64_t reserved[7];
	_Atomic uint64_t slots[HOLD_SLOTS];
	_Atomic uint64_t trail[HOLD_TRAIL]; /* 0, or hold_trail_entry() */
};
_Static_assert(sizeof(struct hold_page) == HOLD_PAGE_SIZE, "layout");
_Static_assert(offsetof(struct hold_page, slots) == 64, "layout");
_Static_assert(offsetof(struct hold_page, trail) == 4096, "layout");

/* An entry of the trail: the low half of the clock, and the index of the block's record. */
static inline uint64_t hold_trail_entry(uint32_t block, uint64_t clock)
{
	return clock << 32 | block;
}
static inline uint32_t hold_trail_block(uint64_t entry)
{
	return (uint32_t)entry;
}
/* What the clock was, at most 2^32 ago and not after `now`. */
static inline uint64_t hold_trail_used(uint64_t entry, uint64_t now)
{
	return now - (uint32_t)((uint32_t)now - (uint32_t)(entry >> 32));
}

#endif
