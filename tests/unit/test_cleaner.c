/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleaning what was freed, on a real pool without a daemon: whatever is handed out reads as zeros, whatever had been written there, and
 * whatever the kernel refuses meanwhile.
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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "server/log.h"
#include "server/pool.h"
#include "server/reclaim.h"
#include "tests/unit/captured.h"
#include "tests/unit/draw.h"

#define PAGE 4096u

static struct {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct pool_options options;
	char name[48];
} fixture;

static _Atomic int refusals; /* so many writes of the pool's are refused */
static _Atomic unsigned writes;
static uint8_t bytes[1 << 20];

ssize_t pwrite(int fd, const void *buffer, size_t length, off_t offset)
{
	if (fd == fixture.pool.segment.fd) {
		writes++;
		if (refusals > 0) {
			refusals--;
			errno = ENOSPC;
			return -1;
		}
	}
	return (ssize_t)syscall(SYS_pwrite64, fd, buffer, length, offset);
}

static void open_again(void)
{
	refusals = 0;
	writes = 0;
	assert_int_equal(uv_loop_init(&fixture.loop), 0);
	assert_int_equal(pool_open(&fixture.loop, &fixture.options, &fixture.pool), 0);
	assert_int_equal(reclaim_init(&fixture.reclaim, &fixture.pool), 0);
}

static void open_pool(uint64_t size, uint64_t unit)
{
	snprintf(fixture.name, sizeof fixture.name, "unit-cleaner-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	fixture.options = (struct pool_options){.name = fixture.name,
	                                        .size = size,
	                                        .unit = unit,
	                                        .zero_on_free = true,
	                                        .discard = true,
	                                        .return_after_ms = SCAVENGER_NEVER};
	open_again();
}

static void close_pool(bool ephemeral)
{
	reclaim_stop(&fixture.reclaim);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	fixture.pool.ephemeral = ephemeral;
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	assert_int_equal(uv_loop_close(&fixture.loop), 0);
}

static void run(void)
{
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(fixture.pool.withheld.units, 0);
}

/* False: there is no room. */
static bool allocate(uint64_t size, struct commit_range *out_range)
{
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted;

	*out_range = (struct commit_range){0};
	if (buddy_allocate(&pool->buddy, (size + pool->unit - 1) / pool->unit, 1, &offset, &granted) < 0)
		return false;
	*out_range = (struct commit_range){offset * pool->unit, granted * pool->unit};
	reclaim_handed_out(&fixture.reclaim, out_range);
	while (committer_is_busy(&pool->committer)) /* the test commits by itself: only while nothing is on the lane */
		uv_run(&fixture.loop, UV_RUN_ONCE);
	uint64_t from = out_range->offset / PAGE, end = (out_range->offset + out_range->length + PAGE - 1) / PAGE;
	assert_int_equal(extents_prepare(&pool->extents, from, end), 0);
	assert_int_equal(shared_object_commit(&pool->segment, from * PAGE, (end - from) * PAGE), 0);
	extents_mark(&pool->extents, from, end, true);
	return true;
}

static void write_secret(const struct commit_range *range)
{
	memset(bytes, 0xa5, sizeof bytes);
	for (uint64_t done = 0, length; done < range->length; done += length) {
		length = range->length - done < sizeof bytes ? range->length - done : sizeof bytes;
		assert_int_equal(syscall(SYS_pwrite64, fixture.pool.segment.fd, bytes, length, range->offset + done), length);
	}
}

static void assert_clean(const struct commit_range *range)
{
	for (uint64_t done = 0, length; done < range->length; done += length) {
		length = range->length - done < sizeof bytes ? range->length - done : sizeof bytes;
		assert_int_equal(pread(fixture.pool.segment.fd, bytes, length, (off_t)(range->offset + done)), length);
		for (uint64_t i = 0; i < length; i++) {
			if (bytes[i])
				fail_msg("byte %llu is dirty", (unsigned long long)(range->offset + done + i));
		}
	}
}

static void assert_all_clean(void)
{
	const struct pool *pool = &fixture.pool;

	assert_int_equal(buddy_free_units(&pool->buddy), buddy_units(&pool->buddy));
	assert_clean(&(struct commit_range){0, pool->size});
}

static void test_sizes(void **state)
{
	const struct pool *pool = &fixture.pool;
	struct commit_range range = {0, 0};

	(void)state;
	open_pool(64 << 20, 64);
	reclaim_start(&fixture.reclaim, fixture.options.return_after_ms);
	for (uint64_t size = 64; size <= 64 << 20; size *= 4) {
		assert_true(allocate(size, &range));
		write_secret(&range);
		uint64_t committed = pool->extents.committed;
		reclaim_free(&fixture.reclaim, &range);
		assert_int_equal(pool->withheld.units, size <= PAGE ? 0 : size / 64); /* little is cleaned at once */
		pool_publish_counters(&fixture.pool);
		assert_int_equal(atomic_load(&pool->counters->used), 0);
		run();
		assert_all_clean();
		assert_int_equal(pool->extents.committed, committed); /* and stays committed */
	}
	/* What nobody had is free as it is. */
	assert_true(allocate(1 << 20, &range));
	writes = 0;
	reclaim_release(&fixture.reclaim, &range);
	run();
	assert_int_equal(writes, 0);
	close_pool(true);
}

/* Whoever allocates never sees what was there, in whatever order things come. */
static void test_against_model(void **state)
{
	static struct commit_range live[400];
	size_t count = 0, served = 0;

	(void)state;
	open_pool(4 << 20, 64);
	fixture.options.return_after_ms = 1;
	reclaim_start(&fixture.reclaim, fixture.options.return_after_ms);
	for (int round = 0; round < 6000; round++) {
		if (count < 400 && draw(2)) {
			if (allocate(1 + draw(draw(4) ? 9000 : 300000), &live[count])) {
				assert_clean(&live[count]);
				write_secret(&live[count++]);
				served++;
			}
		} else if (count) {
			size_t which = draw(count);
			reclaim_free(&fixture.reclaim, &live[which]);
			live[which] = live[--count];
		}
		if (draw(8) == 0)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		if (draw(300) == 0)
			refusals = 2;
		/* A refusal pauses for a second: not here. */
		if (fixture.reclaim.cleaner.paused)
			fixture.reclaim.cleaner.timer.timer_cb(&fixture.reclaim.cleaner.timer);
	}
	assert_true(served > 1000);
	refusals = 0;
	while (count)
		reclaim_free(&fixture.reclaim, &live[--count]);
	run();
	assert_all_clean();
	assert_int_equal(fixture.pool.extents.committed, 0);
	close_pool(true);
}

static void test_refused(void **state)
{
	struct pool *pool = &fixture.pool;
	struct commit_range small = {0, 0}, large = {0, 0};
	struct captured standard_error;

	(void)state;
	open_pool(4 << 20, 64);
	reclaim_start(&fixture.reclaim, fixture.options.return_after_ms);
	assert_true(allocate(2 << 20, &large) && allocate(100, &small));
	write_secret(&large);
	write_secret(&small);
	refusals = 2;
	captured_begin(&standard_error, stderr);
	reclaim_free(&fixture.reclaim, &small);
	reclaim_free(&fixture.reclaim, &large);
	while (!fixture.reclaim.cleaner.paused)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	captured_end(&standard_error);
	assert_non_null(strstr(standard_error.text, "of freed memory: No space left on device; it is withheld until"));
	/* Withheld, dirty, and nobody waits for it. */
	assert_int_equal(pool->withheld.units, 2 + (2 << 20) / 64);
	assert_int_equal(pool->withheld.stuck, pool->withheld.units);
	assert_true(buddy_is_taken(&pool->buddy, large.offset / 64, large.length / 64));
	/* What is freed meanwhile and is refused as well joins it. */
	assert_true(allocate(100, &small));
	write_secret(&small);
	refusals = 1;
	reclaim_free(&fixture.reclaim, &small);
	assert_int_equal(pool->withheld.stuck, 4 + (2 << 20) / 64);
	/* The timer rings. */
	uv_timer_start(&fixture.reclaim.cleaner.timer, fixture.reclaim.cleaner.timer.timer_cb, 0, 0);
	run();
	assert_int_equal(pool->withheld.stuck, 0);
	assert_all_clean();
	close_pool(true);
}

/* A former daemon left dirt everywhere: in pages that are marked, in others, in the one that the end cuts. */
static void leave_dirt(uint64_t size, uint64_t unit, bool up_front)
{
	struct commit_range range = {0, 0}, all = {0, 0};
	unsigned n = 0;

	open_pool(size, unit);
	while (allocate(n % 3 ? unit : 4 * unit, &range) || allocate(unit, &range)) {
		write_secret(&range);
		n++;
	}
	all.length = fixture.pool.segment.size;
	write_secret(&all);
	for (uint64_t page = 0; page < fixture.pool.extents.pages && !up_front; page++) {
		if (draw(2))
			extents_mark(&fixture.pool.extents, page, page + 1, false); /* killed between unmarking and the punch */
	}
	close_pool(false);
	fixture.options.discard = false;
	fixture.options.up_front = up_front;
	open_again();
	assert_true(fixture.pool.adopted);
	assert_int_equal(extents_recover(&fixture.pool.extents), 0);
}

static void test_stale(void **state)
{
	const uint64_t cases[][2] = {{1024, 64},          {4096 + 192, 64}, {3 * 4096 + 2048 + 512, 64},
	                             {1 << 20, 64},       {1 << 20, 4096},  {UINT64_C(1) << 20, 1 << 16},
	                             {(5 << 20) + 64, 64}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		leave_dirt(cases[i][0], cases[i][1], false);
		struct commit_range range = {0, 0};
		reclaim_start(&fixture.reclaim, fixture.options.return_after_ms);
		assert_false(allocate(1, &range)); /* not yet */
		assert_int_equal(atomic_load(&fixture.pool.counters->used), 0);
		while (!allocate(1, &range))
			uv_run(&fixture.loop, UV_RUN_ONCE);
		assert_clean(&range);
		reclaim_release(&fixture.reclaim, &range);
		run();
		assert_all_clean();
		struct stat status;
		assert_int_equal(fstat(fixture.pool.segment.fd, &status), 0);
		assert_true((uint64_t)status.st_blocks * 512 <= fixture.pool.extents.committed * PAGE);
		assert_true(fixture.pool.extents.committed * PAGE <= 65536 + fixture.pool.unit); /* of `range`, and the end's */
		close_pool(true);
	}
}

/* Up front: all stays committed. */
static void test_stale_up_front(void **state)
{
	(void)state;
	leave_dirt((1 << 20) + 64, 64, true);
	reclaim_start(&fixture.reclaim, fixture.options.return_after_ms);
	run();
	assert_all_clean();
	assert_int_equal(fixture.pool.extents.committed, fixture.pool.extents.pages);
	close_pool(true);
}

static void test_stop(void **state)
{
	struct commit_range range = {0, 0};

	(void)state;
	open_pool(8 << 20, 64);
	reclaim_start(&fixture.reclaim, fixture.options.return_after_ms);
	assert_true(allocate(8 << 20, &range));
	write_secret(&range);
	reclaim_free(&fixture.reclaim, &range);
	reclaim_stop(&fixture.reclaim);
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	/* One piece came back, the rest is for the next daemon. */
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), (1 << 20) / 64);
	close_pool(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes), cmocka_unit_test(test_against_model),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stale), cmocka_unit_test(test_stale_up_front), cmocka_unit_test(test_stop),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
