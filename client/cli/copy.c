/* SPDX-License-Identifier: Apache-2.0 */
#include "copy.h"

#include <errno.h>
#include <unistd.h>

#include "utf8.h"

static size_t piece(size_t left)
{
	return left < COPY_PIECE ? left : COPY_PIECE;
}

int copy_read(int fd, void *memory, size_t size, struct progress *progress, size_t *out_done)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = read(fd, (char *)memory + done, piece(size - done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
		progress_add(progress, (uint64_t)got);
	}
	*out_done = done;
	return 0;
}

int copy_at_end(int fd)
{
	char byte;
	ssize_t got;

	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return got == 0;
}

int copy_write(int fd, const void *memory, size_t size, struct progress *progress)
{
	size_t done = 0;

	while (done < size) {
		ssize_t put = write(fd, (const char *)memory + done, piece(size - done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		done += (size_t)put;
		progress_add(progress, (uint64_t)put);
	}
	return 0;
}

bool copy_is_text(const void *memory, size_t size)
{
	const char *at = memory, *end = at + size;

	while (at < end) {
		uint32_t character;
		size_t length = utf8_next(at, (size_t)(end - at), &character);

		if (length == 0)
			return false;
		if (character < 0x20 && character != '\n' && character != '\t' && character != '\r')
			return false;
		if (character >= 0x7f && character <= 0x9f) /* DEL and the C1 controls */
			return false;
		at += length;
	}
	return true;
}
