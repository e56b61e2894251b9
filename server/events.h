/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is told of what happens in a pool. Part of the pool; loop thread only. Whoever makes something happen emits it here, after its commit:
 * that is a store in private memory, costs the same however many subscribers there are, and cannot fail. The story is in events.c.
 */
#ifndef SERVER_EVENTS_H
#define SERVER_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "event_log.h"

struct connection;
struct pool;
struct subscriber;
TAILQ_HEAD(subscribers, subscriber);

/* Subscribers of one pool at a time. */
#define EVENTS_SUBSCRIBERS_MAX 1024

struct events {
	struct pool *pool;
	uint32_t wanted;               /* kinds that somebody is subscribed to */
	uint32_t acting;               /* number of the session whose request, or end, is being worked on; 0: none */
	uint32_t count;                /* subscribers */
	uint32_t wanting[EVENT_KINDS]; /* subscribers, by kind */
	struct event_log log;          /* made for the first subscriber */
	struct subscribers ready;      /* there may be something for them, and their sockets take it */
	struct subscribers caught_up;  /* they have been told all there was */
	struct subscribers stuck;      /* their sockets take no more for now */
	bool fresh;                    /* something was emitted since those who are caught up were last looked at */
	uv_idle_t delivery;            /* runs while somebody is ready */
	uv_loop_t *loop;               /* NULL: not initialised */
};

int events_init(struct events *events, struct pool *pool);

/* Closes its handle; the loop must run once more. No connection is left. Nothing if it was never initialised. */
void events_close(struct events *events);
void events_deinit(struct events *events);

/* For a caller to whom it costs something to say what has happened. */
static inline bool events_wanted(const struct events *events, enum event_kind kind)
{
	return (events->wanted & EVENT_BIT(kind)) != 0;
}

/* It has happened. The time is filled in here, and the session that acts where the event names none. */
void events_emit(struct pool *pool, const struct event *event);

/* The same about a block, or a name, whose record says what the event is to say: it may have just been given up. */
void events_emit_block(struct pool *pool, enum event_kind kind, uint32_t block);
void events_emit_name(struct pool *pool, enum event_kind kind, uint32_t name);

/*
 * From now on the connection's client is told of these kinds (bits, EVENT_BIT), and of names that start with `prefix`; in place of what it
 * was subscribed to before. No kinds: of nothing any more. Ends with the connection. 0, or ERROR_INVALID_ARGUMENT, ERROR_LIMIT,
 * ERROR_SYSTEM with a sentence; it is then subscribed as before.
 */
int events_subscribe(struct pool *pool, struct connection *connection, uint32_t kinds, const char *prefix,
                     const char **out_text);

/* It is told of nothing any more. Nothing if it was not. */
void events_unsubscribe(struct connection *connection);

/* Tells a subscriber of memory pressure, right behind the reply to its subscription, how the pool is, where that is not well. */
void events_tell_pressure(struct pool *pool, struct connection *connection);

#endif
