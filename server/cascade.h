/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a block is freed, what it held by links may be free too, and so on: dropped a slice a turn of the loop, however long the chain.
 * Owned by the daemon; loop thread only.
 */
#ifndef SERVER_CASCADE_H
#define SERVER_CASCADE_H

#include <stdbool.h>
#include <uv.h>

struct pool;

struct cascade {
	struct pool *pool;
	uv_prepare_t look; /* before the loop sleeps: is there anything loose? */
	uv_idle_t awake;   /* runs while there is, so that it does not */
	bool open;
};

void cascade_init(struct cascade *cascade, struct pool *pool);

/* The daemon stops: what is loose is the next one's. */
void cascade_stop(struct cascade *cascade);

/* Drops up to `budget` loose links. True: none is left. */
bool cascade_step(struct pool *pool, unsigned budget);

#endif
