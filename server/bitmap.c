/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The summary levels make a trie of 64 children a node, stored without pointers: the parent of word w
 * of a level is bit w % 64 of word w / 64 of the level above. It is the fixed-depth, word-sized
 * relative of van Emde Boas's stratified trees (1975).
 *
 * Setting a bit writes the level above only if the word was zero before, clearing one only if it is
 * zero afterwards, so in a well-filled bitmap both write one word. The lowest bit is found by walking
 * down from the topmost word, one count-trailing-zeros a level, and this reads no word that is zero.
 * The next bit after a given one is found by climbing until a word has something to the right, then
 * walking down. Seven levels hold 2^42 bits, so no call takes more than fourteen steps.
 */
#include "bitmap.h"

#include <assert.h>
#include <stddef.h>

static unsigned lowest_bit(uint64_t word)
{
	return (unsigned)__builtin_ctzll(word);
}

uint64_t bitmap_words(uint64_t bits, unsigned level)
{
	uint64_t words = (bits + 63) / 64;

	for (; level > 0; level--) {
		if (words == 1)
			return 0;
		words = (words + 63) / 64;
	}
	return words;
}

void bitmap_init(struct bitmap *bitmap, uint64_t bits)
{
	assert(bits > 0 && bits <= BITMAP_BITS_MAX);
	*bitmap = (struct bitmap){.bits = bits, .height = 1};
	while (bitmap->height < BITMAP_LEVELS && bitmap_words(bits, bitmap->height) > 0)
		bitmap->height++;
}

void bitmap_attach(struct bitmap *bitmap, unsigned level, uint64_t *words)
{
	assert(level < bitmap->height);
	bitmap->level[level] = words;
}

void bitmap_set(struct bitmap *bitmap, uint64_t bit)
{
	assert(bit < bitmap->bits && !bitmap_test(bitmap, bit));
	for (unsigned level = 0; level < bitmap->height; level++) {
		uint64_t *word = &bitmap->level[level][bit / 64];
		uint64_t before = *word;

		*word = before | UINT64_C(1) << (bit % 64);
		if (before != 0)
			return;
		bit /= 64;
	}
}

void bitmap_clear(struct bitmap *bitmap, uint64_t bit)
{
	assert(bit < bitmap->bits && bitmap_test(bitmap, bit));
	for (unsigned level = 0; level < bitmap->height; level++) {
		uint64_t *word = &bitmap->level[level][bit / 64];

		*word &= ~(UINT64_C(1) << (bit % 64));
		if (*word != 0)
			return;
		bit /= 64;
	}
}

bool bitmap_is_empty(const struct bitmap *bitmap)
{
	return bitmap->level[bitmap->height - 1][0] == 0;
}

/* Walks down from word `word` of `level`, which is not zero. */
static uint64_t descend(const struct bitmap *bitmap, unsigned level, uint64_t word)
{
	for (;; level--) {
		word = word * 64 + lowest_bit(bitmap->level[level][word]);
		if (level == 0)
			return word;
	}
}

uint64_t bitmap_pop(struct bitmap *bitmap)
{
	assert(!bitmap_is_empty(bitmap));
	uint64_t bit = descend(bitmap, bitmap->height - 1, 0);

	bitmap_clear(bitmap, bit);
	return bit;
}

uint64_t bitmap_next(const struct bitmap *bitmap, uint64_t from)
{
	if (from >= bitmap->bits)
		return BITMAP_NONE;
	if (bitmap_test(bitmap, from))
		return from;
	for (unsigned level = 0; level < bitmap->height; level++) {
		uint64_t right = bitmap->level[level][from / 64] & (~UINT64_C(1) << (from % 64));

		if (right != 0) {
			uint64_t bit = from / 64 * 64 + lowest_bit(right);

			return level == 0 ? bit : descend(bitmap, level - 1, bit);
		}
		from /= 64;
	}
	return BITMAP_NONE;
}

uint64_t bitmap_count(const struct bitmap *bitmap)
{
	uint64_t words = bitmap_words(bitmap->bits, 0), count = 0;

	for (uint64_t i = 0; i < words; i++)
		count += (uint64_t)__builtin_popcountll(bitmap->level[0][i]);
	return count;
}

/* Whether the level above `level` says of each word whether it is zero. */
static bool summary_agrees(const struct bitmap *bitmap, unsigned level)
{
	const uint64_t *words = bitmap->level[level], *above = bitmap->level[level + 1];
	uint64_t count = bitmap_words(bitmap->bits, level);

	for (uint64_t start = 0; start < count; start += 64) {
		uint64_t summary = 0;

		for (unsigned i = 0; i < 64 && start + i < count; i++)
			summary |= (uint64_t)(words[start + i] != 0) << i;
		if (above[start / 64] != summary)
			return false;
	}
	return true;
}

bool bitmap_is_valid(const struct bitmap *bitmap)
{
	uint64_t last = bitmap->level[0][(bitmap->bits - 1) / 64];
	unsigned used = (unsigned)((bitmap->bits - 1) % 64) + 1;

	if (used < 64 && last >> used != 0)
		return false;
	for (unsigned level = 0; level + 1 < bitmap->height; level++)
		if (!summary_agrees(bitmap, level))
			return false;
	return true;
}
