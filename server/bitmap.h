/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitmap: a sparse set of bits with summary levels above it.
 *
 * Level 0 holds the bits. In every level above, one bit stands for one word of the level below and is
 * set exactly while that word is not zero; the topmost level is a single word. The words are the
 * caller's zeroed memory and outlive the bitmap: nothing is allocated, so there is no deinit. A page
 * of it that never held a set bit is never written, and only bitmap_is_valid() reads all of them.
 * No lock: one thread at a time.
 */
#ifndef SHMBUDDY_BITMAP_H
#define SHMBUDDY_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define BITMAP_LEVELS 7u
#define BITMAP_BITS_MAX (UINT64_C(1) << (6u * BITMAP_LEVELS))
#define BITMAP_NONE UINT64_MAX

struct bitmap {
	uint64_t *level[BITMAP_LEVELS]; /* level[0] are the bits; NULL from height on */
	uint64_t bits;
	unsigned height; /* levels in use, at least 1 */
};

/* Words that `level` takes in a bitmap of `bits` (1 to BITMAP_BITS_MAX); 0 above the topmost level. */
uint64_t bitmap_words(uint64_t bits, unsigned level);

/* An empty bitmap of `bits`. Each level in use must be attached before the first other call. */
void bitmap_init(struct bitmap *bitmap, uint64_t bits);

/* Lends bitmap_words(bits, level) zeroed words to `level`. */
void bitmap_attach(struct bitmap *bitmap, unsigned level, uint64_t *words);

/* The bit must be clear before bitmap_set and set before bitmap_clear. */
void bitmap_set(struct bitmap *bitmap, uint64_t bit);
void bitmap_clear(struct bitmap *bitmap, uint64_t bit);

/* `bit` may also be one past the end when `bits` is odd (the word is there, its bit is always clear):
 * so the buddy of the last bit may be asked for without a look at the size. */
static inline bool bitmap_test(const struct bitmap *bitmap, uint64_t bit)
{
	return (bitmap->level[0][bit / 64] >> (bit % 64)) & 1;
}

bool bitmap_is_empty(const struct bitmap *bitmap);

/* Takes the lowest set bit out and returns it. The bitmap must not be empty. */
uint64_t bitmap_pop(struct bitmap *bitmap);

/* The lowest set bit at or above `from` (any value), or BITMAP_NONE. */
uint64_t bitmap_next(const struct bitmap *bitmap, uint64_t from);

/* Set bits, counted one by one in level 0: reads all of it. */
uint64_t bitmap_count(const struct bitmap *bitmap);

/* Whether every summary bit agrees with the word under it and nothing is set past the end. Reads every
 * word of every level, touched or not. */
bool bitmap_is_valid(const struct bitmap *bitmap);

#endif
