/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library against a daemon that behaves, and one that does not: sessions, calls, deadlines, bad input. test_session_threads.c has what many threads
 * do with one session.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/session.h"
#include "shmbuddy.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/fake_daemon.h"
#include "tests/unit/library_fixture.h"

/* ---- A daemon that behaves -------------------------------------------------------------------------------------- */

static void test_life(void **state)
{
	shmb_session *session = connected(0);
	shmb_block block, found, batch[3];
	shmb_handle handles[3];
	const uint64_t sizes[3] = {1, 2, 3};
	const shmb_alloc_options aligned = {.alignment = 1 << 20, .tag = "tag", .name = "name"};
	uint64_t offset;

	(void)state;
	assert_int_equal(shmb_ping(session), 0);
	assert_int_equal(shmb_alloc(session, 100, NULL, &block), 0);
	assert_int_equal(block.size, 100);
	assert_int_equal(block.granted, 128);
	assert_ptr_equal(block.data, shmb_pointer(session, block.offset));
	memset(block.data, 1, 100);
	assert_int_equal(shmb_offset(session, (char *)block.data + 5, &offset), 0);
	assert_int_equal(offset, block.offset + 5);
	assert_null(shmb_pointer(session, 1 << 20));
	assert_non_null(shmb_pointer(session, (1 << 20) - 1));
	assert_int_equal(shmb_offset(session, &block, &offset), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc(session, 1, &aligned, &block), 0);
	assert_int_equal((uintptr_t)block.data % (1 << 20), 0);
	assert_int_equal(shmb_publish(session, block.handle, "other"), 0);
	assert_int_equal(shmb_lookup(session, "name", &found), 0);
	assert_int_equal(shmb_unpublish(session, "name"), 0);
	assert_int_equal(shmb_free(session, found.handle), 0);
	assert_int_equal(shmb_alloc_batch(session, sizes, 3, NULL, batch), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(batch[i].size, sizes[i]);
		assert_int_equal(batch[i].handle.id, batch[0].handle.id + (uint64_t)i);
		assert_ptr_equal(batch[i].data, (char *)batch[0].data + 64 * i);
		handles[i] = batch[i].handle;
	}
	assert_int_equal(shmb_free_batch(session, handles, 3), 0);
	assert_int_equal(fake.shared->frees, 4);
	assert_true(fake.shared->last_start_time > 0);
	shmb_close(session);
	assert_int_equal(fake.shared->goodbyes, 1);
	shmb_close(NULL);
}

static void test_read_only(void **state)
{
	const shmb_connect_options options = {
		.socket_path = fake.path, .access = SHMB_READ_ONLY, .pool = "fake", .program = "reader", .timeout_ms = UINT32_MAX};
	shmb_session *session;
	shmb_block block;

	(void)state;
	assert_int_equal(shmb_connect(&options, &session), 0);
	assert_int_equal(shmb_lookup(session, "name", &block), 0);
	assert_int_equal(*(volatile char *)block.data, 0);
	shmb_close(session);
}

static void test_inspection(void **state)
{
	shmb_session *session = connected(0);
	shmb_status status;
	shmb_block_info block;
	shmb_name_info name;
	shmb_client_info *clients;
	size_t count;
	uint32_t cursor = 0;

	(void)state;
	assert_int_equal(shmb_get_status(session, &status), 0);
	assert_string_equal(status.pool, "fake");
	assert_int_equal(status.used, 128);
	assert_int_equal(status.free, (1 << 20) - 128);
	assert_int_equal(status.daemon_pid, fake.pid);
	assert_int_equal(shmb_next_block(session, &cursor, &block), 1);
	assert_int_equal(block.handle.id, 99);
	assert_int_equal(block.handle.index, 3);
	assert_string_equal(block.tag, "listed");
	assert_int_equal(shmb_next_block(session, &cursor, &block), 0);
	assert_int_equal(shmb_find_block(session, 99, &block), 0);
	assert_int_equal(block.offset, 256);
	assert_int_equal(shmb_find_block(session, 98, &block), -SHMB_E_NO_SUCH_BLOCK);
	assert_int_equal(shmb_remove(session, 98), -SHMB_E_NO_SUCH_BLOCK);
	assert_int_equal(shmb_remove(session, 99), 0);
	cursor = 0;
	assert_int_equal(shmb_next_name(session, &cursor, &name), 0);
	assert_int_equal(shmb_list_clients(session, &clients, &count), 0);
	assert_int_equal(count, 5);
	assert_int_equal(clients[4].session, 5);
	assert_int_equal(clients[4].pid, 1005);
	assert_string_equal(clients[4].program, "lister");
	free(clients);
	shmb_close(session);
}

static void test_arguments(void **state)
{
	shmb_session *session = connected(0), *other;
	shmb_block block;
	shmb_handle none = {0}, foreign = {.id = 1, .incarnation = 12345};
	uint64_t sizes[2] = {1, 0};
	uint32_t before = fake.shared->requests;
	char name[300];
	const shmb_alloc_options odd = {.alignment = 3}, huge = {.alignment = SHMB_ALIGNMENT_MAX * 2},
							 large = {.alignment = SHMB_ALIGNMENT_MAX}, tag = {.tag = "sixteen bytes..."},
							 named = {.name = "//x"};
	const shmb_connect_options pool = {.socket_path = fake.path, .pool = "-"}, program = {.program = "a\nb"},
							   nowhere = {.socket_path = ""}, access = {.access = (enum shmb_access)9};

	(void)state;
	memset(name, 'n', sizeof name);
	name[256] = '\0';
	assert_int_equal(shmb_ping(NULL), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc(session, 0, NULL, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc(session, 1, NULL, NULL), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc(session, 1, &odd, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc(session, 1, &huge, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_says("an alignment is a power of two up to 1G, which 2G is not");
	assert_int_equal(shmb_alloc(session, 1, &large, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_says("the largest alignment is 2M, not 1G");
	assert_int_equal(shmb_alloc(session, 1, &tag, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc(session, 1, &named, &block), -SHMB_E_BAD_NAME);
	assert_int_equal(shmb_free(session, none), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_free_batch(session, &none, 1), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_free_batch(session, &foreign, 1), -SHMB_E_OTHER_POOL);
	assert_int_equal(shmb_free_batch(session, &foreign, 0), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_free_batch(session, &foreign, SHMB_BATCH_MAX + 1), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_alloc_batch(session, sizes, 2, NULL, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_says("sizes[1]");
	assert_int_equal(shmb_alloc_batch(session, sizes, 1, &named, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_publish(session, none, "name"), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_publish(session, foreign, name), -SHMB_E_BAD_NAME);
	assert_int_equal(shmb_lookup(session, "", &block), -SHMB_E_BAD_NAME);
	assert_int_equal(shmb_lookup(session, NULL, &block), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(fake.shared->requests, before); /* none of this went over the socket */

	assert_int_equal(shmb_connect(NULL, NULL), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_connect(&pool, &other), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_connect(&program, &other), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_connect(&nowhere, &other), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(shmb_connect(&access, &other), -SHMB_E_INVALID_ARGUMENT);
	shmb_close(session);
}

static void test_batch_limit(void **state)
{
	uint64_t sizes[11] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	shmb_block blocks[11];
	shmb_session *session;

	(void)state;
	fake.shared->max_batch = 10;
	session = connected(0);
	assert_int_equal(shmb_alloc_batch(session, sizes, 10, NULL, blocks), 0);
	assert_int_equal(shmb_alloc_batch(session, sizes, 11, NULL, blocks), -SHMB_E_LIMIT);
	assert_says("10 blocks");
	shmb_close(session);
}

/* ---- Nobody, or somebody else ----------------------------------------------------------------------------------- */

static void test_no_daemon(void **state)
{
	shmb_session *session = NULL;
	char path[200];
	shmb_connect_options options = {.socket_path = "/nonexistent/socket"};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	(void)state;
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_NO_DAEMON);
	assert_says("/nonexistent/socket");
	assert_says("start shmbuddyd, or name the socket");
	assert_null(strstr(shmb_last_error(), "SHMBUDDY_SOCKET")); /* would not be heeded */
	setenv("SHMBUDDY_SOCKET", "/nonexistent/other", 1);
	assert_int_equal(shmb_connect(NULL, &session), -SHMB_E_NO_DAEMON);
	assert_says("/nonexistent/other");
	assert_says("start shmbuddyd, or set SHMBUDDY_SOCKET");
	memset(path, 'p', sizeof path);
	path[sizeof path - 1] = '\0';
	options.socket_path = path;
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_INVALID_ARGUMENT);
	assert_says("199 bytes");
	assert_says("107");

	/* Bound, but nobody listens; then a socket of another kind. */
	snprintf(address.sun_path, sizeof address.sun_path, "%s/second", fake.directory);
	options.socket_path = address.sun_path;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_NO_DAEMON);
	assert_says("nothing listens");
	assert_null(strstr(shmb_last_error(), "SHMBUDDY_SOCKET"));
	setenv("SHMBUDDY_SOCKET", address.sun_path, 1);
	assert_int_equal(shmb_connect(NULL, &session), -SHMB_E_NO_DAEMON);
	assert_says("start shmbuddyd, or set SHMBUDDY_SOCKET");
	close(fd);
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_PROTOCOL);
	assert_says("is not shmbuddyd");
	close(fd);
	unlink(address.sun_path);

	/* Its queue is full and it never takes anybody. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 0), 0);
	options.timeout_ms = 50;
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_TIMEOUT); /* takes the place in the queue, is not answered */
	assert_says("did not answer within 50ms: it hangs, is stopped");
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_TIMEOUT);
	assert_says("too many are waiting");
	close(fd);
	unlink(address.sun_path);
	assert_null(session);
}

static void test_bad_welcome(void **state)
{
	static const struct {
		int strange, result;
		const char *says;
	} cases[] = {
		{STRANGE_FEW_DESCRIPTORS, -SHMB_E_PROTOCOL, "three descriptors"},
		{STRANGE_MANY_DESCRIPTORS, -SHMB_E_PROTOCOL, "three descriptors"},
		{STRANGE_TOO_MANY_DESCRIPTORS, -SHMB_E_PROTOCOL, "three descriptors"},
		{STRANGE_NO_TOKEN, -SHMB_E_PROTOCOL, "a field"},
		{STRANGE_VERSION, -SHMB_E_VERSION, "version 2"},
		{STRANGE_SHORT_SEGMENT, -SHMB_E_PROTOCOL, "the segment is shorter"},
		{STRANGE_SHORT_VIEW, -SHMB_E_PROTOCOL, "the view is shorter"},
		{STRANGE_OTHER_VIEW, -SHMB_E_PROTOCOL, "another pool"},
		{STRANGE_DAMAGED_VIEW, -SHMB_E_PROTOCOL, "damaged"},
		{STRANGE_HUGE, -SHMB_E_PROTOCOL, ""},
		{STRANGE_PIPE, -SHMB_E_PROTOCOL, "not shared memory"},
		{STRANGE_NO_RESULT, -SHMB_E_PROTOCOL, "no welcome"},
		{STRANGE_REFUSED, -SHMB_E_NO_SUCH_POOL, "the pools here are: fake"},
	};
	shmb_session *session = NULL;
	size_t descriptors = descriptor_leaks_count(0);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake.shared->strange = cases[i].strange;
		int r = try_connect(0, &session);

		if (r != cases[i].result || !strstr(shmb_last_error(), cases[i].says))
			fail_msg("case %zu: %s: %s", i, shmb_error_name(r), shmb_last_error());
		assert_null(session);
		descriptor_leaks_assert(0, descriptors);
	}
}

static void set_raw(const void *bytes, uint32_t length, uint32_t close_after)
{
	memcpy(fake.shared->raw, bytes, length);
	fake.shared->raw_length = length;
	fake.shared->raw_close = close_after;
	fake.shared->mode = FAKE_RAW;
}

static const struct raw_case {
	uint32_t length, close;
	uint8_t bytes[12];
	int result;
} raw_cases[] = {
	{0, 1, {0}, -SHMB_E_DISCONNECTED},              /* closes without a word */
	{4, 0, {0, 0, 0, 0}, -SHMB_E_PROTOCOL},         /* an empty frame */
	{4, 0, {255, 255, 255, 255}, -SHMB_E_PROTOCOL}, /* a huge one */
	{12, 0, {'H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '4', '0', '0'}, -SHMB_E_PROTOCOL},
	{6, 0, {2, 0, 0, 0, 0xff, 0xff}, -SHMB_E_PROTOCOL}, /* a frame of nonsense */
	{3, 1, {9, 0, 0}, -SHMB_E_DISCONNECTED},            /* a length cut off */
	{6, 1, {9, 0, 0, 0, 8, 1}, -SHMB_E_DISCONNECTED},   /* a frame cut off */
};

static void test_garbage_at_hello(void **state)
{
	shmb_session *session = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof raw_cases / sizeof *raw_cases; i++) {
		set_raw(raw_cases[i].bytes, raw_cases[i].length, raw_cases[i].close);
		assert_int_equal(try_connect(0, &session), raw_cases[i].result);
		if (raw_cases[i].result == -SHMB_E_PROTOCOL)
			assert_says("is not shmbuddyd");
		else
			assert_says("without an answer");
	}
}

static void test_garbage_later(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof raw_cases / sizeof *raw_cases; i++) {
		shmb_block block;
		shmb_status status;

		fake.shared->mode = FAKE_SERVE;
		shmb_session *session = connected(0);
		assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
		set_raw(raw_cases[i].bytes, raw_cases[i].length, raw_cases[i].close);
		fake.shared->resume = RESUME_CUT;
		fake.shared->resume_times = UINT32_MAX;
		assert_int_equal(shmb_ping(session), raw_cases[i].result);
		if (raw_cases[i].result == -SHMB_E_DISCONNECTED)
			assert_says("the daemon closed the connection 0.");
		assert_int_equal(shmb_ping(session), -SHMB_E_DISCONNECTED);
		if (raw_cases[i].result == -SHMB_E_PROTOCOL)
			assert_says("; connect again (after shmb_close)");
		assert_int_equal(shmb_free(session, block.handle), -SHMB_E_DISCONNECTED);
		memset(block.data, 1, 10); /* still mapped */
		assert_int_equal(shmb_get_status(session, &status), 0);
		shmb_close(session);
	}
}

static void test_strange_replies(void **state)
{
	static const struct {
		int strange, result, lost;
	} cases[] = {
		{STRANGE_STATUS, -SHMB_E_PROTOCOL, 1},     {STRANGE_SLOT, -SHMB_E_PROTOCOL, 1},
		{STRANGE_SEQUENCE, -SHMB_E_PROTOCOL, 1},   {STRANGE_OUTSIDE, -SHMB_E_PROTOCOL, 1},
		{STRANGE_SMALL, -SHMB_E_PROTOCOL, 1},      {STRANGE_INCARNATION, -SHMB_E_PROTOCOL, 1},
		{STRANGE_UNREADABLE, -SHMB_E_PROTOCOL, 1}, {STRANGE_TEXT, -SHMB_E_IN_USE, 0},
		{STRANGE_OOM, -SHMB_E_OUT_OF_MEMORY, 0},   {STRANGE_TWICE, 0, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		shmb_block block = {.size = 77};

		fake.shared->mode = FAKE_SERVE;
		fake.shared->strange = STRANGE_NOTHING;
		shmb_session *session = connected(0);
		fake.shared->strange = cases[i].strange;
		fake.shared->mode = FAKE_STRANGE;
		int r = shmb_alloc(session, 10, NULL, &block);

		if (r != cases[i].result)
			fail_msg("case %zu: %s: %s", i, shmb_error_name(r), shmb_last_error());
		if (r < 0)
			assert_int_equal(block.size, 77); /* outputs are left alone */
		if (cases[i].strange == STRANGE_TEXT) {
			assert_memory_equal(shmb_last_error(), "bad??xxx", 8);
			assert_true(strlen(shmb_last_error()) < LAST_ERROR_MAX);
		}
		fake.shared->mode = FAKE_SERVE;
		if (cases[i].lost) {
			/* The second reply may come with the next one. */
			while (r == 0 || r == -SHMB_E_PROTOCOL)
				r = shmb_ping(session);
			assert_int_equal(r, -SHMB_E_DISCONNECTED);
		} else {
			assert_int_equal(shmb_ping(session), 0);
		}
		shmb_close(session);
	}
}

static void test_strange_lists(void **state)
{
	const uint64_t sizes[2] = {1, 1};
	shmb_block blocks[2];
	shmb_client_info *clients;
	size_t count;
	shmb_session *session = connected(0);

	(void)state;
	fake.shared->strange = STRANGE_SAME_PAGE;
	fake.shared->mode = FAKE_STRANGE;
	assert_int_equal(shmb_list_clients(session, &clients, &count), -SHMB_E_PROTOCOL);
	shmb_close(session);
	fake.shared->strange = STRANGE_NOTHING;
	session = connected(0);
	fake.shared->strange = STRANGE_COUNT;
	assert_int_equal(shmb_alloc_batch(session, sizes, 2, NULL, blocks), -SHMB_E_PROTOCOL);
	shmb_close(session);
}

static void *alloc_unlucky(void *result)
{
	shmb_oom oom;

	*(bool *)result = shmb_out_of_memory(&oom);
	return NULL;
}

static void test_out_of_memory(void **state)
{
	shmb_session *session = connected(0);
	shmb_block block;
	shmb_oom oom;
	pthread_t thread;
	bool elsewhere = true;

	(void)state;
	fake.shared->strange = STRANGE_OOM;
	fake.shared->mode = FAKE_STRANGE;
	assert_int_equal(shmb_alloc(session, 1000, NULL, &block), -SHMB_E_OUT_OF_MEMORY);
	assert_string_equal(shmb_last_error(), shmb_error_text(-SHMB_E_OUT_OF_MEMORY));
	assert_true(shmb_out_of_memory(&oom));
	assert_int_equal(oom.limit, SHMB_OOM_KERNEL);
	assert_int_equal(oom.requested, 1000);
	assert_int_equal(oom.free, 500);
	assert_int_equal(oom.holder_count, SHMB_OOM_HOLDERS_MAX);
	assert_int_equal(oom.holders[4].session, 4);
	assert_string_equal(oom.holders[0].program, "hog?");
	assert_int_equal(pthread_create(&thread, NULL, alloc_unlucky, &elsewhere), 0);
	pthread_join(thread, NULL);
	assert_false(elsewhere); /* each thread has its own */
	shmb_close(session);
}

/* ---- Time ------------------------------------------------------------------------------------------------------- */

static void test_late_replies(void **state)
{
	const uint64_t sizes[5] = {1, 1, 1, 1, 1};
	shmb_session *session;
	shmb_block blocks[5];

	(void)state;
	session = impatient(20);
	fake.shared->mode = FAKE_SILENT;
	assert_int_equal(shmb_alloc(session, 10, NULL, blocks), -SHMB_E_TIMEOUT);
	assert_says("20ms");
	assert_int_equal(shmb_alloc_batch(session, sizes, 5, NULL, blocks), -SHMB_E_TIMEOUT);
	assert_int_equal(shmb_lookup(session, "name", blocks), -SHMB_E_TIMEOUT);
	fake.shared->mode = FAKE_SERVE;
	/* What comes too late is given back, one and all, by the calls that happen to read it. */
	while (atomic_load(&fake.shared->frees) < 7)
		shmb_ping(session);
	assert_int_equal(fake.shared->allocations, 7);
	while (shmb_ping(session) != 0)
		;
	assert_int_equal(fake.shared->frees, 7);
	assert_int_equal(fake.shared->removes, 0); /* least of all the block that was looked up */
	shmb_close(session);
}

/* Gives up on an allocation, then lets the daemon answer everything, what follows from its answers included. */
static void allocate_late(shmb_session *session, const char *name)
{
	const shmb_alloc_options options = {.name = name};
	shmb_block block;

	session->timeout_ms = 20;
	fake.shared->mode = FAKE_SILENT;
	assert_int_equal(shmb_alloc(session, 10, &options, &block), -SHMB_E_TIMEOUT);
	fake.shared->mode = FAKE_SERVE;
	session->timeout_ms = UINT32_MAX;
	assert_int_equal(shmb_ping(session), 0); /* there is one slot: it is free when all of that is over */
}

/* A name would hold its block for ever, and nobody would know it. */
static void test_late_names(void **state)
{
	static const uint32_t statuses[] = {0, SHMB_E_IN_USE}; /* of the Remove; the second: others have found the block */
	shmb_session *session;
	uint32_t requests;

	(void)state;
	fake.shared->slots = 1;
	session = connected(0);
	for (uint32_t i = 0; i < 2; i++) {
		fake.shared->remove_status = statuses[i];
		requests = fake.shared->requests;
		allocate_late(session, "name");
		assert_int_equal(fake.shared->requests - requests, 4); /* Allocate, Free, Remove, Ping */
		assert_int_equal(fake.shared->frees, 2 * i + 1);
		assert_int_equal(fake.shared->removes, i + 1);
		assert_int_equal(fake.shared->frees_before_remove, 2 * i + 1);
		assert_int_equal(fake.shared->last_freed, fake.shared->last_allocated);
		assert_int_equal(fake.shared->last_removed, fake.shared->last_allocated);

		/* The next one in that slot has no name. */
		requests = fake.shared->requests;
		allocate_late(session, NULL);
		assert_int_equal(fake.shared->requests - requests, 3);
		assert_int_equal(fake.shared->frees, 2 * i + 2);
		assert_int_equal(fake.shared->removes, i + 1);
	}
	shmb_close(session);
	assert_int_equal(fake.shared->goodbyes, 1);
}

static void test_slots_exhausted(void **state)
{
	shmb_session *session;

	(void)state;
	fake.shared->slots = 2;
	session = impatient(20);
	fake.shared->mode = FAKE_SILENT;
	for (int i = 0; i < 5; i++)
		assert_int_equal(shmb_ping(session), -SHMB_E_TIMEOUT);
	fake_daemon_await(&fake.shared->requests, 3);
	assert_int_equal(fake.shared->requests, 3); /* hello and two pings: the others never had a slot */
	fake.shared->mode = FAKE_SERVE;
	while (shmb_ping(session) != 0)
		;
	shmb_close(session);
	assert_int_equal(fake.shared->goodbyes, 1);
}

static void test_silent_at_hello(void **state)
{
	shmb_session *session;

	(void)state;
	fake.shared->mode = FAKE_SILENT;
	assert_int_equal(try_connect(30, &session), -SHMB_E_TIMEOUT);
	assert_says("30ms");
}

/* Longer than the patient receive, so that poll does the rest. */
static void test_long_wait(void **state)
{
	shmb_session *session = impatient(400);

	(void)state;
	fake.shared->mode = FAKE_SILENT;
	assert_int_equal(shmb_ping(session), -SHMB_E_TIMEOUT);
	fake.shared->mode = FAKE_SERVE;
	session->timeout_ms = UINT32_MAX;
	assert_int_equal(shmb_ping(session), 0);
	shmb_close(session);
}

static void test_daemon_dies(void **state)
{
	shmb_session *session = connected(0);
	shmb_block block;
	shmb_status status;
	shmb_block_info info;
	shmb_name_info name;
	uint32_t blocks = 0, names = 0;
	uint64_t offset;

	(void)state;
	assert_int_equal(shmb_alloc(session, 10, NULL, &block), 0);
	fake_daemon_stop(&fake);
	assert_int_equal(shmb_ping(session), -SHMB_E_DISCONNECTED);
	assert_says("the daemon closed the connection");
	assert_says("and it cannot be reached again: no daemon: there is no socket");
	assert_says("start shmbuddyd");
	assert_int_equal(shmb_ping(session), -SHMB_E_DISCONNECTED);
	assert_says("what was asked for has not been done");
	/* What needs no daemon goes on. */
	memset(block.data, 1, 10);
	assert_ptr_equal(shmb_pointer(session, block.offset), block.data);
	assert_int_equal(shmb_offset(session, block.data, &offset), 0);
	assert_int_equal(offset, block.offset);
	assert_int_equal(shmb_get_status(session, &status), 0);
	assert_int_equal(status.used, 128);
	assert_int_equal(shmb_next_block(session, &blocks, &info), 1);
	assert_int_equal(info.handle.id, 99);
	assert_int_equal(shmb_next_block(session, &blocks, &info), 0);
	assert_int_equal(shmb_next_name(session, &names, &name), 0);
	assert_int_equal(shmb_find_block(session, 99, &info), 0);
	assert_int_equal(info.offset, 256);
	shmb_close(session);
	fake_daemon_start(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(test_life),          TEST(test_read_only),       TEST(test_inspection),      TEST(test_arguments),
		TEST(test_batch_limit),   TEST(test_no_daemon),       TEST(test_bad_welcome),     TEST(test_garbage_at_hello),
		TEST(test_garbage_later), TEST(test_strange_replies), TEST(test_strange_lists),   TEST(test_out_of_memory),
		TEST(test_late_replies),  TEST(test_late_names),      TEST(test_slots_exhausted), TEST(test_silent_at_hello),
		TEST(test_long_wait),     TEST(test_daemon_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
