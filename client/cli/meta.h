/* SPDX-License-Identifier: Apache-2.0 */
/* A block's metadata on the command line: given with --meta, and shown. One thread. */
#ifndef CLI_META_H
#define CLI_META_H

#include <stddef.h>
#include <stdint.h>

#include "shmbuddy.h"

struct meta {
	uint8_t bytes[SHMB_METADATA_MAX];
	size_t size; /* 0: none */
};

/* Reads TEXT, or, with @FILE, what stands in the file. Returns an exit status, having reported what is wrong with it. */
int meta_read(const char *verb, const char *argument, struct meta *out_meta);

/* Two hexadecimal digits a byte. */
#define META_HEX_MAX (2 * SHMB_METADATA_MAX + 1)
void meta_hex(const struct meta *meta, char out_text[META_HEX_MAX]);

/* Prints it in lines of 16 bytes, in hexadecimal and as text, where what is not ASCII and printable is '.'; below the heading. */
void meta_print(const struct meta *meta, const char *heading);

#endif
