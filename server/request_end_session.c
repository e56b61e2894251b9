/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EndSession: an administrator insists. A session may still write into its blocks for as long as its process has them mapped, so its
 * memory cannot simply be taken: it is asked to let go, which shows by its lock, or its process is killed, which shows by its pidfd.
 * What follows is the end that every session has.
 */
#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "connection.h"
#include "errors.h"
#include "log.h"

/* By event, once: a client that does not read must not be written to without end. And it is told when it
 * says hello next, to whichever daemon. */
static void ask(struct session *session)
{
	Shmbuddy__V1__Reply event = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__SessionOver over = SHMBUDDY__V1__SESSION_OVER__INIT;

	session_ask(session);
	if (!session->connection)
		return;
	over.incarnation = session->pool->incarnation;
	event.session_over = &over;
	reply_send(session->connection, &event);
	connection_flush(session->connection);
}

/* 0, or an ERROR_*. */
static int kill_process(const struct session *session, const char **out_text)
{
	if (session->pidfd < 0 && session->adopted) {
		*out_text = "a restarted daemon does not know its process until that connects again: kill it by hand";
		return ERROR_SYSTEM;
	}
	if (session->pidfd >= 0 && (syscall(SYS_pidfd_send_signal, session->pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH))
		return 0;
	/* The kernel hands out pidfds across namespaces, but takes signals only downwards. */
	if (session->pidfd < 0 || errno == EINVAL) {
		*out_text = "its process is in a pid namespace that the daemon does not see: kill it there";
		return ERROR_SYSTEM;
	}
	if (errno == EPERM) {
		*out_text = "the daemon runs as a user who may not kill it: as root, use kill -9";
		return ERROR_DENIED;
	}
	*out_text = strerror(errno);
	return ERROR_SYSTEM;
}

void request_end_session(struct request *request)
{
	const Shmbuddy__V1__EndSession *message = request->message->end_session;
	const struct sessions *sessions = &request->pool->sessions;
	uint32_t number = message->session, uid = request->slot.session->record->uid;
	struct session *session = number < sessions->table.used ? sessions->by_number[number] : NULL;
	const char *text;

	if (!session || session->dead) {
		request_reply(request, ERROR_SESSION_ENDED, "there is no session %" PRIu32 " (any more)", number);
		return;
	}
	if (uid != 0 && uid != geteuid() && uid != session->record->uid) {
		request_reply(request, ERROR_DENIED, "session %" PRIu32 " belongs to user %" PRIu32 ": that one or root may end it",
		              number, session->record->uid);
		return;
	}
	if (session->unadopted) {
		/* Nobody has mapped anything for it, and nobody could be told. */
		log_warning("session %" PRIu32 " (%s, a clone): user %" PRIu32 " wants it ended", number, session->program, uid);
		request_reply(request, 0, NULL);
		session_end(session, "it was a clone, and is not to be adopted");
		return;
	}
	bool again = session->asked_to_end && !message->kill;
	if (!again)
		log_warning("session %" PRIu32 " (%s, pid %" PRIu32 "): user %" PRIu32 " wants it %s", number, session->program,
		            session->pid, uid, message->kill ? "killed" : "ended");
	int error = message->kill ? kill_process(session, &text) : 0;
	if (error) {
		request_reply(request, error, "session %" PRIu32 " (pid %" PRIu32 "): %s", number, session->pid, text);
		return;
	}
	request_reply(request, 0, NULL);
	/* Last: who asks himself to end is heard first. */
	if (!message->kill && !again)
		ask(session);
}
