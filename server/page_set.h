/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of pages, one bit each, private and sparse: what was never touched costs nothing. Pure; whoever embeds it owns it. One
 * thread at a time.
 */
#ifndef SERVER_PAGE_SET_H
#define SERVER_PAGE_SET_H

#include <stdbool.h>
#include <stdint.h>

struct page_set {
	uint64_t *words;
	uint64_t pages;
	uint64_t count; /* pages that are in it */
};

/* An empty set of the pages below `pages`. -ENOMEM. */
int page_set_init(struct page_set *set, uint64_t pages);
void page_set_deinit(struct page_set *set);

/* Pages of [from, end) that are in it already, or are not, stay as they are. */
void page_set_add(struct page_set *set, uint64_t from, uint64_t end);
void page_set_remove_all(struct page_set *set, uint64_t from, uint64_t end);

/* The same; inline as far as nothing is in the set, for it stands in the way of every allocation. */
static inline void page_set_remove(struct page_set *set, uint64_t from, uint64_t end)
{
	if (set->count)
		page_set_remove_all(set, from, end);
}

/* The first page of [from, end) that is in the set, or, with `in` false, that is not; `end` where there is none. */
uint64_t page_set_next(const struct page_set *set, uint64_t from, uint64_t end, bool in);

#endif
