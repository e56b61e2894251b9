/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request slots of a session: who has which, who waits in line for one, and what each must keep until its answer has come,
 * so that the request can be sent again as it was. Part of a connection; guarded by its owner's lock.
 */
#ifndef CLIENT_SLOTS_H
#define CLIENT_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "call.h"

/* Request slots used at most, whatever the daemon offers: one bit each in `busy`. */
#define SLOTS_MAX 64

struct slot {
	uint64_t sequence;   /* of the last request */
	uint64_t sent_again; /* the sequence that was sent once more: its answer may come twice */
	struct call *call;   /* that has the slot; NULL: free, or its caller is gone while the reply is still to come */
	bool sent;           /* the daemon may have seen that request */
	bool waits;          /* its answer may take long: the call waits for something */
	bool brings;         /* its answer may bring a block or a ticket, which would be nobody's */
	uint8_t *frame;      /* owned; the request of a busy slot without a call, as it was sent; NULL: no memory for it */
	size_t frame_size;
	unsigned tries;       /* sockets on which the frame was sent in vain */
	bool kept;            /* that request allocates what a name or a time to live holds as well */
	shmb_handle leftover; /* a block nobody asked for any more, which only those will hold soon; id 0: none */
};

struct slots {
	uint32_t count;
	uint64_t busy;    /* bit n: slot n */
	uint32_t waiting; /* busy slots whose calls wait for something: never all of them */
	struct slot slot[SLOTS_MAX];
	struct call *first_waiting; /* for a slot; the oldest; while one is free, calls that must leave it to others */
	struct call *last_waiting;
};

/* Gives `call` the lowest free slot: CALL_GRANTED. Else, or if it waits for something and too many such have slots, it waits in line:
 * CALL_WAITING. */
void slots_claim(struct slots *slots, struct call *call);

/* Takes a call out of the line. */
void slots_leave_line(struct slots *slots, struct call *call);

/* The slot's request is over: it goes to the first in line who may have it, who is told, or is free. */
void slots_release(struct slots *slots, uint32_t index);

/* Fails the calls that are waiting or have a slot, or those of them that are `once`. Without `once` all slots are free then. */
void slots_fail(struct slots *slots, bool once, enum error_code code, const char *text);

/* Frees what the slots own; nobody may be waiting. `forget`: nothing is known of that memory, and it is not given back. */
void slots_deinit(struct slots *slots, bool forget);

static inline bool slots_is_busy(const struct slots *slots, uint32_t index)
{
	return index < slots->count && (slots->busy >> index & 1);
}

#endif
