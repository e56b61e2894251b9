/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader and followers. Whoever waits for a reply while nobody reads becomes the leader: it reads the socket without the
 * mutex, takes the mutex, and hands out whatever came, to itself and to others. The others wait on a condition of their own,
 * which is signalled when their call is done. A leader whose own call is done leaves, and the last act of every call is to
 * wake one follower where somebody is needed to read or to write. So there is never a reply in the socket, a thread that
 * waits for it, and nobody who reads.
 *
 * Where the socket takes no more bytes, one thread waits for room while the leader goes on reading: a daemon that has stopped
 * reading us until we read its replies is not waited for in a circle.
 *
 * When the connection is lost, the leader looks for the daemon instead of reading, for as long as it would have waited; the others follow as
 * before, and who follows when a leader gives up goes on. Nobody changes the socket while a thread waits for it to take bytes: that
 * one wakes as soon as the connection is lost, and is a candidate for the lead like any other.
 *
 * A thread alone is always its own leader: one send, one receive, no other system call and no malloc.
 */
#include "exchange.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "deadline.h"
#include "duration.h"

/* How long a daemon that was lost is looked for by who does not want to wait. */
#define GLANCE_MS 10

/* A thread within exchange_perform or exchange_listen. On its stack. */
struct caller {
	struct call *call;                              /* NULL: it listens */
	bool (*heard)(const struct exchange *exchange); /* what for */
	struct caller *next, **place;                   /* among the followers; `place` points here */
	bool following;
	pthread_cond_t wake; /* exists while following */
};

void exchange_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes); /* cannot fail in glibc */
	pthread_condattr_destroy(&attributes);
}

int exchange_init(struct exchange *exchange)
{
	connection_init(&exchange->connection);
	connection_init(&exchange->joining);
	exchange->followers = NULL;
	exchange->reading = exchange->writing = false;
	return -pthread_mutex_init(&exchange->mutex, NULL);
}

void exchange_deinit(struct exchange *exchange)
{
	connection_deinit(&exchange->connection);
	connection_deinit(&exchange->joining);
	pthread_mutex_destroy(&exchange->mutex);
}

void exchange_after_fork(struct exchange *exchange, bool orderly)
{
	void (*close_it)(struct connection *) = orderly ? connection_deinit : connection_forget;

	exchange->followers = NULL;
	exchange->reading = exchange->writing = false;
	close_it(&exchange->connection);
	close_it(&exchange->joining);
	if (orderly)
		pthread_mutex_unlock(&exchange->mutex);
	else
		pthread_mutex_init(&exchange->mutex, NULL);
}

/* The connection's word that a call got its slot or is done. Under the mutex. */
static void wake_caller(struct call *call)
{
	struct caller *caller = call->owner;

	if (caller->following)
		pthread_cond_signal(&caller->wake);
}

/* Reads for everybody. */
static int lead(struct exchange *exchange, int64_t left, struct connection_patience *patience)
{
	struct connection *connection = &exchange->connection;
	bool output = connection_has_output(connection);
	ssize_t got;
	int r = connection_prepare(connection);

	if (r < 0)
		return r;
	exchange->reading = true;
	pthread_mutex_unlock(&exchange->mutex);
	got = connection_read(connection, left, output, patience);
	pthread_mutex_lock(&exchange->mutex);
	exchange->reading = false;
	connection_dispatch(connection, got);
	connection_flush(connection);
	return 0;
}

/* Looks for the daemon, for everybody. */
static int look_for_daemon(struct exchange *exchange, int64_t deadline)
{
	int r;

	exchange->reading = true;
	pthread_mutex_unlock(&exchange->mutex);
	r = exchange->rejoin(exchange, deadline);
	pthread_mutex_lock(&exchange->mutex);
	exchange->reading = false;
	connection_flush(&exchange->connection);
	return r;
}

/* Waits for the socket to take bytes, beside a leader who may have begun to read before there was anything to write. */
static void push(struct exchange *exchange, int64_t left)
{
	exchange->writing = true;
	pthread_mutex_unlock(&exchange->mutex);
	connection_poll(&exchange->connection, POLLOUT, left);
	pthread_mutex_lock(&exchange->mutex);
	exchange->writing = false;
	connection_flush(&exchange->connection);
}

static void follow(struct exchange *exchange, struct caller *caller, int64_t deadline)
{
	struct timespec until = deadline_timespec(deadline);

	exchange_condition_init(&caller->wake);
	caller->following = true;
	caller->next = exchange->followers;
	caller->place = &exchange->followers;
	if (caller->next)
		caller->next->place = &caller->next;
	exchange->followers = caller;

	if (deadline == DEADLINE_NEVER)
		pthread_cond_wait(&caller->wake, &exchange->mutex);
	else
		pthread_cond_timedwait(&caller->wake, &exchange->mutex, &until);

	*caller->place = caller->next;
	if (caller->next)
		caller->next->place = caller->place;
	caller->following = false;
	pthread_cond_destroy(&caller->wake);
}

/* Is the call's state another one than it was, or has the listener heard what it waits for? */
static bool is_served(const struct exchange *exchange, const struct caller *caller, enum call_state state)
{
	return caller->call ? caller->call->state != state : exchange->connection.over || caller->heard(exchange);
}

/* Until it is served. -ETIMEDOUT; -ENOMEM; a negative SHMB_E_* with its sentence. */
static int await(struct exchange *exchange, struct caller *caller, int64_t deadline)
{
	const struct connection *connection = &exchange->connection;
	struct connection_patience patience = {0};
	enum call_state state = caller->call ? caller->call->state : CALL_WAITING;

	while (!is_served(exchange, caller, state)) {
		int64_t left = deadline_left(deadline);
		int r = 0;

		if (left == 0)
			return -ETIMEDOUT;
		if (connection->lost && !exchange->reading && !exchange->writing)
			r = look_for_daemon(exchange, deadline);
		else if (!connection->lost && !exchange->reading)
			r = lead(exchange, left, &patience);
		else if (connection_has_output(connection) && !exchange->writing)
			push(exchange, left);
		else
			follow(exchange, caller, deadline);
		if (r < 0 && !is_served(exchange, caller, state))
			return r;
	}
	return 0;
}

/* Before a thread leaves: is there still somebody who reads, and somebody who writes? */
static void pass_on(struct exchange *exchange)
{
	bool wanted = !exchange->reading || (connection_has_output(&exchange->connection) && !exchange->writing);

	if (exchange->followers && wanted)
		pthread_cond_signal(&exchange->followers->wake);
}

static void give_up(struct exchange *exchange, struct call *call, int error, uint32_t timeout_ms)
{
	const struct connection *connection = &exchange->connection;
	char text[LAST_ERROR_MAX], time[DURATION_TEXT_MAX];

	const char *done = connection_abandon(&exchange->connection, call) ? "what was asked for may have been done"
	                                                                   : "what was asked for has not been done";

	duration_format(timeout_ms, time);
	if (error == -ETIMEDOUT && connection->lost) {
		snprintf(text, sizeof text, "%.300s, and it did not come back within %s; %s", connection->why, time, done);
		call_fail(call, ERROR_DISCONNECTED, text);
	} else if (error == -ETIMEDOUT) {
		snprintf(text, sizeof text, "the daemon did not answer within %s; %s, or may still be", time, done);
		call_fail(call, ERROR_TIMEOUT, text);
	} else if (error == -ERROR_DISCONNECTED) {
		snprintf(text, sizeof text, "%.400s; %s", shmb_last_error(), done);
		call_fail(call, ERROR_DISCONNECTED, text);
	} else if (error == -ENOMEM) {
		call_fail(call, ERROR_SYSTEM, "this program has no memory left for the answer");
	} else {
		call_fail(call, (enum error_code) - error, shmb_last_error());
	}
}

int exchange_perform(struct exchange *exchange, struct call *call, Shmbuddy__V1__Request *request, int64_t deadline,
                     uint32_t timeout_ms)
{
	struct connection *connection = &exchange->connection;
	struct caller caller = {.call = call}, *self = &caller;
	int r = 0;

	call->owner = self; /* both live on this stack; nobody has the call any more when this function ends */
	call->done = wake_caller;
	pthread_mutex_lock(&exchange->mutex);
	connection_claim(connection, call);
	if (call->state == CALL_WAITING)
		r = await(exchange, &caller, deadline);
	if (call->state == CALL_GRANTED && r == 0)
		connection_submit(connection, call, request);
	if (call->state == CALL_SENT) {
		connection_flush(connection);
		r = await(exchange, &caller, deadline);
	}
	if (call->state != CALL_DONE)
		give_up(exchange, call, r, timeout_ms);
	pass_on(exchange);
	pthread_mutex_unlock(&exchange->mutex);
	return call_report(call);
}

void exchange_wake_listeners(struct exchange *exchange)
{
	for (struct caller *caller = exchange->followers; caller; caller = caller->next) {
		if (caller->heard)
			pthread_cond_signal(&caller->wake);
	}
}

/* What there is without waiting. */
static int glance(struct exchange *exchange)
{
	struct connection_patience patience = {0};

	if (exchange->reading)
		return 0; /* and whoever reads takes it in */
	if (!exchange->connection.lost)
		return lead(exchange, 0, &patience);
	return exchange->writing ? 0 : look_for_daemon(exchange, deadline_in(GLANCE_MS));
}

/* Why a listener has heard nothing. Under the mutex. */
static int say_why(const struct connection *connection, int error)
{
	if (connection->over)
		return last_error_set(connection->over == ERROR_PROTOCOL ? ERROR_DISCONNECTED : connection->over, "%s",
		                      connection->why);
	if (error == -ENOMEM)
		return last_error_system(ENOMEM, "cannot read");
	if (error == -ETIMEDOUT && connection->lost)
		return last_error_set(ERROR_DISCONNECTED, "%s, and it did not come back in time", connection->why);
	return error;
}

int exchange_listen(struct exchange *exchange, bool (*heard)(const struct exchange *exchange), int64_t deadline)
{
	struct caller caller = {.heard = heard};
	bool waits = !deadline_passed(deadline);
	int r;

	pthread_mutex_lock(&exchange->mutex);
	r = waits || exchange->connection.over ? await(exchange, &caller, deadline) : glance(exchange);
	if (heard(exchange))
		r = 0;
	else if (r == 0 && !exchange->connection.over)
		r = say_why(&exchange->connection, -ETIMEDOUT);
	else
		r = say_why(&exchange->connection, r);
	pass_on(exchange);
	pthread_mutex_unlock(&exchange->mutex);
	return r;
}
