/* SPDX-License-Identifier: Apache-2.0 */
/* How long ago something was, for people. No state: any thread. */
#ifndef CLI_AGE_H
#define CLI_AGE_H

#include <stdint.h>

/* Room for any result of age_format, the NUL included. */
#define AGE_TEXT_MAX 24

/* From `then_ns` to `now_ns`, in nanoseconds; 0 where the clock was set back in between. */
uint64_t age_between(uint64_t then_ns, uint64_t now_ns);

/* The two largest units: "0s", "59s", "3m12s", "2h05m", "41d07h". Cut off, not rounded. */
void age_format(uint64_t age_ns, char out_text[AGE_TEXT_MAX]);

/* How long it is until something happens: the same, and in milliseconds, "450ms", where it is less than a second. */
void age_format_left(uint64_t left_ms, char out_text[AGE_TEXT_MAX]);

#endif
