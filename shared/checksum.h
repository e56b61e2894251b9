/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli; polynomial 0x1EDC6F41, reflected, all ones in and inverted out, as in RFC 3720). It tells a record
 * that was stored whole from one that was not. The value is part of the layout of the shared objects. One byte and more of
 * zeros has no checksum of 0, so fresh memory is no valid record (x has order 2^31 - 1 modulo this polynomial). Any thread.
 */
#ifndef SHARED_CHECKSUM_H
#define SHARED_CHECKSUM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t checksum_function(const void *bytes, size_t length);

/* The one in use. It starts as one that asks the processor and then puts the fastest here. Called only by checksum_of. */
extern checksum_function *_Atomic checksum_implementation;

/* The checksum of `length` bytes at any alignment; `bytes` may be NULL where `length` is 0. */
static inline uint32_t checksum_of(const void *bytes, size_t length)
{
	/* Every value that can ever be here gives the same results, so which one a thread sees does not matter. */
	return atomic_load_explicit(&checksum_implementation, memory_order_relaxed)(bytes, length);
}

/* The fastest function for a processor with or without the crc32 instruction of SSE4.2; for the tests, which compare. */
checksum_function *checksum_choose(bool has_instruction);

#endif
