/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly once: a request that comes again, in the same slot with the same sequence, gets the outcome that was recorded, and
 * nothing is done twice; also after the connection was lost in between. What is out of order is never executed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "frame.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define PROTOCOL SHMBUDDY__V1__STATUS__PROTOCOL

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED, witness = RAW_SESSION_CLOSED;

/* A daemon for each test: what was committed once is there at once the next time, and some tests want to wait for it. */
static int setup(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, "--size", "256M", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	raw_session_open(&witness, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_session_close(&session);
	raw_session_wait_for_sessions(&witness, 1);
	raw_session_close(&witness);
	daemon_fixture_stop(&fixture);
	return 0;
}

static Shmbuddy__V1__Reply *send_in(uint32_t slot, uint64_t sequence, Shmbuddy__V1__Request *request)
{
	return raw_session_send(&session, slot, sequence, request);
}

static Shmbuddy__V1__Status status_in(uint32_t slot, uint64_t sequence, Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply *reply = send_in(slot, sequence, request);
	Shmbuddy__V1__Status status = reply->status;

	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return status;
}

static void expect_blocks(uint64_t blocks)
{
	struct raw_session_holdings holdings;

	raw_session_holdings(&session, &holdings);
	assert_int_equal(holdings.blocks, blocks);
}

/* Sends the request twice, the second time on a new connection if `lost`; both replies must be the same, word by word. */
static Shmbuddy__V1__Status twice(uint32_t slot, uint64_t sequence, Shmbuddy__V1__Request *request, bool lost)
{
	Shmbuddy__V1__Reply *one = send_in(slot, sequence, request);
	if (lost)
		assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	Shmbuddy__V1__Reply *two = send_in(slot, sequence, request);
	Shmbuddy__V1__Status status = one->status;

	/* People may be told less the second time; programs are told the same. */
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
	shmbuddy__v1__reply__free_unpacked(one, NULL);
	shmbuddy__v1__reply__free_unpacked(two, NULL);
	return status;
}

/* ---- Nothing is done twice -------------------------------------------------------------------------------------- */

static void repeat_all(bool lost)
{
	static uint64_t sizes[100];
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request batch_request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Handle block;

	session.sequence = 1000; /* slot 0 is for looking */
	assert_int_equal(twice(1, 1, raw_request_allocate(1000, NULL), lost), OK);
	expect_blocks(1);
	assert_int_equal(twice(1, 2, raw_request_allocate(1 << 20, "named"), lost), OK);
	expect_blocks(2);
	for (size_t i = 0; i < 100; i++)
		sizes[i] = i + 1;
	batch.n_size = 100;
	batch.size = sizes;
	batch_request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	batch_request.allocate_batch = &batch;
	assert_int_equal(twice(1, 3, &batch_request, lost), OK);
	expect_blocks(102);

	assert_int_equal(raw_session_allocate(&session, 100, NULL, &block), OK);
	assert_int_equal(twice(2, 1, raw_request_publish(&block, "published"), lost), OK);
	assert_int_equal(twice(2, 2, raw_request_lookup("published"), lost), OK);
	expect_blocks(103); /* allocated and looked up: held twice, one block */
	assert_int_equal(twice(2, 3, raw_request_free(&block), lost), OK);
	expect_blocks(103);
	assert_int_equal(twice(2, 4, raw_request_free(&block), lost), OK);
	expect_blocks(102);
	assert_int_equal(twice(2, 5, raw_request_free(&block), lost), SHMBUDDY__V1__STATUS__NOT_HELD);

	/* A refusal is an outcome as well, even when the reason has gone. */
	assert_int_equal(twice(3, 1, raw_request_allocate(64, "published"), lost), SHMBUDDY__V1__STATUS__NAME_TAKEN);
	assert_int_equal(twice(3, 2, raw_request_lookup("later"), lost), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	assert_int_equal(raw_session_unpublish(&session, "published"), OK);
	assert_int_equal(raw_session_allocate(&session, 64, "later", NULL), OK);
	assert_int_equal(status_in(3, 2, raw_request_lookup("later")), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	assert_int_equal(status_in(3, 3, raw_request_lookup("later")), OK);
	assert_int_equal(raw_session_unpublish(&session, "later"), OK);
}

static void test_repeated_at_once(void **state)
{
	(void)state;
	repeat_all(false);
}

static void test_repeated_on_a_new_connection(void **state)
{
	(void)state;
	repeat_all(true);
}

/* The outcome of an allocation whose block has been freed since: no block is made up. */
static void test_outcome_that_is_stale(void **state)
{
	Shmbuddy__V1__Reply *reply = send_in(1, 1, raw_request_allocate(64, NULL));
	Shmbuddy__V1__Handle handle = *reply->block->handle;

	(void)state;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(status_in(2, 1, raw_request_free(&handle)), OK);
	assert_int_equal(status_in(1, 1, raw_request_allocate(64, NULL)), SHMBUDDY__V1__STATUS__STALE_HANDLE);
	/* Nor does its record's next tenant pass for it. */
	assert_int_equal(raw_session_allocate(&session, 64, NULL, NULL), OK);
	assert_int_equal(status_in(1, 1, raw_request_allocate(64, NULL)), SHMBUDDY__V1__STATUS__STALE_HANDLE);
	expect_blocks(1);
}

/* Lost while the kernel is asked for memory: the block is there when the session is taken up again, once. */
static void test_lost_while_under_way(void **state)
{
	(void)state;
	Shmbuddy__V1__Request *request = raw_request_allocate(128 << 20, NULL);
	request->slot = 1;
	request->sequence = 1;
	assert_int_equal(raw_client_send_request(&session.client, request), 0);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	/* It may still be under way, and is answered then; or not have been read: then this is the first. */
	Shmbuddy__V1__Reply *reply = send_in(1, 1, request);
	assert_int_equal(reply->status, OK);
	assert_int_equal(reply->block->size, 128 << 20);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	expect_blocks(1);
}

/* ---- Out of order ----------------------------------------------------------------------------------------------- */

/* The request is refused, and the connection ends; the session stays, as it was. */
static void expect_wrong(uint32_t slot, uint64_t sequence, Shmbuddy__V1__Request *request)
{
	uint64_t looked = session.sequence;

	assert_int_equal(status_in(slot, sequence, request), PROTOCOL);
	assert_int_equal(raw_client_wait_for_end(&session.client), 0);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	session.sequence = looked;
}

static void test_lower_sequence(void **state)
{
	(void)state;
	session.sequence = 1000;
	assert_int_equal(status_in(1, 10, raw_request_allocate(64, NULL)), OK);
	expect_wrong(1, 9, raw_request_allocate(64, NULL));
	expect_wrong(1, 0, raw_request_allocate(64, NULL));
	expect_blocks(1);
	/* What has no consequence counts as well. */
	assert_int_equal(status_in(1, 20, raw_request_ping()), OK);
	expect_wrong(1, 19, raw_request_allocate(64, NULL));
	expect_blocks(1);
	assert_int_equal(status_in(1, 21, raw_request_allocate(64, NULL)), OK);
	expect_blocks(2);
}

static void test_wild_slots(void **state)
{
	const uint32_t slots[] = {session.slots, session.slots + 1, 64, 1u << 31, UINT32_MAX};

	(void)state;
	session.sequence = 1000;
	for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
		/* A sequence lower, and one higher, than what may lie where that slot would be. */
		expect_wrong(slots[i], 1, raw_request_allocate(64, NULL));
		expect_wrong(slots[i], UINT64_C(1) << 50, raw_request_allocate(64, NULL));
	}
	expect_wrong(1, UINT64_MAX, raw_request_allocate(64, NULL));
	expect_blocks(0);
	assert_int_equal(status_in(session.slots - 1, 1, raw_request_allocate(64, NULL)), OK);
}

/* Puts a request behind the others in `bytes`. */
static size_t add_frame(uint8_t *bytes, size_t size, Shmbuddy__V1__Request *request, uint32_t slot, uint64_t sequence)
{
	request->slot = slot;
	request->sequence = sequence;
	size_t length = shmbuddy__v1__request__pack(request, bytes + size + FRAME_HEADER);
	frame_put_header((uint32_t)length, bytes + size);
	return size + FRAME_HEADER + length;
}

/* Two requests in one slot, the second before the first is answered: read together, they cannot be anything else. */
static void test_busy_slot(void **state)
{
	Shmbuddy__V1__Reply *reply;
	uint8_t bytes[256];

	(void)state;
	session.sequence = 1000;
	size_t size = add_frame(bytes, 0, raw_request_allocate(128 << 20, NULL), 1, 1);
	size = add_frame(bytes, size, raw_request_allocate(64, NULL), 1, 2);
	assert_int_equal(raw_client_send_bytes(&session.client, bytes, size), 0);
	assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
	assert_int_equal(reply->status, PROTOCOL);
	assert_int_equal(reply->sequence, 2);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_wait_for_end(&session.client), 0);
	/* The first is done all the same, and once. */
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	assert_int_equal(status_in(1, 1, raw_request_allocate(128 << 20, NULL)), OK);
	expect_blocks(1);
}

/* The same request again while it is under way: one reply, one block. Other slots go on meanwhile. */
/* The sequence of one operation is no ticket for another. */
static void test_repeated_as_something_else(void **state)
{
	Shmbuddy__V1__Handle block = SHMBUDDY__V1__HANDLE__INIT;

	(void)state;
	session.sequence = 1000;
	assert_int_equal(status_in(1, 1, raw_request_allocate(1000, NULL)), OK);
	assert_int_equal(status_in(1, 1, raw_request_free(&block)), SHMBUDDY__V1__STATUS__PROTOCOL);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	expect_blocks(1);
}

static void test_repeated_while_under_way(void **state)
{
	Shmbuddy__V1__Reply *reply;
	uint8_t bytes[256];

	(void)state;
	session.sequence = 1000;
	size_t size = add_frame(bytes, 0, raw_request_allocate(128 << 20, NULL), 1, 1);
	size = add_frame(bytes, size, raw_request_allocate(128 << 20, NULL), 1, 1);
	size = add_frame(bytes, size, raw_request_ping(), 2, 1);
	assert_int_equal(raw_client_send_bytes(&session.client, bytes, size), 0);
	assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
	assert_int_equal(reply->slot, 2);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
	assert_int_equal(reply->slot, 1);
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	expect_blocks(1); /* whose reply is the next one */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_repeated_at_once),
		TEST(test_repeated_on_a_new_connection),
		TEST(test_outcome_that_is_stale),
		TEST(test_lost_while_under_way),
		TEST(test_lower_sequence),
		TEST(test_wild_slots),
		TEST(test_busy_slot),
		TEST(test_repeated_as_something_else),
		TEST(test_repeated_while_under_way),
	};

	return cmocka_run_group_tests_name("exactly_once", tests, NULL, NULL);
}
