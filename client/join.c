/* SPDX-License-Identifier: Apache-2.0 */
/* Getting in: see join.h. Nothing here touches the connection that is there. */
#include "join.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "address.h"
#include "deadline.h"

/* What one attempt may take in any case, in nanoseconds: a daemon that is there, and slow. */
#define ATTEMPT_NS (5000 * DEADLINE_MS)

/* Nanoseconds between two attempts to reach a daemon that is gone: the least, and the most. */
#define RECONNECT_PAUSE_LEAST (1 * DEADLINE_MS)
#define RECONNECT_PAUSE_MOST (250 * DEADLINE_MS)

/* A socket for the joining connection. Descriptors get their place under the mutex, for the sake of forks. */
static int make_socket(struct shmb_session *session)
{
	int fd, error;

	pthread_mutex_lock(&session->exchange.mutex);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	error = errno;
	if (fd >= 0)
		connection_start(&session->exchange.joining, fd);
	pthread_mutex_unlock(&session->exchange.mutex);
	return fd >= 0 ? 0 : last_error_system(error, "cannot make a socket");
}

/* One attempt to be let in. On success the joining connection may be adopted. */
int join(struct shmb_session *session, struct hello *hello, int64_t deadline)
{
	struct connection *joining = &session->exchange.joining;
	int r = make_socket(session);

	if (r == 0)
		r = address_connect(&session->address, session->address_given, joining->fd, deadline);
	if (r == 0)
		r = hello_exchange(hello, &session->exchange, deadline);
	if (r < 0) {
		pthread_mutex_lock(&session->exchange.mutex);
		connection_deinit(joining);
		if (hello->mapping)
			mapping_drop(hello->mapping); /* what came with a welcome that was not enough: the next one brings its own */
		pthread_mutex_unlock(&session->exchange.mutex);
	}
	return r;
}

/* May the same attempt succeed a little later? */
bool join_may_pass(int error)
{
	return error == -ERROR_NO_DAEMON || error == -ERROR_DISCONNECTED || error == -ERROR_LIMIT || error == -ERROR_SYSTEM ||
	       error == -ERROR_TIMEOUT || error == -ERROR_DENIED; /* by a socket that is being made */
}

/* A quarter of the time that has passed: no more than that is lost by it, and a thousand clients keep no daemon from starting. */
void join_pause(int64_t start, int64_t end)
{
	int64_t now = deadline_now(), pause = (now - start) / 4;

	if (pause < RECONNECT_PAUSE_LEAST)
		pause = RECONNECT_PAUSE_LEAST;
	if (pause > RECONNECT_PAUSE_MOST)
		pause = RECONNECT_PAUSE_MOST;
	struct timespec span = deadline_timespec(pause < end - now ? pause : end - now);
	if (end > now)
		nanosleep(&span, NULL);
}

/* Who opens a new session waits for a daemon that is not there; what one that is there answers is the answer. */
static bool is_worth_another(const struct hello *hello, int error)
{
	return hello->mapping ? error == -ERROR_NO_DAEMON || error == -ERROR_DISCONNECTED : join_may_pass(error);
}

/* Attempts until `until`, for a daemon that has been gone since `since`; the first is made in any case, and given ATTEMPT_NS. */
int join_by(struct shmb_session *session, struct hello *hello, int64_t since, int64_t until, int64_t deadline)
{
	int64_t end = until < deadline ? until : deadline, patience = deadline_now() + ATTEMPT_NS;
	char answer[LAST_ERROR_MAX];
	int answered = 0, r;

	if (patience < end)
		patience = end;
	if (patience > deadline)
		patience = deadline;
	while ((r = join(session, hello, patience)) < 0 && is_worth_another(hello, r) && !deadline_passed(end)) {
		if (r != -ERROR_TIMEOUT) {
			answered = r;
			snprintf(answer, sizeof answer, "%s", shmb_last_error());
		}
		join_pause(since, end);
	}
	/* That time ran out in the middle of the last attempt says less than what was said before. */
	return r == -ERROR_TIMEOUT && answered ? last_error_set((enum error_code) - answered, "%s", answer) : r;
}

struct hello join_hello(const struct shmb_session *session)
{
	return (struct hello){
		.path = session->address.sun_path,
		.pool = session->pool,
		.program = session->program,
		.access = session->access,
		.timeout_ms = session->timeout_ms,
	};
}
