/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapping a pool. A range large enough for the segment and its alignment is reserved first; what sticks out on either side is
 * given back, and the segment goes over the rest. max_size is mapped at once, so that a segment that grows needs no new
 * mapping; no block ever lies beyond the end that the object has at the time.
 *
 * Children do not get the mappings (MADV_DONTFORK). A hole is not enough for the segment, though: the next thing that the
 * child maps might fill it, and a pointer of its parent's would meet somebody else's memory instead of faulting. Filling it
 * in our own handler comes too late where another library's handler ran first (ThreadSanitizer's maps a stack there). So for
 * the length of a fork that runs handlers the mapping is inherited after all, which costs nothing, as the kernel copies no
 * page tables of shared files, and the child's handler replaces it by an inaccessible reservation in one step. After a bare
 * clone there is a hole, which is filled at the first call if it is still empty.
 *
 * The read-only mapping of sealed blocks shares all of this; it is made late, for few programs need it, and it takes as many addresses again.
 * Its descriptor is kept until then.
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

/* The second mapping of the segment; NULL: there is none, or it is the first. */
static uint8_t *second(const struct mapping *mapping)
{
	uint8_t *read_only = mapping_read_only(mapping);

	return read_only == mapping->base ? NULL : read_only;
}

void mapping_unmap(struct mapping *mapping)
{
	if (second(mapping))
		munmap(second(mapping), mapping->length);
	if (mapping->base)
		munmap(mapping->base, mapping->length);
	if (mapping->view_base)
		munmap(mapping->view_base, mapping->view_length);
	atomic_store_explicit(&mapping->read_only, NULL, memory_order_release);
	mapping->base = NULL;
	mapping->shared = mapping->holed = false;
	mapping->view_base = NULL;
}

void mapping_drop(struct mapping *mapping)
{
	mapping_unmap(mapping);
	for (int i = 0; i < MAPPING_DESCRIPTORS; i++)
		close_descriptor(&mapping->fds[i]);
}

void mapping_free(struct mapping *mapping)
{
	while (mapping) {
		struct mapping *former = mapping->former;

		mapping_drop(mapping);
		free(mapping);
		mapping = former;
	}
}

/* To the segment, wherever it is mapped. */
static void advise(const struct mapping *mapping, int advice)
{
	if (!mapping->shared)
		return;
	madvise(mapping->base, mapping->length, advice);
	if (second(mapping))
		madvise(second(mapping), mapping->length, advice);
}

void mapping_before_fork(struct mapping *mapping)
{
	advise(mapping, MADV_DOFORK);
}

void mapping_in_parent(struct mapping *mapping)
{
	advise(mapping, MADV_DONTFORK);
}

/* Makes the addresses of one mapping inaccessible, in one step where the segment is mapped there. */
static bool forbid(uint8_t *base, size_t length, bool mapped)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (mapped ? MAP_FIXED : MAP_FIXED_NOREPLACE);
	void *place = mmap(base, length, PROT_NONE, flags, -1, 0);

	if (place == base)
		return true;
	if (place != MAP_FAILED)
		munmap(place, length); /* a kernel before 4.17 takes the address for a wish */
	else if (mapped)
		munmap(base, length); /* better a hole than memory that is not ours */
	return false;
}

/* The same, wherever the segment is mapped. */
static void forbid_all(struct mapping *mapping, bool mapped)
{
	uint8_t *other = second(mapping);

	if (!mapping->shared)
		return;
	if (other && !forbid(other, mapping->length, mapped)) {
		atomic_store_explicit(&mapping->read_only, NULL, memory_order_release);
		mapping->holed = true;
	}
	if (!forbid(mapping->base, mapping->length, mapped)) {
		if (!other)
			atomic_store_explicit(&mapping->read_only, NULL, memory_order_release);
		mapping->base = NULL;
	}
	mapping->shared = false;
}

void mapping_in_child(struct mapping *mapping, bool inherited)
{
	for (int i = 0; i < MAPPING_DESCRIPTORS; i++)
		close_descriptor(&mapping->fds[i]);
	mapping->view_base = NULL; /* a hole, which may be somebody else's by now */
	forbid_all(mapping, inherited);
}

void mapping_revoke(struct mapping *mapping)
{
	forbid_all(mapping, true);
	close_descriptor(&mapping->fds[MAPPING_SEGMENT]);
	close_descriptor(&mapping->fds[MAPPING_LOCK]);
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

static int cannot(const char *what, uint64_t size, int error)
{
	char text[SIZE_TEXT_MAX];

	size_format(size, text);
	return last_error_system(error, "cannot %s, %s (see ulimit -v, and shmbuddyd's --max-size)", what, text);
}

/* `length` bytes of addresses, aligned to `alignment`, inaccessible. */
static int reserve(size_t length, size_t alignment, uint8_t **out_base)
{
	size_t whole = length + alignment;
	uint8_t *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return cannot("reserve addresses for the pool and what it may grow to", whole, errno);

	size_t before = (size_t)(-(uintptr_t)base & (alignment - 1));

	if (before)
		munmap(base, before);
	munmap(base + before + length, whole - length - before);
	*out_base = base + before;
	return 0;
}

/* Where the segment goes: at `place`, which is reserved already, or at an address of its own, reserved here. No child inherits it. */
static int place_segment(const struct mapping *mapping, uint8_t *place, int protection, uint8_t **out_base)
{
	uint8_t *base = place;
	int r = place ? 0 : reserve(mapping->length, mapping->alignment, &base);

	if (r < 0)
		return r;
	if (mmap(base, mapping->length, protection, MAP_SHARED | MAP_FIXED, mapping->fds[MAPPING_SEGMENT], 0) == MAP_FAILED)
		r = cannot("map the pool", mapping->length, errno);
	else if (madvise(base, mapping->length, MADV_DONTFORK) < 0)
		r = last_error_system(errno, "cannot keep the pool's mapping from children");
	if (r < 0 && !place)
		munmap(base, mapping->length);
	if (r == 0)
		*out_base = base;
	return r;
}

/* Whatever of the former mapping's addresses the segment was mapped at is inaccessible again. */
static void give_back(struct mapping *former)
{
	if (second(former) && !forbid(second(former), former->length, true)) {
		atomic_store_explicit(&former->read_only, NULL, memory_order_release);
		former->holed = true;
	}
	if (!forbid(former->base, former->length, true))
		former->base = NULL;
}

/*
 * Takes over the addresses that the former mapping keeps: pointers of the process that forked this one are good again, those to sealed
 * blocks too.
 */
static int take_over(struct mapping *mapping, bool writable)
{
	struct mapping *former = mapping->former;
	uint8_t *sealed, *base = NULL, *read_only = NULL;
	int r;

	if (!mapping_is_reserved(former))
		return last_error_set(ERROR_SYSTEM, "the pool's addresses in the process that forked this one are not free here");
	if (former->length != mapping->length || former->alignment != mapping->alignment)
		return contradiction("the pool has another size than the one that was cloned");
	sealed = second(former);
	if (sealed && !writable)
		return contradiction("the session that was cloned could write");
	r = place_segment(mapping, former->base, writable ? PROT_READ | PROT_WRITE : PROT_READ, &base);
	if (r == 0 && sealed)
		r = place_segment(mapping, sealed, PROT_READ, &read_only);
	if (r < 0) {
		give_back(former);
		return r;
	}
	mapping->base = base;
	atomic_store_explicit(&mapping->read_only, read_only, memory_order_release);
	atomic_store_explicit(&former->read_only, NULL, memory_order_release);
	former->base = NULL;
	return 0;
}

static int map_segment(struct mapping *mapping, const Shmbuddy__V1__Welcome *welcome, bool writable)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), present = 0, length, alignment;
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
	mapping->length = length;
	mapping->alignment = alignment;
	if (mapping->adopting)
		r = take_over(mapping, writable);
	else
		r = place_segment(mapping, NULL, writable ? PROT_READ | PROT_WRITE : PROT_READ, &mapping->base);
	if (r < 0)
		return r;
	mapping->shared = true;
	mapping->max_size = welcome->max_size;
	if (!writable)
		atomic_store_explicit(&mapping->read_only, mapping->base, memory_order_release);
	if (mapping_read_only(mapping))
		close_descriptor(&mapping->fds[MAPPING_SEGMENT]);
	return 0;
}

int mapping_map_read_only(struct mapping *mapping)
{
	uint8_t *base = NULL;
	int r;

	if (mapping_read_only(mapping))
		return 0;
	if (!mapping->shared)
		return last_error_set(ERROR_SESSION_ENDED, "%s", error_sentence(ERROR_SESSION_ENDED));
	r = place_segment(mapping, NULL, PROT_READ, &base);
	if (r < 0)
		return r;
	atomic_store_explicit(&mapping->read_only, base, memory_order_release);
	close_descriptor(&mapping->fds[MAPPING_SEGMENT]);
	return 0;
}

static int map_view(struct mapping *mapping, const Shmbuddy__V1__Welcome *welcome)
{
	uint64_t present = 0;
	void *base;
	int r = object_size(mapping->fds[MAPPING_VIEW], &present);

	if (r < 0)
		return r;
	if (welcome->view_size == 0 || welcome->view_size > MAPPING_SIZE_MAX || present < welcome->view_size)
		return contradiction("the view is shorter than that");
	base = mmap(NULL, welcome->view_size, PROT_READ, MAP_SHARED, mapping->fds[MAPPING_VIEW], 0);
	if (base == MAP_FAILED)
		return cannot("map the view of the pool", welcome->view_size, errno);
	mapping->view_base = base;
	mapping->view_length = welcome->view_size;
	if (madvise(base, mapping->view_length, MADV_DONTFORK) < 0)
		return last_error_system(errno, "cannot keep the view's mapping from children");

	r = view_open(base, mapping->view_length, &mapping->view);
	if (r == -EPROTONOSUPPORT)
		return last_error_set(ERROR_VERSION,
		                      "the daemon's tables have a layout other than %u, which is what this "
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
