/* SPDX-License-Identifier: Apache-2.0 */
/* After a session's end: see reaper.h. */
#include "reaper.h"

#include <stdlib.h>
#include <unistd.h>

#include "commit.h"
#include "connection.h"
#include "lifetime.h"
#include "pool.h"
#include "reply.h"
#include "session.h"

/* Holds dropped in one turn of the loop: about 50 microseconds. */
#define REAP_SLICE 256

static void free_session(uv_handle_t *handle)
{
	struct session *session = handle->data;

	if (session->pidfd >= 0)
		close(session->pidfd);
	if (session->hold_page >= 0)
		close(session->hold_page);
	for (size_t i = 0; i < SESSION_SLOTS; i++)
		free(session->batches[i]);
	free(session);
}

/* Its number may be given to another: its account goes, and with that of its user it counts no more. */
static void leave(struct session *session)
{
	struct pool *pool = session->pool;

	account_line_close(&pool->accounts.lines, &session->account.line);
	if (pool->sessions.by_number[session->number] == session) {
		pool->sessions.by_number[session->number] = NULL;
		accounts_uncharge(&pool->accounts, session->user, QUOTA_SESSIONS);
	} else {
		accounts_retire(&pool->accounts, session->user); /* it was never counted */
	}
}

/* Frees the session, once the loop has let go of its pidfd. */
static void close_watch(struct session *session)
{
	leave(session);
	if (session->watching)
		uv_close((uv_handle_t *)&session->watch, free_session);
	else
		free_session(&(uv_handle_t){.data = session});
}

/* Drops up to `budget` holds of a dead session. True: nothing is left. */
static bool drop_holds(struct session *session, unsigned budget)
{
	for (; budget && session->references; budget--)
		lifetime_set_reference(session, session->references - 1, 0);
	for (; budget && session->blocks; budget--)
		lifetime_drop_owner(session, session->blocks - 1);
	return !session->references && !session->blocks;
}

/* The answer to goodbye: all that the session held has been given back. */
static void say_goodbye(struct session *session)
{
	struct connection *connection = session->connection;

	connection->session = NULL;
	reply_status(connection, session->goodbye_slot, session->goodbye_sequence, 0, NULL);
	connection_end(connection);
}

/* Nothing of the session is left: its number may be given to another. */
static void finish(struct session *session)
{
	struct pool *pool = session->pool;

	if (session->connection)
		say_goodbye(session);
	sessions_unlink(&pool->sessions.dead, session);
	commit(&session->record->word, session->serial << 8 | SESSION_FREE);
	pool->sessions.count--;
	table_give(&pool->sessions.table, session->number);
	close_watch(session);
}

static void reap_some(struct session *session)
{
	struct pool *pool = session->pool;

	pool->events.acting = session->number;
	if (drop_holds(session, REAP_SLICE))
		finish(session);
	pool->events.acting = 0;
	pool_publish_counters(pool);
}

static void reap(uv_idle_t *idle)
{
	struct sessions *sessions = idle->data;

	/* One that waits for the committer is not in the list. */
	if (sessions->dead)
		reap_some(sessions->dead);
	if (!sessions->dead)
		uv_idle_stop(idle);
}

void reaper_add(struct session *session)
{
	struct sessions *sessions = &session->pool->sessions;

	session->next = sessions->dead;
	sessions->dead = session;
	uv_idle_start(&sessions->reaper, reap);
}

void reaper_bury(struct session *session)
{
	close_watch(session);
}
