/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and what becomes of it. Made by the function that calls, usually on its stack and with the operation's own
 * fields behind it; the connection borrows it, and its request, from connection_submit until `done` has been called or
 * connection_abandon has given both back. `take` and `done` run in whichever thread reads the socket, under the connection's lock.
 */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "last_error.h"
#include "shmbuddy.h"
#include "shmbuddy.pb-c.h"

enum call_state {
	CALL_WAITING, /* for a slot */
	CALL_GRANTED, /* has a slot, is not sent */
	CALL_SENT,    /* queued for the daemon, or to be once there is one */
	CALL_DONE,
};

struct call {
	/*
	 * Copies what is wanted out of a reply whose status is OK: `reply` is gone when it returns. 0; or -EPROTO, where such a
	 * reply was never asked for: the connection ends; or -ENOMEM. NULL: the status is all there is.
	 */
	int (*take)(struct call *call, const Shmbuddy__V1__Reply *reply);
	/* The state is CALL_DONE, or CALL_GRANTED where it was CALL_WAITING. NULL: nobody needs to know. */
	void (*done)(struct call *call);
	void *owner; /* for `done` */
	bool once;   /* fails when the connection is lost, and is not sent again */
	/* How long its request may wait for something, a field of that; whenever it is sent it becomes what is left. NULL: it does not wait. */
	uint32_t *wait_ms;
	int64_t wait_until; /* deadline.h; set by session_perform */

	enum call_state state;
	uint32_t slot;                  /* from CALL_GRANTED on */
	Shmbuddy__V1__Request *request; /* borrowed, from CALL_SENT on: it may have to be sent again */
	struct call *next_waiting;      /* for a slot */
	int result;                     /* 0 or a negative SHMB_E_*, once done */
	bool has_oom;                   /* `oom` is set */
	uint32_t incarnation;           /* with SESSION_ENDED: of the pool that the daemon serves; 0: it did not say */
	char text[LAST_ERROR_MAX];      /* the sentence, where `result` is negative */
	shmb_oom oom;
};

/* A call that will use `take`, which may be NULL. */
void call_init(struct call *call, int (*take)(struct call *, const Shmbuddy__V1__Reply *));

/* Says in its request how long it may wait from now on. Nothing if it does not wait. */
void call_update_wait(struct call *call);

/* Ends it as failed. `text` may be empty or NULL: the code's own sentence. */
void call_fail(struct call *call, enum error_code code, const char *text);

/* Ends it by its reply. -EPROTO: the reply is none that the protocol knows; the call is then not ended. */
int call_finish(struct call *call, const Shmbuddy__V1__Reply *reply);

/* Makes its failure the calling thread's last one. Returns its result. */
int call_report(const struct call *call);

#endif
