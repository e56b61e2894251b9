/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear hashing: see pair_index.h. With 2^k + s buckets, s < 2^k, a pair belongs into the bucket that the lowest k bits of its hash say; or, where
 * that one has been split already (it is below s), the lowest k + 1. A record comes, and bucket s is split into s and 2^k + s: so there is a
 * bucket for each record there ever was at a time, and one is split in a step, of one record on average.
 */
#include "pair_index.h"

#include <assert.h>

#include "random.h"
#include "region.h"

int pair_index_init(struct pair_index *index, uint32_t capacity)
{
	*index = (struct pair_index){.capacity = capacity};
	int result = random_bytes(&index->seed, sizeof index->seed);

	if (result == 0)
		result = region_new(capacity * sizeof *index->pairs, (void **)&index->pairs);
	if (result == 0)
		result = region_new(capacity * sizeof *index->next, (void **)&index->next);
	if (result == 0)
		result = region_new(((size_t)capacity + 1) * sizeof *index->buckets, (void **)&index->buckets);
	return result;
}

void pair_index_deinit(struct pair_index *index)
{
	region_free(index->pairs, index->capacity * sizeof *index->pairs);
	region_free(index->next, index->capacity * sizeof *index->next);
	region_free(index->buckets, ((size_t)index->capacity + 1) * sizeof *index->buckets);
	*index = (struct pair_index){0};
}

static uint64_t pair_of(uint32_t left, uint32_t right)
{
	return (uint64_t)left << 32 | right;
}

/* The finalizer of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014), over the pair and the key. */
static uint32_t hash(const struct pair_index *index, uint64_t pair)
{
	uint64_t x = pair ^ index->seed;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27 ^ index->seed >> 7) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(x ^ x >> 31);
}

static uint32_t *bucket_of(const struct pair_index *index, uint64_t pair)
{
	uint32_t bits = hash(index, pair), bucket = bits & index->mask;

	if (bucket < index->split)
		bucket = bits & (index->mask << 1 | 1);
	return &index->buckets[bucket];
}

/* One bucket more: what belongs into it moves there. */
static void split_one(struct pair_index *index)
{
	uint32_t bit = index->mask + 1, from = index->split, *place = &index->buckets[from];
	uint32_t *fresh = &index->buckets[from + bit];

	if (++index->split > index->mask) {
		index->mask = index->mask << 1 | 1;
		index->split = 0;
	}
	for (uint32_t link; (link = *place);) {
		if (!(hash(index, index->pairs[link - 1]) & bit)) {
			place = &index->next[link - 1];
			continue;
		}
		*place = index->next[link - 1];
		index->next[link - 1] = *fresh;
		*fresh = link;
	}
}

void pair_index_add(struct pair_index *index, uint32_t record, uint32_t left, uint32_t right)
{
	assert(record < index->capacity && !pair_index_find(index, left, right));
	index->pairs[record] = pair_of(left, right);
	/* As many buckets as the highest record needs; what has gone is not taken back. */
	if (index->mask + 1 + index->split <= record)
		split_one(index);
	uint32_t *bucket = bucket_of(index, index->pairs[record]);
	index->next[record] = *bucket;
	*bucket = record + 1;
}

void pair_index_remove(struct pair_index *index, uint32_t record)
{
	uint32_t *place = bucket_of(index, index->pairs[record]);

	while (*place != record + 1) {
		assert(*place);
		place = &index->next[*place - 1];
	}
	*place = index->next[record];
}

uint32_t pair_index_find(const struct pair_index *index, uint32_t left, uint32_t right)
{
	uint64_t pair = pair_of(left, right);
	uint32_t link = *bucket_of(index, pair);

	while (link && index->pairs[link - 1] != pair)
		link = index->next[link - 1];
	return link;
}
