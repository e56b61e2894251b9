/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages are committed: see extents.h. */
#include "extents.h"

#include <errno.h>
#include <unistd.h>

#include "commit.h"
#include "region.h"
#include "shared_object.h"
#include "state_layout.h"

/* Pages of the segment that one page of the bitmap speaks for. */
#define PAGE_BITS (4096 * 8)

uint64_t extents_footprint(uint64_t segment_pages)
{
	return (segment_pages + PAGE_BITS - 1) / PAGE_BITS * 4096;
}

int extents_init(struct extents *extents, const struct shared_object *state, uint64_t at, uint64_t segment_pages)
{
	*extents = (struct extents){
		.state = state,
		.at = at,
		.pages = segment_pages,
		.words = (_Atomic uint64_t *)((uint8_t *)state->base + at),
	};
	return region_new(extents_footprint(segment_pages) / 4096, (void **)&extents->word_pages);
}

void extents_deinit(struct extents *extents)
{
	region_free(extents->word_pages, extents_footprint(extents->pages) / 4096);
	*extents = (struct extents){0};
}

/*
 * The first page at or after `page` whose bit is `wanted`; `end` where there is none before. Pages of the bitmap that are not
 * committed are zero, and not read: a read through a mapping makes the kernel back them as well, or kill us with SIGBUS.
 */
static uint64_t find(const struct extents *extents, uint64_t page, uint64_t end, bool wanted)
{
	while (page < end) {
		if (!extents->word_pages[page / PAGE_BITS]) {
			if (!wanted)
				return page;
			page = page / PAGE_BITS * PAGE_BITS + PAGE_BITS;
			continue;
		}
		uint64_t word = atomic_load_explicit(&extents->words[page / 64], memory_order_relaxed);
		if (!wanted)
			word = ~word;
		word &= UINT64_MAX << page % 64;
		if (word) {
			uint64_t found = page / 64 * 64 + (uint64_t)__builtin_ctzll(word);
			return found < end ? found : end;
		}
		page = page / 64 * 64 + 64;
	}
	return end;
}

bool extents_next_gap(const struct extents *extents, uint64_t from, uint64_t end, uint64_t *out_from, uint64_t *out_end)
{
	uint64_t first = find(extents, from, end, false);

	if (first == end)
		return false;
	*out_from = first;
	*out_end = find(extents, first, end, true);
	return true;
}

int extents_prepare(struct extents *extents, uint64_t from, uint64_t end)
{
	for (uint64_t page = from / PAGE_BITS; page * PAGE_BITS < end; page++) {
		if (extents->word_pages[page])
			continue;
		int result = shared_object_commit(extents->state, extents->at + page * 4096, 4096);
		if (result < 0)
			return result;
		extents->word_pages[page] = 1;
	}
	return 0;
}

void extents_mark(struct extents *extents, uint64_t from, uint64_t end, bool committed)
{
	while (from < end) {
		uint64_t last = from / 64 * 64 + 64 < end ? from / 64 * 64 + 64 : end;
		uint64_t count = last - from;
		if (!committed && !extents->word_pages[from / PAGE_BITS]) {
			from = last; /* never set */
			continue;
		}
		uint64_t mask = (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << from % 64;
		_Atomic uint64_t *word = &extents->words[from / 64];
		uint64_t before = atomic_load_explicit(word, memory_order_relaxed);
		uint64_t after = committed ? before | mask : before & ~mask;

		extents->committed += (uint64_t)__builtin_popcountll(after) - (uint64_t)__builtin_popcountll(before);
		commit(word, after);
		from = last;
	}
}

int extents_recover(struct extents *extents)
{
	off_t end = (off_t)(extents->at + extents_footprint(extents->pages)), at = (off_t)extents->at;

	/* What was never written is a hole, and all zero. */
	while (at < end && (at = lseek(extents->state->fd, at, SEEK_DATA)) >= 0 && at < end) {
		off_t hole = lseek(extents->state->fd, at, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		for (; at < hole && at < end; at += 4096)
			extents->word_pages[((uint64_t)at - extents->at) / 4096] = 1;
	}
	if (at < 0 && errno != ENXIO)
		return -errno;
	extents->committed = 0;
	for (uint64_t page = 0; page < extents_footprint(extents->pages) / 4096; page++) {
		for (uint64_t word = page * 512; extents->word_pages[page] && word < page * 512 + 512; word++)
			extents->committed +=
				(uint64_t)__builtin_popcountll(atomic_load_explicit(&extents->words[word], memory_order_relaxed));
	}
	return 0;
}
