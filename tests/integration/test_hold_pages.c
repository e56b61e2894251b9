/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds by page. An owner makes blocks, tells others of them on a board, and gives them back; readers take hold by handle and by name at the same
 * time. What a reader holds keeps its bytes, though the pool is small, and what is freed is zeroed at once (no early free); and when all have let go
 * the pool is empty while all sessions are still there (no lost free). Also while daemons are killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "hold_layout.h"
#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_session.h"

#define READERS 2
#define PLACES 16
#define TURNS 20000 /* of each process */
#define POOL (UINT64_C(1) << 20)
#define HELD_MAX 24 /* by a reader at a time */
#define RESTARTS 25

/* Where the owner says what there is. A reader that sees the same id before and after has read the index of that id. */
struct place {
	_Atomic uint64_t id;
	_Atomic uint32_t index, incarnation;
};

static struct board {
	struct place places[PLACES];
	_Atomic uint64_t by_page, stale; /* acquisitions */
} * board;

static struct daemon_fixture fixture;
static shmb_session *watcher;
static struct client_process processes[READERS + 1];
static unsigned long turns = TURNS;

struct part {
	uint64_t seed;
};

static int set_up(void **state)
{
	(void)state;
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(board != MAP_FAILED);
	for (size_t i = 0; i <= READERS; i++)
		processes[i].control = -1;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", "--zero", "on-free", "--log-level", "warning", NULL);
	watcher = pool_session_open(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i <= READERS; i++)
		client_process_end(&processes[i]);
	shmb_close(watcher);
	watcher = NULL;
	daemon_fixture_stop(&fixture);
	munmap(board, sizeof *board);
	return 0;
}

static shmb_session *connect_in_child(void)
{
	shmb_session *session = NULL;

	CLIENT_CHECK(shmb_connect(&(shmb_connect_options){.socket_path = fixture.socket_path}, &session) == 0);
	return session;
}

static void name_of(uint64_t place, char out_text[32])
{
	snprintf(out_text, 32, "place/%u", (unsigned)place);
}

/* Connected: from now on daemons may come and go. */
static shmb_session *begin(int control)
{
	shmb_session *session = connect_in_child();
	char byte = 'c';

	CLIENT_CHECK(client_process_say(control, &byte, 1));
	return session;
}

/* The end of a part: everything is given back, and the session stays until the test has looked. */
static void wait_to_leave(int control, shmb_session *session)
{
	char byte = 'd';

	CLIENT_CHECK(client_process_say(control, &byte, 1) && client_process_hear(control, &byte, 1));
	shmb_close(session);
}

/* ---- The owner -------------------------------------------------------------------------------------------------- */

static void make(shmb_session *session, uint64_t *random, uint64_t at, shmb_block *out_block)
{
	struct place *place = &board->places[at];
	char name[32];

	name_of(at, name);
	CLIENT_CHECK(shmb_alloc(session, 64 + pattern_below(random, 4000), NULL, out_block) == 0);
	pattern_write(out_block->data, out_block->size, out_block->handle.id);
	CLIENT_CHECK(shmb_publish(session, out_block->handle, name) == 0);
	atomic_store(&place->index, out_block->handle.index);
	atomic_store(&place->incarnation, out_block->handle.incarnation);
	atomic_store(&place->id, out_block->handle.id);
}

/* In either order: the name goes last, or the owner does. */
static void give_back(shmb_session *session, uint64_t *random, uint64_t at, shmb_block *block)
{
	bool name_first = pattern_below(random, 2);
	char name[32];

	name_of(at, name);
	if (name_first)
		CLIENT_CHECK(shmb_unpublish(session, name) == 0);
	CLIENT_CHECK(shmb_free(session, block->handle) == 0);
	if (!name_first)
		CLIENT_CHECK(shmb_unpublish(session, name) == 0);
	*block = (shmb_block){0};
}

static void own(int control, const void *argument)
{
	uint64_t random = ((const struct part *)argument)->seed;
	shmb_session *session = begin(control);
	shmb_block blocks[PLACES];

	memset(blocks, 0, sizeof blocks);
	for (unsigned long turn = 0; turn < turns / 4; turn++) {
		uint64_t at = pattern_below(&random, PLACES);
		if (blocks[at].handle.id)
			give_back(session, &random, at, &blocks[at]);
		else
			make(session, &random, at, &blocks[at]);
	}
	for (uint64_t at = 0; at < PLACES; at++)
		if (blocks[at].handle.id)
			give_back(session, &random, at, &blocks[at]);
	wait_to_leave(control, session);
}

/* ---- The readers ------------------------------------------------------------------------------------------------ */

static void verify(const shmb_block *block)
{
	CLIENT_CHECK(pattern_matches(block->data, block->size, block->handle.id));
}

static bool read_place(const struct place *place, shmb_handle *out_handle)
{
	out_handle->id = atomic_load(&place->id);
	out_handle->index = atomic_load(&place->index);
	out_handle->incarnation = atomic_load(&place->incarnation);
	return out_handle->id && atomic_load(&place->id) == out_handle->id;
}

static bool take(shmb_session *session, uint64_t *random, shmb_block *out_block)
{
	uint64_t at = pattern_below(random, PLACES);
	shmb_handle handle;
	char name[32];
	int result;

	if (pattern_below(random, 2)) {
		name_of(at, name);
		result = shmb_lookup(session, name, out_block);
		CLIENT_CHECK(result == 0 || result == -SHMB_E_NO_SUCH_NAME);
		return result == 0;
	}
	if (!read_place(&board->places[at], &handle))
		return false;
	result = shmb_acquire(session, handle, out_block);
	CLIENT_CHECK(result == 0 || result == -SHMB_E_STALE_HANDLE);
	if (result < 0)
		atomic_fetch_add(&board->stale, 1);
	return result == 0;
}

static void read_on(int control, const void *argument)
{
	uint64_t random = ((const struct part *)argument)->seed;
	shmb_session *session = begin(control);
	shmb_block held[HELD_MAX];
	unsigned count = 0;

	for (unsigned long turn = 0; turn < turns || count; turn++) {
		if (turn < turns && count < HELD_MAX && pattern_below(&random, 2)) {
			if (take(session, &random, &held[count]))
				verify(&held[count++]);
		} else if (count) {
			unsigned which = (unsigned)pattern_below(&random, count);
			verify(&held[which]);
			CLIENT_CHECK(shmb_free(session, held[which].handle) == 0);
			held[which] = held[--count];
		}
	}
	wait_to_leave(control, session);
}

/* ---- The tests -------------------------------------------------------------------------------------------------- */

static void start_all(uint64_t seed)
{
	client_process_start(&processes[READERS], own, &(struct part){seed});
	for (unsigned i = 0; i < READERS; i++)
		client_process_start(&processes[i], read_on, &(struct part){seed + 1 + i});
	for (unsigned i = 0; i <= READERS; i++) {
		char byte;
		client_process_receive(&processes[i], &byte, 1);
	}
}

static void finish_all(void)
{
	char byte = 'g';

	for (unsigned i = 0; i <= READERS; i++)
		client_process_receive(&processes[i], &byte, 1);
	/* Everybody is still there, and nothing is held. */
	pool_session_await_used(watcher, 0);
	pool_session_assert_empty(watcher, POOL);
	for (unsigned i = 0; i <= READERS; i++) {
		client_process_send(&processes[i], &byte, 1);
		assert_int_equal(client_process_reap(&processes[i]), 0);
	}
}

static void test_at_random(void **state)
{
	(void)state;
	start_all(pattern_seed(UINT64_C(0x401d)));
	finish_all();
	assert_true(board->stale > 0);
}

/* The hold pages are there again for each next daemon, whatever the former one was doing. */
static void test_through_restarts(void **state)
{
	uint64_t random = pattern_seed(UINT64_C(0x4e57));

	(void)state;
	turns = TURNS * 4;
	start_all(random);
	for (unsigned i = 0; i < RESTARTS; i++) {
		poll(NULL, 0, (int)pattern_below(&random, 60));
		daemon_fixture_kill(&fixture);
		daemon_fixture_restart(&fixture, "--size", "1M", "--zero", "on-free", "--log-level", "warning", NULL);
	}
	finish_all();
}

/* A block that is dying, and perhaps looked at just now, though a page holds it: whatever is asked about it, it is there. */
static void test_asked_while_dying(void **state)
{
	shmb_session *owner = pool_session_open(&fixture), *reader = pool_session_open(&fixture), *others[60];
	shmb_block mine, block, held;
	shmb_holder_info *holders;
	size_t count;

	(void)state;
	assert_ok(shmb_alloc(reader, 100, NULL, &mine));
	/* The more pages there are, the longer a look takes, and the rarer it is. */
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		others[i] = pool_session_open(&fixture);
		pool_session_get_page(others[i], mine.handle);
	}
	for (unsigned i = 0; i < 300; i++) {
		assert_ok(shmb_alloc(owner, 100, &(shmb_alloc_options){.name = "dying"}, &block));
		assert_ok(shmb_lookup(reader, "dying", &held));
		assert_ok(shmb_free(owner, block.handle));
		assert_ok(shmb_unpublish(owner, "dying"));
		if (i % 3 == 0) {
			assert_refused(shmb_unlink(reader, mine.handle, held.handle), NO_SUCH_LINK);
		} else if (i % 3 == 1) {
			assert_refused(shmb_remove(owner, held.handle.id), IN_USE);
		} else {
			assert_ok(shmb_list_holders(owner, held.handle.id, &holders, &count));
			free(holders);
			/* By a lookup's request at first, and by the page then. */
			assert_int_equal(count, 1);
		}
		assert_ok(shmb_free(reader, held.handle));
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		shmb_close(others[i]);
	shmb_close(owner);
	shmb_close(reader);
}

/* A block that nobody is known to hold but a page. */
static void test_orphan(void **state)
{
	shmb_session *owner = pool_session_open(&fixture), *reader = pool_session_open(&fixture);
	shmb_block block, held, again;
	shmb_holder_info *holders;
	size_t count;

	(void)state;
	assert_ok(shmb_alloc(owner, 1000, &(shmb_alloc_options){.name = "orphan"}, &block));
	pattern_write(block.data, block.size, 7);
	pool_session_get_page(reader, block.handle);
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 4); /* the pool's, and one hold page */
	assert_ok(shmb_lookup(reader, "orphan", &held));
	assert_ok(shmb_unpublish(owner, "orphan"));
	assert_ok(shmb_free(owner, block.handle));
	assert_refused(shmb_lookup(owner, "orphan", &again), NO_SUCH_NAME);
	assert_true(pattern_matches(held.data, held.size, 7));

	/* It can be acquired, given a name, and told of: by a daemon that comes later too. */
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", "--zero", "on-free", "--log-level", "warning", NULL);
	assert_ok(shmb_list_holders(owner, block.handle.id, &holders, &count));
	assert_int_equal(count, 1);
	assert_int_equal(holders[0].references, 1);
	free(holders);
	assert_refused(shmb_free(owner, block.handle), NOT_HELD);
	assert_refused(shmb_publish(owner, block.handle, "mine"), NOT_HELD);
	assert_refused(shmb_remove(owner, block.handle.id), IN_USE);
	assert_ok(shmb_acquire(owner, block.handle, &again));
	assert_true(again.offset == block.offset);
	assert_ok(shmb_free(owner, block.handle));
	assert_ok(shmb_publish(reader, block.handle, "found"));
	assert_ok(shmb_free(reader, block.handle));
	assert_ok(shmb_lookup(owner, "found", &again));
	assert_true(pattern_matches(again.data, again.size, 7));
	assert_ok(shmb_free(owner, again.handle));
	assert_ok(shmb_unpublish(owner, "found"));
	pool_session_await_used(watcher, 0);
	assert_refused(shmb_acquire(reader, block.handle, &again), STALE_HANDLE);
	assert_refused(shmb_free(reader, block.handle), STALE_HANDLE);
	shmb_close(reader);
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 3);
	shmb_close(owner);
}

/* What a dead client held by its page goes, and nothing else. */
static void hold_one(int control, const void *argument)
{
	shmb_session *session = connect_in_child();
	shmb_block block;
	char byte = 'h';

	(void)argument;
	for (unsigned i = 0; i <= POOL_SESSION_BEFORE_PAGE; i++) {
		CLIENT_CHECK(shmb_lookup(session, "held", &block) == 0);
		if (i < POOL_SESSION_BEFORE_PAGE)
			CLIENT_CHECK(shmb_free(session, block.handle) == 0);
	}
	CLIENT_CHECK(client_process_say(control, &byte, 1));
	client_process_hear(control, &byte, 1);
}

static void test_death(void **state)
{
	shmb_block block;
	char byte;

	(void)state;
	assert_ok(shmb_alloc(watcher, 1000, &(shmb_alloc_options){.name = "held"}, &block));
	client_process_start(&processes[0], hold_one, NULL);
	client_process_receive(&processes[0], &byte, 1);
	assert_ok(shmb_free(watcher, block.handle));
	assert_ok(shmb_unpublish(watcher, "held"));
	assert_ok(shmb_acquire(watcher, block.handle, &block));
	assert_ok(shmb_free(watcher, block.handle));
	assert_int_equal(pool_session_status(watcher).blocks, 1);
	client_process_kill(&processes[0]);
	pool_session_await_used(watcher, 0);
}

/* More holds than a page has room for, in one batch, all or none. */
static void test_full_page(void **state)
{
	static shmb_handle handles[2 * HOLD_SLOTS + 1];
	shmb_session *reader = pool_session_open(&fixture);
	shmb_block block, held, other;
	size_t count = 2 * HOLD_SLOTS;

	(void)state;
	assert_ok(shmb_alloc(watcher, 1000, &(shmb_alloc_options){.name = "many"}, &block));
	assert_ok(shmb_alloc(watcher, 1000, NULL, &other));
	for (size_t i = 0; i < count; i++) {
		assert_ok(shmb_lookup(reader, "many", &held));
		handles[i] = held.handle;
	}
	handles[count] = other.handle;
	assert_refused(shmb_free_batch(reader, handles, count + 1), NOT_HELD);
	handles[count] = block.handle;
	assert_refused(shmb_free_batch(reader, handles, count + 1), NOT_HELD);
	assert_ok(shmb_free(watcher, block.handle));
	assert_ok(shmb_unpublish(watcher, "many"));
	assert_ok(shmb_free_batch(reader, handles, count));
	assert_ok(shmb_free(watcher, other.handle));
	pool_session_await_used(watcher, 0);
	shmb_close(reader);
}

/* Its last daemon may be killed: nothing of an ephemeral pool stays, and --discard removes the pages too (daemon_fixture_stop looks). */
static void test_pages_go_with_the_pool(void **state)
{
	shmb_session *reader = pool_session_open(&fixture);
	shmb_block block, held;

	(void)state;
	assert_ok(shmb_alloc(watcher, 1000, &(shmb_alloc_options){.name = "block"}, &block));
	for (unsigned i = 0; i <= POOL_SESSION_BEFORE_PAGE; i++)
		assert_ok(shmb_lookup(reader, "block", &held));
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 4);
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--discard", "--log-level", "warning", NULL);
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 3);
	/* Who takes hold by a page asks nobody, and learns of it by whatever does. */
	assert_refused(shmb_ping(reader), SESSION_ENDED);
	assert_refused(shmb_lookup(reader, "block", &held), SESSION_ENDED);
	shmb_close(reader);
}

static void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", "--zero", "on-free", "--log-level", "warning", NULL);
}

static void path_of_page(unsigned number, char out_path[128])
{
	snprintf(out_path, 128, "/dev/shm/shmbuddy.%s.hold.%u", fixture.pool, number);
}

/* Somebody removes the file of a page, or puts another in its place: what may be held by it stays, until its session ends. */
static void lose_page(bool replace)
{
	uint64_t others = pool_session_status(watcher).clients;
	shmb_session *reader = pool_session_open(&fixture);
	shmb_client_info *clients;
	shmb_block block, held, later;
	char path[128], found[128] = "";
	size_t count;

	assert_ok(shmb_alloc(watcher, 1000, &(shmb_alloc_options){.name = "block"}, &block));
	pool_session_get_page(reader, block.handle);
	assert_ok(shmb_lookup(reader, "block", &held));
	pattern_write(held.data, held.size, 9);
	assert_ok(shmb_list_clients(watcher, &clients, &count));
	for (size_t i = 0; i < count; i++) {
		path_of_page(clients[i].session, path);
		if (unlink(path) == 0)
			memcpy(found, path, sizeof path);
	}
	free(clients);
	assert_true(found[0]);
	if (replace)
		close(open(found, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	restart();
	assert_true(daemon_fixture_logged(&fixture, found));

	assert_ok(shmb_free(watcher, block.handle));
	assert_ok(shmb_unpublish(watcher, "block"));
	assert_ok(shmb_alloc(watcher, 1000, &(shmb_alloc_options){.name = "later"}, &later));
	assert_ok(shmb_free(watcher, later.handle));
	assert_ok(shmb_unpublish(watcher, "later"));
	/* All memory is wanted, and neither goes: not even that which nobody holds. */
	assert_refused(shmb_alloc(watcher, POOL, NULL, &later), OUT_OF_MEMORY);
	assert_int_equal(pool_session_status(watcher).blocks, 2);
	assert_true(pattern_matches(held.data, held.size, 9));
	assert_ok(shmb_free(reader, held.handle));
	shmb_close(reader);
	pool_session_await_used(watcher, 0);
	pool_session_await_clients(watcher, others); /* its file went before it */
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 3);
}

static void test_lost_page(void **state)
{
	(void)state;
	lose_page(false);
	lose_page(true);
}

/* Pages that a daemon made, and died before it had said whose they are: of a session that lives, and of one that does not. */
static void test_strays(void **state)
{
	char path[128];

	(void)state;
	daemon_fixture_kill(&fixture);
	for (unsigned number = 1; number < 4; number++) {
		path_of_page(number, path);
		close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	}
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 6);
	daemon_fixture_restart(&fixture, "--size", "1M", "--zero", "on-free", "--log-level", "warning", NULL);
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 3);
}

/* All of the pool is held by nobody any more, and the daemon has not been told: an allocation finds that out. */
static void test_not_told(void **state)
{
	struct raw_session reader = RAW_SESSION_CLOSED;
	Shmbuddy__V1__Status status;
	Shmbuddy__V1__Handle wire = SHMBUDDY__V1__HANDLE__INIT;
	shmb_block block, again;
	char path[128];

	(void)state;
	raw_session_open(&reader, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_open_holds(&reader, fixture.socket_path, &status), 0);
	assert_int_equal(status, SHMBUDDY__V1__STATUS__OK);
	path_of_page(reader.number, path);
	CLEANUP_CLOSE int page = open(path, O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; i < 100; i++) {
		const off_t slot = (off_t)(offsetof(struct hold_page, slots) + sizeof(uint64_t) * i);
		uint64_t none = 0;
		assert_ok(shmb_alloc(watcher, POOL, NULL, &block));
		wire.id = block.handle.id;
		wire.index = block.handle.index;
		wire.incarnation = block.handle.incarnation;
		assert_int_equal(raw_session_acquire(&reader, &wire), SHMBUDDY__V1__STATUS__OK);
		assert_int_equal(pwrite(page, &block.handle.id, sizeof none, slot), sizeof none);
		assert_int_equal(raw_session_free(&reader, &wire), SHMBUDDY__V1__STATUS__OK);
		assert_ok(shmb_free(watcher, block.handle));
		assert_refused(shmb_alloc(watcher, POOL, NULL, &again), OUT_OF_MEMORY);
		assert_int_equal(pool_session_status(watcher).blocks, 1);
		assert_int_equal(pwrite(page, &none, sizeof none, slot), sizeof none);
	}
	assert_ok(shmb_alloc(watcher, POOL, NULL, &block));
	assert_ok(shmb_free(watcher, block.handle));
	raw_session_close(&reader);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_at_random),
		TEST(test_through_restarts),
		TEST(test_orphan),
		TEST(test_asked_while_dying),
		TEST(test_death),
		TEST(test_full_page),
		TEST(test_pages_go_with_the_pool),
		TEST(test_lost_page),
		TEST(test_strays),
		TEST(test_not_told),
	};

	return cmocka_run_group_tests_name("holds", tests, NULL, NULL);
}
