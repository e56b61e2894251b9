/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adoption.
 *
 * Happy path. A clone is CLONED: whole, and nobody's; whoever asked for it has its token. A process of the same uid says hello with that
 * token. Its pid is written beside the record and the word becomes ADOPTED, in one store, before anything is sent; then the descriptors go out,
 * the lock among them. With its first request it is LIVE, a session as any other.
 *
 * What may go wrong:
 *
 * - Nobody comes within ADOPTION_MS: the clone ends. It depends on nothing else; whoever asked for it may have ended long ago.
 * - Two come: the first is its process, the second is refused.
 * - The daemon dies. CLONED: the next one waits for a process as long again. ADOPTED: the process says hello again and gets its
 *   descriptors, if it had not got them; the next daemon knows it by its pid. A lock that is free does not say, then, that the process has
 *   let go of it; it may not have got it yet. So it is waited for as well, and ends with its process, or after ADOPTION_MS.
 * - The descriptors cannot be sent, or the process gives up and comes again: the same.
 * - An administrator wants it to end: without a process it does so at once, for nobody has mapped anything.
 *
 * All of it hurts nobody: until the process has its descriptors, what the session holds is merely held.
 */
#include "adoption.h"

#include <inttypes.h>

#include "commit.h"
#include "log.h"
#include "pool.h"
#include "session_record.h"

static void arm(struct sessions *sessions);

static void look(uv_timer_t *timer)
{
	struct sessions *sessions = timer->data;
	struct session *session = sessions->awaited;
	uint64_t now = uv_now(sessions->loop);

	while (session) {
		struct session *next = session->next; /* session_end takes it off the list */
		if (session->awaited_until <= now)
			session_end(session, session->unadopted ? "nobody adopted it in time" : "its process did not come again");
		session = next;
	}
	arm(sessions);
}

/* For the first that is due. */
static void arm(struct sessions *sessions)
{
	uint64_t now = uv_now(sessions->loop), due = UINT64_MAX;

	for (const struct session *session = sessions->awaited; session; session = session->next)
		due = session->awaited_until < due ? session->awaited_until : due;
	if (sessions->awaited)
		uv_timer_start(&sessions->awaited_timer, look, due > now ? due - now : 0, 0);
}

void adoption_await(struct session *session)
{
	struct sessions *sessions = &session->pool->sessions;

	if (session->lost)
		sessions_unlink(&sessions->lost, session);
	session->lost = false;
	session->awaited = true;
	session->awaited_until = uv_now(sessions->loop) + ADOPTION_MS;
	session->next = sessions->awaited;
	sessions->awaited = session;
	if (!uv_is_active((uv_handle_t *)&sessions->awaited_timer))
		uv_timer_start(&sessions->awaited_timer, look, ADOPTION_MS, 0);
}

void adoption_has_come(struct session *session)
{
	struct sessions *sessions = &session->pool->sessions;

	if (!session->awaited)
		return;
	session->awaited = false;
	sessions_unlink(&sessions->awaited, session);
	if (!sessions->awaited)
		uv_timer_stop(&sessions->awaited_timer);
}

static enum session_state state_of(const struct session *session)
{
	return (enum session_state)(atomic_load_explicit(&session->record->word, memory_order_relaxed) & 0xff);
}

bool adoption_take(struct session *session, const struct peer *peer)
{
	if (!session->unadopted)
		return session->adopting && session_is_of(session, peer);
	if (state_of(session) != SESSION_CLONED || session->record->uid != peer->uid)
		return false;
	session_record_adopt(session, peer);
	session->unadopted = false;
	session->adopting = true;
	log_info("session %" PRIu32 " (%s, a clone): adopted by pid %" PRIu32, session->number, session->program, peer->pid);
	return true;
}

void adoption_settle(struct session *session)
{
	session->adopting = false;
	if (!session->asked_to_end)
		commit(&session->record->word, session->serial << 8 | SESSION_LIVE);
}

bool adoption_wake(struct session *session)
{
	enum session_state state = state_of(session);

	session->adopting = state == SESSION_ADOPTED;
	session->unadopted = state == SESSION_CLONING || state == SESSION_CLONED;
	if (state == SESSION_CLONING)
		session_end(session, "it was a clone, and its daemon ended before that was whole");
	else if (state == SESSION_CLONED)
		adoption_await(session);
	return session->unadopted;
}

uint32_t adoption_count(const struct pool *pool, uint32_t uid)
{
	uint32_t count = 0;

	for (const struct session *session = pool->sessions.awaited; session; session = session->next)
		count += session->unadopted && session->record->uid == uid;
	return count;
}
