/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_copy: what lies in shared memory of a small pool whose daemon does not run, kept, to be damaged, put back, and compared. What goes wrong fails
 * the running test. Owned by the test.
 */
#ifndef TESTS_SUPPORT_POOL_COPY_H
#define TESTS_SUPPORT_POOL_COPY_H

#include <stdint.h>

#include "tests/support/daemon_fixture.h"

#define POOL_COPY_OBJECT_MAX (512 * 1024)

struct object_copy {
	uint8_t bytes[POOL_COPY_OBJECT_MAX];
	uint64_t size;
};

struct pool_copy {
	struct object_copy segment, view, state;
};

void pool_copy_keep(struct pool_copy *copy, const struct daemon_fixture *daemon);
void pool_copy_put_back(const struct pool_copy *copy, const struct daemon_fixture *daemon);

/* Fails unless all is as it was, but the number of the process that served last. */
void pool_copy_expect_same(const struct pool_copy *copy, const struct daemon_fixture *daemon);

/* One object alone: "", ".view" or ".state". */
void object_copy_keep(struct object_copy *copy, const struct daemon_fixture *daemon, const char *suffix);
void object_copy_put_back(const struct object_copy *copy, const struct daemon_fixture *daemon, const char *suffix);

#endif
