/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator: see arena.h. */
#include "arena.h"

#include <stdlib.h>

/* The smallest piece taken from malloc; each further one is twice as large as the one before. */
#define ARENA_PIECE_MIN ((size_t)16384)

struct arena_piece {
	struct arena_piece *older;
	size_t size; /* of the whole piece */
	_Alignas(ARENA_ALIGNMENT) uint8_t bytes[];
};

void arena_init(struct arena *arena, size_t limit)
{
	arena->limit = limit;
	arena->pieces = NULL;
	arena_reset(arena);
}

void arena_deinit(struct arena *arena)
{
	arena_reset(arena);
}

void arena_reset(struct arena *arena)
{
	while (arena->pieces) {
		struct arena_piece *piece = arena->pieces;

		arena->pieces = piece->older;
		free(piece);
	}
	arena->taken = 0;
	arena->next = arena->inline_bytes;
	arena->room = ARENA_INLINE;
}

/* Makes room for `size` bytes, which are a multiple of the alignment. What was left of the piece before is lost. */
static int arena_grow(struct arena *arena, size_t size)
{
	size_t want = arena->pieces ? arena->pieces->size * 2 : ARENA_PIECE_MIN;
	size_t left = arena->limit - arena->taken;
	struct arena_piece *piece;

	if (size > left || left - size < sizeof *piece)
		return 0;
	if (want > left)
		want = left;
	if (want < sizeof *piece + size)
		want = sizeof *piece + size;
	piece = malloc(want);
	if (!piece)
		return 0;
	piece->older = arena->pieces;
	piece->size = want;
	arena->pieces = piece;
	arena->taken += want;
	arena->next = piece->bytes;
	arena->room = want - sizeof *piece;
	return 1;
}

void *arena_take(struct arena *arena, size_t size)
{
	void *bytes;

	if (size > SIZE_MAX - ARENA_ALIGNMENT)
		return NULL;
	size = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
	if (size > arena->room && !arena_grow(arena, size))
		return NULL;
	bytes = arena->next;
	arena->next += size;
	arena->room -= size;
	return bytes;
}
