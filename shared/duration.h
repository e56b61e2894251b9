/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of time from text, and as text. Independent of the locale; integers only. No state: any thread. */
#ifndef SHARED_DURATION_H
#define SHARED_DURATION_H

#include <errno.h>
#include <stdint.h>

/* Room for any result of duration_format, the NUL included. */
#define DURATION_TEXT_MAX 24

/*
 * Reads "500ms", "2s", "1m", "12h": digits, then one of ms, s, m, h. A bare number has no unit and is refused, except 0. No sign, no
 * blanks, no fraction. -EINVAL: anything else. -ERANGE: more milliseconds than 64 bits hold.
 */
int duration_parse(const char *text, uint64_t *out_ms);

/* Writes it in the largest unit that it is a whole number of: "500ms", "2s", "90s", "1m"; "0s". What it writes can be read. */
void duration_format(uint64_t ms, char out_text[DURATION_TEXT_MAX]);

#endif
