/* SPDX-License-Identifier: Apache-2.0 */
/* Moments of CLOCK_MONOTONIC in nanoseconds, until which a call may take. Reading the clock is no system call. Any thread. */
#ifndef CLIENT_DEADLINE_H
#define CLIENT_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define DEADLINE_NEVER INT64_MAX
#define DEADLINE_MS INT64_C(1000000)

static inline int64_t deadline_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 * DEADLINE_MS + now.tv_nsec;
}

/* `timeout_ms` from now; UINT32_MAX is never. */
static inline int64_t deadline_in(uint32_t timeout_ms)
{
	return timeout_ms == UINT32_MAX ? DEADLINE_NEVER : deadline_now() + (int64_t)timeout_ms * DEADLINE_MS;
}

/* Nanoseconds left, 0 where it has passed. */
static inline int64_t deadline_left(int64_t deadline)
{
	if (deadline == DEADLINE_NEVER)
		return INT64_MAX;

	int64_t now = deadline_now();

	return deadline > now ? deadline - now : 0;
}

static inline bool deadline_passed(int64_t deadline)
{
	return deadline_left(deadline) == 0;
}

/* Seconds and nanoseconds, of a moment or of a span. */
static inline struct timespec deadline_timespec(int64_t nanoseconds)
{
	return (struct timespec){
		.tv_sec = (time_t)(nanoseconds / (1000 * DEADLINE_MS)),
		.tv_nsec = (long)(nanoseconds % (1000 * DEADLINE_MS)),
	};
}

#endif
