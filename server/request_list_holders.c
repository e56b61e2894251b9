/* SPDX-License-Identifier: Apache-2.0 */
/* ListHolders: the sessions that hold one block, in pages by number; and what else holds it that the view does not tell. */
#include "request.h"

#include <errno.h>

#include "errors.h"
#include "handle.h"
#include "page_holds.h"

/* Sessions on a page. */
#define PAGE_HOLDERS 64

/* Links, and tickets, that are counted, and no more, as shmbuddy.h says: SHMB_COUNTED_MAX. */
#define COUNTED_MAX 10000

/* One holder of the page, as it is gathered. */
struct gathered {
	uint32_t session, references;
};

struct page {
	struct gathered holders[PAGE_HOLDERS + 1]; /* by number; the one too many says that another page follows */
	size_t count;
	uint32_t after;
};

/* Adds references of a session to the page, which keeps the lowest numbers above `after`. */
static void gather(struct page *page, uint32_t session, uint32_t references)
{
	size_t place = page->count;

	if (session <= page->after)
		return;
	while (place > 0 && page->holders[place - 1].session > session)
		place--;
	if (place > 0 && page->holders[place - 1].session == session) {
		page->holders[place - 1].references += references;
		return;
	}
	if (place > PAGE_HOLDERS)
		return;
	if (page->count <= PAGE_HOLDERS)
		page->count++;
	for (size_t i = page->count - 1; i > place; i--)
		page->holders[i] = page->holders[i - 1];
	page->holders[place] = (struct gathered){session, references};
}

static bool gather_hold(void *page, uint32_t session, uint32_t holds)
{
	gather(page, session, holds);
	return true;
}

/* Blocks that hold it; a few thousands and many more come to the same. */
static uint32_t count_links(const struct pool *pool, uint32_t block)
{
	uint32_t count = 0;

	for (uint32_t link = pool->blocks.links_to[block]; link && count < COUNTED_MAX; link = pool->links.of_to[link - 1].next)
		count++;
	return count;
}

/* Milliseconds that are left of the block's time to live, at least 1; 0: it has none. */
static uint64_t time_left(const struct pool *pool, uint32_t block)
{
	uint32_t link = pool->blocks.leases[block];

	if (!link)
		return 0;
	uint64_t deadline = LEASE_DEADLINE(leases_word(&pool->leases, link - 1)), now = deadlines_now(&pool->deadlines);
	return deadline > now ? deadline - now : 1;
}

static uint32_t count_tickets(const struct pool *pool, uint32_t block)
{
	uint32_t count = 0;

	for (uint32_t link = pool->blocks.tickets[block]; link && count < COUNTED_MAX;
	     link = pool->tickets.of_block[link - 1].next)
		count++;
	return count;
}

void request_list_holders(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->list_holders->handle;
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__HolderPage list = SHMBUDDY__V1__HOLDER_PAGE__INIT;
	Shmbuddy__V1__Holder holders[PAGE_HOLDERS], *pointers[PAGE_HOLDERS];
	struct pool *pool = request->pool;
	struct page page = {.after = request->message->list_holders->after};

	if (!message ||
	    handle_find_to_acquire(request->slot.session, &(struct handle){message->id, message->index, message->incarnation})) {
		request_reply(request, ERROR_NO_SUCH_BLOCK, NULL);
		return;
	}
	uint32_t owner = blocks_body(&pool->blocks, message->index)->owner;
	if (owner)
		gather(&page, owner, 1);
	for (uint32_t link = pool->blocks.references[message->index]; link; link = pool->references.of_block[link - 1].next)
		gather(&page, pool->references.records[link - 1].session,
		       REFERENCE_COUNT(references_word(&pool->references, link - 1)));

	if (page_holds_list(pool, message->index, gather_hold, &page) == -EAGAIN) {
		request_reply(request, ERROR_LIMIT, PAGE_HOLDS_TOO_MUCH);
		return;
	}

	for (; list.n_holder < page.count && list.n_holder < PAGE_HOLDERS; list.n_holder++) {
		Shmbuddy__V1__Holder *holder = &holders[list.n_holder];
		const struct session *session = pool->sessions.by_number[page.holders[list.n_holder].session];
		shmbuddy__v1__holder__init(holder);
		holder->session = session->number;
		holder->pid = session->pid;
		holder->uid = session->record->uid;
		holder->program = (char *)session->program;
		holder->allocated = owner == session->number;
		holder->references = page.holders[list.n_holder].references;
		pointers[list.n_holder] = holder;
	}
	list.links = count_links(pool, message->index);
	list.holder = pointers;
	list.more = page.count > PAGE_HOLDERS;
	list.expires_ms = time_left(pool, message->index);
	list.tickets = count_tickets(pool, message->index);
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_HOLDER_PAGE;
	reply.holder_page = &list;
	reply_send(request->connection, &reply);
}
