/* SPDX-License-Identifier: Apache-2.0 */
/* Hold pages, where the kernel may take its time: see hold_page_lane.h. */
#include "hold_page_lane.h"

#include <stddef.h>
#include <unistd.h>

#include "hold_page.h"
#include "pool.h"

/* On the thread pool. */
static void work_off(uv_work_t *work)
{
	const struct hold_page_lane *lane = work->data;

	for (const struct hold_page_job *job = lane->away; job; job = job->next) {
		if (!job->session) {
			hold_page_notify(job->fd);
			continue;
		}
		hold_page_remove(job->pool, job->session);
		if (job->fd >= 0)
			close(job->fd);
	}
}

static void finished(uv_work_t *work, int status);

static void send_away(struct pool *pool)
{
	struct hold_page_lane *lane = &pool->hold_page_lane;

	lane->away = lane->waiting;
	lane->waiting = lane->last = NULL;
	lane->work.data = lane;
	uv_queue_work(pool->loop, &lane->work, work_off, finished);
}

static void finished(uv_work_t *work, int status)
{
	struct hold_page_lane *lane = work->data;
	struct pool *pool = (struct pool *)((char *)lane - offsetof(struct pool, hold_page_lane));

	(void)status;
	for (struct hold_page_job *job = lane->away, *next; job; job = next) {
		next = job->next;
		job->done(job);
	}
	lane->away = NULL;
	if (lane->waiting)
		send_away(pool);
}

void hold_page_lane_add(struct pool *pool, struct hold_page_job *job)
{
	struct hold_page_lane *lane = &pool->hold_page_lane;

	job->pool = pool->name;
	job->next = NULL;
	if (lane->last)
		lane->last->next = job;
	else
		lane->waiting = job;
	lane->last = job;
	if (!lane->away)
		send_away(pool);
}
