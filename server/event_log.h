/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of a pool, one after the other, in a ring of bytes that is written over when it is full; and cursors, which read it at their
 * own pace. Appending costs the same however many cursors there are, and knows none of them. A cursor that was overtaken learns
 * how many events of its kinds it has lost. Pure: no I/O, no clock. Loop thread only.
 */
#ifndef SERVER_EVENT_LOG_H
#define SERVER_EVENT_LOG_H

#include <stdbool.h>

#include "event.h"

/* Longest name of an event in bytes. */
#define EVENT_LOG_NAME_MAX 255

struct event_log {
	uint8_t *bytes;
	uint64_t size;                  /* of the ring in bytes, a power of two; 0: not initialised */
	uint64_t head;                  /* bytes ever written, where the next event goes */
	uint64_t tail;                  /* the oldest event that is still there */
	uint64_t appended[EVENT_KINDS]; /* events before `head`, by kind */
	uint64_t dropped[EVENT_KINDS];  /* events before `tail`, by kind */
};

struct event_cursor {
	uint64_t at;                /* the next event; before the log's tail: overtaken */
	uint64_t seen[EVENT_KINDS]; /* events before it, by kind */
};

/* `size` bytes, a power of two from 4096. -ENOMEM. */
int event_log_init(struct event_log *log, uint64_t size);
void event_log_deinit(struct event_log *log);

/* The name is copied, cut to EVENT_LOG_NAME_MAX. */
void event_log_append(struct event_log *log, const struct event *event);

/* Places a cursor behind the last event. */
void event_log_start(const struct event_log *log, struct event_cursor *out_cursor);

/* How many events of these kinds were written over before the cursor saw them. It then stands at the oldest one that is there. */
uint64_t event_log_take_lost(const struct event_log *log, struct event_cursor *cursor, uint32_t kinds);

/* How many events of these kinds came since the cursor's last, whether they are still there or not. */
uint64_t event_log_count(const struct event_log *log, const struct event_cursor *cursor, uint32_t kinds);

/*
 * The next event of these kinds, and the cursor behind it; the name points into the log, and is valid until the next append. False: there is
 * none. The cursor was not overtaken.
 */
bool event_log_next(const struct event_log *log, struct event_cursor *cursor, uint32_t kinds, struct event *out_event);

#endif
