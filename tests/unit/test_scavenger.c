/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving memory back, on a real pool without a daemon. What the kernel is asked to punch is seen between the two: never a page that a
 * live range touches, never one that is marked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "server/log.h"
#include "server/pool.h"
#include "server/reclaim.h"
#include "tests/unit/draw.h"

#define PAGE 4096u

static struct {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct pool_options options;
	char name[48];
} fixture;

static _Atomic unsigned punches;
static _Atomic uint64_t punched_bytes;
static _Atomic int failures; /* so many punches fail */
static struct commit_range live[512];
static size_t live_count;

/* The loop waits for the piece, or turns without a change: what this reads on the pool's thread stays as it is but for allocations. */
int fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (fd == fixture.pool.segment.fd && mode != 0) {
		punches++;
		punched_bytes += (uint64_t)length;
		if (failures > 0) {
			failures--;
			errno = ENOMEM;
			return -1;
		}
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

static void open_pool(uint64_t size, uint64_t unit)
{
	snprintf(fixture.name, sizeof fixture.name, "unit-scavenger-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	fixture.options = (struct pool_options){.name = fixture.name, .size = size, .unit = unit, .ephemeral = true};
	punches = 0;
	punched_bytes = 0;
	failures = 0;
	live_count = 0;
	assert_int_equal(uv_loop_init(&fixture.loop), 0);
	assert_int_equal(pool_open(&fixture.loop, &fixture.options, &fixture.pool), 0);
	assert_int_equal(reclaim_init(&fixture.reclaim, &fixture.pool), 0);
}

static void close_pool(void)
{
	scavenger_stop(&fixture.reclaim.scavenger);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	assert_int_equal(uv_loop_close(&fixture.loop), 0);
}

/* Until it sleeps. */
static void run(void)
{
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(fixture.pool.withheld.units, 0);
}

static struct commit_range allocate(uint64_t bytes)
{
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted;

	assert_int_equal(buddy_allocate(&pool->buddy, (bytes + pool->unit - 1) / pool->unit, 1, &offset, &granted), 0);
	struct commit_range range = {offset * pool->unit, granted * pool->unit};
	reclaim_handed_out(&fixture.reclaim, &range);
	uint64_t from = range.offset / PAGE, end = (range.offset + range.length + PAGE - 1) / PAGE;
	assert_int_equal(extents_prepare(&pool->extents, from, end), 0);
	assert_int_equal(shared_object_commit(&pool->segment, from * PAGE, (end - from) * PAGE), 0);
	extents_mark(&pool->extents, from, end, true);
	return range;
}

static uint64_t backed(void)
{
	struct stat status;

	assert_int_equal(fstat(fixture.pool.segment.fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

static void assert_all_given_back(void)
{
	assert_int_equal(backed(), 0);
	assert_int_equal(fixture.pool.extents.committed, 0);
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), buddy_units(&fixture.pool.buddy));
	assert_int_equal(atomic_load(&fixture.pool.counters->committed), 0);
}

static void test_comes_back(void **state)
{
	(void)state;
	open_pool(64 << 20, 64);
	scavenger_start(&fixture.reclaim.scavenger, 1, 0);
	run();
	assert_int_equal(punches, 0);
	struct commit_range large = allocate(32 << 20), small = allocate(64), page = allocate(PAGE);
	reclaim_release(&fixture.reclaim, &large);
	run();
	assert_int_equal(backed(), 2 * PAGE); /* both others lie in pages of their own */
	assert_int_equal(punches, 32);        /* in pieces of 1 MiB */
	reclaim_release(&fixture.reclaim, &page);
	run();
	assert_int_equal(backed(), PAGE);
	reclaim_release(&fixture.reclaim, &small);
	run();
	assert_all_given_back();
	close_pool();
}

/* Its delay is over now. */
static void walk(void)
{
	struct scavenger *scavenger = &fixture.reclaim.scavenger;

	assert_int_equal(scavenger->state, SCAVENGER_WAITS);
	uv_timer_start(&scavenger->timer, scavenger->timer.timer_cb, 0, 0);
	do
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	while (scavenger->state == SCAVENGER_WALKS || scavenger->state == SCAVENGER_AWAY);
}

/* A page goes with the second walk that finds it free, if nobody had it in between. */
static void test_used_again(void **state)
{
	struct scavenger *scavenger = &fixture.reclaim.scavenger;

	(void)state;
	open_pool(1 << 20, 64);
	scavenger_start(scavenger, 3600000, 0);
	for (int i = 0; i < 20; i++) {
		struct commit_range range = allocate(64 << 10);
		assert_int_equal(scavenger->idle.count, 0); /* it was taken out of the set */
		reclaim_release(&fixture.reclaim, &range);
		walk();
		assert_int_equal(scavenger->idle.count, 16);
	}
	assert_int_equal(punches, 0);
	walk();
	assert_int_equal(punches, 1);
	assert_int_equal(scavenger->idle.count, 0);
	assert_all_given_back();
	walk();
	assert_int_equal(scavenger->state, SCAVENGER_ASLEEP);
	close_pool();
}

static void test_never(void **state)
{
	(void)state;
	open_pool(1 << 20, 64);
	scavenger_start(&fixture.reclaim.scavenger, SCAVENGER_NEVER, 0);
	struct commit_range range = allocate(1 << 20);
	reclaim_release(&fixture.reclaim, &range);
	run();
	assert_int_equal(punches, 0);
	assert_int_equal(backed(), 1 << 20);
	close_pool();
}

/* Backed and not marked: holes and pages far apart, in a segment of which little is in use. Found even if nothing else is given back. */
static void find_strays(uint64_t bytes, uint64_t stray_pages, unsigned expected)
{
	open_pool(UINT64_C(8) << 30, 64);
	struct commit_range mine = allocate(5000), at = {UINT64_C(3) << 30, bytes};
	assert_int_equal(shared_object_commit(&fixture.pool.segment, at.offset, at.length), 0);
	scavenger_start(&fixture.reclaim.scavenger, SCAVENGER_NEVER, stray_pages);
	run();
	assert_int_equal(backed(), 8192);
	assert_true(punches <= expected); /* about eight gibibytes in so many pages, and the splits around the live block */
	assert_int_equal(fixture.reclaim.scavenger.state, SCAVENGER_OFF);
	reclaim_release(&fixture.reclaim, &mine);
	close_pool();
}

static void test_few_strays(void **state)
{
	(void)state;
	find_strays(2 << 20, 262144, 64);
}

static void test_many_strays(void **state)
{
	(void)state;
	find_strays(20 << 20, 256, 8192 + 32);
}

/* The kernel refuses to take pages back: they are free all the same, unmarked, and taken as they are. */
static void test_punch_fails(void **state)
{
	(void)state;
	open_pool(4 << 20, 64);
	scavenger_start(&fixture.reclaim.scavenger, 1, 0);
	struct commit_range range = allocate(2 << 20);
	failures = 1;
	reclaim_release(&fixture.reclaim, &range);
	run();
	assert_int_equal(fixture.pool.extents.committed, 0);
	assert_int_equal(backed(), 1 << 20);
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), buddy_units(&fixture.pool.buddy));
	range = allocate(2 << 20);
	reclaim_release(&fixture.reclaim, &range);
	run();
	assert_all_given_back();
	close_pool();
}

/* Odd sizes and units: a segment that ends within a page, a unit of many pages of which not all are committed. */
static void test_odd_sizes(void **state)
{
	const struct {
		uint64_t size, unit;
	} cases[] = {{1024, 64}, {64, 64}, {4096 + 192, 64}, {3 * 4096 + 2048, 2048}, {12288, 4096}, {3 << 16, 1 << 16}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		open_pool(cases[i].size, cases[i].unit);
		scavenger_start(&fixture.reclaim.scavenger, 1, 0);
		struct commit_range ranges[64];
		size_t count = 0;
		while (buddy_free_units(&fixture.pool.buddy) && count < 64)
			ranges[count++] = allocate(cases[i].unit);
		if (cases[i].unit > PAGE) { /* every second page of it is not there */
			for (uint64_t page = 1; page < cases[i].size / PAGE; page += 2) {
				extents_mark(&fixture.pool.extents, page, page + 1, false);
				syscall(SYS_fallocate, fixture.pool.segment.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				        (off_t)(page * PAGE), (off_t)PAGE);
			}
		}
		while (count)
			reclaim_release(&fixture.reclaim, &ranges[--count]);
		run();
		while (buddy_free_units(&fixture.pool.buddy) && count < 64)
			ranges[count++] = allocate(cases[i].unit);
		while (count)
			reclaim_release(&fixture.reclaim, &ranges[--count]);
		run();
		assert_all_given_back();
		close_pool();
	}
}

/* It lets whoever waits for what is on its way back go first; who waits for others is no reason to keep memory. */
static bool never_take(struct waiter *waiter)
{
	(void)waiter;
	return false;
}

static void ignore_end(struct waiter *waiter, int result)
{
	(void)waiter;
	(void)result;
}

static void test_waits_for_waiters(void **state)
{
	struct waiter waiter = {.take = never_take, .ended = ignore_end}, patient = waiter;
	struct pool *pool = &fixture.pool;

	(void)state;
	open_pool(1 << 20, 64);
	struct commit_range range = allocate(64 << 10), other = allocate(64 << 10);
	withheld_keep(&pool->withheld, other.length / 64);
	assert_int_equal(demand_add(&waiter.demand, BUDDY_UNITS_MAX, 1), 0); /* there is no such room */
	assert_int_equal(demand_add(&patient.demand, BUDDY_UNITS_MAX, 1), 0);
	assert_int_equal(wait_queue_join(&pool->wait_queue, &waiter, 0), 0);
	assert_int_equal(wait_queue_join(&pool->wait_queue, &patient, 1000000), 0);
	scavenger_start(&fixture.reclaim.scavenger, 1, 0);
	reclaim_release(&fixture.reclaim, &range);
	while (fixture.reclaim.scavenger.state != SCAVENGER_WALKS)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_int_equal(fixture.reclaim.scavenger.idle.count, 0);
	withheld_give(&pool->withheld, other.offset / 64, other.length / 64);
	/* Without blocking: asleep, it leaves nothing to wait for but the patient one's time. */
	while (fixture.reclaim.scavenger.state != SCAVENGER_ASLEEP)
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	assert_true(wait_queue_leave(&patient));
	run();
	assert_all_given_back();
	close_pool();
}

/* What is live keeps its pages and their bytes; what is not has none in the end. */
static void check_live(void)
{
	struct pool *pool = &fixture.pool;
	static uint8_t bytes[65536];
	uint64_t from, end;

	for (size_t i = 0; i < live_count; i++) {
		assert_false(extents_next_gap(&pool->extents, live[i].offset / PAGE,
		                              (live[i].offset + live[i].length + PAGE - 1) / PAGE, &from, &end));
		assert_int_equal(pread(pool->segment.fd, bytes, live[i].length, (off_t)live[i].offset), live[i].length);
		for (size_t k = 0; k < live[i].length; k += 61)
			assert_int_equal(bytes[k], (uint8_t)(live[i].offset / 64));
	}
}

static void test_against_model(void **state)
{
	struct pool *pool = &fixture.pool;
	static uint8_t bytes[65536];

	(void)state;
	open_pool(16 << 20, 64);
	scavenger_start(&fixture.reclaim.scavenger, 1, 0);
	for (int round = 0; round < 20000; round++) {
		if (live_count < 500 && draw(2)) {
			live[live_count] = allocate(1 + draw(draw(4) ? 9000 : 65536));
			memset(bytes, (uint8_t)(live[live_count].offset / 64), live[live_count].length);
			pwrite(pool->segment.fd, bytes, live[live_count].length, (off_t)live[live_count].offset);
			live_count++;
		} else if (live_count) {
			size_t which = draw(live_count);
			reclaim_release(&fixture.reclaim, &live[which]);
			live[which] = live[--live_count];
		}
		if (draw(20) == 0)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		if (draw(500) == 0) {
			/* While a punch is on its way its units are in nobody's use; nothing is committed here then. */
			while (committer_is_busy(&pool->committer))
				uv_run(&fixture.loop, UV_RUN_ONCE);
			check_live();
		}
		/* The test commits by itself: only while nothing is on the lane. */
		while (committer_is_busy(&pool->committer))
			uv_run(&fixture.loop, UV_RUN_ONCE);
	}
	run();
	check_live();
	assert_true(punches > 0);
	assert_int_equal(backed(), pool->extents.committed * PAGE);
	while (live_count)
		reclaim_release(&fixture.reclaim, &live[--live_count]);
	run();
	assert_all_given_back();
	close_pool();
}

static void test_stop(void **state)
{
	struct pool *pool = &fixture.pool;

	(void)state;
	open_pool(8 << 20, 64);
	scavenger_start(&fixture.reclaim.scavenger, 1, 0);
	struct commit_range range = allocate(8 << 20);
	reclaim_release(&fixture.reclaim, &range);
	while (fixture.reclaim.scavenger.state != SCAVENGER_AWAY)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	reclaim_stop(&fixture.reclaim);
	run();
	assert_int_equal(punches, 1);
	assert_int_equal(buddy_free_units(&pool->buddy), buddy_units(&pool->buddy));
	reclaim_release(&fixture.reclaim, &(struct commit_range){allocate(64).offset, 64});
	run();
	assert_int_equal(punches, 1);
	close_pool();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_back), cmocka_unit_test(test_used_again),        cmocka_unit_test(test_never),
		cmocka_unit_test(test_few_strays), cmocka_unit_test(test_many_strays),       cmocka_unit_test(test_punch_fails),
		cmocka_unit_test(test_odd_sizes),  cmocka_unit_test(test_waits_for_waiters), cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_stop),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
