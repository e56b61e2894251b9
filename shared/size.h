/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes in bytes: read from text, written as text, and the arithmetic of powers of two. Suffixes are powers of 1024.
 * Independent of the locale; integers only. No state: any thread.
 */
#ifndef SHARED_SIZE_H
#define SHARED_SIZE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Room for any result of size_format, the NUL included. The longest is "1023.9K". */
#define SIZE_TEXT_MAX 16

/* Digits that a fraction may have: ten to this power, doubled, still fits 64 bits. */
#define SIZE_FRACTION_DIGITS_MAX 18

/*
 * Reads "10", "64K", "1.5G", "4KiB", "2MB": digits, then one of K M G T P in either case, then nothing, "B" or "iB" (in
 * this case only; both mean powers of 1024). A fraction needs a suffix and a digit on either side of its point; what it
 * leaves below a whole byte is dropped, exactly: "1.1K" is 1126. No sign, no blanks.
 * -EINVAL: anything else, or more than SIZE_FRACTION_DIGITS_MAX digits behind the point. -ERANGE: over UINT64_MAX.
 */
int size_parse(const char *text, uint64_t *out_bytes);

/*
 * Writes a size for people: "0", "1023", "64K", "1.5G", "9.8M". At most one decimal, rounded to the nearest (a half
 * upwards), and no ".0"; the number is below 1024, except with P, the largest suffix, where it goes up to 16384.
 */
void size_format(uint64_t bytes, char out_text[SIZE_TEXT_MAX]);

/* Room for any result of size_format_exact, the NUL included. */
#define SIZE_EXACT_MAX 24

/* The same, but never rounded: "1088K" or "1048577", where that would be "1.1M" or "1M". For limits, and for what is typed in. */
void size_format_exact(uint64_t bytes, char out_text[SIZE_EXACT_MAX]);

/* 1, 2, 4 and so on; 0 is none. */
static inline bool size_is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* The smallest order whose 2^order units hold `units`: the base-2 logarithm, rounded up. 0 for 0 and 1; 64 over 2^63. */
static inline unsigned size_order_for(uint64_t units)
{
	return units <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(units - 1);
}

/* Rounds up to a multiple of `power_of_two`, which must be one. -ERANGE where that is over UINT64_MAX. */
static inline int size_round_up(uint64_t value, uint64_t power_of_two, uint64_t *out_rounded)
{
	uint64_t sum;

	if (__builtin_add_overflow(value, power_of_two - 1, &sum))
		return -ERANGE;
	*out_rounded = sum & ~(power_of_two - 1);
	return 0;
}

#endif
