/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size of a block changes in place where that can be, and never under somebody who holds the block; what was decided is there again after a
 * daemon was killed. And the requests for all that may change of a block, word by word. test_sealing.c and test_block_metadata.c have the other
 * changes, test_shrink.c what else stands in the way of one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "frame.h"
#include "shmbuddy.h"
#include "tests/integration/block_fixture.h"
#include "tests/support/client_process.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define HOLD_BY_PAGE 5 /* acquisitions, after which a session has a hold page */

static struct raw_session raw = RAW_SESSION_CLOSED;
static Shmbuddy__V1__Handle raw_block;

static int close_all(void **state)
{
	raw_session_close(&raw);
	return tear_down(state);
}

/* ---- Size ------------------------------------------------------------------------------------------------------- */

static shmb_block resized;
static bool moved;

static void resize(uint64_t size, bool expect_moved)
{
	uint64_t id = block.handle.id, kept = size < block.size ? size : block.size;

	assert_ok(shmb_resize(session, block.handle, size, &resized, &moved));
	assert_int_equal(moved, expect_moved);
	assert_int_equal(resized.size, size);
	if (moved) {
		assert_true(resized.handle.id > id);
		pattern_write(resized.data, resized.size, resized.handle.id);
		assert_true(pattern_matches(block.data, block.size, id));
		assert_ok(shmb_free(session, block.handle));
	} else {
		assert_int_equal(resized.handle.id, id);
		assert_true(resized.offset == block.offset && resized.data == block.data);
		assert_true(pattern_matches(block.data, kept, id));
		pattern_write(resized.data, resized.size, id);
	}
	block = resized;
	recount();
}

static void test_shrink_and_grow(void **state)
{
	shmb_block behind;

	(void)state;
	start();
	allocate(100000, NULL);
	assert_int_equal(pool_session_status(session).used, 131072);
	resize(100001, false);
	resize(131072, false);
	resize(40000, false);
	assert_int_equal(block.granted, 65536);
	assert_int_equal(pool_session_status(session).used, 65536);
	assert_int_equal(pool_session_status(session).requested, 40000);
	resize(1, false);
	assert_int_equal(pool_session_status(session).used, block.granted);
	assert_int_equal(pool_session_status(session).longest_free, POOL / 2);
	resize(5000, false);
	resize(3 << 20, false); /* committed first */
	assert_int_equal(pool_session_status(session).used, 4 << 20);
	restart();
	assert_ok(shmb_ping(session));
	recount();
	resize(20000, false);
	/* What is in the way has it moved. */
	assert_ok(shmb_alloc(session, 32768, NULL, &behind));
	assert_int_equal(behind.offset, block.offset + 32768);
	resize(32769, true);
	assert_int_equal(block.granted, 65536);
	assert_ok(shmb_free(session, behind.handle));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* A block that is moved takes tag and metadata along, and is refused where there is no room; the old one stays in any case. */
static void test_moved(void **state)
{
	shmb_alloc_options options = {.name = "named", .tag = "mine", .metadata = "shape", .metadata_size = 5};
	uint8_t metadata[SHMB_METADATA_MAX];
	size_t metadata_size;
	shmb_block behind, found;
	shmb_block_info info;
	shmb_oom oom;

	(void)state;
	start();
	assert_ok(shmb_alloc(session, 64, &options, &block));
	assert_ok(shmb_alloc(session, 64, NULL, &behind));
	assert_ok(shmb_resize(session, block.handle, 1000, &resized, &moved));
	assert_true(moved && resized.handle.id != block.handle.id && resized.size == 1000);
	assert_ok(shmb_get_metadata(other, resized.handle, metadata, sizeof metadata, &metadata_size));
	assert_true(metadata_size == 5 && memcmp(metadata, "shape", 5) == 0);
	assert_ok(shmb_find_block(session, resized.handle.id, &info));
	assert_string_equal(info.tag, "mine");
	assert_true(info.owner && info.size == 1000);
	assert_ok(shmb_lookup(other, "named", &found));
	assert_true(found.handle.id == block.handle.id && found.size == 64);
	assert_refused(shmb_resize(session, block.handle, POOL, &resized, &moved), OUT_OF_MEMORY);
	assert_true(shmb_out_of_memory(&oom) && oom.requested == POOL && oom.limit == SHMB_OOM_SEGMENT);
	assert_refused(shmb_resize(session, block.handle, UINT64_MAX, &resized, &moved), OUT_OF_MEMORY);
	assert_refused(shmb_resize(session, block.handle, 0, &resized, &moved), INVALID_ARGUMENT);
	assert_refused(shmb_resize(session, block.handle, 100, NULL, &moved), INVALID_ARGUMENT);
	assert_refused(shmb_resize(session, block.handle, 100, &resized, NULL), INVALID_ARGUMENT);
	assert_ok(shmb_find_block(session, block.handle.id, &info));
	assert_int_equal(info.size, 64);
	recount();
}

/* Nobody's block shrinks under him, however he holds it. What else stands in the way: test_shrink.c. */
static void test_in_use(void **state)
{
	shmb_block found;

	(void)state;
	start();
	allocate(4096, "whole");
	assert_refused(shmb_resize(other, block.handle, 100, &resized, &moved), NOT_HELD);
	assert_ok(shmb_lookup(other, "whole", &found));
	assert_ok(shmb_unpublish(session, "whole"));
	assert_refused(shmb_resize(session, block.handle, 100, &resized, &moved), IN_USE); /* a reference */
	assert_refused(shmb_resize(other, block.handle, 100, &resized, &moved), IN_USE);   /* the owner */
	assert_ok(shmb_resize(other, block.handle, 8192, &resized, &moved));               /* larger is no matter */
	assert_false(moved);
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_resize(session, block.handle, 4096, &resized, &moved)); /* held twice, by the same session */
	for (int i = 0; i < HOLD_BY_PAGE; i++)
		assert_ok(shmb_acquire(other, block.handle, &found));
	for (int i = 0; i < HOLD_BY_PAGE; i++) {
		assert_refused(shmb_resize(session, block.handle, 100, &resized, &moved), IN_USE);
		assert_ok(shmb_free(other, block.handle));
	}
	assert_ok(shmb_acquire(other, block.handle, &found)); /* by the page alone */
	assert_refused(shmb_resize(session, block.handle, 100, &resized, &moved), IN_USE);
	assert_ok(shmb_acquire(session, block.handle, &found));
	assert_ok(shmb_free(session, block.handle));
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_resize(session, block.handle, 100, &resized, &moved));
	assert_int_equal(pool_session_status(session).used, 128);
	recount();
}

/* ---- Word by word ----------------------------------------------------------------------------------------------- */

static const uint8_t metadata_bytes[SHMB_METADATA_MAX + 1];

static void open_raw(void)
{
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&raw, 65536, NULL, &raw_block), 0);
}

/* The library would not say such things. */
static void test_bad_requests(void **state)
{
	Shmbuddy__V1__Request *request;

	(void)state;
	start();
	open_raw();
	assert_int_equal(raw_session_call(&raw, raw_request_seal(NULL)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_set_metadata(NULL, metadata_bytes, 5)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_set_metadata(&raw_block, metadata_bytes, sizeof metadata_bytes)),
	                 SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(NULL, 5)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&raw_block, 0)), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&raw_block, UINT64_MAX)), SHMB_E_OUT_OF_MEMORY);
	request = raw_request_allocate(64, NULL);
	request->allocate->metadata = (ProtobufCBinaryData){sizeof metadata_bytes, (uint8_t *)(uintptr_t)metadata_bytes};
	assert_int_equal(raw_session_call(&raw, request), SHMB_E_INVALID_ARGUMENT);
	Shmbuddy__V1__Handle wrong = raw_block;
	wrong.index = UINT32_MAX;
	assert_int_equal(raw_session_call(&raw, raw_request_seal(&wrong)), SHMB_E_STALE_HANDLE);
	wrong = raw_block;
	wrong.incarnation++;
	assert_int_equal(raw_session_call(&raw, raw_request_resize(&wrong, 5)), SHMB_E_OTHER_POOL);
	recount();
	raw_session_close(&raw);
}

/* A block comes back with its metadata, and says that it is sealed. */
static void test_what_a_reply_says(void **state)
{
	Shmbuddy__V1__Reply *reply;

	(void)state;
	start();
	open_raw();
	assert_int_equal(raw_session_call(&raw, raw_request_set_metadata(&raw_block, metadata_bytes, 77)), 0);
	assert_int_equal(raw_session_call(&raw, raw_request_seal(&raw_block)), 0);
	for (int again = 0; again < 2; again++) {
		reply = raw_session_send(&raw, 3, 1, raw_request_acquire(&raw_block));
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_BLOCK);
		assert_true(reply->block->sealed && reply->block->metadata.len == 77);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	raw_session_close(&raw);
}

static size_t add_frame(uint8_t *frames, size_t at, uint32_t slot, Shmbuddy__V1__Request *request)
{
	request->slot = slot;
	request->sequence = 1;
	size_t size = shmbuddy__v1__request__pack(request, frames + at + FRAME_HEADER);
	frame_put_header((uint32_t)size, frames + at);
	return at + FRAME_HEADER + size;
}

/* The block is to grow by what must be committed first; `meanwhile` comes with it, and is done before. Both answers' status. */
static void grow_while(Shmbuddy__V1__Request *meanwhile, Shmbuddy__V1__Reply **out_grown)
{
	uint8_t frames[1024], second[512];
	Shmbuddy__V1__Reply *reply;
	/* Packed first: it may be a resize too, and is valid until the next is made. */
	size_t second_size = add_frame(second, 0, 6, meanwhile);
	size_t size = add_frame(frames, 0, 5, raw_request_resize(&raw_block, POOL / 2));

	memcpy(frames + size, second, second_size);
	size += second_size;
	assert_int_equal(raw_client_send_bytes(&raw.client, frames, size), 0);
	assert_int_equal(raw_client_receive_reply(&raw.client, &reply), 0);
	assert_int_equal(reply->slot, 6);
	assert_int_equal(reply->status, 0);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_receive_reply(&raw.client, out_grown), 0);
	assert_int_equal((*out_grown)->slot, 5);
}

enum { GONE, SEALED, SMALLER, LARGER, WITHIN, CASES };

static void test_changes_while_committing(void **state)
{
	static const int expected[CASES] = {SHMB_E_STALE_HANDLE, SHMB_E_SEALED};
	static const uint64_t sizes[CASES] = {[SMALLER] = 100, [LARGER] = 100000, [WITHIN] = 65535};

	(void)state;
	for (int i = 0; i < CASES; i++) {
		Shmbuddy__V1__Reply *reply;
		start();
		open_raw();
		grow_while(i == GONE     ? raw_request_free(&raw_block)
		           : i == SEALED ? raw_request_seal(&raw_block)
		                         : raw_request_resize(&raw_block, sizes[i]),
		           &reply);
		assert_int_equal(reply->status, expected[i]);
		if (!expected[i]) {
			assert_int_equal(reply->resized->block->size, POOL / 2);
			assert_int_equal(reply->resized->block->handle->id, raw_block.id);
			assert_false(reply->resized->moved);
		}
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		recount();
		raw_session_close(&raw);
		pool_session_await_clients(session, 2);
		pool_session_assert_empty(session, POOL);
		close_all(state);
	}
}

/* Its client dies while its memory is committed. */
static void test_death_while_growing(void **state)
{
	Shmbuddy__V1__Request *request;

	(void)state;
	start();
	for (int i = 0; i < 10; i++) {
		open_raw();
		request = raw_request_resize(&raw_block, POOL);
		request->slot = 5;
		request->sequence = 1;
		assert_int_equal(raw_client_send_request(&raw.client, request), 0);
		raw_session_close(&raw);
		pool_session_await_clients(session, 2);
		pool_session_assert_empty(session, POOL);
	}
}

/* A daemon that is killed meanwhile has done it, or its successor does. */
static void test_kill_while_growing(void **state)
{
	Shmbuddy__V1__Reply *reply;

	(void)state;
	start();
	open_raw();
	Shmbuddy__V1__Request *request = raw_request_resize(&raw_block, POOL);
	request->slot = 5;
	request->sequence = 1;
	assert_int_equal(raw_client_send_request(&raw.client, request), 0);
	restart();
	assert_int_equal(raw_session_resume(&raw, fixture.socket_path), 0);
	for (int again = 0; again < 2; again++) {
		reply = raw_session_send(&raw, 5, 1, raw_request_resize(&raw_block, POOL));
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_RESIZED);
		assert_true(reply->resized->block->size == POOL && !reply->resized->moved);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	assert_ok(shmb_ping(session));
	assert_ok(shmb_ping(other));
	recount();
	raw_session_close(&raw);
	pool_session_await_clients(session, 2);
}

/* ---- Beside others ---------------------------------------------------------------------------------------------- */

#define ENOUGH 300 /* of shrinks that were refused, and of those that were not */
#define ROUNDS_MAX 1000000

struct board {
	shmb_handle handle;
	_Atomic bool over;
	_Atomic uint64_t taken;
};
static struct board *board;

/* Takes hold of the block by its page, again and again, and looks whether its size stays while it is held. */
static void hold_and_look(int control, const void *argument)
{
	shmb_session *own;

	(void)argument;
	CLIENT_CHECK(shmb_connect(&(shmb_connect_options){.socket_path = fixture.socket_path}, &own) == 0);
	CLIENT_CHECK(client_process_say(control, "", 1));
	while (!atomic_load(&board->over)) {
		shmb_block found;
		shmb_block_info info;
		CLIENT_CHECK(shmb_acquire(own, board->handle, &found) == 0);
		for (int looks = 0; looks < 5; looks++) {
			CLIENT_CHECK(shmb_find_block(own, board->handle.id, &info) == 0);
			CLIENT_CHECK(info.size >= found.size && info.granted >= found.granted);
		}
		CLIENT_CHECK(shmb_free(own, board->handle) == 0);
		/* Now and then nobody holds it. */
		for (uint64_t idle = atomic_fetch_add(&board->taken, 1) % 5 * 5000; idle; idle--)
			atomic_load(&board->over);
	}
	shmb_close(own);
}

static void test_shrink_beside_hold_pages(void **state)
{
	struct client_process process;
	unsigned refused = 0, shrunk = 0;
	char ready;

	(void)state;
	start();
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(board != MAP_FAILED);
	allocate(8192, NULL);
	board->handle = block.handle;
	client_process_start(&process, hold_and_look, NULL);
	client_process_receive(&process, &ready, 1);
	for (int round = 0; (shrunk < ENOUGH || refused < ENOUGH) && round < ROUNDS_MAX; round++) {
		int result = shmb_resize(session, block.handle, round % 2 ? 8192 : 100, &resized, &moved);
		assert_true(result == 0 || result == -SHMB_E_IN_USE);
		assert_true(result < 0 || !moved);
		refused += result < 0;
		shrunk += result == 0 && round % 2 == 0;
	}
	atomic_store(&board->over, true);
	assert_int_equal(client_process_reap(&process), 0);
	print_message("%u shrinks refused, %u done, beside %llu holds\n", refused, shrunk,
	              (unsigned long long)atomic_load(&board->taken));
	munmap(board, sizeof *board);
	pool_session_await_clients(session, 2);
	recount();
}

/* Freed memory is clean, and so is the tail that a block gets back. */
static void test_zeroed(void **state)
{
	static const uint8_t zeros[65536];

	(void)state;
	daemon_fixture_start(&fixture, "--zero", "on-free", NULL);
	session = pool_session_open(&fixture);
	allocate(65536, NULL);
	memset(block.data, 0xff, 65536);
	assert_ok(shmb_resize(session, block.handle, 4096, &resized, &moved));
	pool_session_await_used(session, 4096);
	/* While it is being cleaned it is not there to grow into. */
	do {
		assert_ok(shmb_resize(session, block.handle, 65536, &resized, &moved));
		if (moved)
			assert_ok(shmb_free(session, resized.handle));
	} while (moved);
	assert_memory_equal((uint8_t *)resized.data + 4096, zeros, 65536 - 4096);
	assert_int_equal(((uint8_t *)resized.data)[4095], 0xff);
}

#define TEST(function) cmocka_unit_test_teardown(function, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_shrink_and_grow),
		TEST(test_moved),
		TEST(test_in_use),
		TEST(test_bad_requests),
		TEST(test_what_a_reply_says),
		TEST(test_changes_while_committing),
		TEST(test_death_while_growing),
		TEST(test_kill_while_growing),
		TEST(test_shrink_beside_hold_pages),
		TEST(test_zeroed),
	};

	return cmocka_run_group_tests_name("block_changes", tests, NULL, NULL);
}
