/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's table of sessions: their records in the state, a page each, and the live ones by number. Number 0 is the
 * daemon itself. Owned by the pool; loop thread only.
 */
#ifndef SERVER_SESSIONS_H
#define SERVER_SESSIONS_H

#include <stdint.h>
#include <uv.h>

#include "state_layout.h"
#include "table.h"

struct session;

struct sessions {
	struct table table;
	struct session_record *records;
	struct session **by_number; /* sparse; NULL where there is none */
	uint32_t count;             /* sessions, dead ones with remains included */
	uint64_t serial;            /* of the last one opened */
	uint32_t pid_namespace;     /* of this daemon; 0: not known */
	struct session *lost;       /* without a connection: their locks are looked at */
	struct session *awaited;    /* whose process has to come within a time: adoption.h */
	struct session *dead;       /* with remains: the reaper drops them */
	uv_timer_t lost_timer;      /* runs while there are lost sessions */
	uv_timer_t awaited_timer;   /* runs while there are awaited sessions */
	uv_idle_t reaper;           /* runs while there are dead sessions */
	uv_loop_t *loop;            /* NULL: not initialised */
};

int sessions_init(struct sessions *sessions, uv_loop_t *loop, const struct shared_object *state, uint64_t at,
                  uint32_t capacity);

/* After the loop has run to its end; runs it once more to close timer and reaper. */
void sessions_deinit(struct sessions *sessions);

/* Takes a session off the list that it is in. */
void sessions_unlink(struct session **list, const struct session *session);

/* The session with this number or the next higher one, from 1; NULL at the end. */
struct session *sessions_from(const struct sessions *sessions, uint32_t number);

uint32_t session_record_checksum(const struct session_record *record, uint64_t serial);

#endif
