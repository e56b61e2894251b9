/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which strings may be names. The daemon checks what clients send, the library what programs pass. Strings come with their
 * length and need no NUL; `bytes` may be NULL where `length` is 0. Printable here means valid UTF-8 without control
 * characters (U+0000 to U+001F, U+007F to U+009F). All checks return 0 or -EINVAL. No state: any thread.
 */
#ifndef SHARED_NAME_H
#define SHARED_NAME_H

#include <stddef.h>

/* Longest of each in bytes, without the final NUL: SHMB_NAME_MAX, SHMB_TAG_MAX, SHMB_POOL_NAME_MAX, SHMB_PROGRAM_MAX. */
#define NAME_LENGTH_MAX 255
#define TAG_LENGTH_MAX 15
#define POOL_NAME_LENGTH_MAX 63
#define PROGRAM_LENGTH_MAX 63

/* A block's name: 1 to NAME_LENGTH_MAX printable bytes that do not start with "//", which is kept free for a host part. */
int name_check(const char *bytes, size_t length);

/* A block's label: at most TAG_LENGTH_MAX printable bytes; may be empty. */
int tag_check(const char *bytes, size_t length);

/* A pool's name, part of the names of its shared objects: 1 to POOL_NAME_LENGTH_MAX of [A-Za-z0-9_-], the first one a
 * letter or a digit. */
int pool_name_check(const char *bytes, size_t length);

/* A program's name: at most PROGRAM_LENGTH_MAX printable bytes; may be empty. */
int program_check(const char *bytes, size_t length);

/*
 * Makes any bytes printable: what is not becomes '?', one for each invalid byte or control character. What does not fit
 * `capacity` (at least 1) bytes with the final NUL is cut off before the character that is too much.
 * Returns the length without the NUL.
 */
size_t name_clean(const char *bytes, size_t length, size_t capacity, char *out_text);

#endif
