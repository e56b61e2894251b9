/* SPDX-License-Identifier: Apache-2.0 */
/* ListClients: the sessions of the pool, in pages by number. */
#include "request.h"

#include "arena.h"
#include "connection.h"
#include "daemon.h"
#include "errors.h"

/* Sessions on a page: about 8 KiB. */
#define PAGE_CLIENTS 64

static void describe(const struct session *session, Shmbuddy__V1__Client *out_client)
{
	shmbuddy__v1__client__init(out_client);
	out_client->session = session->number;
	out_client->pid = session->pid;
	out_client->uid = session->record->uid;
	out_client->gid = session->record->gid;
	out_client->program = (char *)session->program;
	out_client->access =
		session->read_only ? SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY : SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE;
	out_client->connected = session->connection != NULL;
	out_client->connected_at = session->record->opened_ns;
	out_client->blocks = session->held;
	out_client->bytes = session->account.used[QUOTA_BYTES];
	out_client->requests = session->requests;
}

void request_list_clients(struct request *request)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__ClientPage page = SHMBUDDY__V1__CLIENT_PAGE__INIT;
	Shmbuddy__V1__Client clients[PAGE_CLIENTS], *pointers[PAGE_CLIENTS];
	uint32_t after = request->message->list_clients->after;
	const struct session *session = after == UINT32_MAX ? NULL : sessions_from(&request->pool->sessions, after + 1);

	for (; session && page.n_client < PAGE_CLIENTS; session = sessions_from(&request->pool->sessions, session->number + 1)) {
		describe(session, &clients[page.n_client]);
		pointers[page.n_client] = &clients[page.n_client];
		page.n_client++;
	}
	page.client = pointers;
	page.more = session != NULL;
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_CLIENT_PAGE;
	reply.client_page = &page;
	reply_send(request->connection, &reply);
}
