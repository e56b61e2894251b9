/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing memory: see committer.h.
 *
 * The kernel gives a page at the first touch, or kills the toucher with SIGBUS when there is none. So the daemon touches first,
 * by fallocate, and marks the page in `extents` when that went well. A page is about half a microsecond, and every other
 * fallocate on the object waits meanwhile; therefore
 *
 * - few pages (64 KiB) are committed right here, while nothing else is on its way: cheaper than a trip to another thread. Unless that took long
 *   last time: any client that maps the segment for writing can keep the kernel busy with it, and whoever else wants to, waits;
 * - the rest goes to the thread pool in pieces of 1 MiB, one at a time, and jobs take turns. Small jobs (64 KiB again) go
 *   before large ones, but as many as make up a piece at most, then it is a large one's turn: who wants little waits for one
 *   piece of all who want much, and nobody starves;
 * - whoever asks for more than the file system has left is refused before anything was taken from the others; what waiting
 *   jobs still need counts as taken.
 *
 * Pieces of others (cleaning, giving back) go on the same lane, in turns with those of the jobs, and small jobs queue up behind them. So
 * no page is committed while a punch of it is on its way, whatever window it lies in: it would be marked, and then be gone.
 *
 * When the kernel refuses in the middle all the same, the job's own pages go back: unmarked first, then punched. A page that
 * the job shares with its neighbours (its range does not cover it wholly) stays, for a neighbour may rely on it by now.
 *
 * While a job runs, its range is allocated in the buddy allocator and in no table: a daemon that dies leaves marks, or pages
 * that are committed and not marked, and nothing else.
 */
#include "committer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "extents.h"
#include "shared_object.h"
#include "state_layout.h"

/* Pages of a small job at most: committed on the loop's own thread where nothing else is under way. The window that is filled
 * then: 64 KiB. */
#define SMALL_PAGES 16

/* Pages in one trip to the thread pool. */
#define PIECE_PAGES (COMMIT_PIECE_BYTES / STATE_EXTENT)

/* Where committing few pages took longer than this, nanoseconds, it is not done on the loop's own thread for so many times as long as it took. */
#define INLINE_NS 10000000
#define INLINE_SHARE 100

/* Small jobs before it is a large one's turn: both get the same share of the thread. */
#define SMALL_IN_A_ROW (PIECE_PAGES / SMALL_PAGES)

void committer_init(struct committer *committer, uv_loop_t *loop, const struct shared_object *segment,
                    struct extents *extents)
{
	*committer = (struct committer){.loop = loop, .segment = segment, .extents = extents};
	committer->work.data = committer;
}

bool committer_is_busy(const struct committer *committer)
{
	return committer->away || committer->others || committer->small.first || committer->large.first;
}

void committer_cancel(struct commit_job *job)
{
	job->cancelled = true;
}

static void put_in_line(struct committer *committer, struct commit_job *job)
{
	bool small = job->result == 0 && job->missing <= SMALL_PAGES * STATE_EXTENT;
	struct commit_queue *queue = small ? &committer->small : &committer->large;

	job->next = NULL;
	if (queue->last)
		queue->last->next = job;
	else
		queue->first = job;
	queue->last = job;
}

/* Whose turn it is; NULL: nobody waits. */
static struct commit_job *take_from_line(struct committer *committer)
{
	bool small = committer->small.first && (!committer->large.first || committer->small_in_a_row < SMALL_IN_A_ROW);
	struct commit_queue *queue = small ? &committer->small : &committer->large;
	struct commit_job *job = queue->first;

	committer->small_in_a_row = small ? committer->small_in_a_row + 1 : 0;
	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = NULL;
	job->next = NULL;
	return job;
}

/* The pages that a range touches. */
static struct page_run pages_of(const struct commit_range *range)
{
	return (struct page_run){
		.from = range->offset / STATE_EXTENT,
		.end = (range->offset + range->length + STATE_EXTENT - 1) / STATE_EXTENT,
	};
}

/*
 * The job's next gap, cut to `room` pages; the cursor moves behind it. The nearest pages are looked at first: of a large gap
 * only the end of what is taken now matters, and to look for its real end each time would take time by the square of its size.
 */
static bool next_gap(const struct committer *committer, struct commit_job *job, uint64_t room, struct page_run *out_gap)
{
	const struct extents *extents = committer->extents;

	for (; job->range < job->range_count; job->range++, job->page = 0) {
		struct page_run pages = pages_of(&job->ranges[job->range]), gap;
		if (pages.from < job->page)
			pages.from = job->page;
		uint64_t near = pages.end - pages.from < room ? pages.end : pages.from + room;
		if (!extents_next_gap(extents, pages.from, near, &gap.from, &gap.end) &&
		    !extents_next_gap(extents, near, pages.end, &gap.from, &gap.end))
			continue;
		if (gap.end - gap.from > room)
			gap.end = gap.from + room;
		job->page = gap.end;
		*out_gap = gap;
		return true;
	}
	return false;
}

/* Pages that the job still needs. A page that two of its ranges share is counted twice: an upper bound will do. */
static uint64_t count_missing(const struct committer *committer, const struct commit_job *job)
{
	uint64_t missing = 0;

	for (size_t i = 0; i < job->range_count; i++) {
		struct page_run pages = pages_of(&job->ranges[i]), gap;
		while (extents_next_gap(committer->extents, pages.from, pages.end, &gap.from, &gap.end)) {
			missing += gap.end - gap.from;
			pages.from = gap.end;
		}
	}
	return missing;
}

/* Remembers, for a refusal, which pages of `run` the job made that lie wholly inside one of its ranges. */
static void remember(struct commit_job *job, struct page_run run)
{
	for (size_t i = 0; i < job->range_count; i++) {
		uint64_t from = (job->ranges[i].offset + STATE_EXTENT - 1) / STATE_EXTENT;
		uint64_t end = (job->ranges[i].offset + job->ranges[i].length) / STATE_EXTENT;
		from = from > run.from ? from : run.from;
		end = end < run.end ? end : run.end;
		if (from >= end)
			continue;
		if (job->made_count && job->made[job->made_count - 1].end == from) {
			job->made[job->made_count - 1].end = end;
			continue;
		}
		if (job->made_count == job->made_capacity) {
			size_t capacity = job->made_capacity ? job->made_capacity * 2 : 4;
			struct page_run *made = realloc(job->made, capacity * sizeof *made);
			if (!made)
				continue; /* then these stay committed: a cost, not an error */
			job->made = made;
			job->made_capacity = capacity;
		}
		job->made[job->made_count++] = (struct page_run){from, end};
	}
}

static void mark(struct committer *committer, struct page_run run)
{
	extents_mark(committer->extents, run.from, run.end, true);
}

static int commit_run(const struct committer *committer, struct page_run run)
{
	int result = extents_prepare(committer->extents, run.from, run.end);

	if (result < 0)
		return result;
	return shared_object_commit(committer->segment, run.from * STATE_EXTENT, (run.end - run.from) * STATE_EXTENT);
}

/* Commits the few pages of a small job at once, and the rest of the window that they lie in, for those that come next. */
static int commit_inline(struct committer *committer, struct commit_job *job)
{
	struct page_run gap;

	while (next_gap(committer, job, SMALL_PAGES, &gap)) {
		struct page_run window = {gap.from, (gap.end + SMALL_PAGES - 1) / SMALL_PAGES * SMALL_PAGES};
		if (window.end > committer->extents->pages)
			window.end = committer->extents->pages;
		extents_next_gap(committer->extents, window.from, window.end, &window.from, &window.end);
		int result = commit_run(committer, window);
		if (result < 0) {
			window = gap;
			result = commit_run(committer, window);
		}
		if (result < 0)
			return result;
		mark(committer, window);
		remember(job, gap);
	}
	return 0;
}

static void run_piece(uv_work_t *work)
{
	const struct committer *committer = work->data;

	commit_piece_run(committer->away, committer->segment->fd);
}

static void add_to_piece(struct commit_piece *piece, struct page_run run)
{
	piece->runs[piece->count++] = (struct commit_range){run.from * STATE_EXTENT, (run.end - run.from) * STATE_EXTENT};
}

/* Fills the piece with what the job needs next. 0 runs: nothing is left to do. A page that two ranges share may come twice,
 * which does no harm. */
static int fill_piece(struct committer *committer, struct commit_job *job)
{
	struct commit_piece *piece = &committer->piece;
	uint64_t room = PIECE_PAGES;
	struct page_run gap;

	piece->action = job->undoing ? COMMIT_PUNCH : COMMIT_BACK;
	piece->count = 0;
	if (job->undoing) {
		while (room && job->made_count && piece->count < COMMIT_PIECE_RUNS) {
			struct page_run *made = &job->made[job->made_count - 1];
			uint64_t pages = made->end - made->from < room ? made->end - made->from : room;
			struct page_run run = {made->end - pages, made->end};
			extents_mark(committer->extents, run.from, run.end, false);
			add_to_piece(piece, run);
			made->end = run.from;
			if (made->from == made->end)
				job->made_count--;
			room -= pages;
		}
		return 0;
	}
	while (room && piece->count < COMMIT_PIECE_RUNS && next_gap(committer, job, room, &gap)) {
		int result = extents_prepare(committer->extents, gap.from, gap.end);
		if (result < 0)
			return result;
		add_to_piece(piece, gap);
		room -= gap.end - gap.from;
	}
	return 0;
}

/* Bytes that the file system has left. False: it has no limit, or does not say. A tmpfs without one has no blocks, tmpfs(5). */
static bool kernel_free(const struct committer *committer, uint64_t *out_bytes)
{
	struct statvfs status;

	if (fstatvfs(committer->segment->fd, &status) < 0 || status.f_blocks == 0)
		return false;
	*out_bytes = (uint64_t)status.f_bavail * status.f_frsize;
	return true;
}

static void finish(struct committer *committer, struct commit_job *job)
{
	if (job->result < 0 && job->result != -ECANCELED)
		kernel_free(committer, &job->kernel_free); /* now that its own pages are back */
	committer->promised -= job->missing;
	free(job->made);
	job->made = NULL;
	job->done(job, job->result);
}

static void start_next(struct committer *committer);

/* The current job's piece has come back. */
static void job_returned(struct committer *committer)
{
	const struct commit_piece *piece = &committer->piece;
	struct commit_job *job = committer->current;

	for (size_t i = 0; i < piece->finished && piece->action == COMMIT_BACK; i++) {
		uint64_t bytes = piece->runs[i].length;
		mark(committer, pages_of(&piece->runs[i]));
		remember(job, pages_of(&piece->runs[i]));
		bytes = bytes < job->missing ? bytes : job->missing;
		job->missing -= bytes;
		committer->promised -= bytes;
	}
	if (piece->result < 0 && piece->action == COMMIT_BACK && job->result == 0)
		job->result = piece->result;

	committer->current = NULL;
	if (job->result == 0 && job->missing == 0 && !job->cancelled)
		finish(committer, job); /* now, not when its next turn would come */
	else
		put_in_line(committer, job); /* at the end: the others have a turn */
}

static void piece_finished(uv_work_t *work, int status)
{
	struct committer *committer = work->data;
	struct commit_piece *piece = committer->away;

	(void)status; /* pieces are never cancelled */
	committer->away = NULL;
	if (committer->current)
		job_returned(committer);
	else
		piece->done(piece);
	start_next(committer);
}

static void send_piece(struct committer *committer, struct commit_piece *piece)
{
	committer->away = piece;
	uv_queue_work(committer->loop, &committer->work, run_piece, piece_finished);
}

/* Sends the piece of the job whose turn it is. False: no job has one. */
static bool send_job(struct committer *committer)
{
	struct commit_job *job;

	while (!committer->away && (job = take_from_line(committer))) {
		if (job->result == 0 && job->cancelled)
			job->result = -ECANCELED;
		/* A cancelled job gives its pages back as well: nobody was promised them. */
		job->undoing = job->result < 0;
		int result = fill_piece(committer, job);
		if (result < 0) {
			/* An empty piece: `done` is never called from within committer_ensure. Its next turn gives back what it has. */
			job->result = result;
			committer->piece.count = 0;
		} else if (committer->piece.count == 0) {
			finish(committer, job);
			continue;
		}
		committer->current = job;
		committer->others_turn = true;
		send_piece(committer, &committer->piece);
	}
	return committer->away;
}

static void start_next(struct committer *committer)
{
	if (committer->away)
		return;
	if (!(committer->others && committer->others_turn) && send_job(committer))
		return;
	struct commit_piece *other = committer->others; /* not before: a job that ended may have brought it */
	if (!other)
		return;
	committer->others = other->next;
	committer->others_turn = false;
	send_piece(committer, other);
}

void committer_run(struct committer *committer, struct commit_piece *piece)
{
	struct commit_piece **last = &committer->others;

	piece->next = NULL;
	while (*last)
		last = &(*last)->next;
	*last = piece;
	start_next(committer);
}

int committer_ensure(struct committer *committer, struct commit_job *job)
{
	job->next = NULL;
	job->range = 0;
	job->page = 0;
	job->made = NULL;
	job->made_count = job->made_capacity = 0;
	job->result = 0;
	job->cancelled = job->undoing = false;
	uint64_t pages = count_missing(committer, job);
	if (pages == 0)
		return 1;

	job->missing = pages * STATE_EXTENT;
	job->kernel_free = 0;
	if (kernel_free(committer, &job->kernel_free) && job->missing + committer->promised > job->kernel_free)
		return -ENOSPC;
	uint64_t start = uv_hrtime();
	if (pages <= SMALL_PAGES && !committer_is_busy(committer) && start >= committer->inline_from) {
		int result = commit_inline(committer, job);
		uint64_t end = uv_hrtime();
		if (end - start > INLINE_NS)
			committer->inline_from = end + INLINE_SHARE * (end - start);
		/* A refusal here leaves at most a few pages committed: not worth a punch. */
		free(job->made);
		job->made = NULL;
		return result < 0 ? result : 1;
	}
	committer->promised += job->missing;
	put_in_line(committer, job);
	start_next(committer);
	return 0;
}
