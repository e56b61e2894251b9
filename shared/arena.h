/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is given back all at once: for what is needed while one message is looked at. The first ARENA_INLINE bytes
 * are part of the arena, so small messages cost no malloc; beyond that it takes pieces from malloc, up to a limit, and
 * keeps none of them over a reset. Belongs to one thread at a time.
 */
#ifndef SHARED_ARENA_H
#define SHARED_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Enough for any reply about one block, decoded. Multiple of ARENA_ALIGNMENT. */
#define ARENA_INLINE 2048
#define ARENA_ALIGNMENT 16

struct arena_piece;

struct arena {
	uint8_t *next;              /* free memory of the piece in use, */
	size_t room;                /* and how much */
	size_t taken;               /* bytes from malloc since the last reset */
	size_t limit;               /* the most of them */
	struct arena_piece *pieces; /* from malloc, the newest first */
	_Alignas(ARENA_ALIGNMENT) uint8_t inline_bytes[ARENA_INLINE];
};

/* `limit` is the most that is ever taken from malloc between two resets, in bytes. The arena must not move afterwards. */
void arena_init(struct arena *arena, size_t limit);

/* Frees everything. */
void arena_deinit(struct arena *arena);

/* `size` bytes, aligned to ARENA_ALIGNMENT, until the next reset. NULL over the limit, or where malloc has none. */
void *arena_take(struct arena *arena, size_t size);

/* Takes everything back. */
void arena_reset(struct arena *arena);

#endif
