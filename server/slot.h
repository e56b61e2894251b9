/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request slot: exactly once, as NFS 4.1 sessions do it (RFC 8881, 2.10.6). The steps are told in state_layout.h; these
 * functions are steps 1, 2, 4 and 6. Loop thread only.
 */
#ifndef SERVER_SLOT_H
#define SERVER_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "state_layout.h"

struct session;

/* Which request: of whom, in which slot, with which sequence. Copied freely. */
struct slot {
	struct session *session;
	uint32_t index;
	uint64_t sequence;
};

enum slot_turn {
	SLOT_TURN_NEW,       /* to be executed */
	SLOT_TURN_REPEAT,    /* its outcome is recorded */
	SLOT_TURN_UNDER_WAY, /* sent again while it is worked on: its reply will come */
	SLOT_TURN_WRONG,     /* never to be executed: an old sequence, a busy slot, a slot that does not exist */
};
enum slot_turn slot_turn(const struct slot *slot);

/* Step 1. The slot's former outcome is gone. Then fill in the record's body, whose fields are all 0. */
struct slot_record *slot_begin(const struct slot *slot, enum slot_operation operation);

/* Step 4: it has happened. */
void slot_decide(const struct slot *slot);

/* Step 6: the body is the outcome. */
void slot_done(const struct slot *slot);

/* Is the body of a decided or done slot what was written? For recovery. */
bool slot_is_sealed(const struct slot_record *record);

/* Steps 1 and 6 of a request that was refused. */
void slot_refuse(const struct slot *slot, enum slot_operation operation, uint32_t status);

#endif
