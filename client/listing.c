/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions and holders, which the daemon alone knows: listed page by page, into an array that the caller gets; and ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "name.h"

/* A page's reader: one for each kind. Runs under the connection's lock. */
struct listing {
	struct call call;
	void *items; /* malloc */
	size_t count;
	uint32_t after; /* last session seen */
	bool more;
};

/* Room for `more` items of `size` bytes each. */
static void *grow(struct listing *listing, size_t more, size_t size)
{
	void *items;

	if (listing->count + more == 0)
		return NULL;
	items = realloc(listing->items, (listing->count + more) * size);
	if (items)
		listing->items = items;
	return items;
}

/* A page goes on where the last one ended; else a bad daemon could keep us turning pages for ever. */
static int advance(struct listing *listing, uint32_t session)
{
	if (session <= listing->after)
		return -EPROTO;
	listing->after = session;
	return 0;
}

static int take_clients(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	struct listing *listing = (struct listing *)call;
	const Shmbuddy__V1__ClientPage *page = reply->client_page;
	shmb_client_info *clients;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_CLIENT_PAGE || (page->more && page->n_client == 0))
		return -EPROTO;
	clients = grow(listing, page->n_client, sizeof *clients);
	if (!clients && page->n_client)
		return -ENOMEM;
	for (size_t i = 0; i < page->n_client; i++) {
		const Shmbuddy__V1__Client *from = page->client[i];
		shmb_client_info *client = &clients[listing->count];

		if (advance(listing, from->session) < 0)
			return -EPROTO;
		*client = (shmb_client_info){
			.session = from->session,
			.pid = from->pid,
			.uid = from->uid,
			.gid = from->gid,
			.access = from->access == SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY ? SHMB_READ_ONLY : SHMB_READ_WRITE,
			.connected = from->connected,
			.connected_ns = from->connected_at,
			.blocks = from->blocks,
			.bytes = from->bytes,
			.requests = from->requests,
		};
		name_clean(from->program, strlen(from->program), sizeof client->program, client->program);
		listing->count++;
	}
	listing->more = page->more;
	return 0;
}

static int take_holders(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	struct listing *listing = (struct listing *)call;
	const Shmbuddy__V1__HolderPage *page = reply->holder_page;
	shmb_holder_info *holders;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_HOLDER_PAGE || (page->more && page->n_holder == 0))
		return -EPROTO;
	holders = grow(listing, page->n_holder, sizeof *holders);
	if (!holders && page->n_holder)
		return -ENOMEM;
	for (size_t i = 0; i < page->n_holder; i++) {
		const Shmbuddy__V1__Holder *from = page->holder[i];
		shmb_holder_info *holder = &holders[listing->count];

		if (advance(listing, from->session) < 0)
			return -EPROTO;
		*holder = (shmb_holder_info){
			.session = from->session,
			.pid = from->pid,
			.uid = from->uid,
			.references = from->references,
			.allocated = from->allocated,
		};
		name_clean(from->program, strlen(from->program), sizeof holder->program, holder->program);
		listing->count++;
	}
	listing->more = page->more;
	return 0;
}

int shmb_list_clients(shmb_session *session, shmb_client_info **out_clients, size_t *out_count)
{
	struct listing listing = {.more = true};
	int r = 0;

	if (!out_clients || !out_count)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_clients ? "out_count" : "out_clients");
	while (r == 0 && listing.more) {
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		Shmbuddy__V1__ListClients body = SHMBUDDY__V1__LIST_CLIENTS__INIT;

		body.after = listing.after;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_CLIENTS;
		request.list_clients = &body;
		call_init(&listing.call, take_clients);
		r = session_perform(session, &listing.call, &request);
	}
	if (r < 0) {
		free(listing.items);
		return r;
	}
	*out_clients = listing.items;
	*out_count = listing.count;
	return 0;
}

int shmb_list_holders(shmb_session *session, uint64_t id, shmb_holder_info **out_holders, size_t *out_count)
{
	struct listing listing = {.more = true};
	Shmbuddy__V1__Handle wire;
	int r;

	if (!out_holders || !out_count)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_holders ? "out_count" : "out_holders");
	r = block_find_handle(session, id, &wire);
	while (r == 0 && listing.more) {
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		Shmbuddy__V1__ListHolders body = SHMBUDDY__V1__LIST_HOLDERS__INIT;

		body.handle = &wire;
		body.after = listing.after;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_HOLDERS;
		request.list_holders = &body;
		call_init(&listing.call, take_holders);
		r = session_perform(session, &listing.call, &request);
	}
	if (r < 0) {
		free(listing.items);
		return block_gone(r, id);
	}
	*out_holders = listing.items;
	*out_count = listing.count;
	return 0;
}

/* A page of the holders behind the last one that there can be: what else it tells. */
struct lifetime_call {
	struct call call;
	shmb_lifetime *out_lifetime;
};

static int take_lifetime(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	const struct lifetime_call *lifetime = (const struct lifetime_call *)call;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_HOLDER_PAGE)
		return -EPROTO;
	*lifetime->out_lifetime = (shmb_lifetime){.expires_ms = reply->holder_page->expires_ms,
	                                          .tickets = reply->holder_page->tickets,
	                                          .links = reply->holder_page->links};
	return 0;
}

int shmb_get_lifetime(shmb_session *session, uint64_t id, shmb_lifetime *out_lifetime)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__ListHolders body = SHMBUDDY__V1__LIST_HOLDERS__INIT;
	Shmbuddy__V1__Handle wire;
	struct lifetime_call lifetime;
	int r;

	if (!out_lifetime)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_lifetime is NULL");
	r = block_find_handle(session, id, &wire);
	if (r < 0)
		return r;
	body.handle = &wire;
	body.after = UINT32_MAX;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_HOLDERS;
	request.list_holders = &body;
	call_init(&lifetime.call, take_lifetime);
	lifetime.out_lifetime = out_lifetime;
	return block_gone(session_perform(session, &lifetime.call, &request), id);
}

int shmb_session_number(shmb_session *session, uint32_t *out_number)
{
	int r;

	if (!out_number)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_number is NULL");
	r = session_enter(session);
	if (r == 0)
		*out_number = session->number;
	return r;
}

int shmb_end_session(shmb_session *session, uint32_t number, bool kill_process)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__EndSession body = SHMBUDDY__V1__END_SESSION__INIT;
	struct call call;

	if (number == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "no session has the number 0");
	body.session = number;
	body.kill = kill_process;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_END_SESSION;
	request.end_session = &body;
	call_init(&call, NULL);
	call.once = true; /* after a restart the number may be another's */
	return session_perform(session, &call, &request);
}
