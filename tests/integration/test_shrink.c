/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the way of a block that is to shrink, and what does not: tickets, links, clones, names for ranges, a time to live. And whom it
 * serves: what it leaves is there for those who wait, and what a larger size needs is not taken from them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"

#define POOL (UINT64_C(1) << 20)
#define OK SHMBUDDY__V1__STATUS__OK
#define LONG 3600000 /* milliseconds that do not pass */

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_block block, resized;
static bool moved;
static struct raw_session raw = RAW_SESSION_CLOSED, waiter = RAW_SESSION_CLOSED;
static struct client_process child = {.control = -1};

static int set_up(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 4096, NULL, &block));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_process_end(&child);
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	raw_session_close(&raw);
	raw_session_close(&waiter);
	daemon_fixture_stop(&fixture);
	return 0;
}

/* Back to 4096 bytes, and down to so many: which may be. */
static void expect_shrink(uint64_t size)
{
	static struct recount counted;

	assert_ok(shmb_resize(session, block.handle, 4096, &resized, &moved));
	assert_ok(shmb_resize(session, block.handle, size, &resized, &moved));
	assert_true(!moved && resized.size == size && resized.data == block.data);
	recount_pool(fixture.pool, &counted);
	assert_ok(shmb_resize(session, block.handle, 4096, &resized, &moved));
}

static void expect_in_use(uint64_t size)
{
	assert_refused(shmb_resize(session, block.handle, size, &resized, &moved), IN_USE);
}

/* The same where what stands in the way goes by itself. */
static void await_shrink(uint64_t size)
{
	int result;

	for (uint64_t end = pool_session_now_ns() + 5000000000;;) {
		result = shmb_resize(session, block.handle, size, &resized, &moved);
		if (result != -SHMB_E_IN_USE || pool_session_now_ns() > end)
			break;
	}
	assert_ok(result);
}

/* ---- Who stands in the way -------------------------------------------------------------------------------------- */

static void test_tickets(void **state)
{
	shmb_ticket ticket;
	shmb_block found;

	(void)state;
	assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	expect_in_use(100);
	assert_ok(shmb_revoke(session, ticket));
	expect_shrink(100);
	assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	assert_ok(shmb_redeem(other, ticket, &found));
	expect_in_use(100); /* whoever has redeemed it */
	assert_ok(shmb_free(other, found.handle));
	expect_shrink(100);
	/* One that has expired is nobody's. */
	assert_ok(shmb_share(session, block.handle, &(shmb_share_options){.ttl_ms = 1}, &ticket));
	await_shrink(100);
	expect_shrink(50);
}

static void test_links(void **state)
{
	shmb_block from;

	(void)state;
	assert_ok(shmb_alloc(session, 100, NULL, &from));
	assert_ok(shmb_link(session, from.handle, block.handle));
	expect_in_use(100);
	assert_ok(shmb_resize(session, from.handle, 10, &resized, &moved)); /* what it holds itself is no matter */
	assert_ok(shmb_resize(session, block.handle, 8192, &resized, &moved));
	assert_ok(shmb_unlink(session, from.handle, block.handle));
	expect_shrink(100);
	/* A link goes with the block that it comes from. */
	assert_ok(shmb_link(session, from.handle, block.handle));
	assert_ok(shmb_free(session, from.handle));
	await_shrink(100);
	expect_shrink(50);
}

static void adopt_and_look(int control, const void *argument)
{
	char byte = 'a';

	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == 0);
	CLIENT_CHECK(pattern_matches(block.data, block.size, 1));
	CLIENT_CHECK(client_process_say(control, &byte, 1) && client_process_hear(control, &byte, 1));
	CLIENT_CHECK(pattern_matches(block.data, block.size, 1));
	shmb_close(session);
}

static void test_clones(void **state)
{
	shmb_clone_token clone;
	char byte = 'g';

	(void)state;
	pattern_write(block.data, block.size, 1);
	assert_ok(shmb_clone(session, &clone));
	expect_in_use(100); /* it waits to be adopted */
	client_process_start(&child, adopt_and_look, &clone);
	client_process_receive(&child, &byte, 1);
	expect_in_use(100);
	client_process_send(&child, &byte, 1);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 2);
	expect_shrink(100);
}

static void publish(const char *name, uint64_t offset, uint64_t length)
{
	assert_ok(shmb_publish_with(session, block.handle, name,
	                            &(shmb_publish_options){.replace = true, .offset = offset, .length = length}));
}

static void expect_found(const char *name, uint64_t offset, uint64_t size)
{
	shmb_block found;

	assert_ok(shmb_lookup(other, name, &found));
	assert_true(found.handle.id == block.handle.id);
	assert_int_equal(found.offset, block.offset + offset);
	assert_int_equal(found.size, size);
	assert_ok(shmb_free(other, found.handle));
}

static void expect_all_found(uint64_t size)
{
	expect_found("whole", 0, size);
	expect_found("rest", 1000, size - 1000);
	expect_found("range", 100, 200);
}

/* Ranges stay whole; what goes to the end stands for what there is, and follows, down to its first byte. */
static void test_names(void **state)
{
	shmb_block found;

	(void)state;
	publish("whole", 0, 0);
	expect_shrink(1);
	publish("range", 100, 200);
	expect_in_use(299);
	expect_shrink(300);
	publish("rest", 1000, 0);
	expect_in_use(1000);
	expect_in_use(300);
	expect_shrink(1001);
	assert_ok(shmb_resize(session, block.handle, 1500, &resized, &moved));
	expect_all_found(1500);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", NULL);
	assert_ok(shmb_ping(session));
	expect_all_found(1500);
	assert_ok(shmb_resize(session, block.handle, 4000, &resized, &moved));
	assert_false(moved);
	expect_all_found(4000);
	/* Who has looked it up holds it, however short his range. */
	assert_ok(shmb_lookup(other, "range", &found));
	expect_in_use(2000);
	assert_ok(shmb_free(other, found.handle));
	/* A name that stands for another block by now is in nobody's way. */
	assert_ok(shmb_alloc(other, 100, NULL, &found));
	assert_ok(shmb_publish_with(other, found.handle, "rest", &(shmb_publish_options){.replace = true}));
	publish("range", 0, 10);
	expect_shrink(10);
	expect_in_use(9);
}

/* Nobody reads by it. What the block is moved to has none. */
static void test_time_to_live(void **state)
{
	shmb_block behind, timed;

	(void)state;
	assert_ok(shmb_renew(session, block.handle, LONG));
	expect_shrink(100);
	assert_int_equal(pool_session_status(session).leases, 1);
	assert_ok(shmb_alloc(session, 64, &(shmb_alloc_options){.ttl_ms = LONG}, &timed));
	assert_ok(shmb_alloc(session, 64, NULL, &behind));
	assert_ok(shmb_resize(session, timed.handle, 8192, &resized, &moved));
	assert_true(moved);
	assert_int_equal(pool_session_status(session).leases, 2);
	uint64_t blocks = pool_session_status(session).blocks;
	assert_ok(shmb_free(session, resized.handle));
	assert_ok(shmb_free(session, timed.handle));
	assert_int_equal(pool_session_status(session).blocks, blocks - 1);
}

/* ---- Word by word ----------------------------------------------------------------------------------------------- */

static void open_raw(struct raw_session *which)
{
	raw_session_open(which, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

/* The outcome of a look-up, asked for once more after the same session has had its range cut off: what is left of it, if anything. */
static void test_look_up_again(void **state)
{
	static const struct {
		uint64_t shrunk, size;
		int status;
	} cases[] = {{4000, 200, 0}, {1100, 100, 0}, {1001, 1, 0}, {1000, 0, SHMB_E_STALE_HANDLE}};
	Shmbuddy__V1__Handle handle;

	(void)state;
	open_raw(&raw);
	assert_int_equal(raw_session_allocate(&raw, 4096, NULL, &handle), OK);
	assert_int_equal(raw_session_call(&raw, raw_request_publish_range(&handle, "range", false, 1000, 200)), OK);
	shmbuddy__v1__reply__free_unpacked(raw_session_send(&raw, 3, 1, raw_request_lookup("range")), NULL);
	assert_int_equal(raw_session_unpublish(&raw, "range"), OK);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(raw_session_call(&raw, raw_request_resize(&handle, cases[i].shrunk)), OK);
		Shmbuddy__V1__Reply *reply = raw_session_send(&raw, 3, 1, raw_request_lookup("range"));
		assert_int_equal(reply->status, cases[i].status);
		if (!cases[i].status)
			assert_int_equal(reply->block->size, cases[i].size);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	raw_session_close(&raw);
}

/* ---- Beside those who wait -------------------------------------------------------------------------------------- */

static void wait_for_memory(uint64_t size)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(size, NULL);

	open_raw(&waiter);
	request->allocate->wait_ms = LONG;
	request->slot = 1;
	request->sequence = 1;
	assert_int_equal(raw_client_send_request(&waiter.client, request), 0);
	assert_int_equal(raw_session_ping(&waiter), OK); /* it was read, and is not answered */
}

static void expect_served(Shmbuddy__V1__Handle *out_handle)
{
	Shmbuddy__V1__Reply *reply;

	assert_int_equal(raw_client_receive_reply(&waiter.client, &reply), 0);
	assert_int_equal(reply->slot, 1);
	assert_int_equal(reply->status, OK);
	*out_handle = *reply->block->handle;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static void test_shrink_serves_who_waits(void **state)
{
	Shmbuddy__V1__Handle mine, theirs;

	(void)state;
	assert_ok(shmb_free(session, block.handle));
	open_raw(&raw);
	assert_int_equal(raw_session_allocate(&raw, POOL, NULL, &mine), OK);
	wait_for_memory(POOL / 2);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&mine, POOL / 2 + 1)), OK);
	assert_int_equal(raw_session_ping(&waiter), OK);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&mine, POOL / 4)), OK);
	expect_served(&theirs);
	assert_int_equal(raw_session_free(&waiter, &theirs), OK);
}

/* Growing takes what others wait for: it counts as going past them, and stops where memory is set aside for one of them. */
static void test_growth_does_not_overtake(void **state)
{
	Shmbuddy__V1__Handle mine, kept, theirs;

	(void)state;
	assert_ok(shmb_free(session, block.handle));
	open_raw(&raw);
	assert_int_equal(raw_session_allocate(&raw, 64, NULL, &mine), OK);
	assert_int_equal(raw_session_allocate(&raw, POOL / 2, NULL, &kept), OK);
	wait_for_memory(POOL);
	for (unsigned i = 0; i < SHMB_OVERTAKEN_MAX; i++) {
		assert_int_equal(raw_session_call(&raw, raw_request_resize(&mine, 8192)), OK);
		assert_int_equal(raw_session_call(&raw, raw_request_resize(&mine, 64)), OK);
	}
	Shmbuddy__V1__Reply *reply = raw_session_send(&raw, 5, 1, raw_request_resize(&mine, 8192));
	assert_int_equal(reply->status, SHMB_E_OUT_OF_MEMORY);
	assert_non_null(strstr(reply->text, "it is set aside for a request that came before and waits"));
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&mine, 60)), OK); /* takes nothing */
	assert_int_equal(raw_session_free(&raw, &kept), OK);
	assert_int_equal(raw_session_free(&raw, &mine), OK);
	expect_served(&theirs);
	assert_int_equal(raw_session_free(&waiter, &theirs), OK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tickets),
		TEST(test_links),
		TEST(test_clones),
		TEST(test_names),
		TEST(test_time_to_live),
		TEST(test_look_up_again),
		TEST(test_shrink_serves_who_waits),
		TEST(test_growth_does_not_overtake),
	};

	return cmocka_run_group_tests_name("shrink", tests, NULL, NULL);
}
