/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind shmb_session: how it was connected, the connection, the mapping. Made by shmb_connect, freed by
 * shmb_close. In a child it is `inherited` until the first call, which opens it anew with the same options.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <stdatomic.h>
#include <sys/un.h>

#include "events.h"
#include "exchange.h"
#include "fork_guard.h"
#include "hello.h"
#include "holds.h"
#include "mapping.h"

enum session_state {
	SESSION_INHERITED, /* not open: new, or the parent's */
	SESSION_OPENING,   /* by one thread */
	SESSION_OPEN,      /* connected once; the connection may be lost since */
};

struct shmb_session {
	struct exchange exchange;
	struct fork_guard guard;
	_Atomic int state;     /* enum session_state; changed under the mutex of `exchange` */
	pthread_cond_t opened; /* the state is no longer SESSION_OPENING */

	/* As shmb_connect was told; own copies, for the day when the session is opened anew. */
	struct sockaddr_un address;
	bool address_given;                 /* not looked for */
	char pool[SHMB_POOL_NAME_MAX + 1];  /* empty: the first one */
	char program[SHMB_PROGRAM_MAX + 1]; /* empty: the name of the running program */
	enum shmb_access access;
	uint32_t timeout_ms;
	uint32_t reconnect_ms;

	const shmb_clone_token *clone; /* to be adopted by the thread that opens the session; NULL: a session of its own */

	/* Fixed while open. */
	struct mapping *mapping; /* NULL: none yet. While inherited: the parent's, only to be kept reserved */
	uint32_t number;         /* from 1 */
	uint32_t incarnation;    /* of the pool */
	uint32_t max_batch;
	struct holds holds;
	struct events events;            /* guarded by the mutex of `exchange` */
	uint8_t token[HELLO_TOKEN_SIZE]; /* proves to a daemon that this session is ours */
};

/*
 * First in every call: the session is this process's own and its mapping is open, or a negative SHMB_E_* with its sentence.
 * One load and one comparison where there is nothing to do. NO_DAEMON where the session is SHMB_OFFLINE.
 */
int session_enter(struct shmb_session *session);

/* The same for what the view alone can answer, which a session that is SHMB_OFFLINE has too. */
int session_enter_view(struct shmb_session *session);

/* Milliseconds that a call may take: the session's timeout, and what the call waits; NULL: it does not wait. UINT32_MAX: for ever. */
uint32_t session_timeout(const struct shmb_session *session, const uint32_t *wait_ms);

/* session_enter, then the round trip, which takes timeout_ms at most, and what the call waits. The call's result, which is also the thread's last error where negative. */
int session_perform(struct shmb_session *session, struct call *call, Shmbuddy__V1__Request *request);

/* Opens a session that the process has inherited as the clone that the token is of: see shmb_adopt. */
int session_adopt(struct shmb_session *session, const shmb_clone_token *token);

#endif
