/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 as RFC 3629 has it: no overlong form, no surrogate, nothing over U+10FFFF. Lengths in bytes; a NUL byte is the
 * character U+0000 and ends nothing. No state: any thread.
 */
#ifndef SHARED_UTF8_H
#define SHARED_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The character at the start of `bytes`. Returns how many bytes it has, 1 to 4, or 0, leaving `*out_character` alone,
 * where `length` is 0 or no valid character starts there (one cut off by `length` is not valid).
 */
size_t utf8_next(const char *bytes, size_t length, uint32_t *out_character);

/* Whether all of it is valid; nothing at all is. `bytes` may be NULL where `length` is 0. */
bool utf8_is_valid(const char *bytes, size_t length);

#endif
