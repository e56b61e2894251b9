/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for server/region.c in the one program that includes it: exact sizes from malloc, so that AddressSanitizer sees
 * what goes beyond them, a count of what is not freed, and failure on demand.
 */
#ifndef TESTS_FAILING_REGION_H
#define TESTS_FAILING_REGION_H

#include <errno.h>
#include <stdlib.h>

#include "server/region.h"

static int regions_open;
static int regions_until_failure = -1; /* that many succeed, then one fails; -1: none */

int region_new(size_t size, void **out_memory)
{
	if (regions_until_failure >= 0 && regions_until_failure-- == 0)
		return -ENOMEM;
	void *memory = calloc(1, size ? size : 1);
	if (!memory)
		return -ENOMEM;
	regions_open++;
	*out_memory = memory;
	return 0;
}

void region_free(void *memory, size_t size)
{
	(void)size;
	regions_open -= memory != NULL;
	free(memory);
}

#endif
