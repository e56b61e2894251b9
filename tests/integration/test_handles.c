/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles and sizes that no pool would take, over the wire: stale, doubled, wild, of another life, of another session; batches
 * with one wrong entry; sizes of 0 and near 2^64. Each gets its own error, changes nothing, and leaves the session as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define INVALID SHMBUDDY__V1__STATUS__INVALID_ARGUMENT
#define STALE SHMBUDDY__V1__STATUS__STALE_HANDLE
#define NOT_HELD SHMBUDDY__V1__STATUS__NOT_HELD
#define OTHER_POOL SHMBUDDY__V1__STATUS__OTHER_POOL
#define OUT_OF_MEMORY SHMBUDDY__V1__STATUS__OUT_OF_MEMORY
#define READ_ONLY SHMBUDDY__V1__STATUS__READ_ONLY

#define BATCH_MAX 4096
#define POOL_SIZE (16u << 20)

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;

static int start(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	daemon_fixture_stop(&fixture);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	raw_session_open(&other, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	return 0;
}

/* Whatever a test did, all memory is there again. */
static int teardown(void **state)
{
	Shmbuddy__V1__Handle whole;

	(void)state;
	raw_session_close(&other);
	raw_session_wait_for_sessions(&session, 1);
	raw_session_close(&session);
	raw_session_open(&other, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	raw_session_wait_for_sessions(&other, 1);
	assert_int_equal(raw_session_allocate(&other, POOL_SIZE, NULL, &whole), OK);
	assert_int_equal(raw_session_free(&other, &whole), OK);
	raw_session_close(&other);
	return 0;
}

static void expect_holdings(uint64_t blocks)
{
	struct raw_session_holdings holdings;

	raw_session_holdings(&session, &holdings);
	assert_int_equal(holdings.blocks, blocks);
}

/* ---- Handles ---------------------------------------------------------------------------------------------------- */

static Shmbuddy__V1__Status list_holders(const Shmbuddy__V1__Handle *handle)
{
	Shmbuddy__V1__ListHolders list = SHMBUDDY__V1__LIST_HOLDERS__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	list.handle = (Shmbuddy__V1__Handle *)(uintptr_t)handle;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_HOLDERS;
	request.list_holders = &list;
	return raw_session_call(&session, &request);
}

/* Every operation that takes a handle. */
static void expect_refused(const Shmbuddy__V1__Handle *handle, Shmbuddy__V1__Status status)
{
	assert_int_equal(raw_session_free(&session, handle), status);
	assert_int_equal(raw_session_publish(&session, handle, "name"), status);
	assert_int_equal(raw_session_lookup(&session, "name", NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	if (status != NOT_HELD) {
		assert_int_equal(raw_session_acquire(&session, handle), status);
		assert_int_equal(list_holders(handle), SHMBUDDY__V1__STATUS__NO_SUCH_BLOCK);
		assert_int_equal(raw_session_call(&session, raw_request_remove(handle)),
		                 status == STALE ? SHMBUDDY__V1__STATUS__NO_SUCH_BLOCK : status);
	}
}

static void test_double_free(void **state)
{
	Shmbuddy__V1__Handle block, next;

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 1000, NULL, &block), OK);
	assert_int_equal(raw_session_free(&session, &block), OK);
	expect_refused(&block, STALE);
	/* Also when its record and its memory have a new tenant. */
	assert_int_equal(raw_session_allocate(&session, 1000, NULL, &next), OK);
	assert_int_equal(next.index, block.index);
	assert_true(next.id != block.id);
	expect_refused(&block, STALE);
	expect_holdings(1);
	assert_int_equal(raw_session_free(&session, &next), OK);
}

static void test_wild_handles(void **state)
{
	static const uint32_t indexes[] = {1, 1000, POOL_SIZE / 64 - 1, POOL_SIZE / 64, 1u << 24, 0x7fffffff, 0xffffffff};
	static const uint64_t ids[] = {0, 1u << 30, UINT64_C(1) << 56, UINT64_C(1) << 63, UINT64_MAX};
	Shmbuddy__V1__Handle block, wild;

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 1000, NULL, &block), OK);
	for (size_t i = 0; i < sizeof indexes / sizeof indexes[0]; i++) {
		wild = block;
		wild.index = indexes[i];
		expect_refused(&wild, STALE);
		wild.id = 0;
		expect_refused(&wild, STALE);
	}
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		wild = block;
		wild.id = ids[i];
		expect_refused(&wild, STALE);
	}
	/* An id that only differs where the record's word has other things. */
	wild = block;
	wild.id |= UINT64_C(1) << 57;
	expect_refused(&wild, STALE);
	wild = block;
	wild.incarnation ^= 1;
	expect_refused(&wild, OTHER_POOL);
	expect_refused(&(Shmbuddy__V1__Handle)SHMBUDDY__V1__HANDLE__INIT, OTHER_POOL);
	expect_holdings(1);
}

static void test_missing_handle(void **state)
{
	Shmbuddy__V1__Free free_nothing = SHMBUDDY__V1__FREE__INIT;
	Shmbuddy__V1__Publish publish = SHMBUDDY__V1__PUBLISH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	char name[] = "name";

	(void)state;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE;
	request.free = &free_nothing;
	assert_int_equal(raw_session_call(&session, &request), INVALID);
	publish.name = name;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_PUBLISH;
	request.publish = &publish;
	assert_int_equal(raw_session_call(&session, &request), INVALID);
	assert_int_equal(list_holders(NULL), SHMBUDDY__V1__STATUS__NO_SUCH_BLOCK);
	assert_int_equal(raw_session_call(&session, raw_request_remove(NULL)), INVALID);
	Shmbuddy__V1__Acquire acquire = SHMBUDDY__V1__ACQUIRE__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ACQUIRE;
	request.acquire = &acquire;
	assert_int_equal(raw_session_call(&session, &request), INVALID);
}

static void test_block_of_another_session(void **state)
{
	Shmbuddy__V1__Handle block, found;

	(void)state;
	assert_int_equal(raw_session_allocate(&other, 1000, NULL, &block), OK);
	expect_refused(&block, NOT_HELD);
	assert_int_equal(list_holders(&block), OK);
	assert_int_equal(raw_session_call(&session, raw_request_remove(&block)), SHMBUDDY__V1__STATUS__IN_USE);
	assert_int_equal(raw_session_publish(&other, &block, "shared"), OK);
	assert_int_equal(raw_session_lookup(&session, "shared", &found), OK);
	assert_int_equal(found.id, block.id);
	/* A handle is enough; the two ways count as one. */
	assert_int_equal(raw_session_acquire(&session, &block), OK);
	assert_int_equal(raw_session_free(&session, &found), OK);
	/* As often as it was looked up, and no more. */
	assert_int_equal(raw_session_free(&session, &found), OK);
	assert_int_equal(raw_session_free(&session, &found), NOT_HELD);
	assert_int_equal(raw_session_unpublish(&session, "shared"), OK);
	assert_int_equal(raw_session_free(&other, &block), OK);
	assert_int_equal(raw_session_free(&other, &block), STALE);
}

/* A block of the pool's former life: same id, same index. */
static void test_former_life(void **state)
{
	Shmbuddy__V1__Handle block, next;

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 1000, NULL, &block), OK);
	daemon_fixture_terminate(&fixture);
	raw_session_close(&session);
	raw_session_close(&other);
	daemon_fixture_restart(&fixture, NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&session, 1000, NULL, &next), OK);
	assert_int_equal(next.index, block.index);
	expect_refused(&block, OTHER_POOL);
}

/* ---- Batches ---------------------------------------------------------------------------------------------------- */

struct batch {
	size_t count;
	uint64_t ids[BATCH_MAX + 1];
	uint32_t indexes[BATCH_MAX + 1];
};

static Shmbuddy__V1__Status allocate_batch(size_t count, const uint64_t *sizes, struct batch *out_batch)
{
	Shmbuddy__V1__AllocateBatch message = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	message.n_size = count;
	message.size = (uint64_t *)(uintptr_t)sizes;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &message;
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, &request);
	Shmbuddy__V1__Status status = reply->status;
	if (status == OK) {
		assert_int_equal(reply->block_batch->n_index, count);
		out_batch->count = count;
		for (size_t i = 0; i < count; i++) {
			out_batch->ids[i] = reply->block_batch->first_id + i;
			out_batch->indexes[i] = reply->block_batch->index[i];
		}
	}
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return status;
}

static Shmbuddy__V1__Status free_batch(struct batch *batch, size_t indexes)
{
	Shmbuddy__V1__FreeBatch message = SHMBUDDY__V1__FREE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	message.incarnation = session.incarnation;
	message.n_id = batch->count;
	message.id = batch->ids;
	message.n_index = indexes;
	message.index = batch->indexes;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH;
	request.free_batch = &message;
	return raw_session_call(&session, &request);
}

static uint64_t sizes[BATCH_MAX + 1];
static struct batch batch;

static void fill_sizes(void)
{
	for (size_t i = 0; i <= BATCH_MAX; i++)
		sizes[i] = 1 + i % 100;
}

static void test_longest_batch(void **state)
{
	(void)state;
	fill_sizes();
	assert_int_equal(allocate_batch(0, sizes, &batch), INVALID);
	assert_int_equal(allocate_batch(BATCH_MAX + 1, sizes, &batch), INVALID);
	expect_holdings(0);
	assert_int_equal(allocate_batch(BATCH_MAX, sizes, &batch), OK);
	expect_holdings(BATCH_MAX);
	batch.count = BATCH_MAX + 1;
	batch.ids[BATCH_MAX] = batch.ids[0];
	batch.indexes[BATCH_MAX] = batch.indexes[0];
	assert_int_equal(free_batch(&batch, batch.count), INVALID);
	batch.count = 0;
	assert_int_equal(free_batch(&batch, 0), INVALID);
	batch.count = BATCH_MAX;
	assert_int_equal(free_batch(&batch, BATCH_MAX - 1), INVALID);
	expect_holdings(BATCH_MAX);
	assert_int_equal(free_batch(&batch, BATCH_MAX), OK);
	expect_holdings(0);
}

static void test_batch_with_a_bad_handle(void **state)
{
	static const size_t places[] = {0, 50, 99};
	Shmbuddy__V1__Handle foreign;

	(void)state;
	fill_sizes();
	assert_int_equal(raw_session_allocate(&other, 1000, NULL, &foreign), OK);
	assert_int_equal(allocate_batch(100, sizes, &batch), OK);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct batch bad = batch;
		bad.ids[places[i]] += 1000000;
		assert_int_equal(free_batch(&bad, bad.count), STALE);
		expect_holdings(100);
		bad.ids[places[i]] = foreign.id;
		bad.indexes[places[i]] = foreign.index;
		assert_int_equal(free_batch(&bad, bad.count), NOT_HELD);
		expect_holdings(100);
		/* The same twice. */
		bad.ids[places[i]] = bad.ids[1];
		bad.indexes[places[i]] = bad.indexes[1];
		assert_int_equal(free_batch(&bad, bad.count), NOT_HELD);
		expect_holdings(100);
	}
	session.incarnation ^= 1;
	assert_int_equal(free_batch(&batch, batch.count), OTHER_POOL);
	session.incarnation ^= 1;
	expect_holdings(100);
	assert_int_equal(free_batch(&batch, batch.count), OK);
	expect_holdings(0);
	assert_int_equal(free_batch(&batch, batch.count), STALE);
}

/* References count: a block looked up twice may stand in a batch twice, and not three times. */
static void test_batch_of_references(void **state)
{
	Shmbuddy__V1__Handle block, found;

	(void)state;
	assert_int_equal(raw_session_allocate(&other, 1000, "counted", &block), OK);
	for (int i = 0; i < 2; i++)
		assert_int_equal(raw_session_lookup(&session, "counted", &found), OK);
	batch.count = 3;
	for (size_t i = 0; i < 3; i++) {
		batch.ids[i] = found.id;
		batch.indexes[i] = found.index;
	}
	assert_int_equal(free_batch(&batch, 3), NOT_HELD);
	batch.count = 2;
	assert_int_equal(free_batch(&batch, 2), OK);
	assert_int_equal(raw_session_free(&session, &found), NOT_HELD);
	assert_int_equal(raw_session_unpublish(&other, "counted"), OK);
	assert_int_equal(raw_session_free(&other, &block), OK);
}

/* All or nothing: what does not fit as a whole leaves nothing behind. */
static void test_batch_that_does_not_fit(void **state)
{
	(void)state;
	for (size_t i = 0; i < 17; i++)
		sizes[i] = 1u << 20;
	assert_int_equal(allocate_batch(17, sizes, &batch), OUT_OF_MEMORY);
	expect_holdings(0);
	sizes[16] = 0;
	assert_int_equal(allocate_batch(17, sizes, &batch), INVALID);
	sizes[16] = UINT64_MAX;
	assert_int_equal(allocate_batch(17, sizes, &batch), OUT_OF_MEMORY);
	assert_int_equal(allocate_batch(16, sizes, &batch), OK);
	assert_int_equal(free_batch(&batch, 16), OK);
}

/* ---- Sizes ------------------------------------------------------------------------------------------------------ */

static void test_sizes(void **state)
{
	static const uint64_t too_large[] = {
		POOL_SIZE + 1,           UINT64_C(1) << 32, UINT64_C(1) << 62,
		(UINT64_C(1) << 63) - 1, UINT64_C(1) << 63, (UINT64_C(1) << 63) + 1,
		UINT64_MAX - 63,         UINT64_MAX - 4096, UINT64_MAX,
	};

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 0, NULL, NULL), INVALID);
	for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
		Shmbuddy__V1__Reply *reply =
			raw_session_send(&session, 0, ++session.sequence, raw_request_allocate(too_large[i], NULL));
		assert_int_equal(reply->status, OUT_OF_MEMORY);
		assert_non_null(reply->out_of_memory);
		assert_int_equal(reply->out_of_memory->limit, SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SEGMENT);
		assert_int_equal(reply->out_of_memory->requested, too_large[i]);
		assert_int_equal(reply->out_of_memory->free_bytes, POOL_SIZE);
		assert_int_equal(reply->out_of_memory->longest_free, POOL_SIZE);
		assert_true(reply->out_of_memory->granted == 0 || reply->out_of_memory->granted >= too_large[i]);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	expect_holdings(0);
}

static void test_alignments(void **state)
{
	static const uint64_t wrong[] = {3, 63, 65, (UINT64_C(1) << 30) + 1, UINT64_C(1) << 31, UINT64_C(1) << 63, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		Shmbuddy__V1__Request *request = raw_request_allocate(64, NULL);
		request->allocate->alignment = wrong[i];
		assert_int_equal(raw_session_call(&session, request), INVALID);
	}
	/* One block lies in the way at the start of the segment; what is over the segment is a want of memory, not a fault. */
	assert_int_equal(raw_session_allocate(&session, 64, NULL, NULL), OK);
	for (uint64_t alignment = 1; alignment <= 1u << 30; alignment *= 2) {
		Shmbuddy__V1__Request *request = raw_request_allocate(64, NULL);
		request->allocate->alignment = alignment;
		Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, request);
		assert_int_equal(reply->status, alignment < POOL_SIZE ? OK : OUT_OF_MEMORY);
		if (reply->status == OK) {
			assert_int_equal(reply->block->offset % alignment, 0);
			assert_int_equal(raw_session_free(&session, reply->block->handle), OK);
		}
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
}

/* ---- Read-only sessions ----------------------------------------------------------------------------------------- */

static void test_read_only_session(void **state)
{
	Shmbuddy__V1__Handle block, found;

	(void)state;
	assert_int_equal(raw_session_allocate(&other, 4096, "given", &block), OK);
	raw_session_close(&session);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY);

	assert_int_equal(raw_session_allocate(&session, 64, NULL, NULL), READ_ONLY);
	assert_int_equal(allocate_batch(1, (uint64_t[]){64}, &batch), READ_ONLY);
	assert_int_equal(raw_session_publish(&session, &block, "mine"), READ_ONLY);
	assert_int_equal(raw_session_unpublish(&session, "given"), READ_ONLY);
	assert_int_equal(raw_session_call(&session, raw_request_remove(&block)), READ_ONLY);
	assert_int_equal(raw_session_free(&session, &block), NOT_HELD);
	expect_holdings(0);

	assert_int_equal(raw_session_lookup(&session, "given", &found), OK);
	assert_int_equal(list_holders(&found), OK);
	expect_holdings(1);
	assert_int_equal(raw_session_free(&session, &found), OK);

	/* The descriptor itself: it cannot be mapped for writing, nor written to, nor cut. */
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, session.segment, 0), MAP_FAILED);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, session.view, 0), MAP_FAILED);
	assert_int_equal(write(session.segment, "x", 1), -1);
	assert_int_equal(ftruncate(session.segment, 0), -1);
	void *seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, session.segment, 0);
	assert_ptr_not_equal(seen, MAP_FAILED);
	assert_int_equal(mprotect(seen, 4096, PROT_READ | PROT_WRITE), -1);
	munmap(seen, 4096);
	/* A writer's view and lock are read-only as well. */
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other.view, 0), MAP_FAILED);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other.lock, 0), MAP_FAILED);
	assert_int_equal(raw_session_unpublish(&other, "given"), OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_double_free),
		TEST(test_wild_handles),
		TEST(test_missing_handle),
		TEST(test_block_of_another_session),
		TEST(test_former_life),
		TEST(test_longest_batch),
		TEST(test_batch_with_a_bad_handle),
		TEST(test_batch_of_references),
		TEST(test_batch_that_does_not_fit),
		TEST(test_sizes),
		TEST(test_alignments),
		TEST(test_read_only_session),
	};

	return cmocka_run_group_tests_name("handles", tests, start, stop);
}
