/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing memory, with a real loop and thread pool. Which pages the kernel is asked for, and when it refuses, is seen and
 * decided between the committer and the kernel; a tiny tmpfs refuses for real where the test may mount one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "server/committer.h"
#include "server/extents.h"
#include "tests/unit/draw.h"
#include "tests/unit/memory_object.h"

#define PAGE 4096u
#define PAGES 8192u /* 32 MiB */

/* ---- Between the committer and the kernel ---- */

struct call {
	int fd;
	bool punch;
	uint64_t from, end; /* pages */
};
static struct call calls[4096];
static _Atomic size_t call_count;
static _Atomic int calls_until_refusal = -1;       /* of commits of the segment; then one is refused with -ENOSPC */
static _Atomic uint64_t page_refused = UINT64_MAX; /* a commit that has this page is refused */
static _Atomic int interruptions;
static _Atomic unsigned slow_us; /* how long the kernel takes for the next one */
static uint64_t free_bytes;      /* what the file system says it has left; UINT64_MAX: it has no limit */
static int segment_fd;

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	uint64_t from = (uint64_t)offset / PAGE, end = (uint64_t)(offset + length) / PAGE;

	if (interruptions > 0) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	if (fd == segment_fd) {
		usleep(atomic_exchange(&slow_us, 0));
		size_t n = call_count++;
		if (n < sizeof calls / sizeof calls[0])
			calls[n] = (struct call){fd, mode != 0, from, end};
		if (mode == 0 &&
		    ((calls_until_refusal >= 0 && calls_until_refusal-- == 0) || (page_refused >= from && page_refused < end))) {
			errno = ENOSPC;
			return -1;
		}
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

int fstatvfs(int fd, struct statvfs *out_status)
{
	(void)fd;
	memset(out_status, 0, sizeof *out_status);
	out_status->f_frsize = 1;
	out_status->f_blocks = free_bytes == UINT64_MAX ? 0 : UINT64_C(1) << 60;
	out_status->f_bavail = free_bytes;
	return 0;
}

/* ---- The fixture ---- */

struct fixture {
	uv_loop_t loop;
	struct shared_object segment, state;
	struct extents extents;
	struct committer committer;
};
static struct fixture fixture;

/* A job of the test, with what became of it. */
struct work {
	struct commit_job job; /* first: the job is the work */
	struct commit_range ranges[8];
	int done; /* how often */
	int result;
	int order; /* the how-manieth to end */
};
static int ended;

static void done(struct commit_job *job, int result)
{
	struct work *work = (struct work *)job;

	work->done++;
	work->result = result;
	work->order = ++ended;
}

static struct work work_of(uint64_t from_bytes, uint64_t length)
{
	struct work work = {.ranges = {{from_bytes, length}}, .job = {.range_count = 1, .done = done}};

	return work;
}

/* The work must not move any more. */
static int ensure(struct work *work)
{
	work->job.ranges = work->ranges;
	return committer_ensure(&fixture.committer, &work->job);
}

static void run(void)
{
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	assert_false(committer_is_busy(&fixture.committer));
	assert_int_equal(fixture.committer.promised, 0);
}

static int setup(void **state)
{
	call_count = 0;
	calls_until_refusal = -1;
	page_refused = UINT64_MAX;
	interruptions = 0;
	free_bytes = UINT64_MAX;
	ended = 0;
	memory_object_open(&fixture.segment, (uint64_t)PAGES * PAGE);
	memory_object_open(&fixture.state, extents_footprint(PAGES));
	segment_fd = fixture.segment.fd;
	assert_int_equal(extents_init(&fixture.extents, &fixture.state, 0, PAGES), 0);
	assert_int_equal(uv_loop_init(&fixture.loop), 0);
	committer_init(&fixture.committer, &fixture.loop, &fixture.segment, &fixture.extents);
	*state = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (committer_is_busy(&fixture.committer)) {
		/* Only after a failed assertion: the job lay on a stack that is gone, and nothing may touch it any more. */
		print_error("a job was left under way: the tests end here\n");
		exit(1);
	}
	int result = uv_loop_close(&fixture.loop);
	extents_deinit(&fixture.extents);
	shared_object_deinit(&fixture.segment);
	shared_object_deinit(&fixture.state);
	return result;
}

static bool is_committed(uint64_t page)
{
	uint64_t from, end;

	return !extents_next_gap(&fixture.extents, page, page + 1, &from, &end);
}

/* Exactly these pages are marked, and the kernel backs as many. */
static void assert_committed(uint64_t from, uint64_t end)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		if (is_committed(page) != (page >= from && page < end))
			fail_msg("page %llu", (unsigned long long)page);
	}
	assert_int_equal(fixture.extents.committed, end - from);
	assert_int_equal(memory_object_backed(&fixture.segment), (end - from) * PAGE);
}

/* ---- Small jobs, at once ---- */

static void test_inline(void **state)
{
	struct work work = work_of(100, 10);

	(void)state;
	assert_int_equal(ensure(&work), 1);
	assert_int_equal(work.done, 0); /* the answer was enough */
	assert_false(committer_is_busy(&fixture.committer));
	assert_committed(0, 16); /* the whole window of 64 KiB */
	assert_int_equal(call_count, 1);
	/* Its neighbours need no kernel. */
	work = work_of(0, 16 * PAGE);
	assert_int_equal(ensure(&work), 1);
	assert_int_equal(call_count, 1);
	/* Across a window's end: up to the end of the next. */
	work = work_of(15 * PAGE, 2 * PAGE);
	assert_int_equal(ensure(&work), 1);
	assert_committed(0, 32);
	assert_int_equal(calls[1].from, 16);
	assert_int_equal(calls[1].end, 32);
	work = work_of(0, 0);
	assert_int_equal(ensure(&work), 1);
	run();
}

/* Where the kernel lets the loop wait, the next ones wait on another thread, for a while. */
static void test_inline_takes_long(void **state)
{
	struct work slow = work_of(0, 1), work = work_of(100 * PAGE, 1), last = work_of(200 * PAGE, 1);

	(void)state;
	slow_us = 20000;
	assert_int_equal(ensure(&slow), 1);
	assert_int_equal(ensure(&work), 0);
	run();
	assert_true(work.done == 1 && work.result == 0 && is_committed(100));
	fixture.committer.inline_from = uv_hrtime(); /* it is over */
	assert_int_equal(ensure(&last), 1);
}

/* The window is not pushed over what is committed already, nor over the segment's end. */
static void test_inline_fits_in(void **state)
{
	struct work work = work_of(8 * PAGE, PAGE);

	(void)state;
	assert_int_equal(extents_prepare(&fixture.extents, 0, PAGES), 0);
	extents_mark(&fixture.extents, 11, 12, true);
	assert_int_equal(ensure(&work), 1);
	assert_int_equal(calls[0].from, 8);
	assert_int_equal(calls[0].end, 11);
	assert_false(is_committed(7));
	assert_false(is_committed(12));
	fixture.extents.pages = PAGES - 10; /* an odd end */
	work = work_of((PAGES - 12) * PAGE, 3);
	assert_int_equal(ensure(&work), 1);
	assert_int_equal(calls[1].from, PAGES - 12);
	assert_int_equal(calls[1].end, PAGES - 10);
	fixture.extents.pages = PAGES;
}

static void test_inline_several_ranges(void **state)
{
	struct work work = {.ranges = {{0, PAGE}, {PAGE, 3 * PAGE}, {64 * PAGE + 9, 1}, {64 * PAGE + 10, 1}},
	                    .job = {.range_count = 4, .done = done}};

	(void)state;
	interruptions = 0;
	assert_int_equal(ensure(&work), 1);
	assert_true(is_committed(0) && is_committed(3) && is_committed(64));
	assert_int_equal(call_count, 2);
	assert_int_equal(fixture.extents.committed, 32);
}

/* The window does not fit, the page that is needed does. */
static void test_inline_when_memory_is_short(void **state)
{
	struct work work = work_of(2 * PAGE, PAGE);

	(void)state;
	calls_until_refusal = 0;
	assert_int_equal(ensure(&work), 1);
	assert_committed(2, 3);
	page_refused = 5;
	work = work_of(5 * PAGE, PAGE);
	assert_int_equal(ensure(&work), -ENOSPC);
	assert_committed(2, 3);
	assert_int_equal(work.done, 0);
	run();
}

/* The bitmap's own page is refused. */
static void test_inline_without_bitmap(void **state)
{
	struct work work = work_of(0, PAGE);
	int fd = memory_object_break(&fixture.state);

	(void)state;
	assert_int_equal(ensure(&work), -EBADF);
	memory_object_mend(&fixture.state, fd);
	assert_committed(0, 0);
}

/* ---- Refused by arithmetic ---- */

static void test_file_system_is_asked_first(void **state)
{
	struct work work = work_of(0, 100 * PAGE);

	(void)state;
	free_bytes = 100 * PAGE - 1;
	assert_int_equal(ensure(&work), -ENOSPC);
	assert_int_equal(work.job.kernel_free, 100 * PAGE - 1);
	assert_int_equal(call_count, 0);
	assert_false(committer_is_busy(&fixture.committer));
	free_bytes = 100 * PAGE;
	assert_int_equal(ensure(&work), 0);
	/* What is promised to one is not there for another, even if that one is small. */
	struct work small = work_of(4096 * PAGE, PAGE);
	assert_int_equal(ensure(&small), -ENOSPC);
	run();
	assert_int_equal(work.done, 1);
	assert_int_equal(work.result, 0);
	assert_committed(0, 100);
	assert_int_equal(ensure(&small), 1); /* this file system never fills */
}

/* ---- Large jobs, in pieces ---- */

static void test_pieces(void **state)
{
	struct work work = work_of(5 * PAGE + 7, 1000 * PAGE);

	(void)state;
	assert_int_equal(ensure(&work), 0);
	assert_int_equal(work.done, 0);
	assert_true(committer_is_busy(&fixture.committer));
	assert_true(fixture.committer.promised > 0);
	run();
	assert_int_equal(work.done, 1);
	assert_int_equal(work.result, 0);
	assert_committed(5, 1006);
	assert_int_equal(call_count, 4);
	uint64_t at = 5;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(calls[i].from, at);
		assert_true(calls[i].end - at <= 256);
		at = calls[i].end;
	}
	assert_int_equal(at, 1006);
}

static void test_only_gaps(void **state)
{
	struct work work = work_of(0, 400 * PAGE);

	(void)state;
	assert_int_equal(extents_prepare(&fixture.extents, 0, PAGES), 0);
	/* Every second page is there: more gaps than one piece takes. */
	for (uint64_t page = 0; page < 400; page += 2)
		extents_mark(&fixture.extents, page, page + 1, true);
	interruptions = 2;
	assert_int_equal(ensure(&work), 0);
	run();
	assert_int_equal(work.result, 0);
	assert_int_equal(call_count, 200);
	for (size_t i = 0; i < 200; i++)
		assert_true(calls[i].from == 2 * i + 1 && calls[i].end == 2 * i + 2);
	assert_int_equal(fixture.extents.committed, 400);
}

static void test_many_ranges(void **state)
{
	/* Two share a page, one lies in another, one is there already. */
	struct work work = {.ranges = {{0, 300 * PAGE + 5}, {300 * PAGE + 5, 9}, {10 * PAGE, PAGE}, {1000 * PAGE, PAGE}},
	                    .job = {.range_count = 4, .done = done}};

	(void)state;
	assert_int_equal(extents_prepare(&fixture.extents, 0, PAGES), 0);
	extents_mark(&fixture.extents, 1000, 1001, true);
	assert_int_equal(ensure(&work), 0);
	run();
	assert_int_equal(work.result, 0);
	assert_int_equal(fixture.extents.committed, 302);
	assert_true(is_committed(0) && is_committed(300) && !is_committed(301));
}

/* Who wants little waits for one piece of those who want much; those take turns. */
static void test_turns(void **state)
{
	struct work large = work_of(0, 2000 * PAGE), medium = work_of(4000 * PAGE, 300 * PAGE), small = work_of(7000 * PAGE, 1);

	(void)state;
	assert_int_equal(ensure(&large), 0);
	assert_int_equal(ensure(&medium), 0);
	assert_int_equal(ensure(&small), 0); /* small, but the line is not empty */
	assert_int_equal(fixture.committer.promised, 2301 * PAGE);
	run();
	assert_int_equal(small.order, 1);
	assert_int_equal(medium.order, 2);
	assert_int_equal(large.order, 3);
	assert_true(large.result == 0 && medium.result == 0 && small.result == 0);
	static const uint64_t order[] = {0, 7000, 4000, 256, 4256, 512};
	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
		assert_int_equal(calls[i].from, order[i]);
	assert_int_equal(fixture.extents.committed, 2301);
}

/* Nor does who wants much starve among many who want little. */
static void test_nobody_starves(void **state)
{
	enum { SMALL = 40 };
	struct work large = work_of(0, 1000 * PAGE), small[SMALL];
	size_t in_a_row = 0, pieces = 0;

	(void)state;
	assert_int_equal(ensure(&large), 0);
	for (size_t i = 0; i < SMALL; i++) {
		small[i] = work_of((2000 + 20 * i) * PAGE, PAGE);
		assert_int_equal(ensure(&small[i]), 0);
	}
	run();
	for (size_t i = 0; i < call_count; i++) {
		in_a_row = calls[i].from < 1000 ? 0 : in_a_row + 1;
		assert_true(in_a_row <= 16 || large.order < (int)i);
		pieces += calls[i].from < 1000;
	}
	assert_int_equal(pieces, 4);
	assert_int_equal(large.order, 41);
	assert_int_equal(fixture.extents.committed, 1000 + SMALL);
}

/* ---- Pieces of others ---- */

static struct commit_piece errand;
static int others_back;
static int jobs_before_others; /* jobs that had ended by then */

static void back(struct commit_piece *piece)
{
	assert_ptr_equal(piece, &errand);
	others_back++;
	jobs_before_others = ended;
}

static void send_other(enum commit_action action, uint64_t from, uint64_t end)
{
	errand = (struct commit_piece){.action = action, .runs = {{from * PAGE, (end - from) * PAGE}}, .count = 1, .done = back};
	others_back = 0;
	committer_run(&fixture.committer, &errand);
	assert_int_equal(others_back, 0);
	assert_true(committer_is_busy(&fixture.committer));
}

/* A small commit whose window reaches into pages that are being punched: it waits, and marks what it commits, no more. */
static void test_no_window_into_a_punch(void **state)
{
	struct work mine = work_of(0, 4 * PAGE), next = work_of(5 * PAGE, PAGE);

	(void)state;
	assert_int_equal(ensure(&mine), 1);
	assert_committed(0, 16);
	extents_mark(&fixture.extents, 4, 16, false);
	send_other(COMMIT_PUNCH, 4, 16);
	assert_int_equal(ensure(&next), 0);
	run();
	assert_int_equal(others_back, 1);
	assert_int_equal(errand.result, 0);
	assert_int_equal(next.result, 0);
	for (uint64_t page = 0; page < 16; page++)
		assert_int_equal(is_committed(page), page < 4 || page == 5);
	assert_int_equal(memory_object_backed(&fixture.segment), 5 * PAGE);
}

/* They have every second turn: neither starves the errand. */
static void test_turns_with_others(void **state)
{
	struct work large = work_of(0, 2048 * PAGE), second = work_of(3000 * PAGE, 2048 * PAGE);

	(void)state;
	assert_int_equal(ensure(&large), 0);
	assert_int_equal(ensure(&second), 0);
	send_other(COMMIT_PUNCH, 8000, 8001);
	run();
	assert_int_equal(others_back, 1);
	assert_int_equal(jobs_before_others, 0);
	assert_int_equal(calls[1].punch, 1); /* after the piece that was on its way */
	assert_true(large.result == 0 && second.result == 0);
}

static void test_zeros(void **state)
{
	struct work work = work_of(0, 64 * PAGE);
	uint8_t *base = fixture.segment.base;

	(void)state;
	assert_int_equal(ensure(&work), 0);
	run();
	memset(base, 7, (size_t)64 * PAGE);
	errand = (struct commit_piece){
		.action = COMMIT_ZERO, .runs = {{100, 7}, {200, 40 * PAGE}, {60 * PAGE, PAGE}}, .count = 3, .done = back};
	committer_run(&fixture.committer, &errand);
	run();
	assert_int_equal(errand.finished, 3);
	for (size_t i = 0; i < (size_t)64 * PAGE; i++) {
		bool zero = (i >= 100 && i < 107) || (i >= 200 && i < 200 + 40 * PAGE) || (i >= 60 * PAGE && i < 61 * PAGE);
		if (base[i] != (zero ? 0 : 7))
			fail_msg("byte %zu", i);
	}
	/* What cannot be written to is an error, of the run after those that went well. */
	int fd = memory_object_break(&fixture.segment);
	committer_run(&fixture.committer, &errand);
	run();
	memory_object_mend(&fixture.segment, fd);
	assert_int_equal(errand.finished, 0);
	assert_int_equal(errand.result, -EBADF);
}

/* Two wait for the same page: the second finds it committed. */
static void test_shared_page(void **state)
{
	struct work first = work_of(0, 100 * PAGE + 1), second = work_of(100 * PAGE + 1, 10);

	(void)state;
	assert_int_equal(ensure(&first), 0);
	assert_int_equal(ensure(&second), 0);
	run();
	assert_true(first.result == 0 && second.result == 0);
	assert_int_equal(call_count, 1);
	assert_committed(0, 101);
}

/* ---- Refusals in the middle ---- */

/* All pages go back, but for those that it shares with neighbours: one of them may rely on its share by now. */
static void test_refused_in_the_middle(void **state)
{
	struct work work = work_of(10 * PAGE + 100, 1000 * PAGE);

	(void)state;
	page_refused = 900;
	assert_int_equal(ensure(&work), 0);
	run();
	assert_int_equal(work.done, 1);
	assert_int_equal(work.result, -ENOSPC);
	assert_committed(10, 11);
	/* Unmarked before it is punched, and nothing is punched that was not made. */
	for (size_t i = 0; i < call_count; i++)
		assert_true(!calls[i].punch || (calls[i].from >= 11 && calls[i].end <= 900 && calls[i].end - calls[i].from <= 256));
	assert_true(calls[call_count - 1].punch);
}

/* The same at the end of a range: its last page may be a neighbour's first one. */
static void test_shared_page_at_the_end_stays(void **state)
{
	struct work work = {.ranges = {{0, 300 * PAGE + 5}, {1000 * PAGE, 1000 * PAGE}},
	                    .job = {.range_count = 2, .done = done}};

	(void)state;
	page_refused = 1999;
	assert_int_equal(ensure(&work), 0);
	run();
	assert_int_equal(work.result, -ENOSPC);
	assert_committed(300, 301);
}

/* What was committed before the job stays, also in its midst. */
static void test_refusal_gives_back_its_own_alone(void **state)
{
	struct work work = {.ranges = {{0, 100 * PAGE}, {100 * PAGE, 200 * PAGE}, {500 * PAGE, 600 * PAGE}},
	                    .job = {.range_count = 3, .done = done}};

	(void)state;
	struct work before = work_of(40 * PAGE, 20 * PAGE);
	assert_int_equal(ensure(&before), 0);
	run();
	assert_committed(40, 60);
	page_refused = 1099;
	assert_int_equal(ensure(&work), 0);
	run();
	assert_int_equal(work.result, -ENOSPC);
	assert_committed(40, 60);
}

static void test_refused_at_once(void **state)
{
	struct work work = work_of(0, 100 * PAGE);

	(void)state;
	calls_until_refusal = 0;
	assert_int_equal(ensure(&work), 0);
	assert_int_equal(work.done, 0);
	run();
	assert_int_equal(work.result, -ENOSPC);
	assert_committed(0, 0);
}

/* One is refused, the other one goes on. */
static void test_refusal_of_one(void **state)
{
	struct work first = work_of(0, 600 * PAGE), second = work_of(1000 * PAGE, 600 * PAGE);

	(void)state;
	page_refused = 599;
	assert_int_equal(ensure(&first), 0);
	assert_int_equal(ensure(&second), 0);
	run();
	assert_int_equal(first.result, -ENOSPC);
	assert_int_equal(second.result, 0);
	assert_committed(1000, 1600);
}

/* The bitmap's own page is refused: `done` comes from the loop, never from within committer_ensure. */
static void test_without_bitmap(void **state)
{
	struct work work = work_of(0, 100 * PAGE), other = work_of(1000 * PAGE, 100 * PAGE);
	int fd = memory_object_break(&fixture.state);

	(void)state;
	assert_int_equal(ensure(&work), 0);
	assert_int_equal(work.done, 0);
	assert_int_equal(ensure(&other), 0);
	memory_object_mend(&fixture.state, fd);
	run();
	assert_int_equal(work.done, 1);
	assert_int_equal(work.result, -EBADF);
	assert_int_equal(other.result, 0);
	assert_committed(1000, 1100);
}

/* ---- Cancelled ---- */

static void test_cancel(void **state)
{
	struct work first = work_of(0, 1000 * PAGE), second = work_of(2000 * PAGE, 1000 * PAGE),
				third = work_of(4000 * PAGE, 300 * PAGE);

	(void)state;
	assert_int_equal(ensure(&first), 0);
	assert_int_equal(ensure(&second), 0);
	assert_int_equal(ensure(&third), 0);
	committer_cancel(&first.job);  /* its piece is on its way */
	committer_cancel(&second.job); /* nothing of it is */
	assert_int_equal(first.done + second.done, 0);
	run();
	assert_int_equal(first.result, -ECANCELED);
	assert_int_equal(second.result, -ECANCELED);
	assert_int_equal(third.result, 0);
	assert_true(first.done == 1 && second.done == 1 && third.done == 1);
	assert_committed(4000, 4300);
	for (size_t i = 0; i < call_count; i++)
		assert_true(calls[i].from < 2000 || calls[i].from >= 3000); /* nothing was done for the second */
}

static void test_cancel_after_a_refusal(void **state)
{
	struct work work = work_of(0, 100 * PAGE);

	(void)state;
	calls_until_refusal = 0;
	assert_int_equal(ensure(&work), 0);
	committer_cancel(&work.job);
	run();
	assert_int_equal(work.result, -ENOSPC);
}

/* ---- From within `done` ---- */

static struct work following;
static int following_result;

static void done_and_next(struct commit_job *job, int result)
{
	done(job, result);
	following_result = ensure(&following);
}

static void test_next_from_done(void **state)
{
	struct work work = work_of(0, 600 * PAGE), waiting = work_of(1000 * PAGE, 2000 * PAGE);

	(void)state;
	following = work_of(4000 * PAGE, 400 * PAGE);
	work.job.done = done_and_next;
	assert_int_equal(ensure(&work), 0);
	assert_int_equal(ensure(&waiting), 0);
	run();
	assert_int_equal(following_result, 0);
	assert_true(work.done == 1 && waiting.done == 1 && following.done == 1);
	assert_true(work.result == 0 && waiting.result == 0 && following.result == 0);
	assert_int_equal(fixture.extents.committed, 3000);
}

/* ---- At random ---- */

/* Jobs whose ranges share no byte, but pages; refused and cancelled as it comes. */
static void test_against_model(void **state)
{
	enum { JOBS = 12 };
	static struct work works[JOBS];

	(void)state;
	for (int round = 0; round < 60; round++) {
		bool cancelled[JOBS] = {false}, started[JOBS];
		calls_until_refusal = draw(3) ? -1 : (int)draw(8);
		for (size_t i = 0; i < JOBS; i++) {
			uint64_t slice = (uint64_t)PAGES * PAGE / JOBS, from = i * slice + draw(2) * draw(9000),
					 length = 1 + draw(slice - 9000);
			works[i] = work_of(from, draw(2) ? length : 1 + draw(100));
			int result = ensure(&works[i]);
			started[i] = result == 0;
			assert_true(result == 0 || result == 1 || result == -ENOSPC);
			if (result == 1)
				works[i].result = 0;
			else if (result < 0)
				works[i].result = result;
			if (draw(4) == 0)
				uv_run(&fixture.loop, UV_RUN_NOWAIT);
			if (started[i] && !works[i].done && draw(6) == 0) {
				cancelled[i] = true;
				committer_cancel(&works[i].job);
			}
		}
		run();
		for (size_t i = 0; i < JOBS; i++) {
			uint64_t first = works[i].ranges[0].offset / PAGE, end;
			uint64_t last = (works[i].ranges[0].offset + works[i].ranges[0].length + PAGE - 1) / PAGE;
			assert_int_equal(works[i].done, started[i]);
			if (works[i].result == 0)
				assert_false(extents_next_gap(&fixture.extents, first, last, &first, &end));
			else
				assert_true(works[i].result == -ENOSPC || (cancelled[i] && works[i].result == -ECANCELED));
		}
		/* A mark never lies: what is marked, the kernel backs; and nothing else, since the punches went well. */
		assert_int_equal(memory_object_backed(&fixture.segment), fixture.extents.committed * PAGE);
		/* All goes back for the next round. */
		extents_mark(&fixture.extents, 0, PAGES, false);
		assert_int_equal(syscall(SYS_fallocate, segment_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGES * PAGE), 0);
	}
}

/* ---- A file system that is really full ---- */

static void test_full_file_system(void **state)
{
	char directory[] = "/tmp/shmbuddy-committer-XXXXXX", file[64];
	struct work work = work_of(100, 400 * PAGE), small = work_of(4096 * PAGE, 10 * PAGE);

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_non_null(mkdtemp(directory));
	if (mount("tmpfs", directory, "tmpfs", 0, "size=1M") < 0) {
		rmdir(directory);
		skip();
	}
	snprintf(file, sizeof file, "%s/segment", directory);
	int before = fixture.segment.fd;
	fixture.segment.fd = segment_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unlink(file);
	umount2(directory, MNT_DETACH);
	rmdir(directory);
	int truncated = ftruncate(fixture.segment.fd, PAGES * PAGE);
	int started = ensure(&work);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	uint64_t left = memory_object_backed(&fixture.segment);
	int second = ensure(&small); /* there is room for others again */
	close(fixture.segment.fd);
	fixture.segment.fd = before;
	assert_int_equal(truncated, 0);
	assert_int_equal(started, 0);
	assert_int_equal(work.result, -ENOSPC);
	assert_true(left <= 2 * PAGE); /* the two pages at its ends */
	assert_int_equal(second, 1);
	assert_int_equal(fixture.committer.promised, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_inline),
		TEST(test_inline_takes_long),
		TEST(test_inline_fits_in),
		TEST(test_inline_several_ranges),
		TEST(test_inline_when_memory_is_short),
		TEST(test_inline_without_bitmap),
		TEST(test_file_system_is_asked_first),
		TEST(test_pieces),
		TEST(test_only_gaps),
		TEST(test_many_ranges),
		TEST(test_turns),
		TEST(test_nobody_starves),
		TEST(test_shared_page),
		TEST(test_refused_in_the_middle),
		TEST(test_shared_page_at_the_end_stays),
		TEST(test_refusal_gives_back_its_own_alone),
		TEST(test_refused_at_once),
		TEST(test_refusal_of_one),
		TEST(test_without_bitmap),
		TEST(test_no_window_into_a_punch),
		TEST(test_turns_with_others),
		TEST(test_zeros),
		TEST(test_cancel),
		TEST(test_cancel_after_a_refusal),
		TEST(test_next_from_done),
		TEST(test_against_model),
		TEST(test_full_file_system),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
