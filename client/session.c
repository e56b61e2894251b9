/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a session. shmb_connect registers it for forks first, then opens it: socket, hello, mapping. Each descriptor
 * and each mapping gets its place in the session under the mutex, so that a fork at any moment leaves the child a session
 * whose parts it can close. shmb_close unmaps first and says goodbye then, since the daemon hands the memory to others at
 * once.
 *
 * When the connection is lost, rejoin.c has the rest of the story.
 *
 * A session that is SHMB_OFFLINE has neither socket nor hello, only a mapping of the view (offline.h).
 *
 * In a child the handler closes the parent's descriptors and keeps its addresses reserved. The first call there opens the
 * session again; the reservation stays until shmb_close, so that the parent's pointers fault for as long as the session lives.
 */
#include "session.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "deadline.h"
#include "duration.h"
#include "hold_page.h"
#include "join.h"
#include "name.h"
#include "offline.h"
#include "process.h"
#include "rejoin.h"

#define SESSION_TIMEOUT_MS 30000
#define SESSION_GOODBYE_MS 1000
#define SESSION_RECONNECT_MS 30000

_Static_assert(PROCESS_NAME_MAX <= SHMB_PROGRAM_MAX + 1, "a process's name is a program's name");

/* ---- Forks ------------------------------------------------------------------------------------------------------ */

static struct shmb_session *session_of(struct fork_guard *guard)
{
	return (struct shmb_session *)((char *)guard - offsetof(struct shmb_session, guard));
}

static void before_fork(struct fork_guard *guard)
{
	struct shmb_session *session = session_of(guard);

	pthread_mutex_lock(&session->exchange.mutex);
	if (session->mapping)
		mapping_before_fork(session->mapping);
}

static void in_parent(struct fork_guard *guard)
{
	struct shmb_session *session = session_of(guard);

	if (session->mapping)
		mapping_in_parent(session->mapping);
	pthread_mutex_unlock(&session->exchange.mutex);
}

static void in_child(struct fork_guard *guard, bool orderly)
{
	struct shmb_session *session = session_of(guard);

	if (session->mapping)
		mapping_in_child(session->mapping, orderly);
	hold_page_in_child(&session->holds);
	session->clone = NULL; /* that of a thread which is not here */
	events_in_child(&session->events, orderly);
	exchange_condition_init(&session->opened); /* those who waited on it are the parent's threads */
	atomic_store(&session->state, SESSION_INHERITED);
	exchange_after_fork(&session->exchange, orderly);
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

/* A new mapping, in front of the former ones. */
static int add_mapping(struct shmb_session *session)
{
	struct mapping *mapping = mapping_new();

	if (!mapping)
		return last_error_system(ENOMEM, "cannot connect");
	pthread_mutex_lock(&session->exchange.mutex);
	mapping->former = session->mapping;
	session->mapping = mapping;
	pthread_mutex_unlock(&session->exchange.mutex);
	return 0;
}

static void remove_mapping(struct shmb_session *session)
{
	struct mapping *mapping = session->mapping;

	pthread_mutex_lock(&session->exchange.mutex);
	session->mapping = mapping->former;
	mapping->former = NULL;
	mapping_free(mapping);
	pthread_mutex_unlock(&session->exchange.mutex);
}

/* All of it under the mutex: what is opened and closed again here is not open at a fork, and nothing of it blocks. */
static int session_open_offline(struct shmb_session *session)
{
	struct mapping *mapping = mapping_new();
	int r;

	if (!mapping)
		return last_error_system(ENOMEM, "cannot read the pool");
	pthread_mutex_lock(&session->exchange.mutex);
	r = offline_open(session->pool, mapping);
	if (r == 0) {
		mapping->former = session->mapping;
		session->mapping = mapping;
		session->incarnation = mapping->view.header->incarnation;
	}
	pthread_mutex_unlock(&session->exchange.mutex);
	if (r < 0)
		mapping_free(mapping);
	return r;
}

/* `until`: how long to look for a daemon that is not there; 0: that is an answer. */
static int session_open(struct shmb_session *session, int64_t until, int64_t deadline)
{
	struct hello hello = join_hello(session);
	char own_name[PROCESS_NAME_MAX] = "";
	int r = add_mapping(session);

	if (r < 0)
		return r;
	if (!*session->program) {
		/* It opens a file of /proc: no descriptor of ours is open at a fork but those that the session knows. */
		pthread_mutex_lock(&session->exchange.mutex);
		if (process_name(0, own_name) == 0)
			hello.program = own_name;
		pthread_mutex_unlock(&session->exchange.mutex);
	}
	hello.mapping = session->mapping;
	if (session->clone) {
		hello.adopt = hello.mapping->adopting = true;
		hello.incarnation = session->clone->incarnation;
		memcpy(hello.token, session->clone->token, sizeof hello.token);
	}
	r = until ? join_by(session, &hello, deadline_now(), until, deadline) : join(session, &hello, deadline);
	if (r < 0) {
		remove_mapping(session);
		return r;
	}
	session->number = hello.session;
	session->incarnation = hello.incarnation;
	session->max_batch = hello.max_batch;
	memcpy(session->token, hello.token, sizeof session->token);
	/* From here on by its name: another pool may be the daemon's first when the session is taken up again. */
	memcpy(session->pool, session->mapping->view.header->pool, sizeof session->pool - 1);
	pthread_mutex_lock(&session->exchange.mutex);
	connection_adopt(&session->exchange.connection, &session->exchange.joining);
	pthread_mutex_unlock(&session->exchange.mutex);
	return 0;
}

/* ---- Entering --------------------------------------------------------------------------------------------------- */

/* This thread has opened it, or could not. */
static void session_opened(struct shmb_session *session, int result)
{
	pthread_mutex_lock(&session->exchange.mutex);
	atomic_store(&session->state, result < 0 ? SESSION_INHERITED : SESSION_OPEN);
	pthread_cond_broadcast(&session->opened);
	pthread_mutex_unlock(&session->exchange.mutex);
}

/* Another thread is opening the session, and has not done so in time. */
static int silent(const struct shmb_session *session)
{
	char time[DURATION_TEXT_MAX];

	duration_format(session->timeout_ms, time);
	return last_error_set(ERROR_TIMEOUT, "the daemon did not answer within %s", time);
}

/* Opens a session that is not open, or waits for the thread that does. `until`: how long to look for a daemon. */
static int session_reopen(struct shmb_session *session, int64_t until, int64_t deadline)
{
	struct timespec end = deadline_timespec(deadline);
	int state, r;

	pthread_mutex_lock(&session->exchange.mutex);
	while (atomic_load(&session->state) == SESSION_OPENING && !deadline_passed(deadline)) {
		if (deadline == DEADLINE_NEVER)
			pthread_cond_wait(&session->opened, &session->exchange.mutex);
		else
			pthread_cond_timedwait(&session->opened, &session->exchange.mutex, &end);
	}
	state = atomic_load(&session->state);
	if (state == SESSION_INHERITED)
		atomic_store(&session->state, SESSION_OPENING);
	pthread_mutex_unlock(&session->exchange.mutex);
	if (state == SESSION_OPEN)
		return 0;
	if (state == SESSION_OPENING)
		return silent(session);

	r = session->access == SHMB_OFFLINE ? session_open_offline(session) : session_open(session, until, deadline);
	session_opened(session, r);
	return r;
}

/* Under the mutex, before the session is opened by this thread. */
static int may_adopt(const struct shmb_session *session)
{
	if (atomic_load(&session->state) != SESSION_INHERITED)
		return last_error_set(ERROR_INVALID_ARGUMENT,
		                      "a clone is adopted by the first call on a session that a child has inherited");
	if (!mapping_is_reserved(session->mapping))
		return last_error_set(ERROR_SYSTEM, "the pool's addresses in the process that forked this one are not free here");
	return 0;
}

int session_adopt(struct shmb_session *session, const shmb_clone_token *token)
{
	int64_t deadline = deadline_in(session->timeout_ms);
	int r;

	fork_guard_check();
	pthread_mutex_lock(&session->exchange.mutex);
	r = may_adopt(session);
	if (r == 0)
		atomic_store(&session->state, SESSION_OPENING);
	pthread_mutex_unlock(&session->exchange.mutex);
	if (r < 0)
		return r;
	session->clone = token;
	r = session_open(session, deadline_in(session->reconnect_ms), deadline);
	session->clone = NULL;
	session_opened(session, r);
	return r;
}

static int enter_until(struct shmb_session *session, int64_t deadline)
{
	fork_guard_check();
	if (atomic_load_explicit(&session->state, memory_order_acquire) == SESSION_OPEN)
		return 0;
	return session_reopen(session, deadline_in(session->reconnect_ms), deadline);
}

int session_enter_view(struct shmb_session *session)
{
	if (!session)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the session is NULL");
	return enter_until(session, deadline_in(session->timeout_ms));
}

int session_enter(struct shmb_session *session)
{
	return session && session->access == SHMB_OFFLINE ? offline_refuse() : session_enter_view(session);
}

uint32_t session_timeout(const struct shmb_session *session, const uint32_t *wait_ms)
{
	uint32_t timeout_ms = session->timeout_ms;

	if (!wait_ms)
		return timeout_ms;
	/* The daemon's own answer, that the time is over, comes first. */
	return *wait_ms < UINT32_MAX - timeout_ms ? timeout_ms + *wait_ms : UINT32_MAX;
}

int session_perform(struct shmb_session *session, struct call *call, Shmbuddy__V1__Request *request)
{
	uint32_t timeout_ms;
	int64_t deadline;
	int r;

	if (!session)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the session is NULL");
	if (session->access == SHMB_OFFLINE)
		return offline_refuse();
	timeout_ms = session_timeout(session, call->wait_ms);
	if (call->wait_ms)
		call->wait_until = deadline_in(*call->wait_ms);
	deadline = deadline_in(timeout_ms);
	r = enter_until(session, deadline);
	if (r < 0)
		return r;
	return exchange_perform(&session->exchange, call, request, deadline, timeout_ms);
}

/* ---- The public face -------------------------------------------------------------------------------------------- */

static int take_options(struct shmb_session *session, const shmb_connect_options *options)
{
	static const shmb_connect_options defaults;
	size_t length;

	if (!options)
		options = &defaults;
	if (options->access != SHMB_READ_WRITE && options->access != SHMB_READ_ONLY && options->access != SHMB_OFFLINE)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%d is no kind of access", (int)options->access);
	if (options->pool) {
		length = strlen(options->pool);
		if (pool_name_check(options->pool, length) < 0)
			return last_error_set(ERROR_INVALID_ARGUMENT,
			                      "the name of a pool is 1 to %d letters, digits, - and _, a letter or digit first",
			                      SHMB_POOL_NAME_MAX);
		memcpy(session->pool, options->pool, length + 1);
	}
	if (options->program) {
		length = strlen(options->program);
		if (program_check(options->program, length) < 0)
			return last_error_set(ERROR_INVALID_ARGUMENT,
			                      "the name of a program is up to %d bytes of UTF-8 without control characters",
			                      SHMB_PROGRAM_MAX);
		memcpy(session->program, options->program, length + 1);
	}
	session->access = options->access;
	session->address_given = options->socket_path;
	session->timeout_ms = options->timeout_ms ? options->timeout_ms : SESSION_TIMEOUT_MS;
	session->reconnect_ms = options->reconnect_ms ? options->reconnect_ms : SESSION_RECONNECT_MS;
	if (options->access == SHMB_OFFLINE)
		return 0; /* it needs no socket, not even one whose path could be */
	int r = address_resolve(options->socket_path, &session->address);
	if (r == 0)
		address_make_absolute(&session->address); /* the program may change its directory */
	return r;
}

/* After its entry in the registry is gone. */
static void session_free(struct shmb_session *session)
{
	mapping_free(session->mapping);
	event_queue_deinit(&session->events.queue);
	exchange_deinit(&session->exchange);
	pthread_cond_destroy(&session->opened);
	free(session);
}

int shmb_connect(const shmb_connect_options *options, shmb_session **out_session)
{
	struct shmb_session *session;
	int r;

	if (!out_session)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_session is NULL");
	session = calloc(1, sizeof *session);
	if (!session)
		return last_error_system(ENOMEM, "cannot connect");
	r = take_options(session, options);
	if (r < 0) {
		free(session);
		return r;
	}
	r = exchange_init(&session->exchange);
	if (r < 0) {
		free(session);
		return last_error_system(r, "cannot connect");
	}
	exchange_condition_init(&session->opened);
	hold_page_init(&session->holds);
	atomic_init(&session->state, SESSION_INHERITED);
	session->exchange.rejoin = rejoin;
	session->exchange.connection.told_over = rejoin_told_over;
	session->exchange.connection.told_event = events_told;
	session->guard.before = before_fork;
	session->guard.parent = in_parent;
	session->guard.child = in_child;
	r = fork_guard_add(&session->guard);
	if (r < 0) {
		session_free(session);
		return last_error_system(r, "cannot connect");
	}
	r = session_reopen(session, 0, deadline_in(session->timeout_ms)); /* no daemon is an answer here */
	if (r < 0) {
		fork_guard_remove(&session->guard);
		session_free(session);
		return r;
	}
	*out_session = session;
	return 0;
}

/* Whatever comes of it, the session ends: without the goodbye as soon as the socket and the lock are closed. */
static void say_goodbye(struct shmb_session *session)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Goodbye goodbye = SHMBUDDY__V1__GOODBYE__INIT;
	uint32_t patience = session->timeout_ms < SESSION_GOODBYE_MS ? session->timeout_ms : SESSION_GOODBYE_MS;
	struct call call;

	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_GOODBYE;
	request.goodbye = &goodbye;
	call_init(&call, NULL);
	call.once = true; /* the next daemon sees that the lock is free */
	exchange_perform(&session->exchange, &call, &request, deadline_in(patience), patience);
}

void shmb_close(shmb_session *session)
{
	if (!session)
		return;
	fork_guard_check();
	if (atomic_load(&session->state) == SESSION_OPEN) {
		pthread_mutex_lock(&session->exchange.mutex);
		mapping_unmap(session->mapping);
		hold_page_close(&session->holds);
		pthread_mutex_unlock(&session->exchange.mutex);
		if (session->access != SHMB_OFFLINE)
			say_goodbye(session);
	}
	/* A fork from here on finds nothing left to close. */
	pthread_mutex_lock(&session->exchange.mutex);
	mapping_free(session->mapping);
	session->mapping = NULL;
	hold_page_close(&session->holds);
	connection_deinit(&session->exchange.connection);
	connection_deinit(&session->exchange.joining);
	pthread_mutex_unlock(&session->exchange.mutex);
	fork_guard_remove(&session->guard);
	session_free(session);
}

int shmb_ping(shmb_session *session)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Ping ping = SHMBUDDY__V1__PING__INIT;
	struct call call;

	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_PING;
	request.ping = &ping;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

const char *shmb_version(void)
{
	return SHMB_VERSION;
}
