/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's shared memory, kept and put back: see pool_copy.h. */
#include "tests/support/pool_copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "view_layout.h"

#define PAGE 4096

void object_copy_keep(struct object_copy *copy, const struct daemon_fixture *daemon, const char *suffix)
{
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(daemon, suffix);
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	assert_true(status.st_size <= POOL_COPY_OBJECT_MAX);
	copy->size = (uint64_t)status.st_size;
	assert_int_equal(pread(fd, copy->bytes, copy->size, 0), (ssize_t)copy->size);
}

/* Holes are read as zeros, and put back as holes: what was never written must stay so. */
void object_copy_put_back(const struct object_copy *copy, const struct daemon_fixture *daemon, const char *suffix)
{
	static const uint8_t zeros[PAGE];
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(daemon, suffix);

	assert_int_equal(ftruncate(fd, (off_t)copy->size), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)copy->size), 0);
	for (uint64_t at = 0; at < copy->size; at += PAGE) {
		size_t length = copy->size - at < PAGE ? copy->size - at : PAGE;
		if (memcmp(copy->bytes + at, zeros, length) != 0)
			assert_int_equal(pwrite(fd, copy->bytes + at, length, (off_t)at), (ssize_t)length);
	}
}

void pool_copy_keep(struct pool_copy *copy, const struct daemon_fixture *daemon)
{
	object_copy_keep(&copy->segment, daemon, "");
	object_copy_keep(&copy->view, daemon, ".view");
	object_copy_keep(&copy->state, daemon, ".state");
}

void pool_copy_put_back(const struct pool_copy *copy, const struct daemon_fixture *daemon)
{
	object_copy_put_back(&copy->segment, daemon, "");
	object_copy_put_back(&copy->view, daemon, ".view");
	object_copy_put_back(&copy->state, daemon, ".state");
}

void pool_copy_expect_same(const struct pool_copy *copy, const struct daemon_fixture *daemon)
{
	static struct pool_copy now;
	const size_t at = offsetof(struct view_header, daemon_pid);

	pool_copy_keep(&now, daemon);
	assert_memory_equal(now.segment.bytes, copy->segment.bytes, copy->segment.size);
	assert_memory_equal(now.state.bytes, copy->state.bytes, copy->state.size);
	memcpy(now.view.bytes + at, copy->view.bytes + at, sizeof(uint32_t));
	assert_memory_equal(now.view.bytes, copy->view.bytes, copy->view.size);
}
