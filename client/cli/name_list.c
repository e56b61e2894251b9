/* SPDX-License-Identifier: Apache-2.0 */
#include "name_list.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
	const shmb_name_info *a = left, *b = right;

	if (a->block != b->block)
		return a->block < b->block ? -1 : 1;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	if (a->length != b->length)
		return a->length > b->length ? -1 : 1;
	return strcmp(a->name, b->name);
}

int name_list_load(shmb_session *session, struct name_list *out_list)
{
	struct name_list list = NAME_LIST_INIT;
	int result = shmb_list_names(session, &list.items, &list.count);

	if (result < 0)
		return result;
	name_list_sort(&list);
	*out_list = list;
	return 0;
}

void name_list_sort(struct name_list *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare);
}

size_t name_list_of_block(const struct name_list *list, uint64_t block, size_t *out_first)
{
	size_t low = 0, high = list->count, first;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->items[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	first = low;
	while (low < list->count && list->items[low].block == block)
		low++;
	*out_first = first;
	return low - first;
}

const shmb_name_info *name_list_find(const struct name_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	}
	return NULL;
}

bool name_list_is_range(const shmb_name_info *name, const shmb_block_info *block)
{
	return name->offset != 0 || name->length != block->size;
}

void name_list_deinit(struct name_list *list)
{
	free(list->items);
	list->items = NULL;
	list->count = 0;
}
