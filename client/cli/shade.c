/* SPDX-License-Identifier: Apache-2.0 */
#include "shade.h"

#include <errno.h>
#include <stdlib.h>

/* Division rounded up, without overflow. */
static uint64_t divide_up(uint64_t value, uint64_t by)
{
	return value / by + (value % by != 0);
}

int shade_init(uint64_t segment, uint64_t unit, size_t capacity, struct shade *out_shade)
{
	uint64_t cell_size = unit, count;
	uint64_t *used;

	/* a cell that is the whole segment is enough for any capacity, so the doubling cannot overflow */
	while (cell_size < segment && divide_up(segment, cell_size) > capacity)
		cell_size = cell_size > segment / 2 ? segment : 2 * cell_size;
	count = divide_up(segment, cell_size);
	used = calloc(count, sizeof(*used));
	if (used == NULL)
		return -ENOMEM;
	*out_shade = (struct shade){.segment = segment, .cell_size = cell_size, .count = count, .used = used};
	return 0;
}

void shade_deinit(struct shade *shade)
{
	free(shade->used);
	shade->used = NULL;
}

uint64_t shade_cell_length(const struct shade *shade, size_t index)
{
	uint64_t start = index * shade->cell_size, left = shade->segment - start;

	return left < shade->cell_size ? left : shade->cell_size;
}

void shade_add(struct shade *shade, uint64_t offset, uint64_t length)
{
	if (offset >= shade->segment)
		return;
	if (length > shade->segment - offset)
		length = shade->segment - offset;
	for (size_t i = offset / shade->cell_size; length > 0; i++) {
		uint64_t cell = shade_cell_length(shade, i), room = cell - offset % shade->cell_size;
		uint64_t part = length < room ? length : room;

		/* a block that came while the blocks were listed can lie where another one was that had been listed before */
		shade->used[i] = part < cell - shade->used[i] ? shade->used[i] + part : cell;
		offset += part;
		length -= part;
	}
}

unsigned shade_level(const struct shade *shade, size_t index)
{
	uint64_t used = shade->used[index], length = shade_cell_length(shade, index);

	if (used == 0)
		return 0;
	if (used == length)
		return SHADE_LEVELS - 1;
	if (used <= length / 3)
		return 1;
	return used <= length / 3 * 2 ? 2 : 3;
}

size_t shade_line_cells(size_t columns)
{
	size_t cells = 1;

	while (cells <= columns / 2)
		cells *= 2;
	return cells;
}
