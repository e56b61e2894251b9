/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds blocks by hold pages.
 *
 * Reading all pages, at a request's instance and at once, is what clients could have the daemon do all the time: their number is that of the
 * sessions. So it has an allowance, a tenth of the loop's time for memory and as much for questions. Who asks what holds a block and finds none left
 * is told to ask later; what becomes of those who want memory stands in dying.c and eviction.c.
 *
 * A page that cannot be read, now or ever, may hold anything.
 */
#include "page_holds.h"

#include <errno.h>

#include "hold_page.h"
#include "pool.h"
#include "session.h"

/* What reading a page is charged with, nanoseconds, about what it takes: a clock would charge what the kernel gave to others too. */
#define PAGE_NS 1000

void page_holds_init(struct page_holds *holds)
{
	*holds = (struct page_holds){0};
	allowance_init(&holds->for_memory, uv_hrtime());
	allowance_init(&holds->for_questions, uv_hrtime());
}

void page_holds_add_page(struct session *session, int fd)
{
	session->pool->page_holds.pages += session->hold_page == HOLD_PAGE_NONE;
	session->hold_page = fd;
}

void page_holds_drop_page(struct session *session)
{
	session->hold_page = HOLD_PAGE_NONE;
	session->pool->page_holds.pages--;
}

uint32_t page_holds_count(const struct session *session, uint32_t index)
{
	uint64_t word = blocks_word(&session->pool->blocks, index), id = record_id(word), slots[HOLD_SLOTS];
	uint32_t count = 0;

	if (session->hold_page == HOLD_PAGE_NONE || !(word & RECORD_SHARED))
		return 0;
	if (hold_page_read(session->hold_page, slots) < 0)
		return 1; /* it may */
	for (size_t i = 0; i < HOLD_SLOTS; i++)
		count += slots[i] == id;
	return count;
}

int page_holds_list(struct pool *pool, uint32_t index, page_holds_each *each, void *context)
{
	struct page_holds *holds = &pool->page_holds;
	const struct session *session;
	uint64_t pages = 0;
	bool more = true;

	if (!holds->pages || !(blocks_word(&pool->blocks, index) & RECORD_SHARED))
		return 0;
	if (!allowance_is_left(&holds->for_questions, uv_hrtime()))
		return -EAGAIN;
	/* Between the block's word, where that says DYING, and the slots. */
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t number = 1; more && (session = sessions_from(&pool->sessions, number)); number = session->number + 1) {
		uint32_t count = page_holds_count(session, index);
		pages += session->hold_page != HOLD_PAGE_NONE;
		more = !count || each(context, session->number, count);
	}
	allowance_spend(&holds->for_questions, pages * PAGE_NS);
	return 0;
}

struct question {
	uint32_t except; /* session */
	bool held;
};

static bool answer(void *context, uint32_t session, uint32_t count)
{
	struct question *question = context;

	(void)count;
	question->held = session != question->except;
	return !question->held;
}

int page_holds_any(struct pool *pool, uint32_t index, uint32_t except)
{
	struct question question = {.except = except};
	int result = page_holds_list(pool, index, answer, &question);

	return result < 0 ? result : question.held;
}

uint64_t page_holds_read_wait_ms(struct pool *pool)
{
	struct allowance *allowance = &pool->page_holds.for_memory;

	return !pool->page_holds.pages || allowance_is_left(allowance, uv_hrtime()) ? 0 : allowance_wait_ms(allowance);
}

void page_holds_have_read(struct pool *pool, uint64_t pages)
{
	allowance_spend(&pool->page_holds.for_memory, pages * PAGE_NS);
}
