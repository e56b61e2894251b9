/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buddy: which units of an arena are free, and which to hand out next.
 *
 * Pure arithmetic: offsets and lengths in units from the start of the arena go in and come out; the
 * arena's own bytes are never seen. The caller embeds the struct and lends zeroed memory for the
 * bitmaps, which must outlive it; there is nothing to deinit. One thread at a time.
 *
 * A block of order k is 2^k units, aligned to its size. The story is told in buddy.c.
 */
#ifndef SHMBUDDY_BUDDY_H
#define SHMBUDDY_BUDDY_H

#include "bitmap.h"

#include <stdbool.h>
#include <stdint.h>

#define BUDDY_ORDERS 41u
#define BUDDY_UNITS_MAX (UINT64_C(1) << (BUDDY_ORDERS - 1))
#define BUDDY_NONE UINT64_MAX

/* The free blocks of one order, but for the bitmap. A block is known by its index, offset >> order. */
struct buddy_order {
	uint64_t lowest; /* index of the lowest free block, BUDDY_NONE if there is none */
	uint64_t others; /* how many more there are: the bits in the bitmap */
};

struct buddy {
	uint64_t units;
	uint64_t free_units;
	uint64_t orders; /* bit k is set while order k has a free block */
	struct buddy_order order[BUDDY_ORDERS];
	struct bitmap rest[BUDDY_ORDERS]; /* free blocks other than the lowest; made for orders that fit */
};

/*
 * Bytes of zeroed, 8-byte aligned memory that buddy_init() wants for `units`: about units / 4, or 0 if
 * `units` is not 1 to BUDDY_UNITS_MAX. Hardly any of it is touched, so take a large one from mmap with
 * MAP_NORESERVE, and MADV_NOHUGEPAGE, lest each touched page become 2 MiB.
 */
uint64_t buddy_footprint(uint64_t units);

/* Makes all units free. -EINVAL: units out of range, memory NULL or misaligned. */
int buddy_init(struct buddy *buddy, void *memory, uint64_t units);

/*
 * Takes the smallest power of two that holds `units`, aligned to its size and to `alignment_units` (a
 * power of two; 1 asks for nothing), at the lowest address in the smallest order that serves.
 * An alignment above the size is served from a free block at least as large as the alignment; the
 * block's tail stays free. -EINVAL: units 0, alignment not a power of two. -ENOMEM: no such block.
 */
int buddy_allocate(struct buddy *buddy, uint64_t units, uint64_t alignment_units, uint64_t *out_offset,
                   uint64_t *out_granted);

/*
 * Makes a range free of which every unit is taken: a block, some of it, or several neighbours. It
 * cannot fail. That the range is taken is the caller's promise, of which asserts check what is cheap;
 * buddy_is_taken() checks all.
 */
void buddy_release(struct buddy *buddy, uint64_t offset, uint64_t units);

/* Takes exactly this range. -EINVAL: empty, or not in the arena. -EBUSY: not all of it is free. */
int buddy_reserve(struct buddy *buddy, uint64_t offset, uint64_t units);

/* What a request for `units`, 1 to 2^62, is granted; and what a block keeps that shrinks to them. */
uint64_t buddy_rounded(uint64_t units);

/*
 * Takes what lies behind a block, of which all that was granted is taken, so that it has at least `units` in the same
 * place, aligned to its new size as any block is. -ENOMEM: that is not free, or the block lies where no larger one may.
 */
int buddy_grow(struct buddy *buddy, uint64_t offset, uint64_t granted, uint64_t units, uint64_t *out_granted);

uint64_t buddy_units(const struct buddy *buddy);
uint64_t buddy_free_units(const struct buddy *buddy);
/* Units of the largest block that buddy_allocate() would grant now; 0 if the arena is full. */
uint64_t buddy_largest_free(const struct buddy *buddy);
/* Free blocks of exactly this order; 0 for orders that do not exist. */
uint64_t buddy_free_blocks(const struct buddy *buddy, unsigned order);
/* Offset of the first free block of this order that ends after `from`, or BUDDY_NONE. To visit all,
 * start from 0 and go on from where the block ends. */
uint64_t buddy_next_free(const struct buddy *buddy, unsigned order, uint64_t from);
/* Whether every unit is free, or every unit is taken. False for what is not in the arena; otherwise
 * true for an empty range. */
bool buddy_is_free(const struct buddy *buddy, uint64_t offset, uint64_t units);
bool buddy_is_taken(const struct buddy *buddy, uint64_t offset, uint64_t units);

/* Checks every invariant of buddy.c. Reads the whole footprint, and each free block once for every
 * order: for tests and diagnosis. */
bool buddy_is_valid(const struct buddy *buddy);

#endif
