/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's standing with a pool: see session.h.
 *
 * A session ends with its process, and with nothing else: liveness.h tells by what that is known. The socket alone says nothing: a
 * forked child may keep it open, and a connection may be lost while the process goes on writing into its blocks. So when a connection
 * ends, pidfd and lock are looked at; if the process still lives, the session is lost but goes on: from then on its lock is looked at
 * every LOST_INTERVAL, and its pidfd is watched as before.
 *
 * The end is one store. What the session held is dropped afterwards, in slices, by the reaper.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adoption.h"
#include "clock.h"
#include "commit.h"
#include "connection.h"
#include "hold_page.h"
#include "liveness.h"
#include "log.h"
#include "page_holds.h"
#include "pool.h"
#include "random.h"
#include "reaper.h"
#include "session_record.h"

/* Milliseconds between looks at the locks of lost sessions: their end is to be known within 10. */
#define LOST_INTERVAL 5

/* The looks take at most one part in so many of the daemon's time: a client may have made them dear with locks of its own. */
#define LOST_SHARE 50

/* Its lock is free. */
static void let_go(struct session *session, const char *why)
{
	if (session->adopting)
		adoption_await(session); /* its process may not have got it yet */
	else
		session_end(session, why);
}

static void tell(const struct session *session, enum event_kind kind)
{
	events_emit(session->pool, &(struct event){
								   .kind = kind,
								   .session = session->number,
								   .uid = session->record->uid,
								   .bytes = session->account.used[QUOTA_BYTES],
								   .name = session->program,
								   .name_length = (uint32_t)strlen(session->program),
							   });
}

static void look_at_lost(uv_timer_t *timer)
{
	struct sessions *sessions = timer->data;
	struct session *session = sessions->lost;
	uint64_t start = uv_hrtime();

	while (session) {
		struct session *next = session->next; /* session_end takes it off the list */
		if (liveness_lock_is_free(&session->pool->view, session->serial))
			let_go(session, "its process let go of it");
		session = next;
	}
	uint64_t pause = (uv_hrtime() - start) * LOST_SHARE / 1000000;
	if (sessions->lost)
		uv_timer_start(timer, look_at_lost, pause > LOST_INTERVAL ? pause : LOST_INTERVAL, 0);
}

/* From now on its lock is looked at. */
static void lose(struct session *session)
{
	struct sessions *sessions = &session->pool->sessions;

	session->lost = true;
	session->next = sessions->lost;
	sessions->lost = session;
	if (!uv_is_active((uv_handle_t *)&sessions->lost_timer))
		uv_timer_start(&sessions->lost_timer, look_at_lost, LOST_INTERVAL, 0);
}

static void cancel_deferred(struct session *session, bool lost)
{
	session->under_way++; /* that of the last one to arrive is for the caller to see */
	for (uint64_t busy = session->busy_slots; busy; busy &= busy - 1) {
		struct deferred *deferred = session->deferred[__builtin_ctzll(busy)];
		if (deferred)
			deferred->cancel(deferred, lost);
	}
	session->under_way--;
}

void session_lost(struct session *session)
{
	session->connection = NULL;
	if (session->dead)
		return;
	/* The pidfd first: it costs the same however many sessions there are; a look at the lock does not. */
	if (session->pidfd >= 0 && peer_has_ended(session->pidfd)) {
		session_end(session, "its process ended");
		return;
	}
	if (liveness_lock_is_free(&session->pool->view, session->serial)) {
		let_go(session, "its process let go of it");
		return;
	}
	log_info("session %" PRIu32 " (%s, pid %" PRIu32 "): connection lost, its process lives: kept", session->number,
	         session->program, session->pid);
	cancel_deferred(session, true);
	lose(session);
}

static void process_ended(uv_poll_t *watch, int status, int events)
{
	(void)status;
	(void)events;
	session_end(watch->data, "its process ended");
}

/* Has the loop tell of the process's end. Takes the pidfd over. */
static int watch(struct session *session, int pidfd)
{
	int result = uv_poll_init(session->pool->loop, &session->watch, pidfd);

	if (result < 0)
		return result;
	session->watch.data = session;
	session->watching = true;
	result = uv_poll_start(&session->watch, UV_READABLE, process_ended);
	if (result == 0)
		session->pidfd = pidfd;
	return result;
}

void session_found(struct session *session, struct connection *connection)
{
	struct connection *old = session->connection;
	struct peer *peer = &connection->peer;

	if (session->lost) {
		sessions_unlink(&session->pool->sessions.lost, session);
		session->lost = false;
	}
	adoption_has_come(session);
	/* One whose pid meant nothing to this daemon has been known by its lock alone. */
	if (session->pidfd < 0 && !session->watching && peer->pidfd >= 0 && watch(session, peer->pidfd) == 0)
		peer->pidfd = -1;
	session->adopted = false;
	dying_doubt(session->pool); /* what it said last may have been lost with the old connection */
	session->pid = peer->pid;
	session->connection = connection;
	connection->session = session;
	if (old) {
		old->session = NULL;
		connection_close(old);
	}
	if (!session->adopting)
		log_info("session %" PRIu32 " (%s): connected again", session->number, session->program);
}

/* Something that was under way is not any more. */
static void arrive(struct session *session)
{
	session->under_way--;
	if (!session->dead || session->under_way)
		return;
	if (session->forgotten)
		reaper_bury(session);
	else
		reaper_add(session);
}

static void has_been_notified(struct hold_page_job *job)
{
	arrive((struct session *)((char *)job - offsetof(struct session, notice)));
}

static void was_removed(struct hold_page_job *job)
{
	arrive((struct session *)((char *)job - offsetof(struct session, removal)));
}

/* Until the file has gone, nobody gets the session's number, by which it is named. */
static void remove_page(struct session *session, int page)
{
	session->removal = (struct hold_page_job){.done = was_removed, .fd = page, .session = session->number};
	session->under_way++;
	hold_page_lane_add(session->pool, &session->removal);
}

void session_ask(struct session *session)
{
	commit(&session->record->word, session->serial << 8 | SESSION_ASKED);
	session->asked_to_end = true;
	if (session->hold_page < 0)
		return;
	session->notice = (struct hold_page_job){.done = has_been_notified, .fd = session->hold_page};
	session->under_way++;
	hold_page_lane_add(session->pool, &session->notice);
}

int session_open_hold_page(struct session *session)
{
	uint64_t inode;
	int fd;

	if (session->dead)
		return -EDQUOT;
	if (session->hold_page >= 0)
		return 0;
	/* Who asks has none, or has it no more: what a lost one held counts no longer. */
	int result = hold_page_create(session->pool->name, session->number, &fd, &inode);
	if (result < 0)
		return result;
	/* Before the client has it: the next daemon must read it. One that is made and not yet committed to is removed by the next. */
	commit(&session->record->hold_page, inode);
	page_holds_add_page(session, fd);
	return 0;
}

void session_end(struct session *session, const char *why)
{
	struct sessions *sessions = &session->pool->sessions;

	if (session->dead)
		return;
	commit(&session->record->word, session->serial << 8 | SESSION_DEAD);
	session->dead = true;
	tell(session, EVENT_SESSION_ENDED);
	int page = dying_drop_page(session);
	if (page != HOLD_PAGE_NONE)
		remove_page(session, page);
	log_info("session %" PRIu32 " (%s, pid %" PRIu32 ") ended: %s; blocks given back: %" PRIu64 ", references: %" PRIu64,
	         session->number, session->program, session->pid, why, session->account.used[QUOTA_BLOCKS],
	         session->reference_count);
	if (session->watching)
		uv_poll_stop(&session->watch);
	adoption_has_come(session);
	if (!session->goodbye_sequence) {
		if (!session->unadopted)
			pool_count(&session->pool->counters->sessions_died, 1);
		if (session->lost)
			sessions_unlink(&sessions->lost, session);
		struct connection *connection = session->connection;
		session->connection = NULL;
		if (connection) {
			connection->session = NULL;
			connection_close(connection);
		}
	}
	cancel_deferred(session, false);
	if (!session->under_way)
		reaper_add(session);
}

void session_forget(struct session *session)
{
	struct connection *connection = session->connection;

	if (session->dead)
		return; /* the reaper has it */
	session->dead = session->forgotten = true;
	session->connection = NULL;
	if (session->lost)
		sessions_unlink(&session->pool->sessions.lost, session);
	adoption_has_come(session);
	if (session->watching)
		uv_poll_stop(&session->watch);
	if (connection) {
		connection->session = NULL;
		connection_close(connection);
	}
	cancel_deferred(session, false);
	if (!session->under_way)
		reaper_bury(session);
}

void session_depart(struct session *session, uint32_t slot, struct deferred *deferred)
{
	session->deferred[slot] = deferred;
	session->busy_slots |= UINT64_C(1) << slot;
	session->under_way++;
}

void session_arrive(struct session *session, uint32_t slot)
{
	session->busy_slots &= ~(UINT64_C(1) << slot);
	session->deferred[slot] = NULL;
	arrive(session);
}

/* A session around its record, not yet to be found by its number, nor charged. */
static struct session *make_session(struct pool *pool, uint32_t number, uint32_t uid)
{
	struct user *user = accounts_user(&pool->accounts, uid);
	struct session *session = user ? calloc(1, sizeof *session) : NULL;

	if (!session) {
		if (user)
			accounts_retire(&pool->accounts, user);
		return NULL;
	}
	session->user = user;
	session->account.quota = user->session_quota;
	session->pool = pool;
	session->number = number;
	session->record = &pool->sessions.records[number];
	session->pidfd = -1;
	session->hold_page = HOLD_PAGE_NONE;
	return session;
}

static void add_session(struct session *session)
{
	struct sessions *sessions = &session->pool->sessions;

	accounts_charge(session->user, QUOTA_SESSIONS);
	sessions->by_number[session->number] = session;
	sessions->count++;
}

int session_open(struct pool *pool, const struct session_request *request, struct session **out_session)
{
	struct sessions *sessions = &pool->sessions;
	uint32_t number;
	int result = table_take(&sessions->table, &number);

	if (result < 0)
		return result;
	struct session *session = make_session(pool, number, request->peer->uid);
	if (!session) {
		table_give(&sessions->table, number);
		return -ENOMEM;
	}
	session->serial = ++sessions->serial;
	session->pid = request->peer->pid;
	session->read_only = request->read_only;
	strncpy(session->program, request->program, sizeof session->program - 1);
	if (!session->program[0])
		peer_program(request->peer, session->program);

	result = random_bytes(session->record->token, sizeof session->record->token);
	if (result == 0 && request->peer->pidfd >= 0)
		result = watch(session, request->peer->pidfd);
	if (result < 0) {
		table_give(&sessions->table, number);
		reaper_bury(session);
		return result;
	}
	session_record_open(session, request->peer);
	add_session(session);
	pool_count(&pool->counters->sessions_opened, 1);
	tell(session, EVENT_SESSION_OPENED);
	*out_session = session;
	return 0;
}

/* Does the pid in its record mean something to this daemon? A former one may have run in another pid namespace. */
static bool pid_counts(const struct session *session)
{
	uint32_t here = session->pool->sessions.pid_namespace;

	return here && here == session_record_process(session->record).pid_namespace;
}

/*
 * What a former daemon made. Of a dead session it may be gone already. Of another it never is, unless somebody has removed or replaced the file:
 * the process goes on holding by a page that no daemon will ever read. Then the pool is served, and what the page may hold stays.
 */
static int adopt_hold_page(struct session *session)
{
	uint64_t inode = atomic_load_explicit(&session->record->hold_page, memory_order_relaxed);
	int fd;

	if (!inode)
		return 0;
	if (session->dead) {
		hold_page_remove(session->pool->name, session->number);
		return 0;
	}
	int result = hold_page_open(session->pool->name, session->number, inode, &fd);
	if (result == -ENOENT || result == -EPERM || result == -EACCES) {
		log_warning("session %" PRIu32 " (%s, pid %" PRIu32 "): its hold page, /dev/shm/shmbuddy.%s.hold.%" PRIu32
		            ", is gone or another: until the session ends (shmbuddy end %" PRIu32
		            "), each shared block counts as held by it",
		            session->number, session->program, session->pid, session->pool->name, session->number, session->number);
		fd = HOLD_PAGE_LOST;
	} else if (result < 0) {
		log_error("pool %s: cannot open /dev/shm/shmbuddy.%s.hold.%" PRIu32 ", the hold page of session %" PRIu32 ": %s",
		          session->pool->name, session->pool->name, session->number, session->number, strerror(-result));
		return result;
	}
	page_holds_add_page(session, fd);
	return 0;
}

int session_adopt(struct pool *pool, uint32_t number)
{
	struct session *session = make_session(pool, number, pool->sessions.records[number].uid);

	if (!session)
		return -ENOMEM;
	uint64_t word = atomic_load_explicit(&session->record->word, memory_order_relaxed);
	session->serial = word >> 8;
	session->dead = (word & 0xff) == SESSION_DEAD;
	session->asked_to_end = (word & 0xff) == SESSION_ASKED;
	session->adopted = true;
	session->pid = pid_counts(session) ? session_record_process(session->record).pid : 0;
	session->read_only = session->record->access & SESSION_READ_ONLY;
	memcpy(session->program, session->record->program, sizeof session->program);
	for (uint32_t i = 0; i < SESSION_SLOTS; i++)
		session->seen[i] = SLOT_SEQUENCE(atomic_load_explicit(&session->record->slots[i].word, memory_order_relaxed));
	add_session(session);
	return adopt_hold_page(session);
}

void session_wake(struct session *session)
{
	uint64_t start_time = session_record_process(session->record).start_time;
	struct peer peer = {.pid = session->pid, .start_time = start_time, .pidfd = -1};
	int result = -EOPNOTSUPP;

	if (session->dead) {
		reaper_add(session);
		return;
	}
	if (adoption_wake(session))
		return;
	if (peer.pid && peer.start_time)
		result = peer_find(&peer);
	if (result == 0)
		result = watch(session, peer.pidfd);
	if (result == -ESRCH)
		session_end(session, "its process ended while there was no daemon");
	else if (liveness_lock_is_free(&session->pool->view, session->serial))
		let_go(session, "its process let go of it while there was no daemon");
	else
		lose(session);
}

int session_open_clone(const struct session *parent, struct session **out_copy)
{
	struct sessions *sessions = &parent->pool->sessions;
	uint32_t number;
	int result = table_take(&sessions->table, &number);

	if (result < 0)
		return result;
	struct session *copy = make_session(parent->pool, number, parent->record->uid);
	if (!copy)
		result = -ENOMEM;
	if (result == 0)
		result = random_bytes(copy->record->token, sizeof copy->record->token);
	if (result < 0) {
		table_give(&sessions->table, number);
		free(copy);
		return result;
	}
	copy->serial = ++sessions->serial;
	copy->read_only = parent->read_only;
	copy->unadopted = true;
	memcpy(copy->program, parent->program, sizeof copy->program);
	session_record_clone(copy, parent);
	add_session(copy);
	pool_count(&parent->pool->counters->sessions_opened, 1);
	tell(copy, EVENT_SESSION_OPENED);
	*out_copy = copy;
	return 0;
}

struct session *session_find(const struct pool *pool, const uint8_t token[16])
{
	struct session *found = NULL;

	for (struct session *session = sessions_from(&pool->sessions, 1); session;
	     session = sessions_from(&pool->sessions, session->number + 1)) {
		/* All of it is compared, and all sessions: the time taken tells nothing. */
		uint8_t difference = 0;
		for (size_t i = 0; i < sizeof session->record->token; i++)
			difference |= (uint8_t)(session->record->token[i] ^ token[i]);
		if (difference == 0 && !session->dead)
			found = session;
	}
	return found;
}

bool session_is_of(const struct session *session, const struct peer *peer)
{
	struct session_process process = session_record_process(session->record);

	if (session->record->uid != peer->uid || session->unadopted)
		return false;
	/* Where its pid means nothing any more the token has to do, once. */
	if (!session->pid && !pid_counts(session))
		return true;
	return session->pid == peer->pid && (process.start_time == peer->start_time || !process.start_time || !peer->start_time);
}
