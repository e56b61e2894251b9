/* SPDX-License-Identifier: Apache-2.0 */
/* The accounts of users, which the daemon alone knows: listed page by page, into an array that the caller gets. */
#include <errno.h>
#include <stdlib.h>

#include "call.h"
#include "last_error.h"
#include "session.h"

/* Runs under the connection's lock. */
struct user_listing {
	struct call call;
	shmb_user_info *users; /* malloc */
	size_t count;
	uint64_t from; /* the next page's lowest uid */
	bool more;
};

static shmb_charge charge_of(const Shmbuddy__V1__Charge *from)
{
	return from ? (shmb_charge){from->used, from->limit} : (shmb_charge){0, SHMB_NO_LIMIT};
}

static shmb_user_info user_of(const Shmbuddy__V1__User *from)
{
	return (shmb_user_info){
		.uid = from->uid,
		.guarantee = from->guarantee,
		.bytes = charge_of(from->bytes),
		.blocks = charge_of(from->blocks),
		.names = charge_of(from->names),
		.tickets = charge_of(from->tickets),
		.links = charge_of(from->links),
		.waiters = charge_of(from->waiters),
		.sessions = charge_of(from->sessions),
	};
}

static int take_users(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	struct user_listing *listing = (struct user_listing *)call;
	const Shmbuddy__V1__UserPage *page = reply->user_page;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_USER_PAGE || (page->more && page->n_user == 0))
		return -EPROTO;
	listing->more = page->more;
	if (page->n_user == 0)
		return 0;
	shmb_user_info *users = reallocarray(listing->users, listing->count + page->n_user, sizeof *users);
	if (!users)
		return -ENOMEM;
	listing->users = users;
	for (size_t i = 0; i < page->n_user; i++) {
		/* A page goes on where the last one ended; else a bad daemon could keep us turning pages for ever. */
		if (page->user[i]->uid < listing->from)
			return -EPROTO;
		listing->from = (uint64_t)page->user[i]->uid + 1;
		users[listing->count++] = user_of(page->user[i]);
	}
	return listing->more && listing->from > UINT32_MAX ? -EPROTO : 0;
}

int shmb_list_users(shmb_session *session, shmb_user_info **out_users, size_t *out_count)
{
	struct user_listing listing = {.more = true};
	int r = 0;

	if (!out_users || !out_count)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_users ? "out_count" : "out_users");
	while (r == 0 && listing.more) {
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		Shmbuddy__V1__ListUsers body = SHMBUDDY__V1__LIST_USERS__INIT;

		body.from = (uint32_t)listing.from;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_USERS;
		request.list_users = &body;
		call_init(&listing.call, take_users);
		r = session_perform(session, &listing.call, &request);
	}
	if (r < 0) {
		free(listing.users);
		return r;
	}
	*out_users = listing.users;
	*out_count = listing.count;
	return 0;
}
