/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse private memory: see region.h. */
#include "region.h"

#include <errno.h>
#include <sys/mman.h>

int region_new(size_t size, void **out_memory)
{
	void *memory = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	/* Huge pages would turn each touched word of a sparse array into 2 MiB. */
	madvise(memory, size ? size : 1, MADV_NOHUGEPAGE);
	*out_memory = memory;
	return 0;
}

void region_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size ? size : 1);
}
