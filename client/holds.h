/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking hold of blocks, and letting go, without asking the daemon: what shared/hold_layout.h tells, from the client's side. Part of a session,
 * once that has a hold page (hold_page.h). A miss is never an answer: the caller asks the daemon then. Any thread.
 */
#ifndef CLIENT_HOLDS_H
#define CLIENT_HOLDS_H

#include <stdbool.h>
#include <stddef.h>

#include "hold_layout.h"
#include "shmbuddy.h"

struct shmb_session;

struct holds {
	struct hold_page *_Atomic page;       /* NULL: none, or of no use any more */
	struct hold_page *mapped;             /* to be unmapped; NULL: none. Guarded by the session's mutex */
	_Atomic uint32_t indexes[HOLD_SLOTS]; /* by slot: the record of the block that it holds, or last held */
	_Atomic uint64_t lines;               /* bit n: something was held in line n, hold_layout.h, once */
	int fd;                               /* the socket on which the page is asked for; -1: none. Guarded by the mutex */
	_Atomic uint32_t misses;              /* acquisitions that the daemon was asked for since the page was last asked for */
};

/* True: the block is held once more, and `*out_block` is written. */
bool holds_acquire(struct shmb_session *session, shmb_handle handle, shmb_block *out_block);
bool holds_look_up(struct shmb_session *session, const char *name, size_t length, shmb_block *out_block);

/* True: one hold of the page on this block was given back. */
bool holds_release(struct shmb_session *session, shmb_handle handle);

/*
 * For a batch: claims a hold of the page for each handle that has one: its slot, else HOLD_SLOTS. They are held still, and must be given back,
 * or kept after all.
 */
void holds_claim(struct shmb_session *session, const shmb_handle *handles, size_t count, uint16_t *out_slots);
void holds_settle(struct shmb_session *session, const shmb_handle *handles, size_t count, const uint16_t *slots, bool keep);

/*
 * What the page holds now, a handle for each slot that holds something, HOLD_SLOTS at most; how many. What is acquired or released meanwhile may
 * be missing, or not held any more.
 */
size_t holds_list(struct shmb_session *session, shmb_handle *out_handles);

#endif
