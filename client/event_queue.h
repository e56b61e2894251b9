/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that have come and were not taken yet, up to EVENT_QUEUE_MAX. What comes while it is full is counted, and stands as one
 * SHMB_EVENT_LOST where it would have been. Part of a session; guarded by its mutex.
 */
#ifndef CLIENT_EVENT_QUEUE_H
#define CLIENT_EVENT_QUEUE_H

#include <stdbool.h>

#include "shmbuddy.h"

#define EVENT_QUEUE_MAX 1024

/* All zeros: an empty one without memory, which takes nothing. */
struct event_queue {
	shmb_event *events; /* a ring, owned; NULL: none */
	unsigned first, count;
	bool has_lost;   /* behind the last one, some were lost: */
	shmb_event lost; /* how many, and when the first */
};

/* -ENOMEM. */
int event_queue_init(struct event_queue *queue);
void event_queue_deinit(struct event_queue *queue);

/* Queues a copy, or counts it. */
void event_queue_push(struct event_queue *queue, const shmb_event *event);

/* Takes the oldest. False: there is none. */
bool event_queue_pop(struct event_queue *queue, shmb_event *out_event);

static inline bool event_queue_is_empty(const struct event_queue *queue)
{
	return !queue->count && !queue->has_lost;
}

#endif
