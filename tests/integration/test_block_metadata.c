/* SPDX-License-Identifier: Apache-2.0 */
/* A block's metadata come back with it, whole, to whoever reads the view, beside who writes them, and after a daemon was killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shmbuddy.h"
#include "tests/integration/block_fixture.h"
#include "tests/support/client_process.h"

static void expect_metadata(shmb_session *reader, shmb_handle handle, const void *expected, size_t size)
{
	uint8_t bytes[SHMB_METADATA_MAX];
	size_t length = 777;

	assert_ok(shmb_get_metadata(reader, handle, bytes, sizeof bytes, &length));
	assert_int_equal(length, size);
	if (size)
		assert_memory_equal(bytes, expected, size);
}

static void test_metadata(void **state)
{
	uint8_t most[SHMB_METADATA_MAX + 1], small[3];
	shmb_handle former, foreign;
	size_t size = 777;

	(void)state;
	start();
	pattern_write(most, sizeof most, 1);
	shmb_alloc_options options = {.name = "shaped", .metadata = "float32 [3, 5]", .metadata_size = 14};
	assert_ok(shmb_alloc(session, 100, &options, &block));
	expect_metadata(other, block.handle, "float32 [3, 5]", 14); /* held or not */
	assert_refused(shmb_set_metadata(other, block.handle, "x", 1), NOT_HELD);
	assert_ok(shmb_set_metadata(session, block.handle, most, SHMB_METADATA_MAX));
	expect_metadata(other, block.handle, most, SHMB_METADATA_MAX);
	assert_refused(shmb_get_metadata(other, block.handle, small, sizeof small, &size), INVALID_ARGUMENT);
	assert_int_equal(size, 777);
	assert_refused(shmb_set_metadata(session, block.handle, most, SHMB_METADATA_MAX + 1), INVALID_ARGUMENT);
	assert_refused(shmb_set_metadata(session, block.handle, NULL, 1), INVALID_ARGUMENT);
	expect_metadata(other, block.handle, most, SHMB_METADATA_MAX);
	restart();
	assert_ok(shmb_ping(session));
	expect_metadata(session, block.handle, most, SHMB_METADATA_MAX);
	assert_ok(shmb_set_metadata(session, block.handle, "", 1)); /* a NUL is a byte */
	expect_metadata(other, block.handle, "", 1);
	assert_ok(shmb_set_metadata(session, block.handle, NULL, 0));
	expect_metadata(other, block.handle, NULL, 0);
	assert_ok(shmb_get_metadata(session, block.handle, NULL, 0, &size));
	assert_int_equal(size, 0);

	options.metadata_size = SHMB_METADATA_MAX + 1;
	assert_refused(shmb_alloc(session, 100, &options, &block), INVALID_ARGUMENT);
	options = (shmb_alloc_options){.metadata_size = 1};
	assert_refused(shmb_alloc(session, 100, &options, &block), INVALID_ARGUMENT);
	options.metadata = "x";
	assert_refused(shmb_alloc_batch(session, &(uint64_t){64}, 1, &options, &block), INVALID_ARGUMENT);

	/* Of another life. */
	former = foreign = block.handle;
	foreign.incarnation++;
	assert_ok(shmb_unpublish(session, "shaped"));
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_get_metadata(session, former, small, sizeof small, &size), STALE_HANDLE);
	assert_refused(shmb_get_metadata(session, foreign, small, sizeof small, &size), OTHER_POOL);
	foreign = former;
	foreign.index = UINT32_MAX;
	assert_refused(shmb_get_metadata(session, foreign, small, sizeof small, &size), STALE_HANDLE);
	assert_refused(shmb_get_metadata(session, (shmb_handle){0}, small, sizeof small, &size), INVALID_ARGUMENT);
	assert_refused(shmb_get_metadata(session, former, NULL, 1, &size), INVALID_ARGUMENT);
	assert_refused(shmb_get_metadata(session, former, small, sizeof small, NULL), INVALID_ARGUMENT);
}

/* As many as the table takes, and then again: nothing is lost of it, whether blocks go, change, or a daemon is killed. */
static void test_full_table(void **state)
{
	shmb_alloc_options options = {.metadata = "some", .metadata_size = 4};
	shmb_block blocks[8], more;

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--max-names", "8", NULL);
	session = pool_session_open(&fixture);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++)
			assert_ok(shmb_alloc(session, 100, i % 2 ? &options : NULL, &blocks[i]));
		for (int i = 0; i < 8; i += 2)
			assert_ok(shmb_set_metadata(session, blocks[i].handle, "some", 4));
		assert_refused(shmb_alloc(session, 100, &options, &more), LIMIT);
		assert_refused(shmb_set_metadata(session, blocks[0].handle, "else", 4), LIMIT);
		options.name = "named";
		assert_refused(shmb_alloc(session, 100, &options, &more), LIMIT);
		options.name = NULL;
		assert_ok(shmb_set_metadata(session, blocks[0].handle, NULL, 0));
		assert_ok(shmb_set_metadata(session, blocks[1].handle, "else", 4));
		if (round == 1)
			restart();
		assert_ok(shmb_set_metadata(session, blocks[0].handle, "more", 4));
		for (int i = 2; i < 8; i++)
			expect_metadata(session, blocks[i].handle, "some", 4);
		for (int i = 0; i < 8; i++)
			assert_ok(shmb_free(session, blocks[i].handle));
	}
	pool_session_assert_empty(session, POOL);
}

static void test_metadata_offline(void **state)
{
	shmb_session *offline;

	(void)state;
	start();
	allocate(100, "kept");
	assert_ok(shmb_set_metadata(session, block.handle, "shape", 5));
	assert_ok(shmb_seal(session, block.handle));
	daemon_fixture_kill(&fixture);
	assert_ok(shmb_connect(&(shmb_connect_options){.pool = fixture.pool, .access = SHMB_OFFLINE}, &offline));
	expect_metadata(offline, block.handle, "shape", 5);
	expect_metadata(session, block.handle, "shape", 5); /* no round trip */
	shmb_block_info info;
	assert_ok(shmb_find_block(offline, block.handle.id, &info));
	assert_true(info.sealed);
	assert_null(shmb_pointer_read_only(offline, 0));
	shmb_close(offline);
	daemon_fixture_restart(&fixture, NULL);
}

#define VERSIONS 3000

/* Reads, beside one who changes them all the time: each time whole ones, and never older than before. */
static void read_versions(int control, const void *argument)
{
	const shmb_handle *handle = argument;
	shmb_session *own;
	uint64_t seen = 0;

	CLIENT_CHECK(shmb_connect(&(shmb_connect_options){.socket_path = fixture.socket_path}, &own) == 0);
	CLIENT_CHECK(client_process_say(control, "", 1));
	while (seen < VERSIONS) {
		uint64_t words[SHMB_METADATA_MAX / sizeof(uint64_t)];
		size_t size;
		CLIENT_CHECK(shmb_get_metadata(own, *handle, words, sizeof words, &size) == 0);
		for (size_t i = 1; i < size / sizeof words[0]; i++)
			CLIENT_CHECK(words[i] == words[0]);
		CLIENT_CHECK(size == 0 || (words[0] >= seen && size == (1 + words[0] % 32) * sizeof words[0]));
		if (size)
			seen = words[0];
	}
	shmb_close(own);
}

static void test_metadata_beside_a_writer(void **state)
{
	struct client_process process;
	char ready;

	(void)state;
	start();
	allocate(100, NULL);
	client_process_start(&process, read_versions, &block.handle);
	client_process_receive(&process, &ready, 1);
	for (uint64_t version = 1; version <= VERSIONS; version++) {
		uint64_t words[SHMB_METADATA_MAX / sizeof(uint64_t)];
		size_t count = 1 + version % 32;
		for (size_t i = 0; i < count; i++)
			words[i] = version;
		assert_ok(shmb_set_metadata(session, block.handle, words, count * sizeof words[0]));
	}
	assert_int_equal(client_process_reap(&process), 0);
}

#define TEST(function) cmocka_unit_test_teardown(function, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_metadata),
		TEST(test_full_table),
		TEST(test_metadata_offline),
		TEST(test_metadata_beside_a_writer),
	};

	return cmocka_run_group_tests_name("block_metadata", tests, NULL, NULL);
}
