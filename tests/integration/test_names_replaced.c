/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that are replaced, and names that stand for ranges. Whoever looks up a name while it is replaced again and again
 * finds a block each time, with its bytes, and when all is over nothing is left of the former ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define POOL (UINT64_C(1) << 20)
#define STRANGER 65534
#define READERS 3
#define TIMES 20000 /* $SHMB_TEST_STEPS: another number */
#define LOOKS 1000  /* of each reader at least, while the name is replaced */

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static struct client_process readers[READERS];

static const shmb_publish_options replacing = {.replace = true};

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < READERS; i++)
		readers[i].control = -1;
	daemon_fixture_start(&fixture, "--size", "1M", "--max-names", "4", "--log-level", "warning", NULL);
	session = pool_session_open(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < READERS; i++)
		client_process_end(&readers[i]);
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static shmb_block allocate(uint64_t size)
{
	shmb_block block;

	assert_ok(shmb_alloc(session, size, NULL, &block));
	pattern_write(block.data, size, block.handle.id);
	return block;
}

/* What the name stands for, by its holder's eyes; the reference goes back. */
static uint64_t block_of(const char *name)
{
	shmb_block found;

	assert_ok(shmb_lookup(session, name, &found));
	assert_ok(shmb_free(session, found.handle));
	return found.handle.id;
}

static shmb_name_info info_of(const char *name)
{
	shmb_name_info info = {0}, each;

	for (uint32_t cursor = 0; shmb_next_name(session, &cursor, &each) == 1;)
		if (strcmp(each.name, name) == 0)
			info = each;
	assert_int_not_equal(info.block, 0);
	return info;
}

/* ---- Replacing -------------------------------------------------------------------------------------------------- */

static void test_replace(void **state)
{
	shmb_block first = allocate(5000), second = allocate(300), found;

	(void)state;
	other = pool_session_open(&fixture);
	assert_ok(shmb_publish_with(session, first.handle, "frame", &replacing)); /* which is there or not */
	assert_refused(shmb_publish_with(session, second.handle, "frame", NULL), NAME_TAKEN);
	assert_refused(shmb_publish_with(other, second.handle, "frame", &replacing), NOT_HELD);
	assert_ok(shmb_lookup(other, "frame", &found));
	assert_ok(shmb_free(session, first.handle));
	assert_ok(shmb_publish_with(session, second.handle, "frame", &replacing));
	assert_int_equal(block_of("frame"), second.handle.id);
	assert_int_equal(info_of("frame").length, 300);
	assert_int_equal(pool_session_status(session).names, 1);

	/* The reader stays on the old block, until it lets go. */
	assert_true(pattern_matches(found.data, 5000, first.handle.id));
	assert_int_equal(pool_session_status(session).blocks, 2);
	assert_ok(shmb_free(other, found.handle));
	pool_session_await_used(session, second.granted);
	assert_refused(shmb_acquire(other, first.handle, &found), STALE_HANDLE);

	/* By itself, and then the name is all that holds it. */
	assert_ok(shmb_publish_with(session, second.handle, "frame", &replacing));
	assert_ok(shmb_free(session, second.handle));
	assert_int_equal(block_of("frame"), second.handle.id);
	pool_session_recount(session);
	assert_ok(shmb_unpublish(session, "frame"));
	pool_session_assert_empty(session, POOL);
}

static void test_allocate_replacing(void **state)
{
	shmb_block first, second;

	(void)state;
	assert_ok(shmb_alloc(session, 100, &(shmb_alloc_options){.name = "buffer", .replace = true}, &first));
	assert_refused(shmb_alloc(session, 100, &(shmb_alloc_options){.name = "buffer"}, &second), NAME_TAKEN);
	assert_ok(shmb_free(session, first.handle));
	assert_ok(shmb_alloc(session, 200, &(shmb_alloc_options){.name = "buffer", .replace = true}, &second));
	assert_int_equal(block_of("buffer"), second.handle.id);
	assert_int_equal(pool_session_status(session).blocks, 1);
	assert_int_equal(pool_session_status(session).names, 1);
	/* Refused for want of memory, it leaves the name where it was. */
	assert_refused(shmb_alloc(session, 2 * POOL, &(shmb_alloc_options){.name = "buffer", .replace = true}, &first),
	               OUT_OF_MEMORY);
	assert_int_equal(block_of("buffer"), second.handle.id);
	assert_ok(shmb_unpublish(session, "buffer"));
	assert_ok(shmb_free(session, second.handle));
	pool_session_assert_empty(session, POOL);
}

/* A pool that has all the names it takes can replace them. */
static void test_full_of_names(void **state)
{
	shmb_block block = allocate(64), more;
	char name[16];

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "name %d", i);
		assert_ok(shmb_publish(session, block.handle, name));
	}
	assert_refused(shmb_publish(session, block.handle, "one more"), LIMIT);
	assert_refused(shmb_publish_with(session, block.handle, "one more", &replacing), LIMIT);
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "name %d", i);
		assert_ok(shmb_alloc(session, 64, &(shmb_alloc_options){.name = name, .replace = true}, &more));
		assert_int_equal(block_of(name), more.handle.id);
	}
	assert_int_equal(pool_session_status(session).names, 4);
}

/* In a process of another user's: what root or somebody else has published is not its own to replace. */
static void be_a_stranger(int control, const void *argument)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path};
	shmb_session *own;
	shmb_block block;
	char byte = 'r';

	(void)argument;
	CLIENT_CHECK(setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_alloc(own, 64, NULL, &block) == 0);
	CLIENT_CHECK(shmb_publish_with(own, block.handle, "theirs", &replacing) == -SHMB_E_DENIED);
	CLIENT_CHECK(strstr(shmb_last_error(), "uid 0"));
	CLIENT_CHECK(shmb_alloc(own, 64, &(shmb_alloc_options){.name = "theirs", .replace = true}, &block) == -SHMB_E_DENIED);
	CLIENT_CHECK(shmb_publish_with(own, block.handle, "its own", &replacing) == 0);
	CLIENT_CHECK(shmb_publish_with(own, block.handle, "its own", &replacing) == 0);
	/* Root replaces it, and is its publisher from then on. */
	CLIENT_CHECK(client_process_say(control, &byte, 1) && client_process_hear(control, &byte, 1));
	CLIENT_CHECK(shmb_publish_with(own, block.handle, "its own", &replacing) == -SHMB_E_DENIED);
	CLIENT_CHECK(shmb_unpublish(own, "its own") == -SHMB_E_DENIED);
	shmb_close(own);
}

static void test_rights(void **state)
{
	shmb_block block = allocate(64);
	char byte;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	daemon_fixture_let_all_in(&fixture);
	assert_ok(shmb_publish(session, block.handle, "theirs"));
	client_process_start(&readers[0], be_a_stranger, NULL);
	client_process_receive(&readers[0], &byte, 1);
	assert_int_equal(info_of("its own").uid, STRANGER);
	assert_ok(shmb_publish_with(session, block.handle, "its own", &replacing));
	assert_int_equal(info_of("its own").uid, 0);
	client_process_send(&readers[0], &byte, 1);
	assert_int_equal(client_process_reap(&readers[0]), 0);
	assert_int_equal(block_of("theirs"), block.handle.id);
}

/* ---- Ranges ----------------------------------------------------------------------------------------------------- */

static void test_range(void **state)
{
	static const shmb_publish_options wrong[] = {
		{.offset = 5000},
		{.offset = 4000, .length = 1001},
		{.length = 5001},
		{.offset = UINT64_MAX, .length = 1},
		{.offset = 1, .length = UINT64_MAX},
	};
	shmb_block block = allocate(5000), found;

	(void)state;
	other = pool_session_open_read_only(&fixture);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_refused(shmb_publish_with(session, block.handle, "range", &wrong[i]), INVALID_ARGUMENT);
		assert_non_null(strstr(shmb_last_error(), "5000 bytes"));
	}
	assert_ok(shmb_publish_with(session, block.handle, "middle", &(shmb_publish_options){.offset = 1000, .length = 50}));
	assert_ok(shmb_publish_with(session, block.handle, "tail", &(shmb_publish_options){.offset = 4999}));
	assert_int_equal(info_of("middle").offset, 1000);
	assert_int_equal(info_of("middle").length, 50);
	assert_int_equal(info_of("middle").block, block.handle.id);
	assert_int_equal(info_of("tail").length, 1);

	/* By request, and later by the page: the same. */
	for (int i = 0; i < 20; i++) {
		assert_ok(shmb_lookup(other, i % 2 ? "middle" : "tail", &found));
		assert_int_equal(found.handle.id, block.handle.id);
		assert_int_equal(found.offset, block.offset + (i % 2 ? 1000 : 4999));
		assert_int_equal(found.size, i % 2 ? 50 : 1);
		assert_int_equal(found.granted, found.size);
		assert_ptr_equal(found.data, shmb_pointer(other, found.offset));
		assert_memory_equal(found.data, (char *)block.data + (found.offset - block.offset), found.size);
		assert_ok(shmb_free(other, found.handle));
	}
	assert_ok(shmb_acquire(other, block.handle, &found));
	assert_int_equal(found.size, 5000);
	assert_ok(shmb_free(other, found.handle));

	/* Each of its names holds the whole block. */
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_unpublish(session, "middle"));
	assert_int_equal(block_of("tail"), block.handle.id);
	assert_ok(shmb_unpublish(session, "tail"));
	pool_session_assert_empty(session, POOL);
}

/* The same request again gets the same range, whatever the name stands for by then. */
static void test_repeated_look_up(void **state)
{
	struct raw_session raw;
	shmb_block block = allocate(5000);
	const uint64_t offset = block.offset + 1000;

	(void)state;
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_ok(shmb_publish_with(session, block.handle, "range", &(shmb_publish_options){.offset = 1000, .length = 50}));
	for (int i = 0; i < 4; i++) {
		Shmbuddy__V1__Reply *reply = raw_session_send(&raw, 3, 7, raw_request_lookup("range"));
		assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__OK);
		assert_int_equal(reply->block->offset, offset);
		assert_int_equal(reply->block->size, 50);
		assert_int_equal(reply->block->granted, 50);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		if (i == 0)
			assert_ok(shmb_publish_with(session, block.handle, "range", &(shmb_publish_options){.replace = true}));
		if (i == 1)
			assert_ok(shmb_unpublish(session, "range"));
		if (i == 2)
			assert_int_equal(raw_session_resume(&raw, fixture.socket_path), SHMBUDDY__V1__STATUS__OK);
	}
	raw_session_close(&raw);
}

/* ---- Readers, while a name is replaced --------------------------------------------------------------------------- */

/* The first bytes of a block say which it is; on the other side stands how often each reader has looked. */
static struct board {
	_Atomic bool over;
	_Atomic uint32_t looks[READERS];
} * board;

struct part {
	size_t number;
};

/* By the library, each way that it has: by request at first, by its page, and in the list. */
static void look_for_ever(int control, const void *argument)
{
	const struct part *part = argument;
	shmb_connect_options options = {.socket_path = fixture.socket_path, .access = SHMB_READ_ONLY};
	const shmb_name_filter filter = {.prefix = "fra"};
	shmb_session *own;

	(void)control;
	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	while (!atomic_load(&board->over)) {
		shmb_name_info *names;
		shmb_block found;
		size_t count;
		if (part->number == 0) {
			CLIENT_CHECK(shmb_match_names(own, &filter, &names, &count) == 0);
			CLIENT_CHECK(count == 1 && names[0].length == sizeof(uint64_t));
			free(names);
		} else {
			CLIENT_CHECK(shmb_lookup(own, "frame", &found) == 0);
			CLIENT_CHECK(found.size == sizeof(uint64_t) && *(const uint64_t *)found.data == found.handle.id);
			CLIENT_CHECK(shmb_free(own, found.handle) == 0);
		}
		atomic_fetch_add(&board->looks[part->number], 1);
	}
	shmb_close(own);
}

/* By a fresh block each time; in one that was freed under a reader stands another id soon. */
static void replace_once(void)
{
	shmb_block block;

	assert_ok(shmb_alloc(session, 4096, NULL, &block));
	*(uint64_t *)((char *)block.data + 64) = block.handle.id;
	assert_ok(shmb_publish_with(session, block.handle, "frame",
	                            &(shmb_publish_options){.replace = true, .offset = 64, .length = sizeof(uint64_t)}));
	assert_ok(shmb_free(session, block.handle));
}

/* Has the process ended? It stays a zombie. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

static bool all_have_looked(void)
{
	for (size_t i = 0; i < READERS; i++)
		if (atomic_load(&board->looks[i]) < LOOKS && !has_ended(readers[i].pid))
			return false;
	return true;
}

static void test_never_a_miss(void **state)
{
	struct part parts[READERS];
	const char *text = getenv("SHMB_TEST_STEPS");
	unsigned times = 0, most = text ? (unsigned)strtoul(text, NULL, 0) : TIMES;

	(void)state;
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(board != MAP_FAILED);
	replace_once();
	for (size_t i = 0; i < READERS; i++) {
		parts[i].number = i;
		client_process_start(&readers[i], look_for_ever, &parts[i]);
	}
	for (; times < most || !all_have_looked(); times++)
		replace_once();
	atomic_store(&board->over, true);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(client_process_reap(&readers[i]), 0);
	print_message("replaced %u times: %u lists, %u and %u look-ups, none in vain\n", times, board->looks[0], board->looks[1],
	              board->looks[2]);
	munmap(board, sizeof *board);
	pool_session_await_clients(session, 1);
	assert_ok(shmb_unpublish(session, "frame"));
	pool_session_assert_empty(session, POOL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replace), TEST(test_allocate_replacing), TEST(test_full_of_names), TEST(test_rights),
		TEST(test_range),   TEST(test_repeated_look_up),   TEST(test_never_a_miss),
	};

	return cmocka_run_group_tests_name("names_replaced", tests, NULL, NULL);
}
