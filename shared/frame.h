/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on the socket: a 32-bit little-endian length, itself excluded and never 0, and that many bytes of payload.
 * Works on bytes that the caller owns, without copying and without state: any thread.
 */
#ifndef SHARED_FRAME_H
#define SHARED_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the length in front of a payload. */
#define FRAME_HEADER 4

/* Longest payload in bytes before hello is answered, and after. The reply to hello may have FRAME_MAX. */
#define FRAME_MAX_BEFORE_HELLO 4096
#define FRAME_MAX (1u << 20)

/*
 * Is a whole frame at the start of `bytes`? `max` is the longest payload that is taken.
 *   1           yes: `*out_payload` points into `bytes`, `*out_size` is its length; the frame takes FRAME_HEADER + size
 *   0           not yet: come back with more bytes
 *   -EPROTO     its length is 0
 *   -EMSGSIZE   its length is over `max`; said as soon as the header is there
 * After an error the stream has no frames any more: the connection must end. `bytes` may be NULL where `length` is 0.
 */
int frame_peek(const uint8_t *bytes, size_t length, uint32_t max, const uint8_t **out_payload, uint32_t *out_size);

/* Writes the FRAME_HEADER bytes that go before a payload of `size` bytes, 1 to FRAME_MAX. */
void frame_put_header(uint32_t size, uint8_t *out_header);

#endif
