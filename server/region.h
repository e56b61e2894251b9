/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory of the daemon that is reserved at its largest size and costs only the pages that are touched: what belongs to
 * a table record but not into shared memory lies in an array of it. Zeroed. Owned by whoever made it.
 */
#ifndef SERVER_REGION_H
#define SERVER_REGION_H

#include <stddef.h>

/* -ENOMEM where the address space or its limit does not allow it. `size` 0 is taken for 1. */
int region_new(size_t size, void **out_memory);
void region_free(void *memory, size_t size);

#endif
