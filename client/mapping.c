/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapping a pool. A range large enough for the segment and its alignment is reserved first; what sticks out on either side is
 * given back, and the segment goes over the rest. max_size is mapped at once, so that a segment that grows needs no new
 * mapping; no block ever lies beyond the end that the object has at the time.
 *
 * After a fork the kernel leaves holes where segment and view were (MADV_DONTFORK). The child fills the segment's with an
 * inaccessible reservation, so that a pointer of its parent's faults instead of meeting somebody else's memory.
 */
#include "mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "last_error.h"
#include "size.h"

/* Huge pages need it, and any small pool can then meet alignments up to it. */
#define MAPPING_ALIGNMENT_MIN (UINT64_C(2) << 20)

/* Far beyond any address space; keeps the arithmetic below from overflowing. */
#define MAPPING_SIZE_MAX (UINT64_C(1) << 56)

struct mapping *mapping_new(void)
{
	struct mapping *mapping = calloc(1, sizeof *mapping);

	for (int i = 0; mapping && i < MAPPING_DESCRIPTORS; i++)
		mapping->fds[i] = -1;
	return mapping;
}

static void close_descriptor(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void mapping_unmap(struct mapping *mapping)
{
	if (mapping->base)
		munmap(mapping->base, mapping->length);
	if (mapping->view_base)
		munmap(mapping->view_base, mapping->view_length);
	mapping->base = NULL;
	mapping->view_base = NULL;
}

void mapping_free(struct mapping *mapping)
{
	while (mapping) {
		struct mapping *former = mapping->former;

		mapping_unmap(mapping);
		for (int i = 0; i < MAPPING_DESCRIPTORS; i++)
			close_descriptor(&mapping->fds[i]);
		free(mapping);
		mapping = former;
	}
}

/* Makes a hole inaccessible. False where somebody else had mapped something there; what was free is reserved even so. */
static bool reserve_hole(uint8_t *base, size_t length, size_t page)
{
	void *hole = mmap(base, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (hole == base)
		return true;
	if (hole != MAP_FAILED)
		munmap(hole, length); /* a kernel before 4.17 takes the address for a wish */
	else if (errno == EEXIST && length > page) {
		size_t half = length / 2 / page * page;

		reserve_hole(base, half, page);
		reserve_hole(base + half, length - half, page);
	}
	return false;
}

void mapping_after_fork(struct mapping *mapping)
{
	for (int i = 0; i < MAPPING_DESCRIPTORS; i++)
		close_descriptor(&mapping->fds[i]);
	mapping->view_base = NULL; /* a hole, which may be somebody else's by now */
	/* Where others were there before (a handler of another library, say), what is reserved around them stays so for good. */
	if (mapping->base && !reserve_hole(mapping->base, mapping->length, (size_t)sysconf(_SC_PAGESIZE)))
		mapping->base = NULL;
}

static int contradiction(const char *what)
{
	return last_error_set(ERROR_PROTOCOL, "the daemon sent descriptors that do not fit what it said: %s", what);
}

static int object_size(int fd, uint64_t *out_size)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return last_error_system(errno, "cannot examine the pool's shared memory");
	if (!S_ISREG(status.st_mode))
		return contradiction("not shared memory");
	*out_size = (uint64_t)status.st_size;
	return 0;
}

/* `length` bytes of addresses, aligned to `alignment`, inaccessible and not inherited. */
static int reserve(struct mapping *mapping, size_t length, size_t alignment)
{
	size_t whole = length + alignment;
	uint8_t *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return last_error_system(errno, "cannot reserve %zu bytes of addresses for the pool (see ulimit -v)", whole);

	size_t before = (size_t)(-(uintptr_t)base & (alignment - 1));

	if (before)
		munmap(base, before);
	munmap(base + before + length, whole - length - before);
	mapping->base = base + before;
	mapping->length = length;
	mapping->alignment = alignment;
	return 0;
}

static int map_segment(struct mapping *mapping, const Shmbuddy__V1__Welcome *welcome, bool writable)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), present, length, alignment;
	int r;

	if (welcome->size == 0 || welcome->size > welcome->max_size || welcome->max_size > MAPPING_SIZE_MAX ||
	    !size_is_power_of_two(welcome->unit))
		return contradiction("sizes that no pool has");
	r = object_size(mapping->fds[MAPPING_SEGMENT], &present);
	if (r < 0)
		return r;
	if (present < welcome->size)
		return contradiction("the segment is shorter than that");

	length = (welcome->max_size + page - 1) & ~(page - 1);
	alignment = UINT64_C(1) << size_order_for(welcome->max_size);
	if (alignment < MAPPING_ALIGNMENT_MIN)
		alignment = MAPPING_ALIGNMENT_MIN;
	if (alignment > SHMB_ALIGNMENT_MAX)
		alignment = SHMB_ALIGNMENT_MAX;
	r = reserve(mapping, length, alignment);
	if (r < 0)
		return r;
	if (mmap(mapping->base, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_FIXED,
	         mapping->fds[MAPPING_SEGMENT], 0) == MAP_FAILED)
		return last_error_system(errno, "cannot map the pool's %zu bytes", (size_t)length);
	if (madvise(mapping->base, length, MADV_DONTFORK) < 0)
		return last_error_system(errno, "cannot keep the pool's mapping from children");
	mapping->size = welcome->max_size;
	close_descriptor(&mapping->fds[MAPPING_SEGMENT]);
	return 0;
}

static int map_view(struct mapping *mapping, const Shmbuddy__V1__Welcome *welcome)
{
	uint64_t present;
	void *base;
	int r = object_size(mapping->fds[MAPPING_VIEW], &present);

	if (r < 0)
		return r;
	if (welcome->view_size == 0 || welcome->view_size > MAPPING_SIZE_MAX || present < welcome->view_size)
		return contradiction("the view is shorter than that");
	base = mmap(NULL, welcome->view_size, PROT_READ, MAP_SHARED, mapping->fds[MAPPING_VIEW], 0);
	if (base == MAP_FAILED)
		return last_error_system(errno, "cannot map the pool's view of %zu bytes", (size_t)welcome->view_size);
	mapping->view_base = base;
	mapping->view_length = welcome->view_size;
	if (madvise(base, mapping->view_length, MADV_DONTFORK) < 0)
		return last_error_system(errno, "cannot keep the view's mapping from children");

	r = view_open(base, mapping->view_length, &mapping->view);
	if (r == -EPROTONOSUPPORT)
		return last_error_set(ERROR_VERSION, "the daemon's tables have a layout other than %u, which is what this "
		                                     "library reads; install matching versions",
		                      VIEW_LAYOUT_VERSION);
	if (r < 0)
		return contradiction("the view is damaged");
	close_descriptor(&mapping->fds[MAPPING_VIEW]);
	return 0;
}

int mapping_open(struct mapping *mapping, const Shmbuddy__V1__Welcome *welcome, bool writable)
{
	const struct view_header *header;
	int r = map_view(mapping, welcome);

	if (r < 0)
		return r;
	header = mapping->view.header;
	if (header->incarnation != welcome->incarnation || header->unit != welcome->unit ||
	    header->max_size != welcome->max_size || strncmp(header->pool, welcome->pool, sizeof header->pool) != 0)
		return contradiction("the view is another pool's");
	return map_segment(mapping, welcome, writable);
}
