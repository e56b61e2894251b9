/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies at every point of every operation. In a build with SHMB_COMMIT_TRAP it stops itself right before its commit
 * number N (server/commit.h); here N rises until the operation gets its answer, so no point can be forgotten, whatever is built
 * into an operation later. For each N: a fresh pool is prepared, a daemon with the trap takes it over, the client takes its session
 * up and sends the request. After the death:
 *
 * - the recovery itself is killed at its first commit, at its second, and so on, until one comes through;
 * - the client takes its session up again and sends the same request in the same slot with the same sequence, twice: the answer is
 *   that of an undisturbed run, and both times the same;
 * - the tables agree with a fresh recount, which is that of an undisturbed run;
 * - the session goes on, and when all has been given back the pool is empty.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "hold_layout.h"
#include "server/state_layout.h"
#include "shmbuddy.h"
#include "tests/support/accounting.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"
#include "view_layout.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define SLOT 1
#define BLOCKS 6
#define COMMITS_MAX 1000 /* no operation here has so many: the counting would never end */

static struct daemon_fixture fixture;
static uint8_t ticket[16];              /* that was shared beforehand, or last */
static Shmbuddy__V1__Handle last_block; /* the block of the last answer that had one */
static struct raw_session mine = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;
static Shmbuddy__V1__Handle block[BLOCKS];

struct operation {
	const char *name;
	void (*prepare)(void);
	Shmbuddy__V1__Request *(*request)(void); /* NULL: the operation is `act` */
	/* Ends or opens a session. True: it has happened; false: the daemon died first. `again`: it did, and was restarted. */
	bool (*act)(bool again);
};

/* What an operation led to: its answer without what differs from run to run, and the tables. */
struct result {
	Shmbuddy__V1__Status status;
	uint64_t blocks, size, granted; /* in the answer */
	uint64_t counted[14];
};

/* As root this process is two users, the one of `mine` and root, so that charges move from one to the other. */
#define MINE 1001

static void become(uid_t uid)
{
	if (getuid() == 0)
		assert_int_equal(seteuid(uid), 0);
}

static void let_all_in(void)
{
	assert_int_equal(chmod(fixture.directory, 0711), 0);
	assert_int_equal(chmod(fixture.socket_path, 0666), 0);
}

/* 0: answered; else the daemon died. */
static int ask(Shmbuddy__V1__Request *request, Shmbuddy__V1__Reply **out_reply)
{
	request->slot = SLOT;
	request->sequence = 1;
	return raw_client_call(&mine.client, request, out_reply);
}

/* ---- The operations --------------------------------------------------------------------------------------------- */

static void allocate(struct raw_session *session, unsigned which, uint64_t size, const char *name)
{
	assert_int_equal(raw_session_allocate(session, size, name, &block[which]), OK);
}

static void prepare_nothing(void) {}

static void prepare_owned(void)
{
	allocate(&mine, 0, 5000, NULL);
}

static void prepare_owned_and_named(void)
{
	allocate(&mine, 0, 5000, "kept");
}

static void prepare_named(void)
{
	allocate(&other, 0, 5000, "theirs");
}

static void prepare_looked_up(void)
{
	prepare_named();
	assert_int_equal(raw_session_lookup(&mine, "theirs", NULL), OK);
}

static void prepare_looked_up_twice(void)
{
	prepare_looked_up();
	assert_int_equal(raw_session_lookup(&mine, "theirs", NULL), OK);
}

/* Mine is the last hold. */
static void prepare_looked_up_alone(void)
{
	prepare_looked_up();
	assert_int_equal(raw_session_free(&other, &block[0]), OK);
	assert_int_equal(raw_session_unpublish(&other, "theirs"), OK);
}

static void prepare_name_alone(void)
{
	prepare_owned_and_named();
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

static void prepare_two_names_alone(void)
{
	prepare_owned_and_named();
	assert_int_equal(raw_session_publish(&mine, &block[0], "second"), OK);
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

/* Owned; owned and named; another's, held twice; owned and looked up; mine as the last hold. */
static void prepare_mixed(void)
{
	allocate(&mine, 0, 100, NULL);
	allocate(&mine, 1, 5000, "named");
	allocate(&other, 2, 300, "theirs");
	assert_int_equal(raw_session_lookup(&mine, "theirs", NULL), OK);
	assert_int_equal(raw_session_lookup(&mine, "theirs", NULL), OK);
	allocate(&mine, 3, 64, "both");
	assert_int_equal(raw_session_lookup(&mine, "both", NULL), OK);
	allocate(&other, 4, 700, "given");
	assert_int_equal(raw_session_lookup(&mine, "given", NULL), OK);
	assert_int_equal(raw_session_free(&other, &block[4]), OK);
	assert_int_equal(raw_session_unpublish(&other, "given"), OK);
}

/* A name of a block that has an owner as well, and a second block. */
static void prepare_named_and_other(void)
{
	prepare_owned_and_named();
	allocate(&mine, 1, 300, NULL);
}

/* Only its name holds the one. */
static void prepare_name_alone_and_other(void)
{
	prepare_named_and_other();
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

static void prepare_range(void)
{
	allocate(&other, 0, 5000, NULL);
	assert_int_equal(raw_session_call(&other, raw_request_publish_range(&block[0], "theirs", false, 1000, 0)), OK);
}

/* Of this session's own block, from byte 1000 to its end. */
static void prepare_own_range(void)
{
	allocate(&mine, 0, 5000, NULL);
	assert_int_equal(raw_session_call(&mine, raw_request_publish_range(&block[0], "own", false, 1000, 0)), OK);
}

static void prepare_range_looked_up(void)
{
	prepare_range();
	assert_int_equal(raw_session_lookup(&mine, "theirs", NULL), OK);
}

static void link_blocks(unsigned from, unsigned to)
{
	assert_int_equal(raw_session_call(&mine, raw_request_link(&block[from], &block[to])), OK);
}

static void prepare_two(void)
{
	allocate(&mine, 0, 5000, NULL);
	allocate(&mine, 1, 300, NULL);
}

static void prepare_linked(void)
{
	prepare_two();
	link_blocks(0, 1);
}

/* Only the link holds the second. */
static void prepare_linked_alone(void)
{
	prepare_linked();
	assert_int_equal(raw_session_free(&mine, &block[1]), OK);
}

/* 0 holds 1 and 2, both hold 3: all but the first by links alone. */
static void prepare_diamond(void)
{
	for (unsigned i = 0; i < 4; i++)
		allocate(&mine, i, 100 + 1000 * i, NULL);
	link_blocks(0, 1);
	link_blocks(0, 2);
	link_blocks(1, 3);
	link_blocks(2, 3);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(raw_session_free(&mine, &block[i]), OK);
}

static Shmbuddy__V1__Request *request_seal(void);
static Shmbuddy__V1__Request *request_set_metadata(void);

static void prepare_sealed(void)
{
	prepare_owned();
	assert_int_equal(raw_session_call(&mine, request_seal()), OK);
}

static void prepare_with_metadata(void)
{
	prepare_owned();
	assert_int_equal(raw_session_call(&mine, request_set_metadata()), OK);
}

/* What it had is for others, and what lies behind it is not free: it cannot grow in its place. */
static void prepare_hemmed_in(void)
{
	prepare_with_metadata();
	allocate(&other, 1, 5000, NULL);
}

/* Others may know it, and have hold pages. */
static void prepare_with_pages(void)
{
	struct raw_client client = {.fd = -1};
	Shmbuddy__V1__OpenHolds message = SHMBUDDY__V1__OPEN_HOLDS__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Reply *reply;

	prepare_owned();
	assert_int_equal(raw_session_acquire(&mine, &block[0]), OK);
	message.token = (ProtobufCBinaryData){sizeof other.token, other.token};
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_OPEN_HOLDS;
	request.open_holds = &message;
	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
	assert_int_equal(raw_client_call(&client, &request, &reply), 0);
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	raw_client_close(&client);
}

static Shmbuddy__V1__Request *request_allocate(void)
{
	return raw_request_allocate(5000, NULL);
}

static Shmbuddy__V1__Request *request_allocate_much(void)
{
	return raw_request_allocate(300000, NULL);
}

static Shmbuddy__V1__Request *request_allocate_named(void)
{
	return raw_request_allocate(5000, "new");
}

static Shmbuddy__V1__Request *request_allocate_taken(void)
{
	return raw_request_allocate(5000, "kept");
}

static Shmbuddy__V1__Request *request_allocate_batch(void)
{
	static uint64_t sizes[] = {100, 5000, 64, 1, 300};
	static Shmbuddy__V1__AllocateBatch batch;
	static Shmbuddy__V1__Request request;

	batch = (Shmbuddy__V1__AllocateBatch)SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	batch.n_size = sizeof sizes / sizeof sizes[0];
	batch.size = sizes;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	return &request;
}

static Shmbuddy__V1__Request *request_free(void)
{
	return raw_request_free(&block[0]);
}

static Shmbuddy__V1__Request *free_batch(const unsigned *which, size_t count)
{
	static uint64_t ids[BLOCKS + 2];
	static uint32_t indexes[BLOCKS + 2];
	static Shmbuddy__V1__FreeBatch batch;
	static Shmbuddy__V1__Request request;

	for (size_t i = 0; i < count; i++) {
		ids[i] = block[which[i]].id;
		indexes[i] = block[which[i]].index;
	}
	batch = (Shmbuddy__V1__FreeBatch)SHMBUDDY__V1__FREE_BATCH__INIT;
	batch.incarnation = block[0].incarnation;
	batch.n_id = batch.n_index = count;
	batch.id = ids;
	batch.index = indexes;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH;
	request.free_batch = &batch;
	return &request;
}

static Shmbuddy__V1__Request *request_free_batch(void)
{
	return free_batch((const unsigned[]){0, 1, 2, 2, 3, 3, 4}, 7);
}

/* One too many of block 0: none is freed. */
static Shmbuddy__V1__Request *request_free_batch_refused(void)
{
	return free_batch((const unsigned[]){0, 1, 2, 3, 4, 0}, 6);
}

static Shmbuddy__V1__Request *request_publish(void)
{
	return raw_request_publish(&block[0], "published");
}

static Shmbuddy__V1__Request *request_publish_range(void)
{
	return raw_request_publish_range(&block[0], "published", true, 100, 200);
}

static Shmbuddy__V1__Request *request_replace(void)
{
	return raw_request_publish_range(&block[1], "kept", true, 0, 0);
}

static Shmbuddy__V1__Request *request_replace_by_range(void)
{
	return raw_request_publish_range(&block[0], "kept", true, 4000, 1000);
}

static Shmbuddy__V1__Request *request_publish_beyond(void)
{
	return raw_request_publish_range(&block[0], "published", false, 4000, 1001);
}

static Shmbuddy__V1__Request *request_allocate_replacing(void)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(300, "kept");

	request->allocate->replace = true;
	return request;
}

static Shmbuddy__V1__Request *unpublish(const char *name)
{
	static Shmbuddy__V1__Unpublish message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Unpublish)SHMBUDDY__V1__UNPUBLISH__INIT;
	message.name = (char *)(uintptr_t)name;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_UNPUBLISH;
	request.unpublish = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_unpublish(void)
{
	return unpublish("kept");
}

static Shmbuddy__V1__Request *request_lookup(void)
{
	return raw_request_lookup("theirs");
}

static Shmbuddy__V1__Request *request_acquire(void)
{
	return raw_request_acquire(&block[0]);
}

static Shmbuddy__V1__Request *request_clone(void)
{
	static Shmbuddy__V1__Clone message;
	static Shmbuddy__V1__Request request;
	static uint64_t id;
	static uint32_t index;

	/* One of another's too, as if by a hold page. */
	id = block[2].id;
	index = block[2].index;
	message = (Shmbuddy__V1__Clone)SHMBUDDY__V1__CLONE__INIT;
	message.incarnation = block[2].incarnation;
	message.n_id = message.n_index = 1;
	message.id = &id;
	message.index = &index;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_CLONE;
	request.clone = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_link(void)
{
	return raw_request_link(&block[0], &block[1]);
}

static Shmbuddy__V1__Request *request_unlink(void)
{
	return raw_request_unlink(&block[0], &block[1]);
}

static Shmbuddy__V1__Request *request_remove(void)
{
	static Shmbuddy__V1__Remove message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Remove)SHMBUDDY__V1__REMOVE__INIT;
	message.handle = &block[0];
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REMOVE;
	request.remove = &message;
	return &request;
}

/* ---- Tickets and times to live ---------------------------------------------------------------------------------- */

#define MANY_NAMES 65
#define LONG_MS 600000 /* nothing here lives to see it pass */

static Shmbuddy__V1__Request *request_share(void)
{
	static Shmbuddy__V1__Share message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Share)SHMBUDDY__V1__SHARE__INIT;
	message.handle = &block[0];
	message.ttl_ms = LONG_MS;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SHARE;
	request.share = &message;
	return &request;
}

static void share(struct raw_session *session)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(session, 0, ++session->sequence, request_share());

	assert_int_equal(reply->status, OK);
	assert_int_equal(reply->ticket->token.len, sizeof ticket);
	memcpy(ticket, reply->ticket->token.data, sizeof ticket);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* The ticket is the last hold. */
static void prepare_ticket_alone(void)
{
	allocate(&other, 0, 5000, NULL);
	share(&other);
	assert_int_equal(raw_session_free(&other, &block[0]), OK);
}

static void prepare_ticket_looked_up(void)
{
	prepare_looked_up();
	share(&other);
}

static void prepare_ticket_owned(void)
{
	prepare_owned();
	share(&mine);
}

static Shmbuddy__V1__Request *request_redeem(void)
{
	static Shmbuddy__V1__Redeem message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Redeem)SHMBUDDY__V1__REDEEM__INIT;
	message.token = (ProtobufCBinaryData){sizeof ticket, ticket};
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REDEEM;
	request.redeem = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_revoke(void)
{
	static Shmbuddy__V1__Revoke message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Revoke)SHMBUDDY__V1__REVOKE__INIT;
	message.token = (ProtobufCBinaryData){sizeof ticket, ticket};
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REVOKE;
	request.revoke = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_allocate_for(uint64_t ttl_ms, const char *name)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, name);

	request->allocate->ttl_ms = ttl_ms;
	return request;
}

static void allocate_for(struct raw_session *session, unsigned which, uint64_t ttl_ms, const char *name)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(session, 0, ++session->sequence, request_allocate_for(ttl_ms, name));

	assert_int_equal(reply->status, OK);
	block[which] = *reply->block->handle;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static Shmbuddy__V1__Request *request_allocate_leased(void)
{
	return request_allocate_for(LONG_MS, "new");
}

static Shmbuddy__V1__Request *renew(Shmbuddy__V1__Handle *handle, uint64_t ttl_ms)
{
	static Shmbuddy__V1__Renew message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Renew)SHMBUDDY__V1__RENEW__INIT;
	message.handle = handle;
	message.ttl_ms = ttl_ms;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RENEW;
	request.renew = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_renew(void)
{
	return renew(&block[0], 2 * LONG_MS);
}

static Shmbuddy__V1__Request *request_renew_never(void)
{
	return renew(&block[0], 0);
}

static void prepare_leased(void)
{
	allocate_for(&mine, 0, LONG_MS, "leased");
}

/* The lease is the last hold. */
static void prepare_lease_alone(void)
{
	allocate_for(&mine, 0, LONG_MS, NULL);
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

/* It cannot grow in its place. */
static void prepare_leased_and_hemmed_in(void)
{
	prepare_leased();
	allocate(&other, 1, 5000, NULL);
}

static void prepare_lease_and_name_alone(void)
{
	prepare_leased();
	assert_int_equal(raw_session_publish(&mine, &block[0], "second"), OK);
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

/* Two names and a lease hold one block, and a session another one as well. A third one is shared when the time has come. */
static void prepare_to_expire(void)
{
	prepare_lease_and_name_alone();
	allocate_for(&mine, 1, LONG_MS, "held");
	assert_int_equal(raw_session_publish(&mine, &block[1], "held again"), OK);
	allocate(&other, 2, 300, NULL);
}

/* So many that they do not go in one piece. A lease holds it as well, if `leased`. */
static void prepare_many_names(bool leased)
{
	char name[16];

	if (leased)
		allocate_for(&mine, 0, LONG_MS, NULL);
	else
		prepare_owned();
	for (unsigned i = 0; i < MANY_NAMES; i++) {
		snprintf(name, sizeof name, "name %u", i);
		assert_int_equal(raw_session_publish(&mine, &block[0], name), OK);
	}
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

static void prepare_many_names_alone(void)
{
	prepare_many_names(false);
}

static void prepare_lease_and_many_names(void)
{
	prepare_many_names(true);
}

static Shmbuddy__V1__Request *cache(Shmbuddy__V1__Handle *handle)
{
	Shmbuddy__V1__Request *request = request_seal();

	request->seal->handle = handle;
	request->seal->cached = true;
	return request;
}

static Shmbuddy__V1__Request *request_cache(void)
{
	return cache(&block[0]);
}

/* Two names and a time to live are all that this cache block has. */
static void prepare_cached(void)
{
	prepare_leased();
	assert_int_equal(raw_session_publish(&mine, &block[0], "second"), OK);
	assert_int_equal(raw_session_call(&mine, request_cache()), OK);
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

/* So that no more fits, but where the first one is, which was used first. */
static void prepare_cache(void)
{
	allocate(&mine, 0, 300000, "first");
	assert_int_equal(raw_session_publish(&mine, &block[0], "second"), OK);
	assert_int_equal(raw_session_call(&mine, renew(&block[0], LONG_MS)), OK);
	allocate(&mine, 1, 300000, "third");
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(raw_session_call(&mine, cache(&block[i])), OK);
		assert_int_equal(raw_session_free(&mine, &block[i]), OK);
	}
}

/* As it expires. */
static void prepare_to_expire_cached(void)
{
	prepare_to_expire();
	assert_int_equal(raw_session_acquire(&mine, &block[0]), OK);
	assert_int_equal(raw_session_call(&mine, request_cache()), OK);
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
}

static bool wait_for_expiry(void)
{
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited++) {
		struct view_counters counters;
		Shmbuddy__V1__Reply *reply;
		Shmbuddy__V1__Request *ping = raw_request_ping();

		/* The daemon must answer: the counters may be those of one that died. */
		ping->sequence = ++other.sequence;
		if (raw_client_call(&other.client, ping, &reply) < 0)
			return false;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		assert_int_equal(pread(other.view, &counters, sizeof counters, VIEW_COUNTERS_AT), sizeof counters);
		if (atomic_load(&counters.tickets) == 0 && atomic_load(&counters.leases) == 0)
			return true;
		poll(NULL, 0, 1);
	}
	fail_msg("what has come to its deadline does not expire");
	return false;
}

/* False: the daemon died. Again, what it is asked for may have gone already. */
static bool tell(Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply *reply;

	request->sequence = ++other.sequence;
	if (raw_client_call(&other.client, request, &reply) < 0)
		return false;
	assert_true(reply->status == OK || reply->status == SHMBUDDY__V1__STATUS__STALE_HANDLE ||
	            reply->status == SHMBUDDY__V1__STATUS__NOT_HELD);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return true;
}

/* One block is freed with its names, one loses its names, and one is freed with its ticket. */
static bool act_expiry(bool again)
{
	Shmbuddy__V1__Request *request = request_share();

	(void)again;
	request->share->handle = &block[2];
	request->share->ttl_ms = 1;
	if (!tell(request) || !tell(raw_request_free(&block[2])))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (!tell(renew(&block[i], 1)))
			return false;
	}
	return wait_for_expiry();
}

/* It is answered when it was decided, and so it is when it is sent again; the names go after that. */
static bool act_remove_many(bool again)
{
	(void)again;
	for (unsigned i = 0; i < 2; i++) {
		Shmbuddy__V1__Reply *reply;
		if (ask(request_remove(), &reply) < 0)
			return false;
		assert_int_equal(reply->status, OK);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	return wait_for_expiry();
}

static Shmbuddy__V1__Request *request_seal(void)
{
	static Shmbuddy__V1__Seal message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Seal)SHMBUDDY__V1__SEAL__INIT;
	message.handle = &block[0];
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SEAL;
	request.seal = &message;
	return &request;
}

static Shmbuddy__V1__Request *set_metadata(const char *text)
{
	static Shmbuddy__V1__SetMetadata message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__SetMetadata)SHMBUDDY__V1__SET_METADATA__INIT;
	message.handle = &block[0];
	message.metadata = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SET_METADATA;
	request.set_metadata = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_set_metadata(void)
{
	return set_metadata("a shape");
}

static Shmbuddy__V1__Request *request_no_metadata(void)
{
	return set_metadata("");
}

static Shmbuddy__V1__Request *request_allocate_with_metadata(void)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "new");

	request->allocate->metadata = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "a shape"};
	return request;
}

/* A name that is replaced, a time to live, metadata. */
static Shmbuddy__V1__Request *request_allocate_with_all(void)
{
	Shmbuddy__V1__Request *request = request_allocate_replacing();

	request->allocate->ttl_ms = LONG_MS;
	request->allocate->metadata = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "a shape"};
	return request;
}

static Shmbuddy__V1__Request *resize(uint64_t size)
{
	static Shmbuddy__V1__Resize message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Resize)SHMBUDDY__V1__RESIZE__INIT;
	message.handle = &block[0];
	message.size = size;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RESIZE;
	request.resize = &message;
	return &request;
}

static Shmbuddy__V1__Request *request_shrink(void)
{
	return resize(100);
}

static Shmbuddy__V1__Request *request_shrink_to_range(void)
{
	return resize(1001);
}

static Shmbuddy__V1__Request *request_grow(void)
{
	return resize(10000);
}

static Shmbuddy__V1__Request *request_grow_much(void)
{
	return resize(300000);
}

/* ---- The operations that open and end sessions ------------------------------------------------------------------ */

/* The pool has `count` sessions: false, if the daemon dies before that. */
static bool wait_for_sessions(size_t count)
{
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited++) {
		Shmbuddy__V1__ListClients list = SHMBUDDY__V1__LIST_CLIENTS__INIT;
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		Shmbuddy__V1__Reply *reply;

		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_CLIENTS;
		request.list_clients = &list;
		request.sequence = ++other.sequence;
		if (raw_client_call(&other.client, &request, &reply) < 0)
			return false;
		size_t found = reply->client_page->n_client;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		if (found == count)
			return true;
		poll(NULL, 0, 1);
	}
	fail_msg("the pool has not come to have %zu sessions", count);
	return false;
}

/* A client whose hello was not answered knows nothing of a session, and says hello again. */
static bool act_hello(bool again)
{
	static struct raw_client client = {.fd = -1};
	Shmbuddy__V1__Reply *reply;

	(void)again;
	raw_client_close(&client);
	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
	if (raw_client_hello(&client, &reply) < 0) {
		raw_client_close(&client);
		return false;
	}
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	bool alive = wait_for_sessions(3);
	raw_client_close(&client);
	return alive && wait_for_sessions(2);
}

static bool act_goodbye(bool again)
{
	Shmbuddy__V1__Goodbye message = SHMBUDDY__V1__GOODBYE__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Reply *reply;

	/* Again: it may have been understood, and then there is no such session. */
	if (again && mine.client.fd < 0)
		return wait_for_sessions(1);
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_GOODBYE;
	request.goodbye = &message;
	request.slot = SLOT;
	request.sequence = 1;
	if (raw_client_call(&mine.client, &request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	raw_session_close(&mine);
	return wait_for_sessions(1);
}

static bool act_death(bool again)
{
	(void)again;
	raw_session_close(&mine);
	return wait_for_sessions(1);
}

/* As the view says now. */
static uint64_t links_counted(void)
{
	char path[128];
	uint64_t links;

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.view", fixture.pool);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &links, sizeof links, VIEW_COUNTERS_AT + (off_t)offsetof(struct view_counters, links)),
	                 sizeof links);
	return links;
}

/* What the block held goes after the answer, a link at a time. */
static bool act_free_diamond(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_free(&block[0]);
	Shmbuddy__V1__Reply *reply;

	(void)again;
	request->slot = SLOT;
	request->sequence = 1;
	if (raw_client_call(&mine.client, request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	do {
		if (!wait_for_sessions(2))
			return false;
	} while (links_counted() > 0);
	return true;
}

/* 0 to 2 hold each other in a circle, and that holds 3. Only links hold any of them; and so does what is held of 4 and 5. */
static void prepare_circle(void)
{
	for (unsigned i = 0; i < 6; i++)
		allocate(&mine, i, 100 + 1000 * i, NULL);
	for (unsigned i = 0; i < 3; i++)
		link_blocks(i, (i + 1) % 3);
	link_blocks(2, 3);
	link_blocks(4, 5);
	link_blocks(5, 4);
	link_blocks(0, 4);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(raw_session_free(&mine, &block[i]), OK);
}

/* However far it had come: the circle is there as a whole, or nothing of it is. */
static void expect_whole_or_gone(void)
{
	unsigned there = 0;

	for (unsigned i = 0; i < 4; i++) {
		Shmbuddy__V1__Status status = raw_session_call(&other, raw_request_acquire(&block[i]));
		assert_true(status == OK || status == SHMBUDDY__V1__STATUS__STALE_HANDLE);
		there += status == OK;
	}
	assert_true(there == 0 || there == 4);
	for (unsigned i = 0; i < there; i++)
		assert_int_equal(raw_session_free(&other, &block[i]), OK);
}

static Shmbuddy__V1__Request *request_collect(void)
{
	static Shmbuddy__V1__Collect message;
	static Shmbuddy__V1__Request request;

	message = (Shmbuddy__V1__Collect)SHMBUDDY__V1__COLLECT__INIT;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_COLLECT;
	request.collect = &message;
	return &request;
}

static bool act_collect(bool again)
{
	Shmbuddy__V1__Request *request = request_collect();
	Shmbuddy__V1__Reply *reply;

	if (again)
		expect_whole_or_gone();
	request->slot = SLOT;
	request->sequence = 1 + again;
	if (raw_client_call(&mine.client, request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return true;
}

/* The session is asked to end, and lets go of its lock as soon as it has heard that: at once, or from the next daemon. */
static bool act_asked(bool again)
{
	Shmbuddy__V1__EndSession message = SHMBUDDY__V1__END_SESSION__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Reply *reply;

	message.session = mine.number;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_END_SESSION;
	request.end_session = &message;
	request.sequence = ++other.sequence;
	if (raw_client_call(&other.client, &request, &reply) < 0)
		return false;
	/* Again: it may have heard of it from the daemon that took the pool over, and be gone. */
	assert_true(reply->status == OK || (again && reply->status == SHMBUDDY__V1__STATUS__SESSION_ENDED));
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	raw_session_close(&mine);
	return wait_for_sessions(1);
}

/* ---- The operations with hold pages ----------------------------------------------------------------------------- */

static int open_hold_page(void)
{
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.hold.%u", fixture.pool, (unsigned)mine.number);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* The inode that the record of `mine` says; 0: it has no page. */
static uint64_t recorded_hold_page(void)
{
	char path[128];
	struct state_header header;
	struct session_record record;

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.state", fixture.pool);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
	assert_int_equal(pread(fd, &record, sizeof record, (off_t)(header.sessions_at + mine.number * sizeof record)),
	                 sizeof record);
	return atomic_load(&record.hold_page);
}

/* A page that no record speaks of does not outlive the next start. */
static bool act_open_holds(bool again)
{
	Shmbuddy__V1__Status status;

	if (again)
		assert_int_equal(daemon_fixture_shared_objects(&fixture), recorded_hold_page() ? 4 : 3);
	become(MINE);
	int result = raw_session_open_holds(&mine, fixture.socket_path, &status);
	become(0);
	if (result < 0)
		return false;
	assert_int_equal(status, OK);
	CLEANUP_CLOSE int fd = open_hold_page();
	struct stat page;
	assert_int_equal(fstat(fd, &page), 0);
	assert_int_equal(recorded_hold_page(), page.st_ino);
	return true;
}

static void set_hold(uint64_t id)
{
	CLEANUP_CLOSE int fd = open_hold_page();

	assert_int_equal(pwrite(fd, &id, sizeof id, offsetof(struct hold_page, slots)), sizeof id);
}

/* `mine` holds it by its page, and the owner is the only one that the daemon knows of. */
static void prepare_held_by_page(void)
{
	Shmbuddy__V1__Status status;

	allocate(&other, 0, 5000, NULL);
	assert_int_equal(raw_session_call(&mine, raw_request_acquire(&block[0])), OK);
	assert_int_equal(raw_session_free(&mine, &block[0]), OK);
	become(MINE);
	assert_int_equal(raw_session_open_holds(&mine, fixture.socket_path, &status), 0);
	become(0);
	assert_int_equal(status, OK);
	set_hold(block[0].id);
}

/* Until block 0 is in that state, or free. False: the daemon died. */
static bool wait_for_state(enum record_state wanted)
{
	struct view_header header;
	uint64_t word;

	assert_int_equal(pread(other.view, &header, sizeof header, 0), sizeof header);
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited++) {
		if (!tell(raw_request_ping()))
			return false;
		off_t at = (off_t)(header.blocks_at + block[0].index * sizeof(struct block_record));
		assert_int_equal(pread(other.view, &word, sizeof word, at), sizeof word);
		if (record_state(word) == wanted || record_state(word) == RECORD_FREE)
			return true;
		poll(NULL, 0, 1);
	}
	fail_msg("the block does not come to state %d", (int)wanted);
	return false;
}

/* From owned to dying, orphan, dying again, and free. What is said of that to a daemon that dies is not said again. */
static bool act_hold_of_page(bool again)
{
	Shmbuddy__V1__Released message = SHMBUDDY__V1__RELEASED__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	(void)again;
	if (!tell(raw_request_free(&block[0])) || !wait_for_state(RECORD_ORPHAN))
		return false;
	set_hold(0);
	message.handle = &block[0];
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RELEASED;
	request.released = &message;
	return raw_client_send_request(&mine.client, &request) == 0 && wait_for_state(RECORD_FREE);
}

static struct raw_session clone = RAW_SESSION_CLOSED;

static void prepare_cloned(void)
{
	Shmbuddy__V1__Reply *reply;

	prepare_mixed();
	clone = RAW_SESSION_CLOSED;
	reply = raw_session_send(&mine, 2, 1, request_clone());
	assert_int_equal(reply->status, OK);
	clone.number = reply->clone_token->session;
	memcpy(clone.token, reply->clone_token->token.data, sizeof clone.token);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* Nobody knows how far a hello has come that was not answered: it is said again. What holds its lock takes the session up as any other. */
static bool act_adopt(bool again)
{
	Shmbuddy__V1__Status status;

	become(MINE);
	int result = 0;
	if (again && clone.lock >= 0)
		status = raw_session_resume(&clone, fixture.socket_path);
	else
		result = raw_session_adopt(&clone, fixture.socket_path, &status);
	become(0);
	if (result < 0)
		return false;
	assert_int_equal(status, OK);
	clone.sequence++;
	Shmbuddy__V1__Request *ping = raw_request_ping();
	Shmbuddy__V1__Reply *reply;
	ping->sequence = clone.sequence;
	if (raw_client_call(&clone.client, ping, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return wait_for_sessions(3);
}

/* ---- The operations that wait for one of another session's ------------------------------------------------------ */

/* Replies to `mine`, up to the one of this slot; whether that of SLOT came along. False: the daemon has died. */
static bool hear(uint32_t slot, bool *out_answered)
{
	Shmbuddy__V1__Reply *reply;
	bool heard = false;

	while (!heard && raw_client_receive_reply(&mine.client, &reply) == 0) {
		assert_int_equal(reply->status, OK);
		heard = reply->slot == slot;
		*out_answered = *out_answered || reply->slot == SLOT;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	return heard;
}

/* `mine` asks for what it waits for, and `other` does what that is. */
static bool wait_for(Shmbuddy__V1__Request *wanted, Shmbuddy__V1__Request *(*deed)(void))
{
	Shmbuddy__V1__Request *ping = raw_request_ping();
	Shmbuddy__V1__Reply *reply;
	bool answered = false;

	wanted->slot = SLOT;
	wanted->sequence = 1;
	ping->slot = 0;
	ping->sequence = ++mine.sequence;
	if (raw_client_send_request(&mine.client, wanted) < 0 || raw_client_send_request(&mine.client, ping) < 0 ||
	    !hear(0, &answered))
		return false;
	Shmbuddy__V1__Request *request = deed();
	request->slot = SLOT;
	request->sequence = 1;
	if (raw_client_call(&other.client, request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return answered || hear(SLOT, &answered);
}

static void prepare_theirs(void)
{
	allocate(&other, 0, 5000, NULL);
}

static void prepare_all_theirs(void)
{
	allocate(&other, 0, 1 << 20, NULL);
}

static bool act_waiting_lookup(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_lookup("published");

	(void)again;
	request->lookup->wait_ms = 60000;
	return wait_for(request, request_publish);
}

static bool act_waiting_allocation(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "waited for");

	(void)again;
	request->allocate->wait_ms = 60000;
	return wait_for(request, request_free);
}

static bool act_waiting_shrink(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "waited for");

	(void)again;
	request->allocate->wait_ms = 60000;
	return wait_for(request, request_shrink);
}

static const struct operation operations[] = {
	{"hello", prepare_nothing, NULL, act_hello},
	{"allocate", prepare_nothing, request_allocate, NULL},
	{"allocate what must be committed first", prepare_nothing, request_allocate_much, NULL},
	{"allocate with a name", prepare_nothing, request_allocate_named, NULL},
	{"allocate with a name that is taken", prepare_owned_and_named, request_allocate_taken, NULL},
	{"allocate a batch", prepare_owned, request_allocate_batch, NULL},
	{"free, as owner", prepare_owned, request_free, NULL},
	{"free, as owner, a named block", prepare_owned_and_named, request_free, NULL},
	{"free a reference that counts 2", prepare_looked_up_twice, request_free, NULL},
	{"free a reference that counts 1", prepare_looked_up, request_free, NULL},
	{"free a reference, the last hold", prepare_looked_up_alone, request_free, NULL},
	{"free what is not held", prepare_named, request_free, NULL},
	{"free a batch of mixed holds", prepare_mixed, request_free_batch, NULL},
	{"free a batch with a wrong entry", prepare_mixed, request_free_batch_refused, NULL},
	{"publish", prepare_owned, request_publish, NULL},
	{"publish a range", prepare_owned, request_publish_range, NULL},
	{"publish a range that is none", prepare_owned, request_publish_beyond, NULL},
	{"replace a name", prepare_named_and_other, request_replace, NULL},
	{"replace a name, the last hold", prepare_name_alone_and_other, request_replace, NULL},
	{"replace a name by a range of the same block", prepare_owned_and_named, request_replace_by_range, NULL},
	{"allocate, replacing a name", prepare_owned_and_named, request_allocate_replacing, NULL},
	{"allocate, replacing a name, the last hold", prepare_name_alone, request_allocate_replacing, NULL},
	{"allocate, replacing a name that is not there", prepare_nothing, request_allocate_replacing, NULL},
	{"look up a range", prepare_range, request_lookup, NULL},
	{"look up a range again", prepare_range_looked_up, request_lookup, NULL},
	{"unpublish", prepare_owned_and_named, request_unpublish, NULL},
	{"unpublish, the last hold", prepare_name_alone, request_unpublish, NULL},
	{"look up", prepare_named, request_lookup, NULL},
	{"look up again", prepare_looked_up, request_lookup, NULL},
	{"acquire", prepare_named, request_acquire, NULL},
	{"acquire again", prepare_looked_up, request_acquire, NULL},
	{"acquire what is owned", prepare_owned, request_acquire, NULL},
	{"clone", prepare_mixed, request_clone, NULL},
	{"adopt a clone", prepare_cloned, NULL, act_adopt},
	{"link", prepare_two, request_link, NULL},
	{"link what is linked", prepare_linked, request_link, NULL},
	{"unlink", prepare_linked, request_unlink, NULL},
	{"unlink, the last hold", prepare_linked_alone, request_unlink, NULL},
	{"unlink what is not linked", prepare_two, request_unlink, NULL},
	{"free what holds others", prepare_diamond, NULL, act_free_diamond},
	{"collect a circle", prepare_circle, NULL, act_collect},
	{"remove a block with two names", prepare_two_names_alone, request_remove, NULL},
	{"remove a block with many names", prepare_many_names_alone, NULL, act_remove_many},
	{"remove a block with a time to live and many names", prepare_lease_and_many_names, NULL, act_remove_many},
	{"allocate with a name and a time to live", prepare_nothing, request_allocate_leased, NULL},
	{"free, as owner, what has a time to live", prepare_leased, request_free, NULL},
	{"remove a block with a time to live and two names", prepare_lease_and_name_alone, request_remove, NULL},
	{"renew", prepare_leased, request_renew, NULL},
	{"renew what had no time to live", prepare_name_alone, request_renew, NULL},
	{"renew no more", prepare_lease_and_name_alone, request_renew_never, NULL},
	{"renew no more, the last hold", prepare_lease_alone, request_renew_never, NULL},
	{"share", prepare_owned, request_share, NULL},
	{"share what is not held", prepare_named, request_share, NULL},
	{"redeem, the last hold", prepare_ticket_alone, request_redeem, NULL},
	{"redeem what is referred to", prepare_ticket_looked_up, request_redeem, NULL},
	{"redeem what is owned", prepare_ticket_owned, request_redeem, NULL},
	{"redeem what is not there", prepare_nothing, request_redeem, NULL},
	{"revoke", prepare_ticket_owned, request_revoke, NULL},
	{"revoke, the last hold", prepare_ticket_alone, request_revoke, NULL},
	{"expire", prepare_to_expire, NULL, act_expiry},
	{"seal", prepare_owned, request_seal, NULL},
	{"seal what is sealed", prepare_sealed, request_seal, NULL},
	{"make a cache block", prepare_owned_and_named, request_cache, NULL},
	{"make a cache block of what is sealed", prepare_sealed, request_cache, NULL},
	{"remove a cache block", prepare_cached, request_remove, NULL},
	{"allocate, for which a cache block goes", prepare_cache, request_allocate_much, NULL},
	{"expire, a cache block", prepare_to_expire_cached, NULL, act_expiry},
	{"set metadata", prepare_owned, request_set_metadata, NULL},
	{"set metadata anew", prepare_with_metadata, request_set_metadata, NULL},
	{"set metadata of a sealed block", prepare_sealed, request_set_metadata, NULL},
	{"take metadata away", prepare_with_metadata, request_no_metadata, NULL},
	{"allocate with a name and metadata", prepare_nothing, request_allocate_with_metadata, NULL},
	{"allocate with all, replacing a name, the last hold", prepare_name_alone, request_allocate_with_all, NULL},
	{"free a block with metadata", prepare_with_metadata, request_free, NULL},
	{"shrink", prepare_owned, request_shrink, NULL},
	{"shrink what hold pages may have", prepare_with_pages, request_shrink, NULL},
	{"shrink what others hold", prepare_looked_up, request_shrink, NULL},
	{"shrink what a ticket holds", prepare_ticket_owned, request_shrink, NULL},
	{"shrink what holds others", prepare_linked, request_shrink, NULL},
	{"shrink to a byte of a range", prepare_own_range, request_shrink_to_range, NULL},
	{"shrink below a range", prepare_own_range, request_shrink, NULL},
	{"grow", prepare_owned, request_grow, NULL},
	{"grow what must be committed first", prepare_owned, request_grow_much, NULL},
	{"grow into a new block", prepare_hemmed_in, request_grow, NULL},
	{"grow into a new block, without its time to live", prepare_leased_and_hemmed_in, request_grow, NULL},
	{"open a hold page", prepare_nothing, NULL, act_open_holds},
	{"let go by a hold page, the last hold", prepare_held_by_page, NULL, act_hold_of_page},
	{"goodbye", prepare_mixed, NULL, act_goodbye},
	{"death", prepare_mixed, NULL, act_death},
	{"ask a session to end", prepare_mixed, NULL, act_asked},
	{"look up what is published later", prepare_theirs, NULL, act_waiting_lookup},
	{"allocate what is freed later", prepare_all_theirs, NULL, act_waiting_allocation},
	{"allocate what is left by a shrink later", prepare_all_theirs, NULL, act_waiting_shrink},
};

/* ---- Answers and tables ----------------------------------------------------------------------------------------- */

static void keep_answer(const Shmbuddy__V1__Reply *reply, struct result *out_result)
{
	out_result->status = reply->status;
	if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK) {
		out_result->blocks = 1;
		out_result->size = reply->block->size;
		out_result->granted = reply->block->granted;
		last_block = *reply->block->handle;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_CLONE_TOKEN) {
		out_result->blocks = reply->clone_token->token.len;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_TICKET) {
		memcpy(ticket, reply->ticket->token.data, sizeof ticket);
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_RESIZED) {
		out_result->blocks = reply->resized->moved ? 2 : 1;
		out_result->size = reply->resized->block->size;
		out_result->granted = reply->resized->block->granted;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH) {
		out_result->blocks = reply->block_batch->n_index;
		for (size_t i = 0; i < reply->block_batch->n_granted; i++) {
			out_result->granted += reply->block_batch->granted[i];
			assert_true(reply->block_batch->index[i] < RECOUNT_RECORDS_MAX); /* there, not lost */
		}
	}
}

static void keep_tables(struct result *out_result)
{
	static struct recount recount;

	recount_pool(fixture.pool, &recount);
	accounting_agrees(fixture.pool, fixture.socket_path, 0, NULL);
	const uint64_t counted[] = {recount.blocks, recount.names,  recount.references, recount.holds,   recount.sessions,
	                            recount.used,   recount.owned,  recount.tickets,    recount.leases,  recount.links,
	                            recount.named,  recount.sealed, recount.cached,     recount.metadata};
	_Static_assert(sizeof counted == sizeof out_result->counted, "all of them");
	memcpy(out_result->counted, counted, sizeof counted);
}

/* What a program learns from both must be the same, word by word. */
static void expect_same(Shmbuddy__V1__Reply *one, Shmbuddy__V1__Reply *two)
{
	char nothing[1] = "", *texts[] = {one->text, two->text};

	one->text = two->text = nothing;
	size_t size = shmbuddy__v1__reply__get_packed_size(one);
	assert_int_equal(shmbuddy__v1__reply__get_packed_size(two), size);
	CLEANUP_FREE uint8_t *first = malloc(size), *second = malloc(size);
	shmbuddy__v1__reply__pack(one, first);
	shmbuddy__v1__reply__pack(two, second);
	assert_memory_equal(first, second, size);
	one->text = texts[0];
	two->text = texts[1];
}

/* Does it, or says that the daemon died. `again`: it did before. */
static bool perform(const struct operation *operation, bool again, struct result *out_result)
{
	Shmbuddy__V1__Reply *reply, *repeated;

	memset(out_result, 0, sizeof *out_result);
	if (operation->act)
		return operation->act(again);
	if (ask(operation->request(), &reply) < 0)
		return false;
	keep_answer(reply, out_result);
	assert_int_equal(ask(operation->request(), &repeated), 0);
	expect_same(reply, repeated);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	shmbuddy__v1__reply__free_unpacked(repeated, NULL);
	return true;
}

/* What nobody has adopted: all but `other` are over, or will be by themselves. */
static void end_clones(void)
{
	Shmbuddy__V1__EndSession message = SHMBUDDY__V1__END_SESSION__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_END_SESSION;
	request.end_session = &message;
	for (message.session = 1; message.session <= 4; message.session++) {
		if (message.session != other.number)
			raw_session_call(&other, &request);
	}
}

/* All is given back, and nothing is left. */
static void expect_empty_at_the_end(void)
{
	static struct recount recount;

	if (mine.client.fd >= 0) {
		Shmbuddy__V1__Handle more;
		uint64_t sequence = mine.sequence;
		assert_int_equal(raw_session_allocate(&mine, 200, "more", &more), OK);
		assert_int_equal(raw_session_unpublish(&mine, "more"), OK);
		assert_int_equal(raw_session_free(&mine, &more), OK);
		assert_int_equal(mine.sequence, sequence + 3);
	}
	raw_session_close(&mine);
	raw_session_close(&clone);
	end_clones();
	assert_true(wait_for_sessions(1));
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (block[i].id)
			raw_session_free(&other, &block[i]);
	}
	/* What lives by a time or a ticket, or as a cache block, if any does. */
	Shmbuddy__V1__Request *remove = request_remove();
	for (unsigned i = 0; i < BLOCKS; i++) {
		remove->remove->handle = &block[i];
		if (block[i].id)
			raw_session_call(&other, remove);
	}
	raw_session_call(&other, request_revoke());
	for (unsigned i = 0; i < BLOCKS; i++)
		raw_session_call(&other, renew(&block[i], 0));
	raw_session_call(&other, renew(&last_block, 0));
	assert_int_equal(raw_session_call(&other, request_collect()), OK);
	recount_pool(fixture.pool, &recount);
	for (uint64_t i = 0; i < recount.names; i++)
		assert_int_equal(raw_session_unpublish(&other, recount.name[i]), OK);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 0);
	assert_int_equal(recount.used, 0);
	assert_int_equal(recount.references, 0);
	assert_int_equal(recount.tickets, 0);
	assert_int_equal(recount.leases, 0);
	assert_int_equal(recount.sessions, 1);
}

/* ---- Killing ---------------------------------------------------------------------------------------------------- */

static void prepare(const struct operation *operation)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = (Shmbuddy__V1__Handle)SHMBUDDY__V1__HANDLE__INIT;
	last_block = block[0];
	daemon_fixture_start_lasting(&fixture, "--size", "1M", "--max-sessions", "8", NULL);
	let_all_in();
	become(MINE);
	raw_session_open(&mine, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	become(0);
	raw_session_open(&other, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	operation->prepare();
	daemon_fixture_kill(&fixture);
}

/* Starts a daemon that stops before commit `trap`; 0: never. False: it stopped before it served anybody. */
static bool start(uint64_t trap)
{
	char number[24];

	snprintf(number, sizeof number, "%llu", (unsigned long long)trap);
	if (trap)
		assert_int_equal(setenv("SHMB_COMMIT_TRAP", number, 1), 0);
	daemon_fixture_respawn(&fixture, "--size", "1M", NULL);
	unsetenv("SHMB_COMMIT_TRAP");
	int status = daemon_fixture_comes_up(&fixture);
	if (!fixture.pid)
		assert_int_equal(status, -9);
	return fixture.pid != 0;
}

static void take_up(struct raw_session *session)
{
	uint64_t sequence = session->sequence;

	let_all_in();
	become(session == &mine ? MINE : 0);
	Shmbuddy__V1__Status status = raw_session_resume(session, fixture.socket_path);
	become(0);

	session->sequence = sequence;
	if (status == OK)
		return;
	/* Only goodbye may have ended it, or an administrator asked it to. */
	assert_int_equal(status, SHMBUDDY__V1__STATUS__SESSION_ENDED);
	raw_session_close(session);
}

static void finish(void)
{
	raw_session_close(&mine);
	raw_session_close(&other);
	raw_session_close(&clone);
	daemon_fixture_stop(&fixture);
}

/* Killed in the recovery too, at each of its commits in turn: it goes on where the one before was stopped. */
static void recover(uint64_t *out_kills)
{
	uint64_t trap = 1;

	for (; !start(trap); trap++)
		assert_true(trap < COMMITS_MAX);
	daemon_fixture_kill(&fixture);
	assert_true(start(0));
	*out_kills += trap - 1;
}

static void expect_result(const struct operation *operation, uint64_t trap, const struct result *expected,
                          const struct result *result)
{
	if (expected->status == result->status && expected->blocks == result->blocks && expected->size == result->size &&
	    expected->granted == result->granted && memcmp(expected->counted, result->counted, sizeof result->counted) == 0)
		return;
	for (size_t i = 0; i < sizeof result->counted / sizeof result->counted[0]; i++)
		print_message("counted %llu, expected %llu\n", (unsigned long long)result->counted[i],
		              (unsigned long long)expected->counted[i]);
	fail_msg("%s, killed before commit %llu: status %d, expected %d", operation->name, (unsigned long long)trap,
	         (int)result->status, (int)expected->status);
}

static void test_operation(void **state)
{
	const struct operation *operation = *state;
	struct result expected, result;
	uint64_t first = 0, trap, recovery_kills = 0;

	/* Undisturbed. */
	prepare(operation);
	assert_true(start(0));
	take_up(&mine);
	take_up(&other);
	assert_true(perform(operation, false, &expected));
	keep_tables(&expected);
	expect_empty_at_the_end();
	finish();

	for (trap = 1;; trap++) {
		assert_true(trap < COMMITS_MAX);
		prepare(operation);
		/* What the daemon commits before it serves anybody is not the operation's: measured, and passed over. */
		while (!start(trap))
			first = trap++;
		take_up(&mine);
		take_up(&other);
		bool whole = perform(operation, false, &result);
		/* With the answer under way or received it dies as well. */
		if (whole)
			daemon_fixture_kill(&fixture);
		else
			assert_int_equal(daemon_fixture_wait(&fixture), -9);
		recover(&recovery_kills);
		take_up(&other);
		if (mine.lock >= 0)
			take_up(&mine);
		assert_true(perform(operation, true, &result));
		keep_tables(&result);
		expect_result(operation, trap, &expected, &result);
		expect_empty_at_the_end();
		finish();
		if (whole)
			break;
	}
	print_message("%s: killed at %llu commits, and %llu times in the recovery\n", operation->name,
	              (unsigned long long)(trap - 1 - first), (unsigned long long)recovery_kills);
	assert_true(trap - 1 > first);
}

static int teardown(void **state)
{
	(void)state;
	unsetenv("SHMB_COMMIT_TRAP");
	raw_session_close(&mine);
	raw_session_close(&other);
	raw_session_close(&clone);
	fixture.killed = true; /* a test that failed in the middle */
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[sizeof operations / sizeof operations[0]];

#ifndef SHMB_COMMIT_TRAP
	print_message("skipped: the daemon is built without SHMB_COMMIT_TRAP\n");
	return 77;
#endif
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
		tests[i] =
			(struct CMUnitTest){operations[i].name, test_operation, NULL, teardown, (void *)(uintptr_t)&operations[i]};
	return cmocka_run_group_tests_name("commit_points", tests, NULL, NULL);
}
