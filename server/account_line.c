/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for room on an account: see account_line.h.
 *
 * Why not in the pool's one line (wait_queue.c): who is first there has a right to what is freed, and somebody whom a quota stops could not
 * take it. He would hold up all others for the sake of what his own user does. So he stands in a line of the account that stops
 * him, and joins the pool's at its end once that has room for him, with what is left of his time.
 *
 * Within a line it is first come, first served. A request that comes later, and for which the account has room, goes past; each time counts
 * against the first, and when that was ACCOUNT_OVERTAKEN_MAX times, nobody who comes later gets anything on this account until the
 * first has gone. Other accounts are not concerned.
 *
 * Nothing is recorded: a request that waits has not happened. Everybody has a time, so there is no deadlock.
 */
#include "account_line.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* Who is looked at in one turn of the loop. */
#define SLICE 32

void account_lines_init(struct account_lines *lines, uv_loop_t *loop, struct timeouts *timeouts)
{
	*lines = (struct account_lines){.timeouts = timeouts, .loop = loop};
	uv_idle_init(loop, &lines->looking);
	lines->looking.data = lines;
}

void account_lines_deinit(struct account_lines *lines)
{
	assert(lines->count == 0);
	if (lines->loop)
		uv_close((uv_handle_t *)&lines->looking, NULL);
	lines->loop = NULL;
}

static void take_off_due(struct account_lines *lines, struct account_line *line)
{
	struct account_line **place = &lines->due;

	while (*place != line)
		place = &(*place)->next_due;
	*place = line->next_due;
	line->next_due = NULL;
	line->due = false;
}

/* Behind the others that are due. */
static void put_last(struct account_lines *lines, struct account_line *line)
{
	struct account_line **place = &lines->due;

	while (*place)
		place = &(*place)->next_due;
	*place = line;
	line->due = true;
}

/* Goes on while the firsts have room. Whatever a turn does to the list of those that are due, its first is looked at next. */
static void look(uv_idle_t *idle)
{
	struct account_lines *lines = idle->data;

	for (unsigned budget = SLICE; budget && lines->due; budget--) {
		struct account_line *line = lines->due;
		struct account_waiter *first = line->first;
		enum account_turn turn = first ? first->turn(first) : ACCOUNT_TURN_STAYS;
		if (turn == ACCOUNT_TURN_LEFT)
			continue;
		take_off_due(lines, line);
		if (turn == ACCOUNT_TURN_AGAIN) {
			put_last(lines, line);
			break;
		}
	}
	if (!lines->due)
		uv_idle_stop(idle);
}

void account_line_make_due(struct account_lines *lines, struct account_line *line)
{
	line->due = true;
	line->next_due = lines->due;
	lines->due = line;
	uv_idle_start(&lines->looking, look);
}

bool account_line_leave(struct account_waiter *waiter)
{
	struct account_lines *lines = waiter->lines;
	struct account_line *line = waiter->line;

	if (!lines)
		return false;
	timeouts_stop(lines->timeouts, &waiter->timeout);
	if (waiter->previous) {
		waiter->previous->next = waiter->next;
	} else {
		line->first = waiter->next;
		line->overtaken = 0;
		account_line_wake(lines, line); /* the next may have room where this one had not */
	}
	if (waiter->next)
		waiter->next->previous = waiter->previous;
	else
		line->last = waiter->previous;
	waiter->lines = NULL;
	waiter->line = NULL;
	waiter->next = waiter->previous = NULL;
	lines->count--;
	return true;
}

static void passed(struct timeout *timeout)
{
	struct account_waiter *waiter = (struct account_waiter *)((char *)timeout - offsetof(struct account_waiter, timeout));

	account_line_leave(waiter);
	waiter->timed_out(waiter);
}

int account_line_join(struct account_lines *lines, struct account_line *line, struct account_waiter *waiter,
                      uint32_t wait_ms)
{
	assert(!waiter->lines && wait_ms);
	if (lines->count >= ACCOUNT_WAITERS_MAX)
		return -EDQUOT;
	waiter->lines = lines;
	waiter->line = line;
	waiter->next = NULL;
	waiter->previous = line->last;
	if (line->last)
		line->last->next = waiter;
	else
		line->first = waiter;
	line->last = waiter;
	waiter->timeout.passed = passed;
	timeouts_start(lines->timeouts, &waiter->timeout, wait_ms);
	lines->count++;
	return 0;
}

void account_line_close(struct account_lines *lines, struct account_line *line)
{
	assert(!line->first);
	if (line->due)
		take_off_due(lines, line);
}
