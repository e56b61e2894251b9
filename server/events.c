/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is told of what happens in a pool.
 *
 * Happy path. A client subscribes: its connection gets a subscriber, which is a cursor in the pool's log (event_log.h). Something happens and
 * somebody wants to know: it is appended to the log. Nothing else is done there, for whoever emits is in the middle of something. In a
 * later turn of the loop the subscribers read on: each packs what concerns it into its connection, and flushes it; so a reply goes out before
 * the events of its request. A turn serves some subscribers, some events each.
 *
 * What may go wrong:
 *
 * - A client does not read. As soon as its socket takes no more it is stuck: nobody looks at it until libuv says that all was written. Its
 *   cursor stays behind, and may be overtaken when the log's ring is written over. Then it is told how many events it has lost (EVENT_LOST), where they
 *   would have been, before those that are still there. So a subscriber costs its cursor and what one turn has given to its
 *   connection; the ring is the bounded queue of them all.
 * - With a prefix, names that it would not have been told of count among the lost: their names are gone.
 * - A connection ends, and with it its subscriber. The client subscribes again with its next hello, and tells its program that an
 *   unknown number was lost. The same when the daemon dies: nothing of this outlives it.
 */
#include "events.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "connection.h"
#include "errors.h"
#include "name.h"
#include "pool.h"
#include "reply.h"
#include "session.h"

/* Bytes of events that a pool keeps for those who are behind: some 13,000 without names. */
#define LOG_SIZE (UINT64_C(1) << 20)

/* Subscribers served in one turn of the loop, and events given to each: some 50 microseconds. */
#define TURN_SUBSCRIBERS 4
#define TURN_EVENTS 32

_Static_assert(EVENT_LOST == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_LOST &&
                   EVENT_NAME_PUBLISHED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_NAME_PUBLISHED &&
                   EVENT_NAME_REMOVED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_NAME_REMOVED &&
                   EVENT_BLOCK_FREED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_BLOCK_FREED &&
                   EVENT_BLOCK_EVICTED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_BLOCK_EVICTED &&
                   EVENT_BLOCK_EXPIRED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_BLOCK_EXPIRED &&
                   EVENT_PRESSURE == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_PRESSURE &&
                   EVENT_SESSION_OPENED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_SESSION_OPENED &&
                   EVENT_SESSION_ENDED == (int)SHMBUDDY__V1__EVENT_KIND__EVENT_SESSION_ENDED,
               "kinds are as on the wire");
_Static_assert(PRESSURE_LOW == (int)SHMBUDDY__V1__PRESSURE__PRESSURE_LOW &&
                   PRESSURE_HIGH == (int)SHMBUDDY__V1__PRESSURE__PRESSURE_HIGH &&
                   PRESSURE_KERNEL == (int)SHMBUDDY__V1__PRESSURE__PRESSURE_KERNEL,
               "levels are as on the wire");

struct subscriber {
	struct connection_guest guest; /* first: the connection knows the subscriber by it */
	TAILQ_ENTRY(subscriber) link;
	struct subscribers *list; /* that it is in */
	struct events *events;
	struct connection *connection;
	uint32_t kinds;
	struct event_cursor cursor;
	uint64_t lost; /* of a subscription that was replaced */
	size_t prefix_length;
	char prefix[EVENT_LOG_NAME_MAX];
};

static void move(struct subscriber *subscriber, struct subscribers *list)
{
	TAILQ_REMOVE(subscriber->list, subscriber, link);
	TAILQ_INSERT_TAIL(list, subscriber, link);
	subscriber->list = list;
}

/* ---- Telling ---------------------------------------------------------------------------------------------------- */

/* Queues it. May close the connection, and so end the subscriber. */
static void tell(struct connection *connection, const struct pool *pool, const struct event *event)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Event message = SHMBUDDY__V1__EVENT__INIT;
	Shmbuddy__V1__Handle block = SHMBUDDY__V1__HANDLE__INIT;
	char name[EVENT_LOG_NAME_MAX + 1];

	message.kind = (Shmbuddy__V1__EventKind)event->kind;
	message.time_ns = event->time_ns;
	message.uid = event->uid;
	message.session = event->session;
	message.bytes = event->bytes;
	message.count = event->count;
	message.pressure = (Shmbuddy__V1__Pressure)event->pressure;
	if (event->name_length) {
		memcpy(name, event->name, event->name_length);
		name[event->name_length] = '\0';
		message.name = name;
	}
	if (event->id) {
		block.id = event->id;
		block.index = event->index;
		block.incarnation = pool->incarnation;
		message.block = &block;
	}
	reply.event = &message;
	reply_send(connection, &reply);
}

static bool is_for(const struct subscriber *subscriber, const struct event *event)
{
	return !(EVENT_BIT(event->kind) & EVENT_OF_NAMES) ||
	       (event->name_length >= subscriber->prefix_length &&
	        memcmp(event->name, subscriber->prefix, subscriber->prefix_length) == 0);
}

/* Puts what there is for a subscriber into its connection, up to a turn's share. True: there may be more. */
static bool fill(struct subscriber *subscriber)
{
	struct events *events = subscriber->events;
	struct connection *connection = subscriber->connection;
	struct event event = {
		.kind = EVENT_LOST,
		.count = subscriber->lost + event_log_take_lost(&events->log, &subscriber->cursor, subscriber->kinds),
	};

	if (event.count) {
		subscriber->lost = 0;
		event.time_ns = clock_realtime_ns();
		tell(connection, events->pool, &event);
	}
	for (unsigned i = 0; i < TURN_EVENTS; i++) {
		if (connection->closing || !event_log_next(&events->log, &subscriber->cursor, subscriber->kinds, &event))
			return false;
		if (is_for(subscriber, &event))
			tell(connection, events->pool, &event);
	}
	return true;
}

/* True: that was work. */
static bool serve(struct subscriber *subscriber)
{
	struct events *events = subscriber->events;
	struct connection *connection = subscriber->connection;

	if (connection->writing || connection->ending) {
		move(subscriber, &events->stuck);
		return false;
	}
	bool more = fill(subscriber), something = !connection->closing && connection_has_output(connection);
	if (something)
		connection_flush(connection);
	if (connection->closing)
		return true; /* the subscriber is gone */
	move(subscriber, connection->writing ? &events->stuck : more ? &events->ready : &events->caught_up);
	return something || more;
}

static void deliver(uv_idle_t *idle)
{
	struct events *events = idle->data;

	if (events->fresh) {
		for (struct subscriber *s = TAILQ_FIRST(&events->caught_up); s; s = TAILQ_NEXT(s, link))
			s->list = &events->ready;
		TAILQ_CONCAT(&events->ready, &events->caught_up, link);
		events->fresh = false;
	}
	for (unsigned served = 0; served < TURN_SUBSCRIBERS && !TAILQ_EMPTY(&events->ready);)
		served += serve(TAILQ_FIRST(&events->ready));
	if (TAILQ_EMPTY(&events->ready))
		uv_idle_stop(idle);
}

/* The socket has taken all. */
static void drained(struct connection_guest *guest)
{
	struct subscriber *subscriber = (struct subscriber *)guest;
	struct events *events = subscriber->events;

	if (subscriber->list != &events->stuck)
		return;
	move(subscriber, &events->ready);
	uv_idle_start(&events->delivery, deliver);
}

/* ---- Emitting --------------------------------------------------------------------------------------------------- */

void events_emit(struct pool *pool, const struct event *event)
{
	struct events *events = &pool->events;
	struct event stamped;

	if (!events_wanted(events, event->kind))
		return;
	stamped = *event;
	stamped.time_ns = clock_realtime_ns();
	if (!stamped.session)
		stamped.session = events->acting;
	event_log_append(&events->log, &stamped);
	if (!events->fresh) {
		events->fresh = true;
		uv_idle_start(&events->delivery, deliver);
	}
}

void events_emit_block(struct pool *pool, enum event_kind kind, uint32_t block)
{
	const struct block_body *body = blocks_body(&pool->blocks, block);

	if (!events_wanted(&pool->events, kind))
		return;
	events_emit(pool, &(struct event){
						  .kind = kind,
						  .id = record_id(blocks_word(&pool->blocks, block)),
						  .index = block,
						  .uid = pool->blocks.records[block].uid,
						  .bytes = body->granted,
					  });
}

void events_emit_name(struct pool *pool, enum event_kind kind, uint32_t name)
{
	const struct name_record *record = &pool->names.records[name];
	const struct name_body *body = names_body(&pool->names, name);

	if (!events_wanted(&pool->events, kind))
		return;
	events_emit(pool,
	            &(struct event){
					.kind = kind,
					.id = body->block_id,
					.index = body->block,
					.uid = body->uid,
					.bytes = body->length ? body->length : blocks_body(&pool->blocks, body->block)->size - body->offset,
					.name = record->name,
					.name_length = record->name_length,
				});
}

/* ---- Subscribing ------------------------------------------------------------------------------------------------ */

static void count_kinds(struct events *events, uint32_t kinds, int by)
{
	for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
		if (!(kinds & EVENT_BIT(kind)))
			continue;
		events->wanting[kind] += (uint32_t)by;
		if (events->wanting[kind])
			events->wanted |= EVENT_BIT(kind);
		else
			events->wanted &= ~EVENT_BIT(kind);
	}
}

static void remove_subscriber(struct connection_guest *guest)
{
	struct subscriber *subscriber = (struct subscriber *)guest;
	struct events *events = subscriber->events;

	count_kinds(events, subscriber->kinds, -1);
	TAILQ_REMOVE(subscriber->list, subscriber, link);
	events->count--;
	subscriber->connection->guest = NULL;
	free(subscriber);
	if (!events->count)
		uv_idle_stop(&events->delivery);
}

/* 0; -ENOMEM. */
static int add_subscriber(struct events *events, struct connection *connection, struct subscriber **out_subscriber)
{
	if (!events->log.size) {
		int result = event_log_init(&events->log, LOG_SIZE);
		if (result < 0)
			return result;
	}
	struct subscriber *subscriber = calloc(1, sizeof *subscriber);
	if (!subscriber)
		return -ENOMEM;
	subscriber->guest = (struct connection_guest){.drained = drained, .closed = remove_subscriber};
	subscriber->events = events;
	subscriber->connection = connection;
	subscriber->list = &events->ready;
	TAILQ_INSERT_TAIL(&events->ready, subscriber, link);
	event_log_start(&events->log, &subscriber->cursor);
	events->count++;
	connection->guest = &subscriber->guest;
	*out_subscriber = subscriber;
	return 0;
}

static int check(const struct events *events, const struct connection *connection, uint32_t kinds, const char *prefix,
                 const char **out_text)
{
	if (kinds & ~EVENT_ALL) {
		*out_text = "this daemon does not know all of the kinds of events: use a newer shmbuddyd";
		return ERROR_INVALID_ARGUMENT;
	}
	if (*prefix && name_check(prefix, strlen(prefix)) < 0) {
		*out_text = "a prefix is the beginning of a name: at most 255 bytes of UTF-8, without control characters, and not "
					"starting with \"//\"";
		return ERROR_INVALID_ARGUMENT;
	}
	if (!connection->guest && events->count >= EVENTS_SUBSCRIBERS_MAX) {
		*out_text = "the pool has 1024 subscribers, as many as it takes: end some of them";
		return ERROR_LIMIT;
	}
	return 0;
}

int events_subscribe(struct pool *pool, struct connection *connection, uint32_t kinds, const char *prefix,
                     const char **out_text)
{
	struct events *events = &pool->events;
	struct subscriber *subscriber = (struct subscriber *)connection->guest;
	int error = check(events, connection, kinds, prefix, out_text);

	kinds &= ~EVENT_BIT(EVENT_LOST); /* it always comes */
	if (error)
		return error;
	if (!kinds) {
		events_unsubscribe(connection);
		return 0;
	}
	if (!subscriber && add_subscriber(events, connection, &subscriber) < 0) {
		*out_text = "the daemon has no memory left for events";
		return ERROR_SYSTEM;
	}
	/* What was not sent yet will not be: of before there may be what is not wanted any more, and what was not wanted then. */
	subscriber->lost += event_log_count(&events->log, &subscriber->cursor, subscriber->kinds);
	event_log_start(&events->log, &subscriber->cursor);
	count_kinds(events, kinds, 1);
	count_kinds(events, subscriber->kinds, -1);
	subscriber->kinds = kinds;
	subscriber->prefix_length = strlen(prefix);
	memcpy(subscriber->prefix, prefix, subscriber->prefix_length);
	uv_idle_start(&events->delivery, deliver);
	return 0;
}

void events_unsubscribe(struct connection *connection)
{
	if (connection->guest)
		remove_subscriber(connection->guest);
}

void events_tell_pressure(struct pool *pool, struct connection *connection)
{
	const struct subscriber *subscriber = (const struct subscriber *)connection->guest;

	if (!subscriber || !(subscriber->kinds & EVENT_BIT(EVENT_PRESSURE)) || pool->pressure.level == PRESSURE_NONE)
		return;
	tell(connection, pool,
	     &(struct event){
			 .kind = EVENT_PRESSURE,
			 .time_ns = clock_realtime_ns(),
			 .pressure = pool->pressure.level,
			 .bytes = atomic_load_explicit(&pool->counters->used, memory_order_relaxed),
		 });
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

int events_init(struct events *events, struct pool *pool)
{
	*events = (struct events){.pool = pool};
	TAILQ_INIT(&events->ready);
	TAILQ_INIT(&events->caught_up);
	TAILQ_INIT(&events->stuck);
	int result = uv_idle_init(pool->loop, &events->delivery);
	if (result < 0)
		return result;
	events->delivery.data = events;
	events->loop = pool->loop;
	return 0;
}

void events_close(struct events *events)
{
	if (!events->loop)
		return;
	uv_close((uv_handle_t *)&events->delivery, NULL);
	events->loop = NULL;
}

void events_deinit(struct events *events)
{
	event_log_deinit(&events->log);
}
