/* SPDX-License-Identifier: Apache-2.0 */
/* Which strings may be names: see name.h. */
#include "name.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "utf8.h"

/* The C0 and C1 sets and DEL: they could move a terminal's cursor or break a listing's line. */
static bool is_control(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character <= 0x9f);
}

static bool is_printable(const char *bytes, size_t length)
{
	while (length > 0) {
		uint32_t character;
		size_t size = utf8_next(bytes, length, &character);

		if (size == 0 || is_control(character))
			return false;
		bytes += size;
		length -= size;
	}
	return true;
}

int name_check(const char *bytes, size_t length)
{
	if (length == 0 || length > NAME_LENGTH_MAX)
		return -EINVAL;
	if (length >= 2 && bytes[0] == '/' && bytes[1] == '/')
		return -EINVAL;
	return is_printable(bytes, length) ? 0 : -EINVAL;
}

int tag_check(const char *bytes, size_t length)
{
	return length <= TAG_LENGTH_MAX && is_printable(bytes, length) ? 0 : -EINVAL;
}

int program_check(const char *bytes, size_t length)
{
	return length <= PROGRAM_LENGTH_MAX && is_printable(bytes, length) ? 0 : -EINVAL;
}

/* Of ASCII, whatever the locale. */
static bool is_alphanumeric(char character)
{
	return (character >= '0' && character <= '9') || (character >= 'A' && character <= 'Z') ||
	       (character >= 'a' && character <= 'z');
}

int pool_name_check(const char *bytes, size_t length)
{
	if (length == 0 || length > POOL_NAME_LENGTH_MAX || !is_alphanumeric(bytes[0]))
		return -EINVAL;
	for (size_t i = 1; i < length; i++) {
		if (!is_alphanumeric(bytes[i]) && bytes[i] != '_' && bytes[i] != '-')
			return -EINVAL;
	}
	return 0;
}

size_t name_clean(const char *bytes, size_t length, size_t capacity, char *out_text)
{
	size_t used = 0;

	while (length > 0) {
		uint32_t character;
		size_t size = utf8_next(bytes, length, &character);
		bool good = size > 0 && !is_control(character);
		size_t taken = size > 0 ? size : 1;
		size_t written = good ? size : 1;

		if (used + written >= capacity)
			break;
		for (size_t i = 0; i < written; i++)
			out_text[used++] = (char)(good ? bytes[i] : '?');
		bytes += taken;
		length -= taken;
	}
	out_text[used] = '\0';
	return used;
}
