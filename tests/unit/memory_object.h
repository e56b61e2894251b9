/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's object without a pool: sparse, mapped, and without a name, so that nothing of it is left whatever happens to the
 * test. Whoever opens it closes it. Needs cmocka's headers before it.
 */
#ifndef TESTS_MEMORY_OBJECT_H
#define TESTS_MEMORY_OBJECT_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/shared_object.h"

static inline void memory_object_open(struct shared_object *out_object, uint64_t size)
{
	*out_object = (struct shared_object){.fd = memfd_create("shmbuddy-test", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
	assert_true(out_object->fd >= 0);
	assert_int_equal(shared_object_resize(out_object, size), 0);
	assert_int_equal(shared_object_map(out_object), 0);
	/* fallocate beyond its end would make it larger: a fault in what is tested could take all memory of the machine. */
	assert_int_equal(fcntl(out_object->fd, F_ADD_SEALS, F_SEAL_GROW), 0);
}

/* Bytes that the kernel backs. */
static inline uint64_t memory_object_backed(const struct shared_object *object)
{
	struct stat status;

	assert_int_equal(fstat(object->fd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* The same, counting only what lies from `offset` on; what lies before is given back. */
static inline uint64_t memory_object_backed_from(const struct shared_object *object, uint64_t offset)
{
	assert_int_equal(fallocate(object->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)offset), 0);
	return memory_object_backed(object);
}

/* While it is broken, every commit fails with -EBADF. */
static inline int memory_object_break(struct shared_object *object)
{
	int fd = object->fd;

	object->fd = -1;
	return fd;
}

static inline void memory_object_mend(struct shared_object *object, int fd)
{
	object->fd = fd;
}

#endif
