/* SPDX-License-Identifier: Apache-2.0 */
/* Record tables: see table.h. */
#include "table.h"

#include <assert.h>
#include <errno.h>

#include "region.h"
#include "shared_object.h"

int table_init(struct table *table, const struct shared_object *object, uint64_t at, uint32_t stride, uint32_t capacity,
               uint64_t step)
{
	void *memory;
	int result = region_new((size_t)capacity * sizeof(uint32_t), &memory);

	if (result < 0)
		return result;
	*table = (struct table){
		.object = object,
		.at = at,
		.stride = stride,
		.capacity = capacity,
		.free = memory,
		.step = step,
	};
	return 0;
}

void table_deinit(struct table *table)
{
	region_free(table->free, (size_t)table->capacity * sizeof(uint32_t));
	table->free = NULL;
}

/* Commits the pages of the records below `end`. The table starts on a page, hence pieces of whole steps are whole pages. */
static int commit_up_to(struct table *table, uint32_t end)
{
	uint64_t wanted = (uint64_t)end * table->stride;

	while (table->committed < wanted) {
		uint64_t from = table->at + table->committed;
		uint64_t length = table->step;
		if (length > table->object->size - from)
			length = table->object->size - from;
		int result = shared_object_commit(table->object, from, length);
		if (result < 0)
			return result;
		table->committed += length;
	}
	return 0;
}

int table_prepare(struct table *table, uint32_t count)
{
	if (count <= table->free_count)
		return 0;
	uint32_t fresh = count - table->free_count;
	if (fresh > table->capacity - table->used)
		return -EDQUOT;
	return commit_up_to(table, table->used + fresh);
}

int table_take(struct table *table, uint32_t *out_index)
{
	int result = table_prepare(table, 1);

	if (result < 0)
		return result;
	*out_index = table->free_count ? table->free[--table->free_count] : table->used++;
	return 0;
}

void table_adopt(struct table *table)
{
	uint64_t used = (uint64_t)table->used * table->stride, whole = used / 4096 * 4096;

	table->free_count = 0;
	/* A record is used when all of it is committed; that its first page was written to says nothing of its second. */
	if (used > whole && shared_object_commit(table->object, table->at + whole, 4096) < 0)
		table->used--;
	table->committed = ((uint64_t)table->used * table->stride + 4095) / 4096 * 4096;
}

void table_give(struct table *table, uint32_t index)
{
	assert(index < table->used && table->free_count < table->used);
	table->free[table->free_count++] = index;
}
