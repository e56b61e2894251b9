/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call writes to standard output or standard error, as text. Needs cmocka's headers before it; between begin and end
 * there must be no assertion, whose words would be captured as well.
 */
#ifndef TESTS_CAPTURED_H
#define TESTS_CAPTURED_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct captured {
	FILE *stream;
	int before, file;
	char text[8192];
};

static inline void captured_begin(struct captured *captured, FILE *stream)
{
	captured->stream = stream;
	fflush(stream);
	captured->before = dup(fileno(stream));
	captured->file = memfd_create("captured", MFD_CLOEXEC);
	assert_true(captured->before >= 0 && captured->file >= 0);
	dup2(captured->file, fileno(stream));
}

static inline void captured_end(struct captured *captured)
{
	fflush(captured->stream);
	dup2(captured->before, fileno(captured->stream));
	close(captured->before);
	ssize_t length = pread(captured->file, captured->text, sizeof captured->text - 1, 0);
	captured->text[length > 0 ? length : 0] = '\0';
	close(captured->file);
}

#endif
