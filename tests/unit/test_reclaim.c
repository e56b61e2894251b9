/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of freed memory, on a real pool without a daemon: before the start, from the cleaner to the scavenger, to the end; and
 * when there is no memory for it all. What each of the two does is theirs to test: test_cleaner.c, test_scavenger.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "server/log.h"
#include "server/pool.h"
#include "server/reclaim.h"
#include "tests/unit/captured.h"
#include "tests/unit/failing_region.h"

#define PAGE 4096u
#define UNIT 64
#define POOL_SIZE (UINT64_C(4) << 20)

static struct {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
} fixture;
static struct captured standard_error;

static void open_pool(bool zero_on_free, bool up_front)
{
	char name[48];
	struct pool_options options = {.name = name,
	                               .size = POOL_SIZE,
	                               .unit = UNIT,
	                               .max_blocks = 64,
	                               .max_names = 16,
	                               .max_sessions = 4,
	                               .ephemeral = true,
	                               .zero_on_free = zero_on_free,
	                               .up_front = up_front};

	snprintf(name, sizeof name, "unit-reclaim-%d", (int)getpid());
	log_open(LOG_LEVEL_INFO);
	memset(&fixture, 0, sizeof fixture);
	assert_int_equal(uv_loop_init(&fixture.loop), 0);
	assert_int_equal(pool_open(&fixture.loop, &options, &fixture.pool), 0);
	assert_null(fixture.pool.reclaim);
}

static void make(bool zero_on_free, bool up_front)
{
	open_pool(zero_on_free, up_front);
	assert_int_equal(reclaim_init(&fixture.reclaim, &fixture.pool), 0);
	assert_ptr_equal(fixture.pool.reclaim, &fixture.reclaim);
}

/* Every handle is closed and every region is given back, however far it came. */
static void close_pool(void)
{
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	assert_int_equal(uv_loop_close(&fixture.loop), 0);
	assert_int_equal(regions_open, 0);
}

/* So many bytes that somebody has written to. */
static struct commit_range use(uint64_t bytes)
{
	static uint8_t written[POOL_SIZE];
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted;

	assert_int_equal(buddy_allocate(&pool->buddy, bytes / UNIT, 1, &offset, &granted), 0);
	struct commit_range range = {offset * UNIT, granted * UNIT};
	reclaim_handed_out(&fixture.reclaim, &range);
	uint64_t from = range.offset / PAGE, end = (range.offset + range.length + PAGE - 1) / PAGE;
	assert_int_equal(extents_prepare(&pool->extents, from, end), 0);
	assert_int_equal(shared_object_commit(&pool->segment, from * PAGE, (end - from) * PAGE), 0);
	extents_mark(&pool->extents, from, end, true);
	memset(written, 0xa5, bytes);
	assert_int_equal(pwrite(pool->segment.fd, written, bytes, (off_t)range.offset), bytes);
	return range;
}

static uint64_t backed(void)
{
	struct stat status;

	assert_int_equal(fstat(fixture.pool.segment.fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

static uint8_t first_byte(void)
{
	uint8_t byte = 0;

	assert_int_equal(pread(fixture.pool.segment.fd, &byte, 1, 0), 1);
	return byte;
}

static void assert_all_free(void)
{
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), POOL_SIZE / UNIT);
	assert_int_equal(fixture.pool.withheld.units, 0);
}

/* As a taking over has it: free at once and as it is, and nothing is begun; the start knows that it may be dirty. */
static void test_before_the_start(void **state)
{
	(void)state;
	make(true, false);
	struct commit_range small = use(UNIT), large = use(1 << 20);
	reclaim_free(&fixture.reclaim, &large);
	reclaim_free(&fixture.reclaim, &small);
	assert_all_free();
	assert_false(committer_is_busy(&fixture.pool.committer));
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(first_byte(), 0xa5);
	fixture.pool.adopted = true;
	reclaim_start(&fixture.reclaim, SCAVENGER_NEVER);
	assert_int_equal(fixture.pool.withheld.units, POOL_SIZE / UNIT);
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_all_free();
	assert_int_equal(first_byte(), 0);
	close_pool();
}

/* Of what was freed since the start, in a pool of which nothing is committed, the scavenger hears from the cleaner alone. */
static void test_cleaned_and_given_back(void **state)
{
	(void)state;
	make(true, false);
	reclaim_start(&fixture.reclaim, 1);
	struct commit_range range = use(1 << 20);
	assert_int_equal(fixture.reclaim.scavenger.state, SCAVENGER_ASLEEP);
	reclaim_free(&fixture.reclaim, &range);
	assert_int_equal(fixture.pool.withheld.units, range.length / UNIT);
	assert_int_equal(fixture.reclaim.scavenger.state, SCAVENGER_ASLEEP);
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_all_free();
	assert_int_equal(backed(), 0);
	close_pool();
}

/* Where nothing is cleaned it is free as it is, and goes back; up front it stays. */
static void test_given_back(void **state)
{
	(void)state;
	for (int up_front = 0; up_front < 2; up_front++) {
		make(false, up_front);
		reclaim_start(&fixture.reclaim, 1);
		struct commit_range range = use(1 << 20);
		reclaim_free(&fixture.reclaim, &range);
		assert_all_free();
		assert_int_equal(first_byte(), 0xa5);
		assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
		assert_int_equal(backed(), up_front ? 1 << 20 : 0);
		close_pool();
	}
}

/* Pages that nobody accounts for: said, and looked for even where nothing is ever given back. */
static void test_strays(void **state)
{
	(void)state;
	make(false, false);
	assert_int_equal(shared_object_commit(&fixture.pool.segment, 1 << 20, 2 * PAGE), 0);
	captured_begin(&standard_error, stderr);
	reclaim_start(&fixture.reclaim, SCAVENGER_NEVER);
	captured_end(&standard_error);
	assert_non_null(strstr(standard_error.text, "the kernel backs 2 pages more than are accounted for"));
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(backed(), 0);
	assert_all_free();
	close_pool();
}

/* Nothing is begun any more; what is on its way comes back. */
static void test_stop(void **state)
{
	(void)state;
	make(true, false);
	reclaim_start(&fixture.reclaim, 1);
	struct commit_range range = use(2 << 20);
	reclaim_free(&fixture.reclaim, &range);
	reclaim_stop(&fixture.reclaim);
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(fixture.pool.withheld.units, (1 << 20) / UNIT); /* one piece has come back */
	assert_int_equal(backed(), 2 << 20);
	close_pool();
}

static void test_no_memory(void **state)
{
	(void)state;
	for (int regions = 0; regions < 2; regions++) { /* the scavenger's, the cleaner's */
		open_pool(true, false);
		regions_until_failure = regions;
		captured_begin(&standard_error, stderr);
		int result = reclaim_init(&fixture.reclaim, &fixture.pool);
		captured_end(&standard_error);
		regions_until_failure = -1;
		assert_int_equal(result, -ENOMEM);
		assert_non_null(strstr(standard_error.text, "cannot keep account of its free memory: Cannot allocate memory"));
		assert_null(fixture.pool.reclaim);
		close_pool();
	}
	/* Never initialised. */
	open_pool(true, false);
	close_pool();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_the_start),
		cmocka_unit_test(test_cleaned_and_given_back),
		cmocka_unit_test(test_given_back),
		cmocka_unit_test(test_strays),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
