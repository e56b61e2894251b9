/* SPDX-License-Identifier: Apache-2.0 */
/* Events that were not taken yet: see event_queue.h. */
#include "event_queue.h"

#include <errno.h>
#include <stdlib.h>

int event_queue_init(struct event_queue *queue)
{
	shmb_event *events = malloc(EVENT_QUEUE_MAX * sizeof *events);

	if (!events)
		return -ENOMEM;
	*queue = (struct event_queue){.events = events};
	return 0;
}

void event_queue_deinit(struct event_queue *queue)
{
	free(queue->events);
	*queue = (struct event_queue){0};
}

static void append(struct event_queue *queue, const shmb_event *event)
{
	queue->events[(queue->first + queue->count++) % EVENT_QUEUE_MAX] = *event;
}

/* An event that is not queued, or one that says how many came to nothing elsewhere. Of an unknown number the sum is unknown. */
static void lose(struct event_queue *queue, const shmb_event *event)
{
	uint64_t count = event->kind == SHMB_EVENT_LOST ? event->lost : 1;

	if (!queue->has_lost)
		queue->lost = (shmb_event){.kind = SHMB_EVENT_LOST, .time_ns = event->time_ns, .lost = count};
	else
		queue->lost.lost = queue->lost.lost && count ? queue->lost.lost + count : 0;
	queue->has_lost = true;
}

void event_queue_push(struct event_queue *queue, const shmb_event *event)
{
	unsigned room = EVENT_QUEUE_MAX - queue->count;

	if (!queue->events)
		return;
	/* Behind a loss there must be room for both. */
	if (room < (queue->has_lost ? 2 : 1)) {
		lose(queue, event);
		return;
	}
	if (queue->has_lost)
		append(queue, &queue->lost);
	queue->has_lost = false;
	append(queue, event);
}

bool event_queue_pop(struct event_queue *queue, shmb_event *out_event)
{
	if (event_queue_is_empty(queue))
		return false;
	if (!queue->count) {
		*out_event = queue->lost;
		queue->has_lost = false;
		return true;
	}
	*out_event = queue->events[queue->first];
	queue->first = (queue->first + 1) % EVENT_QUEUE_MAX;
	queue->count--;
	if (!queue->count)
		queue->first = 0; /* few events touch few pages */
	return true;
}
