/* SPDX-License-Identifier: Apache-2.0 */
/* ListUsers: the accounts of the pool, in pages by uid. */
#include "request.h"

#include "accounts.h"
#include "connection.h"

/* Users on a page: about 8 KiB. A page looks at all accounts for each of them. */
#define PAGE_USERS 32

/* One user as it goes out, and what the message points at. */
struct line {
	Shmbuddy__V1__User user;
	Shmbuddy__V1__Charge charges[QUOTA_KIND_COUNT];
};

static void describe(const struct user *user, struct line *out_line)
{
	Shmbuddy__V1__Charge *charges = out_line->charges;

	shmbuddy__v1__user__init(&out_line->user);
	for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
		shmbuddy__v1__charge__init(&charges[kind]);
		charges[kind].used = user->account.used[kind];
		charges[kind].limit = user->account.quota->limit[kind];
	}
	out_line->user.uid = user->uid;
	out_line->user.guarantee = user->guarantee;
	out_line->user.bytes = &charges[QUOTA_BYTES];
	out_line->user.blocks = &charges[QUOTA_BLOCKS];
	out_line->user.names = &charges[QUOTA_NAMES];
	out_line->user.tickets = &charges[QUOTA_TICKETS];
	out_line->user.links = &charges[QUOTA_LINKS];
	out_line->user.waiters = &charges[QUOTA_WAITERS];
	out_line->user.sessions = &charges[QUOTA_SESSIONS];
}

void request_list_users(struct request *request)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__UserPage page = SHMBUDDY__V1__USER_PAGE__INIT;
	struct line lines[PAGE_USERS];
	Shmbuddy__V1__User *pointers[PAGE_USERS];
	const struct user *users[PAGE_USERS + 1]; /* one more than are told, to know whether there are any */
	size_t count = accounts_list(&request->pool->accounts, request->message->list_users->from, users, PAGE_USERS + 1);

	for (; page.n_user < count && page.n_user < PAGE_USERS; page.n_user++) {
		describe(users[page.n_user], &lines[page.n_user]);
		pointers[page.n_user] = &lines[page.n_user].user;
	}
	page.user = pointers;
	page.more = count > PAGE_USERS;
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_USER_PAGE;
	reply.user_page = &page;
	reply_send(request->connection, &reply);
}
