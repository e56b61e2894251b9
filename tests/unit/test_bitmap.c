/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse bitmap against an array of bytes, at sizes around each edge, and once at its full size. */
#include "server/bitmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state >> 12; /* xorshift64*, Vigna 2016 */
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * UINT64_C(2685821657736338717) >> 20) % below;
}

static uint64_t all_words(uint64_t bits)
{
	uint64_t sum = 0;

	for (unsigned level = 0; level < BITMAP_LEVELS; level++)
		sum += bitmap_words(bits, level);
	return sum;
}

/* Lends the words to the levels from the lowest up. */
static void attach_all(struct bitmap *bitmap, uint64_t *words)
{
	for (unsigned level = 0; level < bitmap->height; level++) {
		bitmap_attach(bitmap, level, words);
		words += bitmap_words(bitmap->bits, level);
	}
}

static uint64_t *open_bitmap(struct bitmap *bitmap, uint64_t bits)
{
	uint64_t *words = calloc(all_words(bits), sizeof(*words));

	assert_non_null(words);
	bitmap_init(bitmap, bits);
	attach_all(bitmap, words);
	return words;
}

static void words_and_heights(void **state)
{
	static const struct {
		uint64_t bits, words[3];
		unsigned height;
	} expected[] = {
		{1, {1, 0, 0}, 1},
		{63, {1, 0, 0}, 1},
		{64, {1, 0, 0}, 1},
		{65, {2, 1, 0}, 2},
		{4096, {64, 1, 0}, 2},
		{4097, {65, 2, 1}, 3},
		{262144, {4096, 64, 1}, 3},
		{262145, {4097, 65, 2}, 4},
		{BITMAP_BITS_MAX, {UINT64_C(1) << 36, UINT64_C(1) << 30, UINT64_C(1) << 24}, 7},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct bitmap bitmap;

		bitmap_init(&bitmap, expected[i].bits);
		assert_int_equal(bitmap.height, expected[i].height);
		for (unsigned level = 0; level < 3; level++)
			assert_int_equal(bitmap_words(expected[i].bits, level), expected[i].words[level]);
	}
}

static uint64_t model_next(const uint8_t *model, uint64_t bits, uint64_t from)
{
	for (; from < bits; from++)
		if (model[from])
			return from;
	return BITMAP_NONE;
}

/* `density` set bits of 1,000 are aimed at, so that long empty stretches and full words both occur. */
static void against_model(uint64_t bits, unsigned steps, uint64_t density)
{
	struct bitmap bitmap;
	uint64_t *words = open_bitmap(&bitmap, bits);
	uint8_t *model = calloc(bits, 1);
	uint64_t count = 0;

	assert_non_null(model);
	for (unsigned step = 0; step < steps; step++) {
		uint64_t bit = draw(bits);
		bool want = draw(1000) < density;

		assert_int_equal(bitmap_test(&bitmap, bit), model[bit]);
		if (want && !model[bit])
			bitmap_set(&bitmap, bit);
		else if (!want && model[bit])
			bitmap_clear(&bitmap, bit);
		count = count + want - model[bit];
		model[bit] = want;
		if (count > 0 && draw(16) == 0) {
			uint64_t first = model_next(model, bits, 0);

			assert_int_equal(bitmap_pop(&bitmap), first);
			model[first] = 0;
			count--;
		}
		bit = draw(bits);
		assert_int_equal(bitmap_next(&bitmap, bit), model_next(model, bits, bit));
		assert_int_equal(bitmap_is_empty(&bitmap), count == 0);
		if (step % 512 == 0) {
			assert_true(bitmap_is_valid(&bitmap));
			assert_int_equal(bitmap_count(&bitmap), count);
		}
	}
	assert_true(bitmap_is_valid(&bitmap));
	for (; count > 0; count--) {
		uint64_t bit = bitmap_next(&bitmap, 0);

		assert_int_equal(bit, model_next(model, bits, 0));
		bitmap_clear(&bitmap, bit);
		model[bit] = 0;
	}
	for (uint64_t i = 0; i < all_words(bits); i++)
		assert_int_equal(words[i], 0);
	free(model);
	free(words);
}

static void random_operations(void **state)
{
	static const uint64_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 10007};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		against_model(sizes[i], 8000, 2);
		against_model(sizes[i], 8000, 500);
		against_model(sizes[i], 8000, 998);
	}
	against_model(262145, 3000, 300);
}

static void next_at_the_ends(void **state)
{
	struct bitmap bitmap;
	uint64_t *words = open_bitmap(&bitmap, 262145);

	(void)state;
	assert_int_equal(bitmap_next(&bitmap, 0), BITMAP_NONE);
	bitmap_set(&bitmap, 262144);
	assert_int_equal(bitmap_next(&bitmap, 0), 262144);
	assert_int_equal(bitmap_next(&bitmap, 63), 262144);
	assert_int_equal(bitmap_next(&bitmap, 262144), 262144);
	assert_int_equal(bitmap_next(&bitmap, 262145), BITMAP_NONE);
	assert_int_equal(bitmap_next(&bitmap, UINT64_MAX), BITMAP_NONE);
	bitmap_set(&bitmap, 262143);
	assert_int_equal(bitmap_next(&bitmap, 64), 262143);
	assert_int_equal(bitmap_pop(&bitmap), 262143);
	assert_int_equal(bitmap_pop(&bitmap), 262144);
	assert_true(bitmap_is_empty(&bitmap));
	/* The buddy of the last of an odd number of bits may be asked for. */
	assert_false(bitmap_test(&bitmap, 262145));
	free(words);
}

/* One flipped bit in any word of any level must be seen. */
static void every_flip_is_seen(void **state)
{
	struct bitmap bitmap;
	uint64_t *words = open_bitmap(&bitmap, 5000);

	(void)state;
	for (uint64_t bit = 3; bit < 5000; bit += 300)
		bitmap_set(&bitmap, bit);
	bitmap_set(&bitmap, 4999); /* so that the last word, which is not used to its end, is not zero */
	assert_true(bitmap_is_valid(&bitmap));
	for (uint64_t word = 0; word < all_words(5000); word++) {
		for (unsigned bit = 0; bit < 64; bit++) {
			bool is_leaf = word < bitmap_words(5000, 0);
			uint64_t before = words[word], after = before ^ UINT64_C(1) << bit;

			words[word] = after;
			/* A bit in range beside others, or taken from others, is simply another bitmap. */
			if (is_leaf && word * 64 + bit < 5000 && before != 0 && after != 0)
				assert_true(bitmap_is_valid(&bitmap));
			else
				assert_false(bitmap_is_valid(&bitmap));
			words[word] = before;
		}
	}
	assert_true(bitmap_is_valid(&bitmap));
	free(words);
}

static void largest_bitmap(void **state)
{
	static const uint64_t bits[] = {0, 1, UINT64_C(1) << 21, (UINT64_C(1) << 40) + 77, BITMAP_BITS_MAX - 1};
	size_t bytes = all_words(BITMAP_BITS_MAX) * sizeof(uint64_t);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct bitmap bitmap;

	(void)state;
	if (memory == MAP_FAILED) {
		print_message("no %zu bytes of address space here\n", bytes);
		skip();
	}
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	bitmap_init(&bitmap, BITMAP_BITS_MAX);
	attach_all(&bitmap, memory);
	for (int i = 4; i >= 0; i--)
		bitmap_set(&bitmap, bits[i]);
	assert_int_equal(bitmap_next(&bitmap, 2), bits[2]);
	for (int i = 0; i < 5; i++)
		assert_int_equal(bitmap_pop(&bitmap), bits[i]);
	assert_true(bitmap_is_empty(&bitmap));
	munmap(memory, bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_heights),  cmocka_unit_test(random_operations), cmocka_unit_test(next_at_the_ends),
		cmocka_unit_test(every_flip_is_seen), cmocka_unit_test(largest_bitmap),
	};
	const char *seed = getenv("SHMB_TEST_SEED");

	random_state = seed ? strtoull(seed, NULL, 0) : UINT64_C(0x5eed0b17);
	random_state += random_state == 0;
	printf("# SHMB_TEST_SEED=%llu\n", (unsigned long long)random_state);
	return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
