/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes between a descriptor and memory, piece by piece, with progress. The memory is the block itself, so each byte is copied
 * once, by the kernel. Interrupted calls are taken up again. Any thread, one copy at a time for each progress.
 */
#ifndef CLI_COPY_H
#define CLI_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "progress.h"

/* Bytes in one system call: few enough that progress moves, many enough that the call costs nothing. */
#define COPY_PIECE ((size_t)4 << 20)

/*
 * Reads until `size` bytes have come or the input ends. 0, with how many came, or the negative errno of read(2).
 */
int copy_read(int fd, void *memory, size_t size, struct progress *progress, size_t *out_done);

/* Whether the input is at its end: 1 yes, 0 no (a byte has been taken out of it), or a negative errno. */
int copy_at_end(int fd);

/* Writes all of it. 0 or the negative errno of write(2). */
int copy_write(int fd, const void *memory, size_t size, struct progress *progress);

/* Whether a terminal may see it: UTF-8 without control characters, line ends and tabs aside. */
bool copy_is_text(const void *memory, size_t size);

#endif
