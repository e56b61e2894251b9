/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event is an entry: a header, and its name. Entries are multiples of 8 bytes and lie in one piece: what does not fit before the ring's
 * end starts at its beginning, behind a filler. Positions only rise; where one lies in the ring is its remainder.
 *
 * A cursor that is behind the tail cannot count what it has lost, for that is gone. So log and cursor both count the events of each kind that
 * were before them, and the difference is what lies in between.
 */
#include "event_log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint32_t size;   /* of the entry with its name, bytes */
	uint32_t filler; /* nothing follows up to the ring's end */
	struct event event;
};
_Static_assert(sizeof(struct entry) % 8 == 0, "entries follow one another");

#define FILLER_SIZE offsetof(struct entry, event)

static struct entry *entry_at(const struct event_log *log, uint64_t position)
{
	return (struct entry *)(log->bytes + (position & (log->size - 1)));
}

int event_log_init(struct event_log *log, uint64_t size)
{
	uint8_t *bytes = malloc(size);

	if (!bytes)
		return -ENOMEM;
	*log = (struct event_log){.bytes = bytes, .size = size};
	return 0;
}

void event_log_deinit(struct event_log *log)
{
	free(log->bytes);
	*log = (struct event_log){0};
}

/* Drops the oldest events until `size` bytes can be written. */
static void make_room(struct event_log *log, uint64_t size)
{
	while (log->head + size - log->tail > log->size) {
		const struct entry *oldest = entry_at(log, log->tail);
		if (!oldest->filler)
			log->dropped[oldest->event.kind]++;
		log->tail += oldest->size;
	}
}

/* A filler up to the ring's end, where so many bytes do not fit before it. */
static void fill_up(struct event_log *log, uint64_t size)
{
	uint64_t left = log->size - (log->head & (log->size - 1));

	if (left >= size)
		return;
	make_room(log, left);
	struct entry *entry = entry_at(log, log->head);
	_Static_assert(FILLER_SIZE == 8, "there is always room for a filler");
	entry->size = (uint32_t)left;
	entry->filler = 1;
	log->head += left;
}

void event_log_append(struct event_log *log, const struct event *event)
{
	uint32_t length = event->name_length < EVENT_LOG_NAME_MAX ? event->name_length : EVENT_LOG_NAME_MAX;
	uint32_t size = (uint32_t)(sizeof(struct entry) + length + 7) / 8 * 8;

	fill_up(log, size);
	make_room(log, size);
	struct entry *entry = entry_at(log, log->head);
	entry->size = size;
	entry->filler = 0;
	entry->event = *event;
	entry->event.name = NULL; /* it follows */
	entry->event.name_length = length;
	if (length)
		memcpy(entry + 1, event->name, length);
	log->head += size;
	log->appended[event->kind]++;
}

void event_log_start(const struct event_log *log, struct event_cursor *out_cursor)
{
	out_cursor->at = log->head;
	memcpy(out_cursor->seen, log->appended, sizeof out_cursor->seen);
}

/* Events of these kinds that lie between two counts. */
static uint64_t count_between(const uint64_t before[EVENT_KINDS], const uint64_t after[EVENT_KINDS], uint32_t kinds)
{
	uint64_t count = 0;

	for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
		if (kinds & EVENT_BIT(kind))
			count += after[kind] - before[kind];
	}
	return count;
}

uint64_t event_log_count(const struct event_log *log, const struct event_cursor *cursor, uint32_t kinds)
{
	return count_between(cursor->seen, log->appended, kinds);
}

uint64_t event_log_take_lost(const struct event_log *log, struct event_cursor *cursor, uint32_t kinds)
{
	if (cursor->at >= log->tail)
		return 0;
	uint64_t lost = count_between(cursor->seen, log->dropped, kinds);
	cursor->at = log->tail;
	memcpy(cursor->seen, log->dropped, sizeof cursor->seen);
	return lost;
}

bool event_log_next(const struct event_log *log, struct event_cursor *cursor, uint32_t kinds, struct event *out_event)
{
	assert(cursor->at >= log->tail);
	/* What is not for this cursor is not even looked at where nothing else has come. */
	if (cursor->at != log->head && event_log_count(log, cursor, kinds) == 0)
		event_log_start(log, cursor);
	while (cursor->at != log->head) {
		const struct entry *entry = entry_at(log, cursor->at);
		cursor->at += entry->size;
		if (entry->filler)
			continue;
		cursor->seen[entry->event.kind]++;
		if (!(kinds & EVENT_BIT(entry->event.kind)))
			continue;
		*out_event = entry->event;
		if (entry->event.name_length)
			out_event->name = (const char *)(entry + 1);
		return true;
	}
	return false;
}
