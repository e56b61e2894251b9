/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client calls a block by: is there one behind it, and what has the session of it? A handle comes over the wire, and is not believed. What
 * is asked of a block that is dying, or condemned, may bring that to an end (dying.h, collector.h). Loop thread only.
 */
#ifndef SERVER_HANDLE_H
#define SERVER_HANDLE_H

#include <stdint.h>

#include "lifetime.h"

struct handle {
	uint64_t id;
	uint32_t index, incarnation;
};

/* 0, or ERROR_OTHER_POOL, ERROR_STALE_HANDLE: is there a live block behind the handle? */
int handle_find(const struct pool *pool, const struct handle *handle);

/* The same for somebody who wants to take hold of it: one that is dying may live yet, if a hold page has it. */
int handle_find_to_acquire(const struct session *session, const struct handle *handle);

/*
 * The hold that the session gives back next: a reference before the ownership. 0, or an ERROR_*: as above, or ERROR_NOT_HELD. Holds
 * that a batch under way has marked already do not count.
 */
int handle_find_hold(const struct session *session, const struct handle *handle, struct hold *out_hold);

/* 0, or an ERROR_* as above: does the session hold the block in any way, by its hold page too? */
int handle_check_held(struct session *session, const struct handle *handle);

#endif
