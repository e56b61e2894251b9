/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drops what dead sessions held, a slice a turn of the loop, so that a client with 100,000 blocks delays nobody; then frees the sessions.
 * Loop thread only.
 */
#ifndef SERVER_REAPER_H
#define SERVER_REAPER_H

struct session;

/* The session is dead, and nothing of it is under way. Its number is given to another when nothing of it is left. */
void reaper_add(struct session *session);

/* Frees a session that keeps its record and its holds: the daemon stops, or does not start. */
void reaper_bury(struct session *session);

#endif
