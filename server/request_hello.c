/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hello: a connection becomes a session.
 *
 * Who asks is what the kernel says (peer.h). The reply carries the descriptors of segment, view and liveness lock on its
 * first byte. If it cannot be sent, the session ends at once: no client has seen its memory.
 */
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "adoption.h"
#include "charge.h"
#include "cleanup.h"
#include "connection.h"
#include "daemon.h"
#include "errors.h"
#include "frame.h"
#include "liveness.h"
#include "log.h"
#include "name.h"

/* Sessions of one process that have lost their connections: beyond this many it gets no new one. A polite client has none. */
#define LOST_SESSIONS_MAX 16

static void refuse(struct request *request, int status, const char *text)
{
	request_reply(request, status, "%s: the connection ends", text);
	connection_end(request->connection);
}

/* Of what a restart cost its connection nothing is held against a process. */
static bool has_many_lost(const struct pool *pool, uint32_t pid)
{
	unsigned lost = 0;

	for (const struct session *session = pool->sessions.lost; session; session = session->next)
		lost += pid && !session->adopted && session->pid == pid;
	return lost >= LOST_SESSIONS_MAX;
}

static void reply_welcome(struct request *request, const struct session *session, bool subscribed)
{
	Shmbuddy__V1__Welcome welcome = SHMBUDDY__V1__WELCOME__INIT;
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	struct pool *pool = session->pool;

	welcome.protocol_version = DAEMON_PROTOCOL_VERSION;
	welcome.session = session->number;
	welcome.token.data = session->record->token;
	welcome.token.len = sizeof session->record->token;
	welcome.incarnation = pool->incarnation;
	welcome.access = session->read_only ? SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY : SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE;
	welcome.unit = pool->unit;
	welcome.size = pool->size;
	welcome.max_size = pool->header->max_size;
	welcome.view_size = pool->header->view_size;
	welcome.slots = SESSION_SLOTS;
	welcome.max_frame = FRAME_MAX;
	welcome.max_batch = DAEMON_BATCH_MAX;
	welcome.pool = pool->name;
	welcome.subscribed = subscribed;
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_WELCOME;
	reply.welcome = &welcome;
	reply_send(request->connection, &reply);
}

/* The welcome of a new session, with its descriptors. -errno: the client has got nothing. */
static int send_welcome(struct request *request, const struct session *session)
{
	struct pool *pool = session->pool;
	CLEANUP_CLOSE int lock = -1;
	CLEANUP_CLOSE int view = -1;

	/* The view as a description of the client's own: whatever locks it sets on it go with it. */
	int result = liveness_open_lock(&pool->view, session->serial, &lock);
	if (result == 0)
		result = shared_object_reopen(&pool->view, O_RDONLY, &view);
	if (result < 0)
		return result;
	reply_welcome(request, session, false);
	const int descriptors[] = {session->read_only ? pool->segment_read_only : pool->segment_read_write, view, lock};
	return request->connection->closing ? -ENOMEM : connection_flush_with(request->connection, descriptors, 3);
}

/* ETOOMANYREFS: too many descriptors are on their way to clients that do not read, unix(7). */
static void say_why_not(struct request *request, const struct session *session, int result)
{
	log_warning("session %" PRIu32 ": its descriptors cannot be sent: %s", session->number, strerror(-result));
	connection_discard(request->connection); /* the welcome without its descriptors */
	request_reply(request, result == -ETOOMANYREFS ? ERROR_LIMIT : ERROR_SYSTEM,
	              "the daemon cannot send its descriptors: %s: try again later", strerror(-result));
}

/* What the client has of it is not its own any more, or is not to be. */
static void refuse_over(struct request *request, const char *text)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__SessionOver over = SHMBUDDY__V1__SESSION_OVER__INIT;

	over.incarnation = request->daemon->pool.incarnation;
	reply.slot = request->slot.index;
	reply.sequence = request->slot.sequence;
	reply.status = SHMBUDDY__V1__STATUS__SESSION_ENDED;
	reply.text = (char *)(uintptr_t)text;
	reply.session_over = &over;
	reply_send(request->connection, &reply);
	connection_end(request->connection);
}

/* What the session was subscribed to goes on. False: it is not, or was to nothing. */
static bool subscribe_again(const struct request *request, const Shmbuddy__V1__Subscribe *subscribe)
{
	const char *text;

	return subscribe &&
	       events_subscribe(&request->daemon->pool, request->connection, subscribe->kinds, subscribe->prefix, &text) == 0;
}

/* A session that lost its connection, taken up again by the process that it belongs to. */
static void resume(struct request *request, const Shmbuddy__V1__Hello *hello)
{
	struct connection *connection = request->connection;
	struct pool *pool = &request->daemon->pool;
	struct session *session;

	if (hello->token.len != sizeof session->record->token) {
		refuse(request, ERROR_INVALID_ARGUMENT, "a token has 16 bytes");
		return;
	}
	session = session_find(pool, hello->token.data);
	if (!session) {
		refuse_over(request, "the pool has no session with this token: it ended, or the pool was made anew");
		return;
	}
	if (!session_is_of(session, &connection->peer)) {
		refuse(request, ERROR_DENIED, "the session with this token belongs to another process or user");
		return;
	}
	if (session->asked_to_end) {
		refuse_over(request, "an administrator has ended the session");
		return;
	}
	session_found(session, connection);
	peer_deinit(&connection->peer); /* the session has its own pidfd */
	listener_greeted(&request->daemon->listener, connection);
	reply_welcome(request, session, subscribe_again(request, hello->subscribe));
	if (!connection->closing)
		events_tell_pressure(pool, connection);
}

/* A clone becomes the session of this process, with descriptors as for a new one; asked again by the same process, once more. */
static void adopt(struct request *request, const Shmbuddy__V1__Hello *hello)
{
	struct connection *connection = request->connection;
	struct session *session = NULL;

	if (hello->token.len == sizeof session->record->token)
		session = session_find(&request->daemon->pool, hello->token.data);
	if (!session) {
		refuse_over(request, "there is no clone with this token: it was not adopted in time, or has ended since");
		return;
	}
	if (session->asked_to_end) {
		refuse_over(request, "an administrator has ended the session");
		return;
	}
	if (!adoption_take(session, &connection->peer)) {
		refuse(request, ERROR_DENIED, "the clone with this token belongs to another user, or a process has adopted it");
		return;
	}
	session_found(session, connection);
	peer_deinit(&connection->peer);
	listener_greeted(&request->daemon->listener, connection);
	int result = send_welcome(request, session);
	if (result == 0)
		return;
	say_why_not(request, session, result);
	connection_flush(connection);
	if (connection->session)
		connection_end(connection); /* it may try again: session_lost */
}

void request_hello(struct request *request)
{
	const Shmbuddy__V1__Hello *hello = request->message->hello;
	struct connection *connection = request->connection;
	struct pool *pool = &request->daemon->pool;
	size_t program_length = strlen(hello->program);
	struct session *session;

	if (hello->protocol_version != DAEMON_PROTOCOL_VERSION) {
		request_reply(request, ERROR_VERSION,
		              "the client speaks protocol version %" PRIu32 ", this daemon version %d: upgrade the older one",
		              hello->protocol_version, DAEMON_PROTOCOL_VERSION);
		connection_end(connection);
		return;
	}
	if (hello->pool[0] && strcmp(hello->pool, pool->name) != 0) {
		request_reply(request, ERROR_NO_SUCH_POOL, "this daemon serves the pool \"%s\" and no other", pool->name);
		connection_end(connection);
		return;
	}
	if (hello->access != SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE &&
	    hello->access != SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY) {
		refuse(request, ERROR_INVALID_ARGUMENT, "hello asks for a kind of access that this daemon does not know");
		return;
	}
	if (program_check(hello->program, program_length) < 0) {
		refuse(request, ERROR_INVALID_ARGUMENT,
		       "hello's program name is over 63 bytes, not UTF-8, or has control characters");
		return;
	}
	int result = peer_open_pidfd(connection_descriptor(connection), hello->start_time, &connection->peer);
	if (result < 0 && result != -EOPNOTSUPP) {
		refuse(request, result == -ESRCH ? ERROR_DENIED : ERROR_SYSTEM,
		       result == -ESRCH ? "the process that connected is not the one that says hello, or has ended"
		                        : "the daemon cannot watch the client's process");
		return;
	}
	if (hello->adopt) {
		adopt(request, hello);
		return;
	}
	if (hello->token.len) {
		resume(request, hello);
		return;
	}
	if (has_many_lost(pool, connection->peer.pid)) {
		refuse(request, ERROR_LIMIT,
		       "too many sessions of this process have lost their connections: end the process, and start it anew");
		return;
	}
	char text[CHARGE_TEXT_MAX];
	if (charge_check_user(pool, connection->peer.uid, QUOTA_SESSIONS, text)) {
		refuse(request, ERROR_LIMIT, text);
		return;
	}
	result = session_open(pool,
	                      &(struct session_request){
							  .peer = &connection->peer,
							  .read_only = hello->access == SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY,
							  .program = hello->program,
						  },
	                      &session);
	if (result < 0) {
		log_warning("hello of pid %" PRIu32 " refused: %s", connection->peer.pid, strerror(-result));
		refuse(request, result == -EDQUOT ? ERROR_LIMIT : ERROR_SYSTEM,
		       result == -EDQUOT ? "the pool has as many sessions as it takes (max-sessions): end some of them"
		                         : "the daemon has no memory left for another session");
		return;
	}
	connection->peer.pidfd = -1; /* the session's now */
	session->connection = connection;
	connection->session = session;
	listener_greeted(&request->daemon->listener, connection);
	log_info("session %" PRIu32 " (%s, pid %" PRIu32 ", uid %" PRIu32 ") opened, %s", session->number, session->program,
	         connection->peer.pid, connection->peer.uid, session->read_only ? "read-only" : "read-write");
	pool_publish_counters(pool);
	result = send_welcome(request, session);
	if (result == 0)
		return;
	/* No client has seen its memory. */
	say_why_not(request, session, result);
	connection_flush(connection);
	if (!session->dead)
		session_end(session, "hello could not be answered");
}
