/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session's record says of it, and how it is written: for a process that opened it, or for a clone, whose process comes later
 * (state_layout.h). Loop thread only.
 */
#ifndef SERVER_SESSION_RECORD_H
#define SERVER_SESSION_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "state_layout.h"

struct peer;
struct session;

/* As far as it was known; all zeros: none yet. */
struct session_process {
	uint64_t start_time; /* clock ticks since boot */
	uint32_t pid, pid_namespace;
};

/* The process that the session belongs to. */
struct session_process session_record_process(const struct session_record *record);

/* Writes the record of a new session, but for its token, which is there, and makes it LIVE, or CLONING. */
void session_record_open(struct session *session, const struct peer *peer);
void session_record_clone(struct session *copy, const struct session *parent);

/* The clone is that process's from now on: ADOPTED. */
void session_record_adopt(struct session *session, const struct peer *peer);

/* For recovery: who adopted it is what was written, where anybody did. */
bool session_record_is_sound(const struct session_record *record);

#endif
