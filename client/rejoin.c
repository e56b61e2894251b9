/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session loses its daemon, and finds the next one.
 *
 * When the connection is lost, the daemon has ended, or only the socket has; the process's lock says to the next daemon that the session
 * lives. So the calls that ask the daemon wait, and one of them looks for it: connects, shows the session's token, and the requests
 * without an answer are sent again (connection.c). Mapping and lock stay what they are. Each call tries at least once, however long the
 * daemon has been gone.
 *
 * A session can be over though its process lives: an administrator has ended it, the program has closed our lock's descriptor, or the
 * pool was made anew. Where its memory may now be others', it becomes inaccessible before any call returns.
 */
#include "rejoin.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "deadline.h"
#include "hold_page.h"
#include "join.h"

/* Sockets in a row on which nothing is answered: a daemon that ends whenever it hears us is not waited for any longer. */
#define FRUITLESS_MAX 3

/* Under the mutex. `incarnation` of the pool that is there now; 0: not known. */
static void be_over(struct shmb_session *session, uint32_t incarnation)
{
	bool anew = incarnation && incarnation != session->incarnation;

	hold_page_retire(&session->holds);
	if (!anew)
		mapping_revoke(session->mapping);
	connection_end(
		&session->exchange.connection, ERROR_SESSION_ENDED,
		anew ? "the session is over: the pool was made anew, and this one's blocks are in no pool any more; they can be "
			   "used until shmb_close, then connect again"
			 : "the session is over: its blocks may be others' by now, and are not accessible any more; connect again "
			   "(after shmb_close)");
}

void rejoin_told_over(struct connection *connection, uint32_t incarnation)
{
	be_over((struct shmb_session *)((char *)connection - offsetof(struct shmb_session, exchange.connection)), incarnation);
}

/* The leading thread's failure to get a daemon, as what it means to a call. */
static int not_back(const struct connection *connection)
{
	char last[LAST_ERROR_MAX];

	snprintf(last, sizeof last, "%s", shmb_last_error());
	return last_error_set(ERROR_DISCONNECTED, "%.120s %.1f s ago, and it cannot be reached again: %.240s", connection->why,
	                      (double)(deadline_now() - connection->lost_at) / (1000.0 * DEADLINE_MS), last);
}

/* See exchange.h. What is said of the loss is changed by who leads, and that is this thread. */
int rejoin(struct exchange *exchange, int64_t deadline)
{
	struct shmb_session *session = (struct shmb_session *)((char *)exchange - offsetof(struct shmb_session, exchange));
	struct connection *connection = &exchange->connection;
	struct hello hello = join_hello(session);
	char prefix[SHMB_NAME_MAX + 1];
	int64_t until =
		session->reconnect_ms == UINT32_MAX ? DEADLINE_NEVER : connection->lost_at + session->reconnect_ms * DEADLINE_MS;
	int r;

	pthread_mutex_lock(&exchange->mutex);
	connection_close_socket(connection); /* its descriptor may be the last that the program may have */
	events_ask_again(session, &hello, prefix);
	pthread_mutex_unlock(&exchange->mutex);
	if (connection->fruitless > FRUITLESS_MAX && deadline_passed(until)) {
		connection->fruitless = 0;
		last_error_set(ERROR_DISCONNECTED, "it closes each connection without an answer");
		return not_back(connection);
	}
	/* Half of what is left, so that there is an attempt however little that is. */
	if (connection->fruitless > 1)
		join_pause(connection->lost_at, deadline_now() + deadline_left(deadline) / 2);
	hello.session = session->number;
	hello.incarnation = session->incarnation;
	hello.max_batch = session->max_batch;
	memcpy(hello.token, session->token, sizeof hello.token);
	r = join_by(session, &hello, connection->lost_at, until, deadline);

	pthread_mutex_lock(&exchange->mutex);
	if (r == 0)
		events_taken_up_again(session, &hello);
	if (r == 0 && connection_adopt(connection, &exchange->joining) < 0) {
		connection_deinit(&exchange->joining);
		r = last_error_set(ERROR_PROTOCOL, "the daemon on %s has fewer request slots than the one before", hello.path);
	}
	if (r == -ERROR_SESSION_ENDED)
		be_over(session, hello.pool_incarnation);
	pthread_mutex_unlock(&exchange->mutex);
	return r < 0 && join_may_pass(r) ? not_back(connection) : r;
}
