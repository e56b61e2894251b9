/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits until an account has room: a line for each account, first come, first served. Knows nothing of what they wait for. The lines live in
 * their accounts; what they share is owned by the pool's accounts. Loop thread only. The story is told in account_line.c.
 */
#ifndef SERVER_ACCOUNT_LINE_H
#define SERVER_ACCOUNT_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "timeouts.h"

/* Who waits in all lines together, at most. */
#define ACCOUNT_WAITERS_MAX 16384

/* How often later requests go past the first of a line. As shmbuddy.h says: SHMB_OVERTAKEN_MAX. */
#define ACCOUNT_OVERTAKEN_MAX 64

struct account_waiter;

/* All zeros: nobody is in it. */
struct account_line {
	struct account_waiter *first, *last;
	uint32_t overtaken; /* how often its first was */
	bool due;           /* it is in the list of those to be looked at */
	struct account_line *next_due;
};

/* What all lines share. */
struct account_lines {
	struct timeouts *timeouts;
	struct account_line *due;
	uint32_t count;    /* who waits */
	uv_idle_t looking; /* runs while a line is due */
	uv_loop_t *loop;   /* NULL: not initialised */
};

/* What came of somebody's turn. */
enum account_turn {
	ACCOUNT_TURN_LEFT,  /* it has left the line, and may be gone */
	ACCOUNT_TURN_STAYS, /* there is no room for it yet */
	ACCOUNT_TURN_AGAIN, /* it is making room itself, and goes on in the next turn of the loop */
};

/* Lives with whoever waits. All zeros but the first two fields where it does not. */
struct account_waiter {
	/* It is the first, and something was given back. From a turn of the loop of its own. */
	enum account_turn (*turn)(struct account_waiter *waiter);
	/* Its time has passed: it has left the line. */
	void (*timed_out)(struct account_waiter *waiter);

	/* The line's own. */
	struct account_lines *lines; /* NULL: it does not wait */
	struct account_line *line;
	struct account_waiter *next, *previous;
	struct timeout timeout;
};

void account_lines_init(struct account_lines *lines, uv_loop_t *loop, struct timeouts *timeouts);

/* Closes its handle; the loop must run once more. Nobody waits. Nothing if it was never initialised. */
void account_lines_deinit(struct account_lines *lines);

/* Waits at the end of the line, `wait_ms` at most, from 1. -EDQUOT: as many wait as may. */
int account_line_join(struct account_lines *lines, struct account_line *line, struct account_waiter *waiter,
                      uint32_t wait_ms);

/* Leaves its line without a word. False: it was in none. */
bool account_line_leave(struct account_waiter *waiter);

/* Something was given back: in turns of the loop from the next one on, whoever has room goes on. O(1). */
void account_line_make_due(struct account_lines *lines, struct account_line *line);
static inline void account_line_wake(struct account_lines *lines, struct account_line *line)
{
	if (line->first && !line->due)
		account_line_make_due(lines, line);
}

/* The line goes; nobody is in it. */
void account_line_close(struct account_lines *lines, struct account_line *line);

/* Its first was overtaken as often as may be: until it has gone, who comes now gets nothing but a place behind it. */
static inline bool account_line_is_set_aside(const struct account_line *line)
{
	return line->first && line->overtaken >= ACCOUNT_OVERTAKEN_MAX;
}

/* Somebody who did not wait has taken what there was room for. */
static inline void account_line_overtake(struct account_line *line)
{
	line->overtaken += line->first != NULL;
}

#endif
