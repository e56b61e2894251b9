/* SPDX-License-Identifier: Apache-2.0 */
/* The file that `put` reads, or standard input. Owned by whoever opened it; one thread. */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stdint.h>

struct input {
	int fd;
	const char *name; /* for messages: the path, or "standard input" */
};

/* `path` must outlive it; "-" is standard input. Negative errno. */
int input_open(const char *path, struct input *out_input);

/*
 * How many bytes are to come: 1 and the number, over 0, for a regular file; 0 where nobody knows before the end, as with pipes,
 * terminals and files of /proc (they claim to be empty); or a negative errno, -EISDIR for a directory.
 */
int input_length(const struct input *input, uint64_t *out_bytes);

/* Leaves standard input open. */
void input_close(struct input *input);

#endif
