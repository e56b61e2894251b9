/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 3629, section 4. A first byte says how many follow and what the character's smallest value is; a smaller one was
 * written longer than needed.
 */
#include "utf8.h"

size_t utf8_next(const char *bytes, size_t length, uint32_t *out_character)
{
	uint32_t character, least;
	uint8_t first;
	size_t size;

	if (length == 0)
		return 0;
	first = (uint8_t)bytes[0];
	if (first < 0x80) {
		*out_character = first;
		return 1;
	}
	if (first >= 0xc0 && first < 0xe0) {
		size = 2;
		character = first & 0x1f;
		least = 0x80;
	} else if (first >= 0xe0 && first < 0xf0) {
		size = 3;
		character = first & 0x0f;
		least = 0x800;
	} else if (first >= 0xf0 && first < 0xf8) {
		size = 4;
		character = first & 0x07;
		least = 0x10000;
	} else {
		return 0; /* in the middle of a character, or never in UTF-8 */
	}
	if (length < size)
		return 0;
	for (size_t i = 1; i < size; i++) {
		uint8_t next = (uint8_t)bytes[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (next & 0x3f);
	}
	if (character < least || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
		return 0;
	*out_character = character;
	return size;
}

bool utf8_is_valid(const char *bytes, size_t length)
{
	while (length > 0) {
		uint32_t character;
		size_t size = utf8_next(bytes, length, &character);

		if (size == 0)
			return false;
		bytes += size;
		length -= size;
	}
	return true;
}
