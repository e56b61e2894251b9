/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones: copies of a session, each for a process that is to adopt it (adoption.h). The story is told in clone.c. Owned by the pool; loop
 * thread only.
 */
#ifndef SERVER_CLONE_H
#define SERVER_CLONE_H

#include <stdint.h>
#include <uv.h>

#include "charge.h"

struct clone;
struct handle;
struct pool;
struct slot;

struct clones {
	struct pool *pool;
	struct clone *first, *last; /* under way; the first is being filled, the others wait */
	uv_idle_t slices;           /* runs while there are any */
	uv_loop_t *loop;            /* NULL: not initialised */
};

int clones_init(struct clones *clones, struct pool *pool);

/* Closes its handle; the loop must run once more. Nothing may be under way. Nothing if it was never initialised. */
void clones_close(struct clones *clones);

/*
 * Begins to clone the slot's session, which holds `count` (HOLD_SLOTS at most) blocks by its hold page too, as it says: one handle each,
 * copied. The request is answered, now or later. 0, or an ERROR_*, of which the client is still to be told, and its sentence.
 */
int clone_begin(const struct slot *slot, const struct handle *held, uint32_t count, char out_text[CHARGE_TEXT_MAX]);

#endif
