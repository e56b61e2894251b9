/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hold pages of a pool say (one is hold_page.h): how many there are, who holds a block by one, and how much of the loop's time may go into
 * reading all of them at once. Owned by the pool; loop thread only. The looks that the end of blocks takes are those of dying.h.
 */
#ifndef SERVER_PAGE_HOLDS_H
#define SERVER_PAGE_HOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "allowance.h"

struct pool;
struct session;

struct page_holds {
	uint32_t pages;                 /* sessions that have a hold page */
	struct allowance for_memory;    /* for reading all pages at once, because memory is wanted */
	struct allowance for_questions; /* and because somebody asks who holds a block */
};

void page_holds_init(struct page_holds *holds);

/* The session has a hold page from now on, its descriptor, or HOLD_PAGE_LOST; in place of one that was lost, too. */
void page_holds_add_page(struct session *session, int fd);

/* It has none any more. What only its page held is dying_drop_page's. */
void page_holds_drop_page(struct session *session);

/* How often the session's page says that it holds the block. 1: it may, but cannot be read. A block that was never SHARED is in no page. */
uint32_t page_holds_count(const struct session *session, uint32_t block);

/*
 * Reads all pages: each session whose page says so, and how often, until `each` says false. -EAGAIN: the pages were read too much of late; that
 * passes within a second.
 */
typedef bool page_holds_each(void *context, uint32_t session, uint32_t count);
int page_holds_list(struct pool *pool, uint32_t block, page_holds_each *each, void *context);

/* Does any page say so, but that of the session of this number? (0 is no session's.) 1, 0, or -EAGAIN. */
int page_holds_any(struct pool *pool, uint32_t block, uint32_t except);

/* What -EAGAIN is to a client. */
#define PAGE_HOLDS_TOO_MUCH "who holds blocks was asked too often of late: ask again in a second"

/*
 * Where pages are read because memory is wanted: milliseconds until there is an allowance for that, 0: there is one, or no page. And that so many
 * were read.
 */
uint64_t page_holds_read_wait_ms(struct pool *pool);
void page_holds_have_read(struct pool *pool, uint64_t pages);

#endif
