/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events.
 *
 * Happy path. shmb_subscribe asks the daemon, once there is a queue. Events come between the replies, and are queued by whichever thread
 * reads. shmb_next_event takes the oldest; where there is none, its thread waits with those that wait for replies, and reads like any of them.
 *
 * What may go wrong:
 *
 * - Nobody takes what comes. A full queue counts (event_queue.h), and so does the daemon once it is not read any more.
 * - The daemon is lost. How many events that cost nobody knows; SHMB_EVENT_LOST says so, before the first event of the next daemon. The hello
 *   that takes the session up again carries the subscription, so that there is no moment at which the session is back and
 *   deaf. A daemon that refuses it (it has too many subscribers by now) ends it: shmb_next_event says so.
 * - A fork. The child is subscribed to nothing.
 */
#include "events.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "deadline.h"
#include "name.h"
#include "session.h"

#define KIND_MAX 31

_Static_assert(SHMB_EVENT_SESSION_ENDED == 1u << SHMBUDDY__V1__EVENT_KIND__EVENT_SESSION_ENDED &&
                   SHMB_EVENT_NAME_PUBLISHED == 1u << SHMBUDDY__V1__EVENT_KIND__EVENT_NAME_PUBLISHED &&
                   SHMB_EVENT_PRESSURE == 1u << SHMBUDDY__V1__EVENT_KIND__EVENT_PRESSURE,
               "a kind is a bit of the wire's");

/* ---- Hearing ---------------------------------------------------------------------------------------------------- */

/* False: it is of a kind that this library does not know. */
static bool read_event(const Shmbuddy__V1__Event *message, shmb_event *out_event)
{
	if ((unsigned)message->kind > KIND_MAX || !(1u << message->kind & (SHMB_EVENT_LOST | SHMB_EVENT_ALL)))
		return false;
	*out_event = (shmb_event){
		.kind = (enum shmb_event_kind)(1u << message->kind),
		.time_ns = message->time_ns,
		.bytes = message->bytes,
		.lost = message->count,
		.uid = message->uid,
		.session = message->session,
		.pressure = (enum shmb_pressure)message->pressure,
	};
	if (message->block)
		out_event->block = (shmb_handle){
			.id = message->block->id, .index = message->block->index, .incarnation = message->block->incarnation};
	name_clean(message->name, strlen(message->name), sizeof out_event->name, out_event->name);
	return true;
}

static struct shmb_session *session_of(struct connection *connection)
{
	return (struct shmb_session *)((char *)connection - offsetof(struct shmb_session, exchange.connection));
}

void events_told(struct connection *connection, const Shmbuddy__V1__Event *message)
{
	struct shmb_session *session = session_of(connection);
	shmb_event event;

	if (!read_event(message, &event))
		return;
	event_queue_push(&session->events.queue, &event);
	exchange_wake_listeners(&session->exchange);
}

/* There is something to say to whoever waits for events. */
static bool heard(const struct exchange *exchange)
{
	const struct events *events =
		&((const struct shmb_session *)((const char *)exchange - offsetof(struct shmb_session, exchange)))->events;

	return !event_queue_is_empty(&events->queue) || !events->kinds;
}

/* ---- Another daemon --------------------------------------------------------------------------------------------- */

void events_ask_again(const struct shmb_session *session, struct hello *hello, char out_prefix[SHMB_NAME_MAX + 1])
{
	memcpy(out_prefix, session->events.prefix, sizeof session->events.prefix);
	hello->kinds = session->events.kinds;
	hello->prefix = out_prefix;
}

void events_taken_up_again(struct shmb_session *session, const struct hello *hello)
{
	struct events *events = &session->events;
	struct timespec now;

	if (!hello->kinds)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	event_queue_push(&events->queue,
	                 &(shmb_event){.kind = SHMB_EVENT_LOST,
	                               .time_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec});
	if (!hello->subscribed) {
		events->kinds = 0;
		events->refused = true;
	}
	exchange_wake_listeners(&session->exchange);
}

void events_in_child(struct events *events, bool orderly)
{
	events->kinds = 0;
	events->refused = false;
	if (!orderly)
		events->queue.events = NULL; /* nothing is known of that memory */
	event_queue_deinit(&events->queue);
}

/* ---- The public face -------------------------------------------------------------------------------------------- */

struct subscribe_call {
	struct call call;
	struct shmb_session *session;
	uint32_t kinds;
	const char *prefix;
};

/* In the order in which the daemon did it, should two threads subscribe at a time. */
static int take_subscribed(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	struct subscribe_call *subscribe = (struct subscribe_call *)call;
	struct events *events = &subscribe->session->events;

	(void)reply;
	events->kinds = subscribe->kinds;
	events->refused = false;
	memset(events->prefix, 0, sizeof events->prefix);
	memcpy(events->prefix, subscribe->prefix, strlen(subscribe->prefix));
	exchange_wake_listeners(&subscribe->session->exchange);
	return 0;
}

static int make_queue(struct shmb_session *session)
{
	int r = 0;

	pthread_mutex_lock(&session->exchange.mutex);
	if (!session->events.queue.events)
		r = event_queue_init(&session->events.queue);
	pthread_mutex_unlock(&session->exchange.mutex);
	return r < 0 ? last_error_system(r, "cannot subscribe") : 0;
}

int shmb_subscribe(shmb_session *session, uint32_t kinds, const char *prefix)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Subscribe message = SHMBUDDY__V1__SUBSCRIBE__INIT;
	struct subscribe_call subscribe = {
		.session = session,
		.kinds = kinds & ~(uint32_t)SHMB_EVENT_LOST,
		.prefix = prefix ? prefix : "",
	};
	int r;

	if (subscribe.kinds & ~(uint32_t)SHMB_EVENT_ALL)
		return last_error_set(ERROR_INVALID_ARGUMENT, "0x%x is no set of kinds of events", kinds);
	if (*subscribe.prefix && name_check(subscribe.prefix, strlen(subscribe.prefix)) < 0)
		return last_error_set(ERROR_INVALID_ARGUMENT,
		                      "a prefix is the beginning of a name: at most %d bytes of UTF-8, without control "
		                      "characters, and not starting with \"//\"",
		                      SHMB_NAME_MAX);
	r = session_enter(session);
	if (r == 0)
		r = make_queue(session);
	if (r < 0)
		return r;
	message.kinds = subscribe.kinds;
	message.prefix = (char *)(uintptr_t)subscribe.prefix;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SUBSCRIBE;
	request.subscribe = &message;
	call_init(&subscribe.call, take_subscribed);
	return session_perform(session, &subscribe.call, &request);
}

/* 1: an event was taken. 0: there is none yet. Or why there will be none. */
static int take_event(struct shmb_session *session, shmb_event *out_event)
{
	struct events *events = &session->events;
	bool taken, refused, subscribed;

	pthread_mutex_lock(&session->exchange.mutex);
	taken = event_queue_pop(&events->queue, out_event);
	refused = events->refused;
	subscribed = events->kinds;
	pthread_mutex_unlock(&session->exchange.mutex);
	if (taken)
		return 1;
	if (refused)
		return last_error_set(ERROR_LIMIT, "the connection was lost, and the daemon that is there now has not taken the "
		                                   "subscription up again: it has as many as it takes; subscribe again");
	if (!subscribed)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the session is subscribed to no events: call shmb_subscribe first");
	return 0;
}

int shmb_next_event(shmb_session *session, uint32_t timeout_ms, shmb_event *out_event)
{
	int64_t deadline = deadline_in(timeout_ms);
	int r;

	if (!out_event)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_event is NULL");
	r = session_enter(session);
	/* What was heard may have been taken by another thread. */
	while (r == 0 && (r = take_event(session, out_event)) == 0)
		r = exchange_listen(&session->exchange, heard, deadline);
	return r == -ETIMEDOUT ? 0 : r;
}
