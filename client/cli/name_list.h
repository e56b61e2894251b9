/* SPDX-License-Identifier: Apache-2.0 */
/* All names of a pool by the block that they stand for, as they were at one moment. Owned by whoever loaded it; one thread. */
#ifndef CLI_NAME_LIST_H
#define CLI_NAME_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shmbuddy.h"

struct name_list {
	shmb_name_info *items; /* by block, then by place in it, the whole before a part of it, then by name */
	size_t count;
};

#define NAME_LIST_INIT                                                                                                      \
	{                                                                                                                       \
		NULL, 0                                                                                                             \
	}

/* Reads the names out of the view. 0, or a negative SHMB_E_*. */
int name_list_load(shmb_session *session, struct name_list *out_list);

/* Sorts what was put together by hand. */
void name_list_sort(struct name_list *list);

/* How many names the block has; they stand one after the other from `*out_first` on, which may lie behind the last. */
size_t name_list_of_block(const struct name_list *list, uint64_t block, size_t *out_first);

/* What the name stands for; NULL: nothing. */
const shmb_name_info *name_list_find(const struct name_list *list, const char *name);

/* Does the name stand for less than the whole of its block? */
bool name_list_is_range(const shmb_name_info *name, const shmb_block_info *block);

void name_list_deinit(struct name_list *list);

#endif
