/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of names: FNV-1a, 64 bits. The name index in shared memory is laid out by it, so its value never changes within
 * one version of that layout. It has no key: whoever may publish can make names collide, so whatever walks the index bounds
 * its walk, and the daemon has an index of its own (names.h). No state: any thread.
 */
#ifndef SHARED_HASH_H
#define SHARED_HASH_H

#include <stddef.h>
#include <stdint.h>

/* The hash of `length` bytes; `bytes` may be NULL where `length` is 0. All 64 bits are equally good, the lowest too. */
uint64_t hash_of(const void *bytes, size_t length);

#endif
