/* SPDX-License-Identifier: Apache-2.0 */
/* Getting a session's hold page from the daemon, and what becomes of it. All but hold_page_missed is under the session's mutex. */
#ifndef CLIENT_HOLD_PAGE_H
#define CLIENT_HOLD_PAGE_H

#include <stdbool.h>

#include "holds.h"

void hold_page_init(struct holds *holds);

/*
 * The daemon has been asked for a hold, without the mutex: a program that does so again and again gets a page. Never fails; where there is no page
 * to be had until then (deadline.h: the call that missed takes no longer for it), it asks again much later.
 */
void hold_page_missed(struct shmb_session *session, int64_t until);

/* The session is over: what the page says counts no more. It stays mapped, as threads may be at it. */
void hold_page_retire(struct holds *holds);

/* Unmaps and closes all: nobody uses the session any more. */
void hold_page_close(struct holds *holds);

/* In a child: the page was not inherited, and nothing in it is the child's. */
void hold_page_in_child(struct holds *holds);

#endif
