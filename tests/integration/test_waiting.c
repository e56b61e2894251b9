/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait: for memory, and for names. Who is served when, what is refused at once, whose time is over; what becomes of them when
 * their connection, their session, the daemon ends; and what ten thousand of them cost. test_waiting_library.c has the library's calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define OUT_OF_MEMORY SHMBUDDY__V1__STATUS__OUT_OF_MEMORY
#define NO_SUCH_NAME SHMBUDDY__V1__STATUS__NO_SUCH_NAME
#define LIMIT SHMBUDDY__V1__STATUS__LIMIT
#define READ_WRITE SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE

#define POOL (UINT64_C(1) << 20)
#define LONG 3600000 /* milliseconds that do not pass */

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;
static Shmbuddy__V1__Handle filler; /* all of the pool, held by `other` */

static void fill_pool(void)
{
	assert_int_equal(raw_session_allocate(&other, POOL, NULL, &filler), OK);
}

static void empty_pool(void)
{
	assert_int_equal(raw_session_free(&other, &filler), OK);
}

static void start(bool lasting)
{
	if (lasting)
		daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	else
		daemon_fixture_start(&fixture, "--size", "1M", NULL);
	raw_session_open(&session, fixture.socket_path, READ_WRITE);
	raw_session_open(&other, fixture.socket_path, READ_WRITE);
}

static int setup(void **state)
{
	(void)state;
	start(false);
	return 0;
}

static int setup_lasting(void **state)
{
	(void)state;
	start(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_session_close(&session);
	raw_session_close(&other);
	daemon_fixture_stop(&fixture);
	return 0;
}

/* ---- Raw requests ----------------------------------------------------------------------------------------------- */

static Shmbuddy__V1__Request *waiting_allocation(uint64_t size, uint32_t wait_ms)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(size, NULL);

	request->allocate->wait_ms = wait_ms;
	return request;
}

static Shmbuddy__V1__Request *waiting_lookup(const char *name, uint32_t wait_ms)
{
	Shmbuddy__V1__Request *request = raw_request_lookup(name);

	request->lookup->wait_ms = wait_ms;
	return request;
}

static void post(struct raw_session *from, uint32_t slot, uint64_t sequence, Shmbuddy__V1__Request *request)
{
	request->slot = slot;
	request->sequence = sequence;
	assert_int_equal(raw_client_send_request(&from->client, request), 0);
}

/* What was posted has been read, and has not been answered: the ping behind it is. */
static void expect_silence(struct raw_session *from)
{
	assert_int_equal(raw_session_ping(from), OK);
}

static Shmbuddy__V1__Reply *receive(struct raw_session *from)
{
	Shmbuddy__V1__Reply *reply;

	assert_int_equal(raw_client_receive_reply(&from->client, &reply), 0);
	return reply;
}

/* The next reply is that of this slot, with this status. A block's handle, if there is one. */
static Shmbuddy__V1__Handle expect(struct raw_session *from, uint32_t slot, Shmbuddy__V1__Status status)
{
	Shmbuddy__V1__Reply *reply = receive(from);
	Shmbuddy__V1__Handle handle = SHMBUDDY__V1__HANDLE__INIT;

	if (reply->status != status)
		print_error("slot %u: %s\n", reply->slot, reply->text);
	assert_int_equal(reply->status, status);
	assert_int_equal(reply->slot, slot);
	if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK)
		handle = *reply->block->handle;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return handle;
}

static void expect_text(struct raw_session *from, Shmbuddy__V1__Status status, const char *text)
{
	Shmbuddy__V1__Reply *reply = receive(from);

	assert_int_equal(reply->status, status);
	if (!strstr(reply->text, text))
		fail_msg("\"%s\" does not say: %s", reply->text, text);
	assert_true(status != OUT_OF_MEMORY || reply->out_of_memory);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static uint64_t blocks_of(struct raw_session *whose)
{
	struct raw_session_holdings holdings;

	raw_session_holdings(whose, &holdings);
	return holdings.blocks;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

static void test_served_in_turn(void **state)
{
	Shmbuddy__V1__Handle handles[4];

	(void)state;
	fill_pool();
	for (uint32_t slot = 1; slot <= 4; slot++)
		post(&session, slot, 1, waiting_allocation(POOL / 2, LONG));
	expect_silence(&session);
	empty_pool();
	handles[0] = expect(&session, 1, OK);
	handles[1] = expect(&session, 2, OK);
	expect_silence(&session);
	assert_int_equal(raw_session_free(&session, &handles[1]), OK);
	handles[2] = expect(&session, 3, OK);
	assert_int_equal(raw_session_free(&session, &handles[0]), OK);
	handles[3] = expect(&session, 4, OK);
	/* The outcome is recorded like any other. */
	post(&session, 4, 1, waiting_allocation(POOL / 2, LONG));
	assert_int_equal(expect(&session, 4, OK).id, handles[3].id);
	assert_int_equal(blocks_of(&session), 2);
}

static void test_time_passes(void **state)
{
	(void)state;
	fill_pool();
	post(&session, 1, 1, waiting_allocation(64, 20));
	expect_text(&session, OUT_OF_MEMORY,
	            "64 asked for, 0 free, the longest free run is 0, and that has not changed within 20ms");
	post(&session, 1, 1, waiting_allocation(64, 20)); /* that is the outcome, though there is room now */
	empty_pool();
	expect(&session, 1, OUT_OF_MEMORY);
	assert_int_equal(blocks_of(&session), 0);
}

static void post_batch(uint32_t slot, const uint64_t *sizes, size_t count, uint32_t wait_ms)
{
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	batch.size = (uint64_t *)(uintptr_t)sizes;
	batch.n_size = count;
	batch.wait_ms = wait_ms;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	post(&session, slot, 1, &request);
}

/* What an empty pool has no room for does not wait. */
static void test_never_fits(void **state)
{
	const uint64_t large[] = {POOL / 2, POOL / 4, POOL / 4, 1}, fitting[] = {POOL / 2, POOL / 4, POOL / 4};
	static uint64_t many[4096];

	(void)state;
	fill_pool();
	post(&session, 1, 1, waiting_allocation(POOL + 1, LONG));
	expect_text(&session, OUT_OF_MEMORY, "would not fit an empty pool either: start a larger one");
	post(&session, 2, 1, waiting_allocation(UINT64_MAX, LONG));
	expect_text(&session, OUT_OF_MEMORY, "would not fit an empty pool either");
	post_batch(3, large, 4, LONG);
	expect_text(&session, OUT_OF_MEMORY, "would not fit an empty pool either");
	for (size_t i = 0; i < 4096; i++)
		many[i] = 257;
	post_batch(4, many, 4096, LONG);
	expect_text(&session, OUT_OF_MEMORY, "would not fit an empty pool either");
	Shmbuddy__V1__Request *request = waiting_allocation(64, LONG);
	request->allocate->alignment = POOL * 2;
	post(&session, 5, 1, request);
	expect_text(&session, OUT_OF_MEMORY, "would not fit an empty pool either");
	post_batch(6, fitting, 3, LONG);
	expect_silence(&session);
	empty_pool();
	expect(&session, 6, OK);
	assert_int_equal(blocks_of(&session), 3);
}

/* More blocks than the table has records for: nobody's free would help. */
static void test_never_as_many(void **state)
{
	static const uint64_t sizes[11] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", "--max-blocks", "10", NULL);
	raw_session_open(&session, fixture.socket_path, READ_WRITE);
	raw_session_open(&other, fixture.socket_path, READ_WRITE);
	fill_pool();
	post_batch(1, sizes, 11, LONG);
	expect_text(&session, OUT_OF_MEMORY, "the pool has 10 blocks, as many as it takes: ask for fewer");
	post_batch(2, sizes, 10, LONG);
	expect_silence(&session);
	empty_pool();
	expect(&session, 2, OK);
}

/* Small requests pass a large one as often as shmbuddy.h says; then what is free is set aside. */
static void test_set_aside(void **state)
{
	Shmbuddy__V1__Handle small, kept;

	(void)state;
	assert_int_equal(raw_session_allocate(&other, 64, NULL, &kept), OK);
	post(&session, 1, 1, waiting_allocation(POOL, LONG));
	expect_silence(&session);
	for (unsigned i = 0; i < SHMB_OVERTAKEN_MAX; i++) {
		assert_int_equal(raw_session_allocate(&other, 64, NULL, &small), OK);
		assert_int_equal(raw_session_free(&other, &small), OK);
	}
	post(&other, 1, 1, raw_request_allocate(64, NULL));
	expect_text(&other, OUT_OF_MEMORY, "it is set aside for a request that came before and waits: free blocks, or wait too");
	post(&other, 2, 1, waiting_allocation(64, 20));
	expect_text(&other, OUT_OF_MEMORY, "and waits, and that has not changed within 20ms");
	post(&other, 3, 1, waiting_allocation(64, LONG));
	expect_silence(&other);
	assert_int_equal(raw_session_free(&other, &kept), OK);
	Shmbuddy__V1__Handle large = expect(&session, 1, OK);
	expect_silence(&other);
	assert_int_equal(raw_session_free(&session, &large), OK);
	expect(&other, 3, OK);
}

/* Its place is another's as soon as who waits for it has gone, however it goes. */
static void test_leaves_what_was_set_aside(void **state)
{
	Shmbuddy__V1__Handle kept;

	(void)state;
	assert_int_equal(raw_session_allocate(&other, 64, NULL, &kept), OK);
	post(&session, 1, 1, waiting_allocation(POOL, LONG));
	expect_silence(&session);
	for (unsigned i = 0; i < SHMB_OVERTAKEN_MAX; i++)
		assert_int_equal(raw_session_allocate(&other, 64, NULL, NULL), OK);
	post(&other, 1, 1, waiting_allocation(64, LONG));
	expect_silence(&other);
	raw_session_disconnect(&session);
	expect(&other, 1, OK);
}

/* ---- Names ------------------------------------------------------------------------------------------------------ */

static void test_published(void **state)
{
	Shmbuddy__V1__Handle block;

	(void)state;
	post(&session, 1, 1, waiting_lookup("one", LONG));
	post(&session, 2, 1, waiting_lookup("two", LONG));
	post(&session, 3, 1, waiting_lookup("one", LONG));
	expect_silence(&session);
	assert_int_equal(raw_session_allocate(&other, 100, NULL, &block), OK);
	assert_int_equal(raw_session_publish(&other, &block, "one"), OK);
	assert_int_equal(expect(&session, 1, OK).id, block.id);
	assert_int_equal(expect(&session, 3, OK).id, block.id);
	expect_silence(&session);
	/* Who waited holds the block, whatever becomes of its name and its owner. */
	assert_int_equal(raw_session_free(&other, &block), OK);
	assert_int_equal(raw_session_unpublish(&other, "one"), OK);
	assert_int_equal(raw_session_free(&session, &block), OK);
	assert_int_equal(raw_session_free(&session, &block), OK);
	assert_int_equal(raw_session_free(&session, &block), SHMBUDDY__V1__STATUS__STALE_HANDLE);
	assert_int_equal(raw_session_allocate(&other, 200, "two", &block), OK);
	assert_int_equal(expect(&session, 2, OK).id, block.id);
	post(&session, 2, 1, waiting_lookup("two", LONG));
	assert_int_equal(expect(&session, 2, OK).id, block.id);
	assert_int_equal(raw_session_free(&session, &block), OK);
	assert_int_equal(raw_session_free(&session, &block), SHMBUDDY__V1__STATUS__NOT_HELD); /* once */
}

/* Published and taken away in one breath: who waited was there in between. */
static void test_published_for_a_moment(void **state)
{
	Shmbuddy__V1__Handle block;

	(void)state;
	assert_int_equal(raw_session_allocate(&other, 100, NULL, &block), OK);
	for (uint64_t turn = 1; turn <= 50; turn++) {
		post(&session, 1, turn, waiting_lookup("brief", LONG));
		expect_silence(&session);
		post(&other, 1, turn, raw_request_publish(&block, "brief"));
		post(&other, 2, turn, raw_request_unpublish("brief"));
		expect(&other, 1, OK);
		expect(&other, 2, OK);
		assert_int_equal(expect(&session, 1, OK).id, block.id);
	}
}

/* The name comes with an allocation that waits itself. */
static void test_waits_for_who_waits(void **state)
{
	(void)state;
	fill_pool();
	post(&session, 1, 1, waiting_lookup("late", LONG));
	Shmbuddy__V1__Request *request = raw_request_allocate(1000, "late");
	request->allocate->wait_ms = LONG;
	post(&session, 2, 1, request);
	expect_silence(&session);
	empty_pool();
	uint64_t found[2];
	for (int i = 0; i < 2; i++) {
		Shmbuddy__V1__Reply *reply = receive(&session);
		assert_int_equal(reply->status, OK);
		found[i] = reply->block->handle->id;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	assert_int_equal(found[0], found[1]);
	assert_int_equal(blocks_of(&session), 1);
}

static void test_name_in_no_time(void **state)
{
	(void)state;
	post(&session, 1, 1, waiting_lookup("never", 20));
	expect_text(&session, NO_SUCH_NAME, "nothing was published under this name within 20ms");
	post(&session, 2, 1, waiting_lookup("//", LONG));
	expect(&session, 2, SHMBUDDY__V1__STATUS__BAD_NAME);
	assert_int_equal(raw_session_allocate(&other, 64, "never", NULL), OK);
	post(&session, 1, 1, waiting_lookup("never", 20));
	expect(&session, 1, NO_SUCH_NAME); /* the outcome */
}

/* ---- Ends ------------------------------------------------------------------------------------------------------- */

/* What waits has not happened: it is forgotten with the connection, and happens once when it is asked for again. */
static void test_connection_lost(void **state)
{
	Shmbuddy__V1__Handle block;

	(void)state;
	fill_pool();
	post(&session, 1, 1, waiting_allocation(POOL, LONG));
	post(&session, 2, 1, waiting_lookup("name", LONG));
	expect_silence(&session);
	raw_session_disconnect(&session);
	assert_true(daemon_fixture_logged(&fixture, "connection lost, its process lives"));
	empty_pool();
	fill_pool(); /* nobody else has it */
	assert_int_equal(raw_session_publish(&other, &filler, "name"), OK);
	assert_int_equal(raw_session_unpublish(&other, "name"), OK);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	session.sequence = 100;
	assert_int_equal(blocks_of(&session), 0);
	post(&session, 1, 1, waiting_allocation(POOL, LONG));
	post(&session, 2, 1, waiting_lookup("name", LONG));
	expect_silence(&session);
	empty_pool();
	block = expect(&session, 1, OK);
	assert_int_equal(raw_session_publish(&session, &block, "name"), OK);
	assert_int_equal(expect(&session, 2, OK).id, block.id);
}

/* Asked for again, on a new connection, before the daemon knows that the old one is gone: it goes on to wait, and is answered once. */
static void test_asked_again(void **state)
{
	(void)state;
	fill_pool();
	for (uint64_t sequence = 1; sequence < 20; sequence++) {
		struct raw_client old;
		post(&session, 1, sequence, waiting_allocation(POOL, LONG));
		post(&session, 1, sequence, waiting_allocation(POOL, LONG));
		old = session.client;
		session.client.fd = -1;
		memset(&session.client.input, 0, sizeof session.client.input);
		assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
		session.sequence = 100 * sequence;
		post(&session, 1, sequence, waiting_allocation(POOL, LONG));
		expect_silence(&session);
		empty_pool();
		Shmbuddy__V1__Handle block = expect(&session, 1, OK);
		expect_silence(&session); /* once */
		assert_int_equal(raw_session_free(&session, &block), OK);
		fill_pool();
		raw_client_close(&old);
	}
}

/* With every slot a waiter, half of them for names. */
static void wait_in_all_slots(struct raw_session *whose)
{
	char name[32];

	for (uint32_t slot = 1; slot < whose->slots; slot++) {
		snprintf(name, sizeof name, "name %u", slot % 7);
		post(whose, slot, 1, slot % 2 ? waiting_allocation(POOL, LONG) : waiting_lookup(name, LONG));
	}
	expect_silence(whose);
}

static void test_session_ends(void **state)
{
	(void)state;
	fill_pool();
	for (int turn = 0; turn < 20; turn++) {
		wait_in_all_slots(&session);
		if (turn % 2) {
			Shmbuddy__V1__Goodbye goodbye = SHMBUDDY__V1__GOODBYE__INIT;
			Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
			request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_GOODBYE;
			request.goodbye = &goodbye;
			post(&session, 0, ++session.sequence, &request);
			expect(&session, 0, OK); /* and no other word */
			assert_int_equal(raw_client_wait_for_end(&session.client), 0);
		}
		raw_session_close(&session);
		raw_session_wait_for_sessions(&other, 1);
		raw_session_open(&session, fixture.socket_path, READ_WRITE);
	}
	empty_pool();
	assert_int_equal(raw_session_allocate(&session, POOL, NULL, NULL), OK);
}

/* A daemon that is told to end does not wait for anybody. */
static void test_daemon_ends(void **state)
{
	(void)state;
	fill_pool();
	wait_in_all_slots(&session);
	wait_in_all_slots(&other);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", NULL);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	assert_int_equal(raw_session_resume(&other, fixture.socket_path), OK);
	session.sequence = other.sequence = 1000;
	wait_in_all_slots(&session); /* the same requests, and again they wait */
	empty_pool();
	expect(&session, 1, OK);
}

/* ---- Many ------------------------------------------------------------------------------------------------------- */

#define WAITERS_MAX 16384 /* of a kind, as shmbuddy.h says */
#define MANY 10000
#define SESSIONS 280

static struct raw_session crowd[SESSIONS];

/* Bytes of memory that the daemon uses by itself. */
static long daemon_memory(void)
{
	char path[64], line[256];
	long kilobytes = 0;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)fixture.pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		sscanf(line, "RssAnon: %ld kB", &kilobytes);
	fclose(file);
	return kilobytes * 1024;
}

static void open_crowd(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	start(false);
	for (size_t i = 0; i < SESSIONS; i++)
		raw_session_open(&crowd[i], fixture.socket_path, READ_WRITE);
}

static void close_crowd(void)
{
	for (size_t i = 0; i < SESSIONS; i++)
		raw_session_close(&crowd[i]);
	raw_session_wait_for_sessions(&other, 2);
}

/* Waiters number `from` to `end` post what `request` makes; slot 0 is for looking. */
static void post_many(size_t from, size_t end, Shmbuddy__V1__Request *(*request)(void))
{
	const size_t slots = crowd[0].slots - 1;

	for (size_t i = from; i < end; i++)
		post(&crowd[i / slots], 1 + (uint32_t)(i % slots), 1, request());
	for (size_t i = from / slots; i <= (end - 1) / slots; i++)
		expect_silence(&crowd[i]);
}

static void receive_many(size_t end)
{
	const size_t slots = crowd[0].slots - 1;

	for (size_t i = 0; i < end; i++)
		expect(&crowd[i / slots], 1 + (uint32_t)(i % slots), OK);
}

static Shmbuddy__V1__Request *allocate_little(void)
{
	return waiting_allocation(64, LONG);
}

static Shmbuddy__V1__Request *look_up_long_name(void)
{
	static char name[SHMB_NAME_MAX + 1];

	memset(name, 'n', SHMB_NAME_MAX);
	return waiting_lookup(name, LONG);
}

static void expect_limit(Shmbuddy__V1__Request *request, const char *text)
{
	post(&session, 1, 1, request);
	expect_text(&session, LIMIT, text);
}

/* All that may wait do; who comes then is told so; then all are served, in order, or all are gone at once. */
static void wait_for_all(const char *what, Shmbuddy__V1__Request *(*request)(void), const char *refusal, bool serve)
{
	open_crowd();
	fill_pool();
	long before = daemon_memory();
	post_many(0, MANY, request);
	printf("%d waiters for %s: %ld bytes of the daemon's memory each\n", MANY, what, (daemon_memory() - before) / MANY);
	post_many(MANY, WAITERS_MAX, request);
	expect_limit(request(), refusal);
	if (serve && request == allocate_little)
		empty_pool();
	else if (serve)
		assert_int_equal(raw_session_publish(&other, &filler, request()->lookup->name), OK);
	if (serve)
		receive_many(WAITERS_MAX);
	close_crowd();
	if (!serve)
		empty_pool();
	post(&session, 2, 1, request == allocate_little ? request() : waiting_lookup("//", LONG));
	expect(&session, 2, request == allocate_little ? OK : SHMBUDDY__V1__STATUS__BAD_NAME);
}

static void test_many_for_memory(void **state)
{
	(void)state;
	wait_for_all("memory", allocate_little, "as many wait for it as may: 16384 requests", true);
}

static void test_many_for_a_name(void **state)
{
	(void)state;
	wait_for_all("a name", look_up_long_name, "as many wait for names as may: 16384", true);
}

static void test_many_gone(void **state)
{
	(void)state;
	wait_for_all("memory, who go", allocate_little, "as many wait for it as may", false);
}

/* Batches are bounded by their blocks. */
static void test_many_blocks(void **state)
{
	static uint64_t sizes[4096];
	struct raw_session more[5];

	(void)state;
	fill_pool();
	for (size_t i = 0; i < 4096; i++)
		sizes[i] = 1;
	for (size_t i = 0; i < 5; i++)
		raw_session_open(&more[i], fixture.socket_path, READ_WRITE);
	struct raw_session mine = session;
	for (size_t i = 0; i < 256; i++) {
		session = more[i / 59]; /* what post_batch sends from */
		post_batch(1 + (uint32_t)(i % 59), sizes, 4096, LONG);
	}
	session = mine;
	for (size_t i = 0; i < 5; i++)
		expect_silence(&more[i]);
	post_batch(1, sizes, 1, LONG);
	expect_text(&session, LIMIT, "for 1048576 blocks");
	for (size_t i = 0; i < 5; i++)
		raw_session_close(&more[i]);
	raw_session_wait_for_sessions(&other, 2);
	post_batch(2, sizes, 1, LONG);
	expect_silence(&session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LASTING(name) cmocka_unit_test_setup_teardown(name, setup_lasting, teardown)
#define TEST_ALONE(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_served_in_turn),
		TEST(test_time_passes),
		TEST(test_never_fits),
		TEST_ALONE(test_never_as_many),
		TEST(test_set_aside),
		TEST(test_leaves_what_was_set_aside),
		TEST(test_published),
		TEST(test_published_for_a_moment),
		TEST(test_waits_for_who_waits),
		TEST(test_name_in_no_time),
		TEST(test_connection_lost),
		TEST(test_asked_again),
		TEST(test_session_ends),
		TEST_LASTING(test_daemon_ends),
		TEST_ALONE(test_many_for_memory),
		TEST_ALONE(test_many_for_a_name),
		TEST_ALONE(test_many_gone),
		TEST(test_many_blocks),
	};

	return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
