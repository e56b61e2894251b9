/* SPDX-License-Identifier: Apache-2.0 */
/* ListHolders: the sessions that hold one block, in pages by number. */
#include "request.h"

#include "errors.h"
#include "lifetime.h"

/* Sessions on a page. */
#define PAGE_HOLDERS 64

/* The holder with the lowest number above `after`, from the owner and the references of the block. NULL: none. */
static const struct session *next_holder(const struct pool *pool, uint32_t block, uint32_t after, uint32_t *out_references)
{
	uint32_t owner = blocks_body(&pool->blocks, block)->owner;
	uint32_t lowest = owner > after ? owner : UINT32_MAX, counted = 0;

	for (uint32_t link = pool->blocks.references[block]; link; link = pool->references.of_block[link - 1].next) {
		uint32_t session = pool->references.records[link - 1].session;
		if (session > after && session <= lowest) {
			lowest = session;
			counted = REFERENCE_COUNT(references_word(&pool->references, link - 1));
		}
	}
	*out_references = counted;
	return lowest == UINT32_MAX ? NULL : pool->sessions.by_number[lowest];
}

void request_list_holders(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->list_holders->handle;
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__HolderPage page = SHMBUDDY__V1__HOLDER_PAGE__INIT;
	Shmbuddy__V1__Holder holders[PAGE_HOLDERS], *pointers[PAGE_HOLDERS];
	const struct pool *pool = request->pool;

	if (!message || lifetime_find_block(pool, &(struct handle){message->id, message->index, message->incarnation})) {
		request_reply(request, ERROR_NO_SUCH_BLOCK, NULL);
		return;
	}
	uint32_t owner = blocks_body(&pool->blocks, message->index)->owner, references;
	const struct session *session = next_holder(pool, message->index, request->message->list_holders->after, &references);
	while (session && page.n_holder < PAGE_HOLDERS) {
		Shmbuddy__V1__Holder *holder = &holders[page.n_holder];
		shmbuddy__v1__holder__init(holder);
		holder->session = session->number;
		holder->pid = session->record->pid;
		holder->uid = session->record->uid;
		holder->program = (char *)session->program;
		holder->allocated = owner == session->number;
		holder->references = references + (owner == session->number);
		pointers[page.n_holder++] = holder;
		session = next_holder(pool, message->index, session->number, &references);
	}
	page.holder = pointers;
	page.more = session != NULL;
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_HOLDER_PAGE;
	reply.holder_page = &page;
	reply_send(request->connection, &reply);
}
