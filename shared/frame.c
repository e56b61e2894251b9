/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: see frame.h. Lengths are put together byte by byte, so neither alignment nor byte order of the machine matters. */
#include "frame.h"

#include <errno.h>

int frame_peek(const uint8_t *bytes, size_t length, uint32_t max, const uint8_t **out_payload, uint32_t *out_size)
{
	uint32_t size;

	if (length < FRAME_HEADER)
		return 0;
	size = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
	if (size == 0)
		return -EPROTO;
	if (size > max)
		return -EMSGSIZE;
	if (length - FRAME_HEADER < size)
		return 0;
	*out_payload = bytes + FRAME_HEADER;
	*out_size = size;
	return 1;
}

void frame_put_header(uint32_t size, uint8_t *out_header)
{
	out_header[0] = (uint8_t)size;
	out_header[1] = (uint8_t)(size >> 8);
	out_header[2] = (uint8_t)(size >> 16);
	out_header[3] = (uint8_t)(size >> 24);
}
