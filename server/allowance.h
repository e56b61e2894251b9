/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the loop's time some work may take that clients can ask for again and again: a tenth of it, in the long run, and more at once after a
 * pause. Whoever would do the work asks first, and says afterwards how long it took; what is too long once is made up for. Pure: the clock is
 * the caller's. Embedded; one thread.
 */
#ifndef SERVER_ALLOWANCE_H
#define SERVER_ALLOWANCE_H

#include <stdbool.h>
#include <stdint.h>

/* One part in so many, and what gathers at most, in nanoseconds. */
#define ALLOWANCE_SHARE 10
#define ALLOWANCE_MAX_NS 5000000

struct allowance {
	int64_t left; /* nanoseconds; negative: overdrawn */
	uint64_t at;  /* nanoseconds, when that was so */
};

/* All of it is there. `now` in nanoseconds, of a clock that never goes back. */
void allowance_init(struct allowance *allowance, uint64_t now);

/* May the work be done now? */
bool allowance_is_left(struct allowance *allowance, uint64_t now);

/* It was, and took so many nanoseconds. */
void allowance_spend(struct allowance *allowance, uint64_t took);

/* Milliseconds from `at` on until it may be done again, at least 1, where nothing else is spent. */
uint64_t allowance_wait_ms(const struct allowance *allowance);

#endif
