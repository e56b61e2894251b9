/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Circles of links, with the real daemon: left to themselves they are freed, by request, by the daemon itself, and before an allocation is refused;
 * whatever holds one of its blocks, or leads to it, keeps a whole circle; and whoever asks for a block of one while it is being collected
 * gets it with all that it holds, or nothing of it is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_layout.h"
#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define POOL (UINT64_C(1) << 20)
#define UNIT 64
#define RING 1000
#define ROUNDS 60

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_block blocks[RING + 8];

static int set_up(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", "--log-level", "warning", NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", "--log-level", "warning", NULL);
}

static void free_all(size_t count)
{
	static shmb_handle handles[RING];

	for (size_t i = 0; i < count; i++)
		handles[i] = blocks[i].handle;
	assert_ok(shmb_free_batch(session, handles, count));
}

/* A circle of so many, which the session holds. */
static void make_ring(size_t count, uint64_t size)
{
	static uint64_t sizes[RING];

	for (size_t i = 0; i < count; i++)
		sizes[i] = size;
	assert_ok(shmb_alloc_batch(session, sizes, count, NULL, blocks));
	for (size_t i = 0; i < count; i++)
		assert_ok(shmb_link(session, blocks[i].handle, blocks[(i + 1) % count].handle));
}

/* Every block of it, each by the one before it. */
static void leave_ring(size_t count, uint64_t size)
{
	make_ring(count, size);
	free_all(count);
}

/* So many are freed; or some of them were by a run that began by itself, on a machine that had no time for the test in between. */
static void expect_collected(uint64_t freed, uint64_t bytes)
{
	uint64_t blocks_before = pool_session_status(session).blocks;
	shmb_collection collection;

	assert_ok(shmb_collect(session, &collection));
	assert_int_equal(pool_session_status(session).blocks, blocks_before - freed);
	if (collection.freed != freed)
		print_message("%llu of %llu were freed by the run\n", (unsigned long long)collection.freed,
		              (unsigned long long)freed);
	else
		assert_int_equal(collection.freed_bytes, bytes);
	assert_true(collection.freed <= freed && collection.slices > 0);
}

static void test_request(void **state)
{
	shmb_collection collection;

	(void)state;
	assert_ok(shmb_collect(session, &collection));
	assert_int_equal(collection.freed, 0);
	leave_ring(RING, 64);
	expect_collected(RING, RING * UNIT);
	pool_session_assert_empty(session, POOL);
	assert_ok(shmb_collect(session, NULL));
	shmb_session *reader = pool_session_open_read_only(&fixture);
	assert_refused(shmb_collect(reader, &collection), READ_ONLY);
	shmb_close(reader);
}

/* Two circles that share a block, a chain that leads from one of them to a third, and leaves. */
static void test_shapes(void **state)
{
	static const unsigned links[][2] = {{0, 1}, {1, 0}, {1, 2}, {2, 1}, {2, 3}, {3, 4},
	                                    {4, 5}, {5, 6}, {6, 4}, {6, 7}, {0, 7}, {0, 8}};

	(void)state;
	for (unsigned kept = 0; kept < 9; kept++) {
		for (unsigned i = 0; i < 9; i++)
			assert_ok(shmb_alloc(session, 64, NULL, &blocks[i]));
		for (unsigned i = 0; i < sizeof links / sizeof links[0]; i++)
			assert_ok(shmb_link(session, blocks[links[i][0]].handle, blocks[links[i][1]].handle));
		for (unsigned i = 0; i < 9; i++)
			if (i != kept)
				assert_ok(shmb_free(session, blocks[i].handle));
		const uint64_t reached = kept < 3 ? 9 : kept == 3 ? 5 : kept < 7 ? 4 : 1;
		expect_collected(9 - reached, (9 - reached) * UNIT);
		assert_int_equal(pool_session_status(session).blocks, reached);
		assert_ok(shmb_free(session, blocks[kept].handle));
		assert_ok(shmb_collect(session, NULL));
		pool_session_assert_empty(session, POOL);
	}
}

static void test_by_itself(void **state)
{
	(void)state;
	leave_ring(RING, 64);
	pool_session_assert_empty(session, POOL);
	/* Its last holder dies. */
	make_ring(RING, 64);
	shmb_close(session);
	session = pool_session_open(&fixture);
	pool_session_assert_empty(session, POOL);
}

static void test_restart(void **state)
{
	(void)state;
	leave_ring(RING, 64);
	restart();
	pool_session_assert_empty(session, POOL);
	make_ring(RING, 64);
	restart();
	expect_collected(0, 0);
	free_all(RING);
	expect_collected(RING, RING * UNIT);
}

/* ---- What a former daemon left ----------------------------------------------------------------------------------- */

static void write_word(const char *suffix, uint64_t at, uint64_t word)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, suffix);

	assert_int_equal(pwrite(fd, &word, sizeof word, (off_t)at), sizeof word);
}

static void set_collection(uint64_t word)
{
	write_word(".state", offsetof(struct state_header, collection), word);
}

/* Of the circle's blocks so many, from the first on, are condemned. */
static void condemn(unsigned from, unsigned count)
{
	struct view_header header;

	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, ".view");
	assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
	for (unsigned i = from; i < from + count; i++) {
		uint64_t at = header.blocks_at + blocks[i].handle.index * sizeof(struct block_record), word;
		assert_int_equal(pread(fd, &word, sizeof word, (off_t)at), sizeof word);
		write_word(".view", at, record_with_state(word, RECORD_DYING) | RECORD_CONDEMNED);
	}
}

static void expect_contradiction(const char *text)
{
	daemon_fixture_respawn(&fixture, "--size", "1M", "--log-level", "warning", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 3);
	assert_true(daemon_fixture_logged(&fixture, text));
}

/* What is held cannot have been decided to end; what is condemned and undecided lives on. */
static void test_contradictions(void **state)
{
	(void)state;
	make_ring(3, 64);
	assert_ok(shmb_publish(session, blocks[0].handle, "circle"));
	free_all(3);
	daemon_fixture_kill(&fixture);
	set_collection(7);
	expect_contradiction("says that 7 was decided");
	set_collection(STATE_COLLECTED);
	condemn(1, 1);
	expect_contradiction(", whose end was decided");
	condemn(0, 3);
	expect_contradiction(") is held, and its end was decided");
	set_collection(0);
	daemon_fixture_restart(&fixture, "--size", "1M", "--log-level", "warning", NULL);
	expect_collected(0, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_ok(shmb_acquire(other, blocks[i].handle, &blocks[3]));
		assert_ok(shmb_free(other, blocks[3].handle));
	}
	daemon_fixture_kill(&fixture);
	set_collection(STATE_COLLECTED); /* of a collection that had nothing left to do */
	daemon_fixture_restart(&fixture, "--size", "1M", "--log-level", "warning", NULL);
	assert_ok(shmb_unpublish(session, "circle"));
	assert_ok(shmb_collect(session, NULL));
	pool_session_assert_empty(session, POOL);
}

/* ---- What keeps a circle ----------------------------------------------------------------------------------------- */

static shmb_block held;
static shmb_ticket ticket;

static void hold_reference(void)
{
	assert_ok(shmb_acquire(other, blocks[1].handle, &held));
}

static void drop_reference(void)
{
	assert_ok(shmb_free(other, held.handle));
}

static void hold_name(void)
{
	assert_ok(shmb_publish(session, blocks[1].handle, "circle"));
}

static void hold_range(void)
{
	assert_ok(shmb_publish_with(session, blocks[2].handle, "circle", &(shmb_publish_options){.offset = 1, .length = 2}));
}

static void drop_name(void)
{
	assert_ok(shmb_unpublish(session, "circle"));
}

static void hold_ticket(void)
{
	assert_ok(shmb_share(session, blocks[0].handle, NULL, &ticket));
}

static void drop_ticket(void)
{
	assert_ok(shmb_revoke(session, ticket));
}

static void hold_time(void)
{
	assert_ok(shmb_renew(session, blocks[2].handle, 600000));
}

static void drop_time(void)
{
	assert_ok(shmb_renew(session, blocks[2].handle, 0));
}

static void hold_link(void)
{
	assert_ok(shmb_acquire(other, blocks[1].handle, &held));
	assert_ok(shmb_alloc(other, 64, NULL, &blocks[3]));
	assert_ok(shmb_link(other, blocks[3].handle, held.handle));
	assert_ok(shmb_free(other, held.handle));
}

static void drop_link(void)
{
	assert_ok(shmb_free(other, blocks[3].handle));
}

/* The session has a page after some acquisitions, and holds by it from then on. */
static void hold_page(void)
{
	pool_session_get_page(other, blocks[1].handle);
	assert_ok(shmb_acquire(other, blocks[1].handle, &held));
	shmb_holder_info *holders;
	size_t count, references = 0;
	assert_ok(shmb_list_holders(session, held.handle.id, &holders, &count));
	for (size_t i = 0; i < count; i++)
		references += holders[i].references;
	free(holders);
	assert_int_equal(references, 2); /* the owner's, and that */
}

static const struct keeper {
	const char *name;
	void (*hold)(void);
	void (*drop)(void);
	uint64_t more; /* blocks that it needs itself */
} keepers[] = {
	{"a reference", hold_reference, drop_reference, 0}, {"a name", hold_name, drop_name, 0},
	{"a name of a range", hold_range, drop_name, 0},    {"a ticket", hold_ticket, drop_ticket, 0},
	{"a time to live", hold_time, drop_time, 0},        {"a link", hold_link, drop_link, 1},
	{"a hold page", hold_page, drop_reference, 0},
};

/* Held when the session lets go: it stays, also for the next daemon. Not held any more: it goes, when it is asked for, or by itself. */
static void test_keepers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof keepers / sizeof keepers[0]; i++) {
		for (unsigned way = 0; way < 2; way++) {
			make_ring(3, 64);
			keepers[i].hold();
			for (unsigned k = 0; k < 3; k++)
				if (k != 2 || keepers[i].hold != hold_time) /* whose owner alone may end that */
					assert_ok(shmb_free(session, blocks[k].handle));
			if (way)
				restart();
			expect_collected(0, 0);
			assert_int_equal(pool_session_status(session).blocks, 3 + keepers[i].more);
			keepers[i].drop();
			if (keepers[i].hold == hold_time)
				assert_ok(shmb_free(session, blocks[2].handle));
			if (!way)
				assert_ok(shmb_collect(session, NULL));
			pool_session_assert_empty(session, POOL);
		}
		print_message("kept by %s\n", keepers[i].name);
	}
}

/* A clone holds it, and then nobody. */
static void test_clone(void **state)
{
	shmb_clone_token token;
	shmb_client_info *clients;
	size_t count;
	uint32_t number;

	(void)state;
	make_ring(3, 64);
	assert_ok(shmb_clone(session, &token));
	free_all(3);
	expect_collected(0, 0);
	assert_ok(shmb_session_number(session, &number));
	assert_ok(shmb_list_clients(session, &clients, &count));
	assert_int_equal(count, 3);
	uint32_t last = clients[count - 1].session;
	free(clients);
	assert_true(last != number);
	assert_ok(shmb_end_session(session, last, false));
	pool_session_await_clients(session, 2);
	pool_session_assert_empty(session, POOL);
}

/* ---- Random graphs ----------------------------------------------------------------------------------------------- */

#define GRAPH 48
#define GRAPHS 80

/* A simple mark of the whole: what is kept holds what it has links to. */
static void mark(bool links[GRAPH][GRAPH], bool kept[GRAPH])
{
	for (bool grows = true; grows;) {
		grows = false;
		for (size_t from = 0; from < GRAPH; from++)
			for (size_t to = 0; to < GRAPH && kept[from]; to++)
				if (links[from][to] && !kept[to])
					kept[to] = grows = true;
	}
}

static void expect_graph(const bool kept[GRAPH])
{
	shmb_block_info info;
	uint64_t count = 0;

	for (size_t i = 0; i < GRAPH; i++) {
		if (kept[i])
			assert_ok(shmb_find_block(session, blocks[i].handle.id, &info));
		else
			assert_refused(shmb_find_block(session, blocks[i].handle.id, &info), NO_SUCH_BLOCK);
		count += kept[i];
	}
	assert_int_equal(pool_session_status(session).blocks, count);
}

/* Random links, of which some go again; a few blocks are kept; the daemon is killed now and then. */
static void try_graph(uint64_t *random)
{
	bool links[GRAPH][GRAPH] = {{false}}, kept[GRAPH], held_still[GRAPH];
	static uint64_t sizes[GRAPH];
	size_t wanted = pattern_below(random, 2 * GRAPH);

	for (size_t i = 0; i < GRAPH; i++)
		sizes[i] = 1 + pattern_below(random, 2000);
	assert_ok(shmb_alloc_batch(session, sizes, GRAPH, NULL, blocks));
	for (size_t i = 0; i < wanted; i++) {
		size_t from = pattern_below(random, GRAPH), to = pattern_below(random, GRAPH);
		if (from == to)
			continue;
		if (links[from][to])
			assert_ok(shmb_unlink(session, blocks[from].handle, blocks[to].handle));
		else
			assert_ok(shmb_link(session, blocks[from].handle, blocks[to].handle));
		links[from][to] = !links[from][to];
	}
	for (size_t i = 0; i < GRAPH; i++) {
		kept[i] = pattern_below(random, 12) == 0;
		if (!kept[i])
			assert_ok(shmb_free(session, blocks[i].handle));
	}
	memcpy(held_still, kept, sizeof kept);
	if (pattern_below(random, 8) == 0)
		restart();
	mark(links, kept);
	assert_ok(shmb_collect(session, NULL));
	uint64_t count = 0;
	for (size_t i = 0; i < GRAPH; i++)
		count += kept[i];
	/* What no circle held goes link by link. */
	for (unsigned waited = 0; waited < 5000 && pool_session_status(session).blocks != count; waited++)
		poll(NULL, 0, 1);
	expect_graph(kept);
	for (size_t i = 0; i < GRAPH; i++)
		if (held_still[i])
			assert_ok(shmb_free(session, blocks[i].handle));
	assert_ok(shmb_collect(session, NULL));
	pool_session_assert_empty(session, POOL);
}

static void test_graphs(void **state)
{
	uint64_t random = pattern_seed(UINT64_C(0x9aa9));

	(void)state;
	for (unsigned i = 0; i < GRAPHS; i++)
		try_graph(&random);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void test_out_of_memory(void **state)
{
	shmb_block block;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		leave_ring(16, POOL / 16);
		assert_ok(shmb_alloc(session, POOL, NULL, &block));
		assert_refused(shmb_alloc(session, 64, NULL, &blocks[0]), OUT_OF_MEMORY);
		assert_ok(shmb_free(session, block.handle));
		leave_ring(16, POOL / 16);
		assert_ok(shmb_alloc(session, POOL / 2, &(shmb_alloc_options){.wait_ms = 60000}, &block));
		assert_ok(shmb_free(session, block.handle));
		pool_session_assert_empty(session, POOL);
	}
	/* A circle that is held helps nobody. */
	make_ring(16, POOL / 16);
	assert_ok(shmb_free(session, blocks[3].handle));
	assert_refused(shmb_alloc(session, 64, NULL, &block), OUT_OF_MEMORY);
	assert_int_equal(pool_session_status(session).blocks, 16);
}

/* ---- In the middle ----------------------------------------------------------------------------------------------- */

static _Atomic unsigned go;

static void *collect(void *argument)
{
	atomic_store(&go, 1);
	while (atomic_load(&go) != 2)
		continue;
	return (void *)(intptr_t)shmb_collect(argument, NULL);
}

/* Somebody acquires a block while a run is under way: all of the circle is there, or nothing is. True: it is there. */
static bool race(shmb_session *taker, uint64_t *random)
{
	shmb_session *collecting = session;
	pthread_t thread;
	shmb_block block;
	void *result;

	leave_ring(RING, 64);
	atomic_store(&go, 0);
	assert_int_equal(pthread_create(&thread, NULL, collect, collecting), 0);
	while (atomic_load(&go) != 1)
		continue;
	atomic_store(&go, 2);
	for (uint64_t spin = pattern_below(random, 60000); spin; spin--)
		atomic_thread_fence(memory_order_seq_cst);
	size_t which = pattern_below(random, RING);
	int got = shmb_acquire(taker, blocks[which].handle, &block);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((intptr_t)result, 0);
	if (got < 0) {
		assert_int_equal(got, -SHMB_E_STALE_HANDLE);
		pool_session_assert_empty(session, POOL);
		return false;
	}
	for (size_t i = 0; i < RING; i++) {
		shmb_block one;
		assert_ok(shmb_acquire(taker, blocks[i].handle, &one));
		assert_ok(shmb_free(taker, one.handle));
	}
	assert_int_equal(pool_session_status(session).blocks, RING);
	assert_ok(shmb_free(taker, block.handle));
	expect_collected(RING, RING * UNIT);
	pool_session_assert_empty(session, POOL);
	return true;
}

static void test_races(void **state)
{
	uint64_t random = pattern_seed(UINT64_C(0xc1c1e5));

	unsigned kept = 0;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++)
		kept += race(other, &random); /* from the first rounds on by its hold page */
	print_message("%u of %u circles were kept\n", kept, ROUNDS);
}

/* ---- Clients that do not wait for it ----------------------------------------------------------------------------- */

#define ASKED 8

static void ask(struct raw_session *raw, unsigned slot, uint64_t sequence)
{
	Shmbuddy__V1__Request *request = raw_request_collect();

	request->slot = slot;
	request->sequence = sequence;
	assert_int_equal(raw_client_send_request(&raw->client, request), 0);
}

/* Each is answered once, whatever is sent again meanwhile. */
static void hear_all(struct raw_session *raw, unsigned count)
{
	unsigned heard[ASKED] = {0};

	for (unsigned i = 0; i < count; i++) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_receive_reply(&raw->client, &reply), 0);
		assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__OK);
		assert_true(reply->slot < ASKED && reply->collection);
		heard[reply->slot]++;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(heard[i], 1);
}

static void test_departures(void **state)
{
	struct raw_session raw = RAW_SESSION_CLOSED;

	(void)state;
	make_ring(RING, 64);
	for (unsigned turn = 0; turn < 100; turn++) {
		raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		for (unsigned slot = 0; slot < ASKED; slot++)
			ask(&raw, slot, 1);
		if (turn % 4 == 0) {
			hear_all(&raw, ASKED);
		} else if (turn % 4 == 1) {
			/* The connection goes, and comes back: what waited is asked for once more. */
			raw_session_disconnect(&raw);
			assert_int_equal(raw_session_resume(&raw, fixture.socket_path), SHMBUDDY__V1__STATUS__OK);
			for (unsigned slot = 0; slot < ASKED; slot++)
				ask(&raw, slot, 1);
			hear_all(&raw, ASKED);
		} else if (turn % 4 == 2) {
			restart();
		}
		raw_session_close(&raw);
	}
	pool_session_await_clients(session, 2);
	expect_collected(0, 0);
	free_all(RING);
	expect_collected(RING, RING * UNIT);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_request),        TEST(test_shapes),  TEST(test_by_itself),  TEST(test_restart),
		TEST(test_contradictions), TEST(test_keepers), TEST(test_clone),      TEST(test_out_of_memory),
		TEST(test_races),          TEST(test_graphs),  TEST(test_departures),
	};

	return cmocka_run_group_tests_name("collection", tests, NULL, NULL);
}
