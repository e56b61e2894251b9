/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that `get` writes: a regular one appears under its name only when it is complete, everything else is written to
 * directly. One at a time in the program, because a signal has to find it; one thread.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

struct output {
	int fd;          /* to write to */
	char *path;      /* where it goes in the end; NULL: written to directly */
	char *temporary; /* what it is called until then; NULL as above */
};

#define OUTPUT_INIT                                                                                                         \
	{                                                                                                                       \
		-1, NULL, NULL                                                                                                      \
	}

/*
 * Opens what `path` stands for. A device, a pipe or a socket is opened as it is. Otherwise a temporary file is made in the same
 * directory (in that of the file a symbolic link leads to), and the signals by which programs are ended from outside remove it first.
 * Negative errno; -EISDIR for a directory.
 */
int output_open(const char *path, struct output *out_output);

/* The file is complete: closes it and gives it its name. On failure nothing is left. Negative errno. */
int output_finish(struct output *output);

/* Closes it and removes what there is of it. Fine after any failure, and after output_finish. */
void output_discard(struct output *output);

#endif
