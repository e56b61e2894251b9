/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main job: unrelated processes share memory through the daemon. What one writes the other reads at the same offset; who
 * may only read cannot write; a handle that is stale, foreign or freed twice is refused with its own error; out of memory
 * says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(16) << 20)
#define BUFFER (UINT64_C(3) << 20)

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_block block;
static char self[4096];

static void start(void)
{
	daemon_fixture_start(&fixture, NULL);
	session = pool_session_open(&fixture);
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

/* ---- Two programs ----------------------------------------------------------------------------------------------- */

/* This program, started anew as the other party: checks the buffer in place, and answers in place. */
static int be_the_other_program(const char *socket_path)
{
	shmb_connect_options options = {.socket_path = socket_path, .program = "the other"};
	shmb_session *own;
	shmb_block found;

	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_lookup(own, "buffer", &found) == 0);
	CLIENT_CHECK(found.size == BUFFER && pattern_matches(found.data, found.size, 1));
	CLIENT_CHECK(shmb_pointer(own, found.offset) == found.data);
	pattern_write(found.data, found.size, 2);
	CLIENT_CHECK(shmb_free(own, found.handle) == 0);
	CLIENT_CHECK(shmb_free(own, found.handle) == -SHMB_E_NOT_HELD);
	CLIENT_CHECK(shmb_unpublish(own, "buffer") == 0);
	shmb_close(own);
	return 0;
}

static void exec_the_other_program(int control, const void *argument)
{
	(void)control;
	(void)argument;
	execl("/proc/self/exe", self, fixture.socket_path, (char *)NULL);
	_exit(127);
}

static void test_two_programs_share_a_buffer(void **state)
{
	struct client_process program;

	(void)state;
	start();
	assert_ok(shmb_alloc(session, BUFFER, NULL, &block));
	pattern_write(block.data, block.size, 1);
	assert_ok(shmb_publish(session, block.handle, "buffer"));
	client_process_start(&program, exec_the_other_program, NULL);
	assert_int_equal(client_process_reap(&program), 0);
	assert_true(pattern_matches(block.data, block.size, 2));
	assert_refused(shmb_lookup(session, "buffer", &block), NO_SUCH_NAME);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* ---- Reading only ----------------------------------------------------------------------------------------------- */

static void test_reader_cannot_write(void **state)
{
	shmb_alloc_options named = {.name = "read me"};
	shmb_block found, none;
	int status;

	(void)state;
	start();
	other = pool_session_open_read_only(&fixture);
	assert_ok(shmb_alloc(session, 10000, &named, &block));
	pattern_write(block.data, block.size, 7);
	assert_ok(shmb_lookup(other, "read me", &found));
	assert_true(found.data != block.data);
	assert_true(pattern_matches(found.data, found.size, 7));
	assert_refused(shmb_alloc(other, 64, NULL, &none), READ_ONLY);
	assert_refused(shmb_alloc_batch(other, &(uint64_t){64}, 1, NULL, &none), READ_ONLY);
	assert_refused(shmb_publish(other, found.handle, "again"), READ_ONLY);
	assert_refused(shmb_unpublish(other, "read me"), READ_ONLY);
	assert_refused(shmb_remove(other, found.handle.id), READ_ONLY);

	/* The child has no mapping of its own to try on, so it connects. */
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* no sanitizer's */
		CLIENT_CHECK(shmb_lookup(other, "read me", &found) == 0);
		CLIENT_CHECK(pattern_matches(found.data, found.size, 7));
		*(volatile uint8_t *)found.data = 0xff;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);

	assert_true(pattern_matches(block.data, block.size, 7));
	assert_ok(shmb_free(other, found.handle));
	assert_ok(shmb_unpublish(session, "read me"));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* ---- Handles ---------------------------------------------------------------------------------------------------- */

static void test_stale_and_double_frees(void **state)
{
	shmb_handle stale, forged;
	shmb_block again;

	(void)state;
	start();
	other = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 4096, NULL, &block));
	stale = block.handle;
	assert_refused(shmb_free(other, stale), NOT_HELD);
	assert_ok(shmb_free(session, stale));
	/* Whatever lives in its place and in its record later, it never means that. */
	for (int i = 0; i < 1000; i++) {
		assert_refused(shmb_free(session, stale), STALE_HANDLE);
		assert_ok(shmb_alloc(session, 4096, NULL, &again));
		assert_int_equal(again.offset, block.offset);
		assert_true(again.handle.id > stale.id);
		assert_refused(shmb_free(session, stale), STALE_HANDLE);
		assert_refused(shmb_publish(session, stale, "stale"), STALE_HANDLE);
		assert_refused(shmb_free_batch(session, (shmb_handle[]){again.handle, stale}, 2), STALE_HANDLE);
		assert_ok(shmb_free(session, again.handle));
	}
	assert_ok(shmb_alloc(session, 4096, NULL, &again));
	assert_refused(shmb_free_batch(session, (shmb_handle[]){again.handle, again.handle}, 2), NOT_HELD);
	forged = again.handle;
	forged.incarnation++;
	assert_refused(shmb_free(session, forged), OTHER_POOL);
	forged = again.handle;
	forged.index = UINT32_MAX;
	assert_refused(shmb_free(session, forged), STALE_HANDLE);
	forged.index = again.handle.index + 1;
	assert_refused(shmb_free(session, forged), STALE_HANDLE);
	assert_refused(shmb_free(session, (shmb_handle){0}), INVALID_ARGUMENT);
	assert_refused(shmb_remove(session, stale.id), NO_SUCH_BLOCK);
	assert_refused(shmb_remove(session, again.handle.id), IN_USE);
	assert_ok(shmb_free(session, again.handle));
	pool_session_assert_empty(session, POOL);
}

/* As many references as were taken, no more; a name holds too, and remove takes what only names hold. */
static void test_references_and_names(void **state)
{
	shmb_holder_info *holders;
	shmb_block found;
	size_t count;

	(void)state;
	start();
	other = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 1000, &(shmb_alloc_options){.name = "a"}, &block));
	assert_ok(shmb_publish(session, block.handle, "b"));
	assert_refused(shmb_publish(session, block.handle, "a"), NAME_TAKEN);
	assert_refused(shmb_alloc(session, 1, &(shmb_alloc_options){.name = "b"}, &found), NAME_TAKEN);
	for (int i = 0; i < 5; i++)
		assert_ok(shmb_lookup(other, i % 2 ? "a" : "b", &found));
	assert_ok(shmb_list_holders(session, found.handle.id, &holders, &count));
	assert_int_equal(count, 2);
	assert_int_equal(holders[1].references, 5);
	free(holders);
	assert_ok(shmb_free_batch(other, (shmb_handle[]){found.handle, found.handle, found.handle, found.handle}, 4));
	assert_refused(shmb_free_batch(other, (shmb_handle[]){found.handle, found.handle}, 2), NOT_HELD);
	assert_refused(shmb_remove(session, found.handle.id), IN_USE);
	assert_ok(shmb_free(other, found.handle));
	assert_ok(shmb_free(session, block.handle));
	assert_int_equal(pool_session_status(session).blocks, 1); /* by its names */
	assert_ok(shmb_remove(session, block.handle.id));
	assert_refused(shmb_lookup(other, "a", &found), NO_SUCH_NAME);
	pool_session_assert_empty(session, POOL);
}

/* What holds a block is told in bounded time, however much it is. */
static void test_many_tickets(void **state)
{
	shmb_lifetime lifetime;
	shmb_ticket ticket;

	(void)state;
	start();
	assert_ok(shmb_alloc(session, 1000, NULL, &block));
	for (unsigned i = 0; i < SHMB_COUNTED_MAX - 1; i++)
		assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	assert_ok(shmb_get_lifetime(session, block.handle.id, &lifetime));
	assert_int_equal(lifetime.tickets, SHMB_COUNTED_MAX - 1);
	assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	assert_ok(shmb_share(session, block.handle, NULL, &ticket));
	assert_ok(shmb_get_lifetime(session, block.handle.id, &lifetime));
	assert_int_equal(lifetime.tickets, SHMB_COUNTED_MAX);
}

static void test_bad_arguments(void **state)
{
	static char long_name[SHMB_NAME_MAX + 2];
	const char *const bad_names[] = {"", "//host/name", "line\nfeed", "\xff\xfe", "\xc0\x80", long_name};

	(void)state;
	start();
	memset(long_name, 'n', SHMB_NAME_MAX + 1);
	for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
		assert_refused(shmb_alloc(session, 1, &(shmb_alloc_options){.name = bad_names[i]}, &block), BAD_NAME);
		assert_refused(shmb_lookup(session, bad_names[i], &block), BAD_NAME);
		assert_refused(shmb_unpublish(session, bad_names[i]), BAD_NAME);
	}
	assert_refused(shmb_alloc(session, 0, NULL, &block), INVALID_ARGUMENT);
	assert_refused(shmb_alloc(session, 1, &(shmb_alloc_options){.alignment = 3}, &block), INVALID_ARGUMENT);
	assert_refused(shmb_alloc(session, 1, &(shmb_alloc_options){.alignment = UINT64_C(1) << 31}, &block), INVALID_ARGUMENT);
	assert_refused(shmb_alloc(session, 1, &(shmb_alloc_options){.tag = "sixteen bytes it"}, &block), INVALID_ARGUMENT);
	assert_refused(shmb_alloc(NULL, 1, NULL, &block), INVALID_ARGUMENT);
	assert_refused(shmb_alloc_batch(session, (uint64_t[]){1, 0}, 2, NULL, &block), INVALID_ARGUMENT);
	long_name[SHMB_NAME_MAX] = 0; /* now it is the longest good one */
	assert_ok(shmb_alloc(session, 1, &(shmb_alloc_options){.name = long_name}, &block));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_unpublish(session, long_name));
	pool_session_assert_empty(session, POOL);
}

/* ---- Batches and alignment -------------------------------------------------------------------------------------- */

static void test_batches(void **state)
{
	static const size_t counts[] = {1, 2, 255, 1000, SHMB_BATCH_MAX};
	static uint64_t sizes[SHMB_BATCH_MAX + 1];
	static shmb_block blocks[SHMB_BATCH_MAX + 1];
	static shmb_handle handles[SHMB_BATCH_MAX + 1];
	uint64_t random_state = pattern_seed(UINT64_C(0xba7c4));

	(void)state;
	start();
	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		for (size_t i = 0; i < counts[c]; i++)
			sizes[i] = 1 + pattern_below(&random_state, 2000);
		assert_ok(shmb_alloc_batch(session, sizes, counts[c], &(shmb_alloc_options){.tag = "batch"}, blocks));
		for (size_t i = 0; i < counts[c]; i++) {
			assert_int_equal(blocks[i].size, sizes[i]);
			handles[i] = blocks[counts[c] - 1 - i].handle; /* given back the other way round */
			pattern_write(blocks[i].data, blocks[i].size, blocks[i].handle.id);
		}
		for (size_t i = 0; i < counts[c]; i++)
			assert_true(pattern_matches(blocks[i].data, blocks[i].size, blocks[i].handle.id));
		assert_int_equal(pool_session_status(session).blocks, counts[c]);
		pool_session_recount(session);
		assert_ok(shmb_free_batch(session, handles, counts[c]));
		pool_session_assert_empty(session, POOL);
	}
	assert_refused(shmb_alloc_batch(session, sizes, SHMB_BATCH_MAX + 1, NULL, blocks), INVALID_ARGUMENT);
	assert_refused(shmb_alloc_batch(session, sizes, 0, NULL, blocks), INVALID_ARGUMENT);
	assert_refused(shmb_free_batch(session, handles, SHMB_BATCH_MAX + 1), INVALID_ARGUMENT);
	/* All or none. */
	sizes[2000] = POOL;
	assert_refused(shmb_alloc_batch(session, sizes, SHMB_BATCH_MAX, NULL, blocks), OUT_OF_MEMORY);
	shmb_oom oom;
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.requested, POOL);
	pool_session_assert_empty(session, POOL);
}

/* Every power of two up to the largest, in a pool that has room for three of those; offset and address are aligned. */
static void test_alignments(void **state)
{
	const uint64_t size = UINT64_C(3) << 30;
	shmb_alloc_options options = {0};
	shmb_block blocks[3];

	(void)state;
	daemon_fixture_start(&fixture, "--size", "3G", "--overcommit", NULL);
	session = pool_session_open(&fixture);
	for (options.alignment = 1; options.alignment <= SHMB_ALIGNMENT_MAX; options.alignment *= 2) {
		assert_ok(shmb_alloc(session, 1, &options, &blocks[0])); /* so that the next one is not at 0 */
		assert_ok(shmb_alloc(session, 100, &options, &block));
		assert_int_equal(block.offset % options.alignment, 0);
		assert_int_equal((uintptr_t)block.data % options.alignment, 0);
		memset(block.data, 1, block.size);
		assert_ok(shmb_free(session, block.handle));
		assert_ok(shmb_free(session, blocks[0].handle));
	}
	options.alignment = SHMB_ALIGNMENT_MAX;
	assert_ok(shmb_alloc_batch(session, (uint64_t[]){1, 64, 4096}, 3, &options, blocks));
	for (int i = 0; i < 3; i++)
		assert_int_equal(blocks[i].offset % SHMB_ALIGNMENT_MAX, 0);
	assert_refused(shmb_alloc(session, 1, &options, &block), OUT_OF_MEMORY);
	assert_ok(shmb_free_batch(session, (shmb_handle[]){blocks[0].handle, blocks[1].handle, blocks[2].handle}, 3));
	assert_int_equal(pool_session_status(session).used, 0);
	/* Sizes of powers of two are aligned without being asked for. */
	for (uint64_t power = 64; power <= UINT64_C(1) << 20; power *= 2) {
		assert_ok(shmb_alloc(session, power, NULL, &block));
		assert_int_equal((uintptr_t)block.data % power, 0);
		assert_ok(shmb_free(session, block.handle));
	}
	assert_int_equal(pool_session_status(session).size, size);
}

/* ---- Addresses -------------------------------------------------------------------------------------------------- */

static void test_pointers_and_offsets(void **state)
{
	uint8_t *first, *last;
	uint64_t offset = 1;

	(void)state;
	start();
	first = shmb_pointer(session, 0);
	last = shmb_pointer(session, POOL - 1);
	assert_non_null(first);
	assert_ptr_equal(last, first + POOL - 1);
	assert_null(shmb_pointer(session, POOL));
	assert_null(shmb_pointer(session, UINT64_MAX));
	assert_ok(shmb_offset(session, first, &offset));
	assert_int_equal(offset, 0);
	assert_ok(shmb_offset(session, last, &offset));
	assert_int_equal(offset, POOL - 1);
	assert_refused(shmb_offset(session, (void *)((uintptr_t)first - 1), &offset), INVALID_ARGUMENT);
	assert_refused(shmb_offset(session, (void *)((uintptr_t)last + 1), &offset), INVALID_ARGUMENT);
	assert_refused(shmb_offset(session, NULL, &offset), INVALID_ARGUMENT);
	assert_refused(shmb_offset(session, &offset, &offset), INVALID_ARGUMENT);
	assert_int_equal(offset, POOL - 1); /* untouched */
	for (int i = 0; i < 100; i++) {
		assert_ok(shmb_alloc(session, 1000, NULL, &block));
		assert_ptr_equal(shmb_pointer(session, block.offset), block.data);
		assert_ok(shmb_offset(session, (uint8_t *)block.data + 999, &offset));
		assert_int_equal(offset, block.offset + 999);
	}
}

/* ---- Out of memory ---------------------------------------------------------------------------------------------- */

static void test_out_of_memory_says_why(void **state)
{
	shmb_client_info *clients;
	shmb_block large, small;
	shmb_oom oom;
	size_t count;

	(void)state;
	start();
	other = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 9 << 20, NULL, &large)); /* 16 MiB by this fit, or the tail goes back */
	if (large.granted == POOL) {
		assert_ok(shmb_free(session, large.handle));
		assert_ok(shmb_alloc(session, 8 << 20, NULL, &large));
	}
	assert_ok(shmb_alloc(other, 1 << 20, &(shmb_alloc_options){.name = "orphan"}, &small));
	assert_ok(shmb_free(other, small.handle));
	assert_ok(shmb_alloc(other, 2 << 20, NULL, &small));
	assert_refused(shmb_alloc(other, 8 << 20, NULL, &block), OUT_OF_MEMORY);
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.limit, SHMB_OOM_SEGMENT);
	assert_int_equal(oom.requested, 8 << 20);
	assert_int_equal(oom.granted, 8 << 20);
	assert_int_equal(oom.free, pool_session_status(session).free);
	assert_int_equal(oom.longest_free, pool_session_status(session).longest_free);
	assert_int_equal(oom.holder_count, 3);

	assert_ok(shmb_list_clients(session, &clients, &count));
	assert_int_equal(count, 2);
	assert_int_equal(oom.holders[0].session, clients[0].session);
	assert_int_equal(oom.holders[0].bytes, clients[0].bytes);
	assert_int_equal(oom.holders[0].pid, getpid());
	assert_int_equal(oom.holders[0].uid, getuid());
	assert_string_equal(oom.holders[0].program, "test_sharing");
	assert_int_equal(oom.holders[1].session, clients[1].session);
	assert_int_equal(oom.holders[1].bytes, 2 << 20);
	assert_int_equal(oom.holders[2].session, 0); /* what only a name holds */
	assert_int_equal(oom.holders[2].bytes, 1 << 20);
	free(clients);

	/* What it says would fit does fit. */
	assert_ok(shmb_alloc(other, oom.longest_free, NULL, &block));
	assert_int_equal(pool_session_status(session).refusals, 1);
	assert_refused(shmb_alloc(other, UINT64_MAX, NULL, &block), OUT_OF_MEMORY);
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.granted, 0);
	pool_session_recount(session);
}

static void test_out_of_blocks(void **state)
{
	shmb_block blocks[11];
	shmb_oom oom;

	(void)state;
	daemon_fixture_start(&fixture, "--max-blocks", "10", NULL);
	session = pool_session_open(&fixture);
	for (int i = 0; i < 10; i++)
		assert_ok(shmb_alloc(session, 64, NULL, &blocks[i]));
	assert_refused(shmb_alloc(session, 64, NULL, &blocks[10]), OUT_OF_MEMORY);
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.limit, SHMB_OOM_BLOCKS);
	assert_ok(shmb_free(session, blocks[3].handle));
	assert_ok(shmb_alloc(session, 64, NULL, &blocks[3]));
}

/* ---- Listings --------------------------------------------------------------------------------------------------- */

static void test_listings_are_true(void **state)
{
	uint64_t random_state = pattern_seed(UINT64_C(0x1157));
	shmb_block blocks[300];
	shmb_block_info info;
	shmb_name_info name;
	char text[32];
	uint32_t cursor = 0;

	(void)state;
	start();
	for (size_t i = 0; i < 300; i++) {
		snprintf(text, sizeof text, "list/%zu", i);
		shmb_alloc_options options = {.tag = i % 3 ? "third" : NULL, .name = i % 5 ? NULL : text};
		assert_ok(shmb_alloc(session, 1 + pattern_below(&random_state, 30000), &options, &blocks[i]));
		if (i % 7 == 0)
			assert_ok(shmb_free(session, blocks[i].handle));
	}
	pool_session_recount(session);
	for (size_t i = 0; i < 300; i++) {
		bool named = i % 5 == 0, freed = i % 7 == 0;

		if (freed && !named) {
			assert_refused(shmb_find_block(session, blocks[i].handle.id, &info), NO_SUCH_BLOCK);
			continue;
		}
		assert_ok(shmb_find_block(session, blocks[i].handle.id, &info));
		assert_memory_equal(&info.handle, &blocks[i].handle, sizeof info.handle);
		assert_int_equal(info.offset, blocks[i].offset);
		assert_int_equal(info.size, blocks[i].size);
		assert_int_equal(info.granted, blocks[i].granted);
		assert_int_equal(info.uid, getuid());
		assert_int_equal(info.owner == 0, freed);
		assert_string_equal(info.tag, i % 3 ? "third" : "");
	}
	while (shmb_next_name(session, &cursor, &name) == 1) {
		size_t i = (size_t)atoi(name.name + strlen("list/"));

		assert_int_equal(i % 5, 0);
		assert_int_equal(name.block, blocks[i].handle.id);
		assert_int_equal(name.length, blocks[i].size);
		assert_int_equal(name.offset, 0);
	}
	assert_int_equal(pool_session_status(session).names, 60);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_two_programs_share_a_buffer, tear_down),
		cmocka_unit_test_teardown(test_reader_cannot_write, tear_down),
		cmocka_unit_test_teardown(test_stale_and_double_frees, tear_down),
		cmocka_unit_test_teardown(test_references_and_names, tear_down),
		cmocka_unit_test_teardown(test_many_tickets, tear_down),
		cmocka_unit_test_teardown(test_bad_arguments, tear_down),
		cmocka_unit_test_teardown(test_batches, tear_down),
		cmocka_unit_test_teardown(test_alignments, tear_down),
		cmocka_unit_test_teardown(test_pointers_and_offsets, tear_down),
		cmocka_unit_test_teardown(test_out_of_memory_says_why, tear_down),
		cmocka_unit_test_teardown(test_out_of_blocks, tear_down),
		cmocka_unit_test_teardown(test_listings_are_true, tear_down),
	};

	if (argc == 2)
		return be_the_other_program(argv[1]);
	snprintf(self, sizeof self, "%s", argv[0]);
	return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
