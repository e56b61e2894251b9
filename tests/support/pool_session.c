/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions for a test: see pool_session.h. */
#include "tests/support/pool_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

#define PATIENCE_NS UINT64_C(5000000000)

void pool_session_judge(int result, int expected, const char *call, const char *file, int line)
{
	if (result == expected)
		return;
	/* Through the error stream: cmocka cuts what is long. */
	print_error("%s:%d: %s is %d (%s), expected %d (%s): %s\n", file, line, call, result, shmb_error_name(result), expected,
	            shmb_error_name(expected), result < 0 ? shmb_last_error() : "");
	_fail(file, line);
}

static shmb_session *open_session(const struct daemon_fixture *daemon, enum shmb_access access)
{
	shmb_connect_options options = {.socket_path = daemon->socket_path, .pool = daemon->pool, .access = access};
	shmb_session *session = NULL;

	assert_ok(shmb_connect(&options, &session));
	return session;
}

shmb_session *pool_session_open(const struct daemon_fixture *daemon)
{
	return open_session(daemon, SHMB_READ_WRITE);
}

shmb_session *pool_session_open_read_only(const struct daemon_fixture *daemon)
{
	return open_session(daemon, SHMB_READ_ONLY);
}

shmb_session *pool_session_open_as(const struct daemon_fixture *daemon, uid_t uid)
{
	assert_int_equal(seteuid(uid), 0);
	shmb_session *session = pool_session_open(daemon);
	assert_int_equal(seteuid(0), 0);
	return session;
}

void pool_session_get_page(shmb_session *session, shmb_handle handle)
{
	shmb_block block;

	for (unsigned i = 0; i < POOL_SESSION_BEFORE_PAGE; i++) {
		assert_ok(shmb_acquire(session, handle, &block));
		assert_ok(shmb_free(session, handle));
	}
}

shmb_status pool_session_status(shmb_session *session)
{
	shmb_status status;

	assert_ok(shmb_get_status(session, &status));
	return status;
}

uint64_t pool_session_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void pause_between_looks(void)
{
	const struct timespec pause = {.tv_nsec = 20000};

	nanosleep(&pause, NULL);
}

uint64_t pool_session_await_used(shmb_session *session, uint64_t used)
{
	uint64_t started = pool_session_now_ns(), elapsed;
	shmb_status status;

	do {
		status = pool_session_status(session);
		elapsed = pool_session_now_ns() - started;
		if (status.used == used)
			return elapsed;
		pause_between_looks();
	} while (elapsed < PATIENCE_NS);
	fail_msg("after five seconds %" PRIu64 " bytes in %" PRIu64 " blocks are in use, not %" PRIu64, status.used,
	         status.blocks, used);
	return 0;
}

void pool_session_await_clients(shmb_session *session, uint64_t clients)
{
	uint64_t started = pool_session_now_ns();
	shmb_status status;

	do {
		status = pool_session_status(session);
		if (status.clients == clients)
			return;
		pause_between_looks();
	} while (pool_session_now_ns() - started < PATIENCE_NS);
	fail_msg("after five seconds there are %" PRIu64 " sessions, not %" PRIu64, status.clients, clients);
}

void pool_session_assert_empty(shmb_session *session, uint64_t longest_free)
{
	/* What was held by hold pages goes a moment after its last hold. */
	pool_session_await_used(session, 0);
	shmb_status status = pool_session_status(session);
	shmb_block_info block;
	shmb_name_info name;
	uint32_t cursor = 0;

	assert_int_equal(status.used, 0);
	assert_int_equal(status.requested, 0);
	assert_int_equal(status.blocks, 0);
	assert_int_equal(status.names, 0);
	assert_int_equal(status.longest_free, longest_free);
	assert_int_equal(status.allocations, status.frees);
	assert_int_equal(shmb_next_block(session, &cursor, &block), 0);
	cursor = 0;
	assert_int_equal(shmb_next_name(session, &cursor, &name), 0);
}

static int by_offset(const void *left, const void *right)
{
	uint64_t a = ((const shmb_block_info *)left)->offset, b = ((const shmb_block_info *)right)->offset;

	return (a > b) - (a < b);
}

void pool_session_recount(shmb_session *session)
{
	shmb_status status = pool_session_status(session);
	CLEANUP_FREE shmb_block_info *blocks = calloc(status.blocks + 1, sizeof *blocks);
	uint64_t count = 0, used = 0, requested = 0, names = 0;
	shmb_block_info block;
	shmb_name_info name;
	uint32_t cursor = 0;
	int more;

	assert_non_null(blocks);
	while ((more = shmb_next_block(session, &cursor, &block)) == 1) {
		assert_true(count < status.blocks);
		assert_true(block.size >= 1 && block.size <= block.granted);
		blocks[count++] = block;
		used += block.granted;
		requested += block.size;
	}
	assert_ok(more);
	assert_int_equal(count, status.blocks);
	assert_int_equal(used, status.used);
	assert_int_equal(requested, status.requested);
	assert_int_equal(status.free, status.size - used);
	assert_int_equal(status.allocations - status.frees, count);

	qsort(blocks, count, sizeof *blocks, by_offset);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t end = i + 1 < count ? blocks[i + 1].offset : status.size;
		assert_true(blocks[i].offset + blocks[i].granted <= end);
	}
	cursor = 0;
	while ((more = shmb_next_name(session, &cursor, &name)) == 1) {
		shmb_block_info its_block;

		assert_ok(shmb_find_block(session, name.block, &its_block));
		names++;
	}
	assert_ok(more);
	assert_int_equal(names, status.names);
}
