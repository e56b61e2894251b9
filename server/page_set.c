/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pages: see page_set.h. A word that need not change is not written, so that its memory is not asked for. */
#include "page_set.h"

#include <stddef.h>

#include "region.h"

static size_t footprint(uint64_t pages)
{
	return (size_t)((pages + 63) / 64 * sizeof(uint64_t));
}

int page_set_init(struct page_set *set, uint64_t pages)
{
	*set = (struct page_set){.pages = pages};
	return region_new(footprint(pages), (void **)&set->words);
}

void page_set_deinit(struct page_set *set)
{
	region_free(set->words, footprint(set->pages));
	*set = (struct page_set){0};
}

static void change(struct page_set *set, uint64_t from, uint64_t end, bool in)
{
	while (from < end) {
		uint64_t last = from / 64 * 64 + 64 < end ? from / 64 * 64 + 64 : end, count = last - from;
		uint64_t mask = (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << from % 64;
		uint64_t before = set->words[from / 64], after = in ? before | mask : before & ~mask;

		if (before != after)
			set->words[from / 64] = after;
		set->count += (uint64_t)__builtin_popcountll(after) - (uint64_t)__builtin_popcountll(before);
		from = last;
	}
}

void page_set_add(struct page_set *set, uint64_t from, uint64_t end)
{
	change(set, from, end, true);
}

void page_set_remove_all(struct page_set *set, uint64_t from, uint64_t end)
{
	change(set, from, end, false);
}

uint64_t page_set_next(const struct page_set *set, uint64_t from, uint64_t end, bool in)
{
	for (; from < end; from = from / 64 * 64 + 64) {
		uint64_t word = (in ? set->words[from / 64] : ~set->words[from / 64]) & UINT64_MAX << from % 64;
		if (word) {
			uint64_t found = from / 64 * 64 + (uint64_t)__builtin_ctzll(word);
			return found < end ? found : end;
		}
	}
	return end;
}
