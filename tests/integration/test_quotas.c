/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quotas, with the real daemon and several users: what is refused, to whom, and in which words; where a charge goes when who allocated
 * lets go; who waits for what; and that the next daemon counts the same. One process takes the users' parts, one after the other, by its effective
 * uid, which is what the kernel tells the daemon of who connects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/accounting.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define ALICE 1001
#define BOB 1002
#define SESSIONS 16

static struct daemon_fixture fixture;
static shmb_session *sessions[SESSIONS]; /* to be closed at the end */
static unsigned session_count;

static void be(uid_t uid)
{
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(seteuid(uid), 0);
}

static int try_to_connect(uid_t uid, shmb_session **out_session)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path, .program = "quota test"};

	be(uid);
	int result = shmb_connect(&options, out_session);
	be(0);
	return result;
}

static shmb_session *connect_as(uid_t uid)
{
	shmb_session *session;

	assert_ok(try_to_connect(uid, &session));
	assert_true(session_count < SESSIONS);
	return sessions[session_count++] = session;
}

static void close_session(shmb_session *session)
{
	for (unsigned i = 0; i < session_count; i++) {
		if (sessions[i] == session)
			sessions[i] = NULL;
	}
	shmb_close(session);
}

static int setup(void **state)
{
	(void)state;
	session_count = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)!seteuid(0);
	for (unsigned i = 0; i < session_count; i++)
		shmb_close(sessions[i]);
	daemon_fixture_stop(&fixture);
	return 0;
}

/* What the daemon says of one user, once that is what the tables say of all. Root, who asks, has a session more while it asks. */
static shmb_user_info info_of(uint32_t uid)
{
	shmb_user_info info;

	accounting_agrees(fixture.pool, fixture.socket_path, uid, &info);
	return info;
}

static shmb_handle allocate(shmb_session *session, uint64_t size)
{
	shmb_block block;

	assert_ok(shmb_alloc(session, size, NULL, &block));
	return block.handle;
}

static shmb_oom refuse(shmb_session *session, uint64_t size, enum shmb_oom_limit limit)
{
	shmb_block block;
	shmb_oom oom;

	assert_refused(shmb_alloc(session, size, NULL, &block), OUT_OF_MEMORY);
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.limit, limit);
	return oom;
}

static void expect_words(const char *words)
{
	if (!strstr(shmb_last_error(), words))
		fail_msg("\"%s\" is not in \"%s\"", words, shmb_last_error());
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

/* Several connections of a user are one account; another user has one of its own. */
static void test_bytes_of_a_user(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:*:bytes=128K,blocks=4", "--quota", "user:0:bytes=none",
	                     NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *one = connect_as(ALICE), *two = connect_as(ALICE), *bob = connect_as(BOB);
	shmb_handle first = allocate(one, 65536);
	allocate(two, 32768);
	shmb_oom oom = refuse(two, 40000, SHMB_OOM_USER);
	expect_words("39.1K asked for, which takes 64K");
	expect_words("user 1001");
	expect_words("is 128K, and 96K are used, by 2 blocks");
	assert_int_equal(oom.quota, 131072);
	assert_int_equal(oom.quota_used, 98304);
	assert_int_equal(oom.quota_blocks, 2);
	assert_false(oom.quota_of_blocks);
	assert_int_equal(oom.holder_count, 2);
	assert_int_equal(oom.holders[0].bytes, 65536);
	assert_int_equal(oom.holders[0].uid, ALICE);
	assert_int_equal(oom.holders[1].bytes, 32768);
	allocate(bob, 131072);
	allocate(two, 100);
	allocate(two, 100);
	oom = refuse(one, 64, SHMB_OOM_USER);
	expect_words("is 4 blocks, and it has 4");
	assert_true(oom.quota_of_blocks);
	assert_int_equal(oom.quota, 4);
	assert_ok(shmb_free(one, first));
	allocate(two, 65536);
	uint64_t sizes[] = {64, 64};
	shmb_block blocks[2];
	assert_refused(shmb_alloc_batch(one, sizes, 2, NULL, blocks), OUT_OF_MEMORY);
	shmb_user_info alice = info_of(ALICE);
	assert_int_equal(alice.bytes.used, 65536 + 32768 + 256);
	assert_int_equal(alice.bytes.limit, 131072);
	assert_int_equal(alice.blocks.limit, 4);
	assert_int_equal(alice.names.limit, SHMB_NO_LIMIT);
	assert_int_equal(alice.sessions.used, 2);
	assert_int_equal(info_of(0).bytes.limit, SHMB_NO_LIMIT);
	/* A session that ends gives its charge back. */
	close_session(two);
	close_session(one);
	shmb_session *root = pool_session_open(&fixture);
	pool_session_await_used(root, 131072);
	shmb_close(root);
	assert_int_equal(info_of(ALICE).bytes.used, 0);
}

/* Several requests of one user under way, each for memory that the kernel must give first: each counts while it is. */
static void test_at_once(void **state)
{
	struct raw_session alice = RAW_SESSION_CLOSED;
	unsigned granted = 0, refused = 0;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "64M", "--quota", "user:1001:bytes=16M", NULL);
	daemon_fixture_let_all_in(&fixture);
	be(ALICE);
	raw_session_open(&alice, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	be(0);
	for (uint32_t slot = 1; slot <= 4; slot++) {
		Shmbuddy__V1__Request *request = raw_request_allocate(8 << 20, NULL);
		request->slot = slot;
		request->sequence = 1;
		assert_int_equal(raw_client_send_request(&alice.client, request), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_receive_reply(&alice.client, &reply), 0);
		granted += reply->status == SHMBUDDY__V1__STATUS__OK;
		refused += reply->status == SHMBUDDY__V1__STATUS__OUT_OF_MEMORY;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	assert_int_equal(granted, 2);
	assert_int_equal(refused, 2);
	assert_int_equal(info_of(ALICE).bytes.used, 16 << 20);
	raw_session_close(&alice);
}

static void test_session(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "session:*:bytes=64K,blocks=3,names=1", "--quota",
	                     "session:1002:bytes=none", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *one = connect_as(ALICE), *two = connect_as(ALICE), *bob = connect_as(BOB);
	shmb_block block;
	shmb_handle first = allocate(one, 65536);
	shmb_oom oom = refuse(one, 64, SHMB_OOM_SESSION);
	expect_words("this session,");
	assert_int_equal(oom.quota, 65536);
	allocate(two, 65536);
	allocate(bob, 131072);
	assert_ok(shmb_publish(one, first, "one"));
	assert_refused(shmb_publish(one, first, "another"), LIMIT);
	expect_words("the quota of this session");
	expect_words("1 name, and 1 is used");
	assert_ok(shmb_free(one, first));
	assert_refused(shmb_alloc(one, 64, &(shmb_alloc_options){.name = "another"}, &block), LIMIT);
	/* What the session owns is charged to it, and what it merely has a share in is not. */
	allocate(one, 32768);
	allocate(one, 16384);
	assert_ok(shmb_unpublish(one, "one"));
	assert_ok(shmb_alloc(one, 64, &(shmb_alloc_options){.name = "another"}, &block));
	refuse(one, 64, SHMB_OOM_SESSION);
	/* The name of another session of the same user: replaced, it is this one's. */
	assert_ok(shmb_lookup(two, "another", &block));
	assert_ok(shmb_publish_with(two, block.handle, "another", &(shmb_publish_options){.replace = true}));
	assert_ok(shmb_publish(one, block.handle, "more"));
	assert_refused(shmb_publish_with(one, block.handle, "another", &(shmb_publish_options){.replace = true}), LIMIT);
	assert_int_equal(info_of(ALICE).names.used, 2);
}

/* The charge goes to who still holds, and may take an account beyond its limit. */
static void test_charge_moves(void **state)
{
	shmb_block block;
	shmb_ticket ticket;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1002:bytes=64K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *second = connect_as(ALICE), *bob = connect_as(BOB);
	shmb_handle shared = allocate(alice, 131072);
	assert_ok(shmb_acquire(bob, shared, &block));
	assert_int_equal(info_of(ALICE).bytes.used, 131072);
	/* Another session of the same user keeps it there. */
	assert_ok(shmb_acquire(second, shared, &block));
	assert_ok(shmb_free(alice, shared));
	assert_int_equal(info_of(ALICE).bytes.used, 131072);
	assert_ok(shmb_free(second, shared));
	assert_int_equal(info_of(ALICE).bytes.used, 0);
	assert_int_equal(info_of(BOB).bytes.used, 131072);
	refuse(bob, 64, SHMB_OOM_USER);
	expect_words("is 64K, and 128K are used, by 1 block");
	/* A name, and a ticket, of the former user hold as its sessions do. */
	assert_ok(shmb_acquire(alice, shared, &block));
	assert_int_equal(info_of(ALICE).bytes.used, 131072);
	assert_ok(shmb_publish(alice, shared, "kept"));
	assert_ok(shmb_share(alice, shared, NULL, &ticket));
	assert_ok(shmb_free(alice, shared));
	assert_ok(shmb_unpublish(alice, "kept"));
	assert_int_equal(info_of(ALICE).bytes.used, 131072);
	assert_int_equal(info_of(ALICE).tickets.used, 1);
	assert_ok(shmb_revoke(alice, ticket));
	assert_int_equal(info_of(ALICE).bytes.used, 0);
	assert_int_equal(info_of(BOB).bytes.used, 131072);
	assert_ok(shmb_free(bob, shared));
	assert_int_equal(info_of(BOB).bytes.used, 0);
	/* A link is a hold of who made it. */
	shmb_handle from = allocate(bob, 64), to = allocate(alice, 4096);
	assert_ok(shmb_acquire(bob, to, &block));
	assert_ok(shmb_link(bob, from, to));
	assert_ok(shmb_free(bob, to));
	assert_ok(shmb_free(alice, to));
	assert_int_equal(info_of(BOB).bytes.used, 64 + 4096);
	assert_int_equal(info_of(BOB).links.used, 1);
	/* Held by a time to live alone: the user's that allocated it. */
	assert_ok(shmb_alloc(alice, 4096, &(shmb_alloc_options){.ttl_ms = 600000}, &block));
	to = block.handle;
	assert_ok(shmb_acquire(bob, to, &block));
	assert_ok(shmb_free(alice, to));
	assert_int_equal(info_of(ALICE).bytes.used, 4096);
	assert_ok(shmb_free(bob, to));
	assert_int_equal(info_of(ALICE).bytes.used, 4096);
}

/* In a hold page alone: whoever has it there. Root too, if nobody else. */
static void test_orphan(void **state)
{
	shmb_block block;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB);
	shmb_handle shared = allocate(alice, 4096);
	assert_ok(shmb_publish(alice, shared, "shared"));
	/* By and by the library has a hold page. */
	be(BOB);
	for (int i = 0; i < 20; i++) {
		assert_ok(shmb_lookup(bob, "shared", &block));
		if (i < 19)
			assert_ok(shmb_free(bob, block.handle));
	}
	be(0);
	assert_int_equal(info_of(ALICE).bytes.used, 4096);
	assert_ok(shmb_unpublish(alice, "shared"));
	assert_ok(shmb_free(alice, shared));
	shmb_user_info info;
	for (int i = 0; i < 5000; i++) {
		shmb_session *root = pool_session_open(&fixture);
		shmb_user_info *users;
		size_t count;
		assert_ok(shmb_list_users(root, &users, &count));
		memset(&info, 0, sizeof info);
		for (size_t k = 0; k < count; k++)
			info = users[k].uid == BOB ? users[k] : info;
		free(users);
		shmb_close(root);
		if (info.bytes.used)
			break;
		poll(NULL, 0, 1);
	}
	assert_int_equal(info.bytes.used, 4096);
	assert_int_equal(info_of(BOB).bytes.used, 4096);
	assert_ok(shmb_free(bob, block.handle));
}

static void test_guarantee(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--guarantee", "user:1001=512K", "--guarantee", "user:0=128K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB), *root = connect_as(0);
	assert_int_equal(info_of(ALICE).guarantee, 512 << 10);
	refuse(bob, 512 << 10, SHMB_OOM_GUARANTEE);
	expect_words("512K asked for, which takes 512K; 1M free, of which 640K are guaranteed to other users");
	shmb_handle half = allocate(bob, 256 << 10);
	allocate(bob, 128 << 10);
	shmb_oom oom = refuse(bob, 64, SHMB_OOM_GUARANTEE);
	assert_int_equal(oom.quota, 640 << 10);
	assert_int_equal(oom.free, 640 << 10);
	allocate(alice, 512 << 10);
	refuse(alice, 64, SHMB_OOM_GUARANTEE);
	allocate(root, 64 << 10);
	refuse(bob, 64, SHMB_OOM_GUARANTEE);
	assert_ok(shmb_free(bob, half));
	allocate(alice, 128 << 10);
	allocate(root, 64 << 10);
	allocate(bob, 64);
}

/* ---- All else ----------------------------------------------------------------------------------------------------- */

static void test_other_kinds(void **state)
{
	shmb_ticket ticket, other;
	shmb_block block;
	shmb_session *session;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:names=2,tickets=1,links=1,waiters=0,sessions=2",
	                     NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *second = connect_as(ALICE), *bob = connect_as(BOB);
	assert_refused(try_to_connect(ALICE, &session), LIMIT);
	expect_words("the quota of user 1001 is 2 sessions, and 2 are used, by quota test, pid ");
	shmb_handle a = allocate(alice, 64), b = allocate(alice, 64), c = allocate(alice, 64);
	assert_ok(shmb_publish(alice, a, "one"));
	assert_ok(shmb_acquire(second, b, &block));
	assert_ok(shmb_publish(second, b, "two"));
	assert_refused(shmb_publish(alice, a, "three"), LIMIT);
	expect_words("the quota of user 1001 is 2 names, and 2 are used, 1 of them by session ");
	assert_refused(shmb_alloc(alice, 64, &(shmb_alloc_options){.name = "three"}, &block), LIMIT);
	/* Replacing takes no name more. */
	assert_ok(shmb_publish_with(alice, a, "two", &(shmb_publish_options){.replace = true}));
	assert_ok(shmb_share(alice, a, NULL, &ticket));
	assert_refused(shmb_share(second, b, NULL, &other), LIMIT);
	expect_words("1 ticket, and 1 is used, by session ");
	assert_ok(shmb_redeem(bob, ticket, &block));
	assert_ok(shmb_share(second, b, NULL, &other));
	assert_ok(shmb_link(alice, a, b));
	assert_ok(shmb_link(alice, a, b));
	assert_refused(shmb_link(alice, a, c), LIMIT);
	expect_words("1 link, and 1 is used");
	assert_ok(shmb_unlink(alice, a, b));
	assert_ok(shmb_link(alice, a, c));
	assert_refused(shmb_lookup_wait(alice, "four", 60000, &block), LIMIT);
	expect_words("0 requests that wait, and 0 are used");
	assert_refused(shmb_lookup_wait(bob, "four", 1, &block), NO_SUCH_NAME);
	shmb_handle all = allocate(bob, 512 << 10);
	assert_refused(shmb_alloc(alice, 768 << 10, &(shmb_alloc_options){.wait_ms = 60000}, &block), LIMIT);
	expect_words("who waits for it counts");
	assert_ok(shmb_free(bob, all));
	/* What outlives its session counts still. */
	close_session(second);
	shmb_session *third = connect_as(ALICE);
	assert_int_equal(info_of(ALICE).names.used, 2);
	close_session(alice);
	close_session(third);
	for (int i = 0; i < 5000 && info_of(ALICE).sessions.used; i++)
		poll(NULL, 0, 1);
	session = connect_as(ALICE);
	assert_ok(shmb_lookup(session, "one", &block));
	assert_refused(shmb_publish(session, block.handle, "three"), LIMIT);
	expect_words("2 are used, all of them by sessions that have ended");
	assert_ok(shmb_unpublish(session, "one"));
	assert_ok(shmb_publish(session, block.handle, "three"));
}

/* A clone is a session. */
static void test_clone(void **state)
{
	shmb_clone_token token;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:sessions=2", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *session;
	shmb_handle handle = allocate(alice, 4096);
	assert_ok(shmb_clone(alice, &token));
	assert_int_equal(info_of(ALICE).sessions.used, 2);
	assert_int_equal(info_of(ALICE).bytes.used, 4096);
	assert_refused(shmb_clone(alice, &token), LIMIT);
	expect_words("2 sessions, and 2 are used");
	assert_refused(try_to_connect(ALICE, &session), LIMIT);
	assert_ok(shmb_free(alice, handle));
	assert_int_equal(info_of(ALICE).bytes.used, 4096); /* the clone's */
}

/* ---- Waiting ------------------------------------------------------------------------------------------------------ */

/* A call that waits, in a thread of its own. */
struct waiting {
	pthread_t thread;
	shmb_session *session;
	uint64_t size;
	uint32_t wait_ms;
	int result;
	shmb_block block;
	char text[400];
};

static void *run(void *argument)
{
	struct waiting *waiting = argument;

	waiting->result =
		shmb_alloc(waiting->session, waiting->size, &(shmb_alloc_options){.wait_ms = waiting->wait_ms}, &waiting->block);
	snprintf(waiting->text, sizeof waiting->text, "%s", waiting->result < 0 ? shmb_last_error() : "");
	return NULL;
}

static void begin(struct waiting *waiting, shmb_session *session, uint64_t size, uint32_t wait_ms)
{
	*waiting = (struct waiting){.session = session, .size = size, .wait_ms = wait_ms};
	assert_int_equal(pthread_create(&waiting->thread, NULL, run, waiting), 0);
}

static void end(struct waiting *waiting)
{
	assert_int_equal(pthread_join(waiting->thread, NULL), 0);
}

static void await_waiters(uint32_t uid, uint64_t count)
{
	for (int i = 0; i < 20000; i++) {
		if (info_of(uid).waiters.used == count)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("%llu never waited", (unsigned long long)count);
}

static void test_waiting(void **state)
{
	struct waiting first, second;
	shmb_block block;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:bytes=128K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB);
	/* What can never be is refused at once. */
	assert_refused(shmb_alloc(alice, 129 << 10, &(shmb_alloc_options){.wait_ms = 600000}, &block), OUT_OF_MEMORY);
	expect_words("would not do either if nothing were used");
	assert_refused(shmb_alloc(alice, 256 << 10, NULL, &block), OUT_OF_MEMORY);
	shmb_handle one = allocate(alice, 64 << 10), two = allocate(alice, 64 << 10);
	assert_refused(shmb_alloc(alice, 64, &(shmb_alloc_options){.wait_ms = 5}, &block), OUT_OF_MEMORY);
	expect_words("that has not changed within 5ms");
	begin(&first, alice, 128 << 10, 600000);
	await_waiters(ALICE, 1);
	begin(&second, alice, 64, 600000);
	await_waiters(ALICE, 2);
	/* Others go on, past what could not be met anyway, as often as they like. */
	for (int i = 0; i < 200; i++)
		assert_ok(shmb_free(bob, allocate(bob, 512 << 10)));
	assert_ok(shmb_free(alice, one));
	await_waiters(ALICE, 2); /* the first does not fit, and the second stands behind it */
	assert_ok(shmb_free(alice, two));
	end(&first);
	assert_int_equal(first.result, 0);
	await_waiters(ALICE, 1);
	assert_ok(shmb_free(alice, first.block.handle));
	end(&second);
	assert_int_equal(second.result, 0);
	assert_ok(shmb_free(alice, second.block.handle));
	/* From the line of the quota to that of the pool. */
	one = allocate(alice, 128 << 10);
	two = allocate(bob, 512 << 10);
	shmb_handle three = allocate(bob, 256 << 10);
	begin(&first, alice, 128 << 10, 600000);
	await_waiters(ALICE, 1);
	shmb_handle four = allocate(bob, 128 << 10);
	assert_ok(shmb_free(alice, one));
	end(&first);
	assert_int_equal(first.result, 0);
	begin(&second, alice, 64 << 10, 600000);
	await_waiters(ALICE, 1);
	assert_ok(shmb_free(bob, four));
	assert_int_equal(info_of(ALICE).waiters.used, 1);
	four = allocate(bob, 128 << 10);
	assert_ok(shmb_free(alice, first.block.handle));
	end(&second);
	assert_int_equal(second.result, 0);
	assert_ok(shmb_free(bob, two));
	assert_ok(shmb_free(bob, three));
	assert_ok(shmb_free(bob, four));
	assert_ok(shmb_free(alice, second.block.handle));
}

/* Whom the quota of his session stops gets what a block of it leaves by becoming smaller. */
static void test_shrinks_for_who_waits(void **state)
{
	struct waiting waiting;
	shmb_block block;
	bool moved;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "session:*:bytes=128K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE);
	assert_ok(shmb_alloc(alice, 128 << 10, NULL, &block));
	begin(&waiting, alice, 64 << 10, 600000);
	await_waiters(ALICE, 1);
	assert_ok(shmb_resize(alice, block.handle, 64 << 10, &block, &moved));
	await_waiters(ALICE, 0);
	assert_int_equal(info_of(ALICE).bytes.used, 128 << 10);
	end(&waiting);
	assert_int_equal(waiting.result, 0);
}

/* It waits for memory when others of its user use the quota up: it steps aside, and those behind it get theirs. */
static void test_steps_aside(void **state)
{
	struct waiting alices, bobs;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:bytes=512K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *second = connect_as(ALICE), *bob = connect_as(BOB), *other = connect_as(BOB);
	shmb_handle half = allocate(bob, 512 << 10), quarter = allocate(bob, 256 << 10), small = allocate(bob, 128 << 10);
	begin(&alices, alice, 512 << 10, 600000);
	await_waiters(ALICE, 1);
	shmb_handle hers = allocate(second, 64 << 10); /* overtakes, and uses up the quota for the half */
	begin(&bobs, other, 256 << 10, 600000);
	await_waiters(BOB, 1);
	assert_ok(shmb_free(bob, half));
	end(&bobs);
	assert_int_equal(bobs.result, 0);
	assert_int_equal(info_of(ALICE).waiters.used, 1);
	assert_ok(shmb_free(other, bobs.block.handle));
	for (int i = 0; i < 200; i++) /* nothing is set aside for one who could not take it */
		assert_ok(shmb_free(bob, allocate(bob, 256 << 10)));
	assert_ok(shmb_free(second, hers));
	end(&alices);
	assert_int_equal(alices.result, 0);
	assert_ok(shmb_free(bob, quarter));
	assert_ok(shmb_free(bob, small));
}

/* 64 of its own user go past the first; then what is given back gathers for it. */
static void test_overtaken(void **state)
{
	struct waiting first;
	shmb_block block;
	int passed = 0;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:bytes=128K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB);
	shmb_handle kept = allocate(alice, 64 << 10);
	begin(&first, alice, 128 << 10, 600000);
	await_waiters(ALICE, 1);
	while (shmb_alloc(alice, 64, NULL, &block) == 0) {
		assert_ok(shmb_free(alice, block.handle));
		passed++;
	}
	assert_int_equal(passed, SHMB_OVERTAKEN_MAX);
	shmb_oom oom;
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.limit, SHMB_OOM_USER);
	assert_true(oom.set_aside);
	expect_words("is set aside for a request that came before and waits");
	assert_ok(shmb_free(bob, allocate(bob, 64)));
	assert_ok(shmb_free(alice, kept));
	end(&first);
	assert_int_equal(first.result, 0);
}

/* Who waits and dies, or is lost, leaves the line. */
static void wait_and_die(int control, const void *argument)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path};
	shmb_session *own;
	shmb_block block;
	char byte = 'r';

	(void)argument;
	CLIENT_CHECK(setgid(ALICE) == 0 && setuid(ALICE) == 0);
	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_alloc(own, 64 << 10, NULL, &block) == 0);
	CLIENT_CHECK(client_process_say(control, &byte, 1));
	shmb_alloc(own, 128 << 10, &(shmb_alloc_options){.wait_ms = 600000}, &block);
}

static void test_dies_in_line(void **state)
{
	struct client_process process;
	char byte;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:bytes=128K", "--guarantee", "user:1002=512K", NULL);
	daemon_fixture_let_all_in(&fixture);
	client_process_start(&process, wait_and_die, NULL);
	client_process_receive(&process, &byte, 1);
	await_waiters(ALICE, 1);
	client_process_kill(&process);
	await_waiters(ALICE, 0);
	for (int i = 0; i < 5000 && info_of(ALICE).sessions.used; i++)
		poll(NULL, 0, 1);
	assert_int_equal(info_of(ALICE).bytes.used, 0);
	allocate(connect_as(ALICE), 128 << 10);
	assert_int_equal(info_of(BOB).guarantee, 512 << 10);
}

/* ---- Restarts ------------------------------------------------------------------------------------------------------ */

static void ping_as(uid_t uid, shmb_session *session)
{
	be(uid);
	assert_ok(shmb_ping(session));
	be(0);
}

static void test_restart(void **state)
{
	shmb_ticket ticket;
	shmb_block block;

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB);
	shmb_handle a = allocate(alice, 4096), b = allocate(alice, 8192), c = allocate(bob, 16384);
	allocate(bob, 64);
	assert_ok(shmb_acquire(bob, a, &block));
	assert_ok(shmb_acquire(bob, b, &block));
	assert_ok(shmb_acquire(alice, c, &block));
	assert_ok(shmb_publish(alice, b, "b"));
	assert_ok(shmb_share(bob, c, NULL, &ticket));
	assert_ok(shmb_link(bob, c, a));
	assert_ok(shmb_free(alice, a));
	assert_ok(shmb_free(bob, a)); /* its link holds it */
	assert_ok(shmb_free(alice, b));
	assert_ok(shmb_free(bob, c)); /* its ticket holds it */
	shmb_user_info before[] = {info_of(ALICE), info_of(BOB)};
	assert_int_equal(before[0].bytes.used, 8192);
	assert_int_equal(before[1].bytes.used, 4096 + 16384 + 64);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", "--quota", "user:*:bytes=8K,names=1", "--quota", "session:*:names=1",
	                       NULL);
	daemon_fixture_let_all_in(&fixture);
	ping_as(ALICE, alice);
	ping_as(BOB, bob);
	shmb_user_info after[] = {info_of(ALICE), info_of(BOB)};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(before[i].bytes.used, after[i].bytes.used);
		assert_int_equal(before[i].blocks.used, after[i].blocks.used);
		assert_int_equal(before[i].names.used, after[i].names.used);
		assert_int_equal(before[i].tickets.used, after[i].tickets.used);
		assert_int_equal(before[i].links.used, after[i].links.used);
		assert_int_equal(before[i].sessions.used, after[i].sessions.used);
		assert_int_equal(after[i].bytes.limit, 8192);
	}
	/* Sessions have what they had too. */
	assert_refused(shmb_publish(alice, c, "more"), LIMIT);
	expect_words("the quota of this session");
	refuse(alice, 64, SHMB_OOM_USER);
	assert_ok(shmb_unpublish(alice, "b"));
	assert_int_equal(info_of(ALICE).bytes.used, 0);
	assert_ok(shmb_publish(alice, c, "more"));
	assert_int_equal(info_of(BOB).bytes.used, 8192 + 4096 + 16384 + 64);
}

static void test_refused_starts(void **state)
{
	(void)state;
	daemon_fixture_spawn(&fixture, "--size", "1M", "--guarantee", "user:1001=1M", "--guarantee", "user:1002=64K", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 1);
	assert_true(daemon_fixture_logged(
		&fixture, "users together are guaranteed 1088K, more than the pool has, which is 1M: guarantee 1M or less"));
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 0);
	daemon_fixture_respawn(&fixture, "--quota", "user:nobody-of-this-name:bytes=1M", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 2);
	assert_true(daemon_fixture_logged(&fixture, "there is no user \"nobody-of-this-name\""));
	daemon_fixture_stop(&fixture);
	/* A pool that is there stays as it is. */
	daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_respawn(&fixture, "--size", "1M", "--guarantee", "user:1001=2M", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 1);
	daemon_fixture_restart(&fixture, "--size", "2M", "--guarantee", "user:1001=2M", NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* ---- Cache blocks ----------------------------------------------------------------------------------------------- */

static void fill_cache(shmb_session *session, unsigned count, uint64_t size)
{
	shmb_block block;

	for (unsigned i = 0; i < count; i++) {
		assert_ok(shmb_alloc(session, size, NULL, &block));
		assert_ok(shmb_cache(session, block.handle));
		assert_ok(shmb_free(session, block.handle));
	}
}

/* Whom his quota stops has his own cache blocks go, as many as it takes, and nobody else's. */
static void test_own_cache_makes_room(void **state)
{
	shmb_block block;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "16M", "--quota", "user:1001:bytes=2M", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB);
	fill_cache(bob, 16, 64 << 10);
	fill_cache(alice, 2048, 1 << 10); /* more than go in one turn of the loop */
	assert_ok(shmb_alloc(alice, 1 << 20, NULL, &block));
	assert_int_equal(pool_session_status(bob).evictions, 1024);
	assert_int_equal(info_of(BOB).bytes.used, 16 * (64 << 10));
	assert_ok(shmb_free(alice, block.handle));
	fill_cache(alice, 1024, 1 << 10);
	assert_ok(shmb_alloc(alice, 2 << 20, &(shmb_alloc_options){.wait_ms = 600000}, &block));
	assert_int_equal(info_of(ALICE).blocks.used, 1);
	/* What he holds does not go, and then nothing does. */
	refuse(alice, 64, SHMB_OOM_USER);
	assert_int_equal(pool_session_status(bob).idle_blocks, 16);
}

/* Who waits for his quota gets what becomes idle meanwhile. */
static void test_own_cache_becomes_idle(void **state)
{
	struct waiting waiting;
	shmb_block block;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:bytes=128K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE);
	assert_ok(shmb_alloc(alice, 128 << 10, NULL, &block));
	assert_ok(shmb_cache(alice, block.handle));
	begin(&waiting, alice, 128 << 10, 600000);
	await_waiters(ALICE, 1);
	assert_ok(shmb_free(alice, block.handle));
	end(&waiting);
	assert_int_equal(waiting.result, 0);
	assert_int_equal(pool_session_status(alice).evictions, 1);
}

/* What is kept free for a user does not keep cache blocks: they go for others as where nothing is kept. */
static void test_guarantee_and_cache(void **state)
{
	shmb_block block;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--guarantee", "user:1002=512K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *carol = connect_as(BOB + 1);
	fill_cache(carol, 4, 128 << 10);
	refuse(alice, (512 << 10) + 1, SHMB_OOM_SEGMENT);
	assert_int_equal(pool_session_status(alice).idle_blocks, 4); /* all of them would not do */
	assert_ok(shmb_alloc(alice, 256 << 10, NULL, &block));
	assert_int_equal(pool_session_status(alice).evictions, 2);
	assert_ok(shmb_alloc(connect_as(BOB), 512 << 10, NULL, &block));
	assert_int_equal(pool_session_status(alice).evictions, 2);
}

/* Two blocks that hold each other, and that nobody else holds. */
static void leave_circle(shmb_session *session, uint64_t size)
{
	shmb_handle one = allocate(session, size), other = allocate(session, size);

	assert_ok(shmb_link(session, one, other));
	assert_ok(shmb_link(session, other, one));
	assert_ok(shmb_free(session, one));
	assert_ok(shmb_free(session, other));
}

/* Who waits for what is used up by circles of links does not wait for the collector to come by itself, in a second. */
static void test_circles_make_room(void **state)
{
	const shmb_alloc_options patient = {.wait_ms = 700};
	shmb_block block;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--quota", "user:1001:bytes=128K", "--guarantee", "user:1003=512K", NULL);
	daemon_fixture_let_all_in(&fixture);
	shmb_session *alice = connect_as(ALICE), *bob = connect_as(BOB);
	leave_circle(alice, 64 << 10);
	assert_ok(shmb_alloc(alice, 64, &patient, &block));
	leave_circle(bob, 128 << 10);
	assert_ok(shmb_alloc(bob, 256 << 10, &patient, &block)); /* free, but for the guarantee */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_at_once),
		TEST(test_bytes_of_a_user),
		TEST(test_session),
		TEST(test_charge_moves),
		TEST(test_orphan),
		TEST(test_guarantee),
		TEST(test_other_kinds),
		TEST(test_clone),
		TEST(test_waiting),
		TEST(test_steps_aside),
		TEST(test_overtaken),
		TEST(test_dies_in_line),
		TEST(test_restart),
		TEST(test_refused_starts),
		TEST(test_shrinks_for_who_waits),
		TEST(test_own_cache_makes_room),
		TEST(test_own_cache_becomes_idle),
		TEST(test_guarantee_and_cache),
		TEST(test_circles_make_room),
	};

	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
