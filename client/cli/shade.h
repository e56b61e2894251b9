/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment as a row of cells, each with how much of it is used: what `map` draws. Pure: no I/O, no clock. Owned by whoever
 * made it; one thread.
 */
#ifndef CLI_SHADE_H
#define CLI_SHADE_H

#include <stddef.h>
#include <stdint.h>

/* 0: nothing is used, SHADE_LEVELS - 1: all of it, and between them the thirds. */
#define SHADE_LEVELS 5

struct shade {
	uint64_t segment;   /* bytes */
	uint64_t cell_size; /* bytes that a cell stands for; the last one may stand for less */
	size_t count;       /* of cells, 1 or more */
	uint64_t *used;     /* bytes in use in each cell */
};

/*
 * Makes cells for a segment of `segment` bytes (1 or more) in units of `unit` bytes (1 or more). A cell is a unit times a
 * power of two, so that buddies of that order fill it: the smallest with which `capacity` (1 or more) cells are enough.
 * -ENOMEM.
 */
int shade_init(uint64_t segment, uint64_t unit, size_t capacity, struct shade *out_shade);
void shade_deinit(struct shade *shade);

/* Marks a block as used. What lies outside the segment is left out; no cell gets fuller than it is long. */
void shade_add(struct shade *shade, uint64_t offset, uint64_t length);

/* Bytes that cell `index` stands for. */
uint64_t shade_cell_length(const struct shade *shade, size_t index);

/* 0 to SHADE_LEVELS - 1. The ends are exact: a single byte in use is not 0, a single free one is not the last. */
unsigned shade_level(const struct shade *shade, size_t index);

/* Cells in a line of the picture: the largest power of two up to `columns` (1 or more), so that lines start at round offsets. */
size_t shade_line_cells(size_t columns);

#endif
