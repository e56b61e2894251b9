/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes from text and to text, by integers alone: nothing is lost above 2^53 and no locale has a say. */
#include "size.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

static const char suffixes[] = "KMGTP"; /* the n-th, from 1, means 1024^n */

static bool is_digit(char character)
{
	return character >= '0' && character <= '9';
}

/* The logarithm to base 2 of what a suffix stands for; 0: no suffix. */
static unsigned suffix_shift(char character)
{
	if (character >= 'a' && character <= 'z')
		character = (char)(character - 'a' + 'A');
	for (unsigned i = 0; suffixes[i]; i++) {
		if (suffixes[i] == character)
			return (i + 1) * 10;
	}
	return 0;
}

/* The whole part of numerator / denominator * 2^shift, where numerator < denominator <= 10^18: a bit at a time. */
static uint64_t scale_fraction(uint64_t numerator, uint64_t denominator, unsigned shift)
{
	uint64_t result = 0;

	for (; shift > 0; shift--) {
		numerator *= 2;
		result *= 2;
		if (numerator >= denominator) {
			numerator -= denominator;
			result++;
		}
	}
	return result;
}

int size_parse(const char *text, uint64_t *out_bytes)
{
	uint64_t whole = 0, numerator = 0, denominator = 1, bytes;
	bool over = false; /* said only once the text is known to be well formed */
	unsigned shift;

	if (!is_digit(*text))
		return -EINVAL;
	for (; is_digit(*text); text++) {
		over |= __builtin_mul_overflow(whole, 10, &whole);
		over |= __builtin_add_overflow(whole, (uint64_t)(*text - '0'), &whole);
	}
	if (*text == '.') {
		unsigned digits = 0;

		for (text++; is_digit(*text); text++, digits++) {
			if (digits == SIZE_FRACTION_DIGITS_MAX)
				return -EINVAL;
			numerator = numerator * 10 + (uint64_t)(*text - '0');
			denominator *= 10;
		}
		if (digits == 0 || suffix_shift(*text) == 0)
			return -EINVAL;
	}
	shift = suffix_shift(*text);
	if (shift > 0) {
		text++;
		if (text[0] == 'i' && text[1] == 'B')
			text += 2;
		else if (text[0] == 'B')
			text++;
	}
	if (*text != '\0')
		return -EINVAL;
	over |= __builtin_mul_overflow(whole, UINT64_C(1) << shift, &bytes);
	/* The fraction is below 2^shift, and `bytes` a multiple of that: their sum needs no check. */
	if (over)
		return -ERANGE;
	*out_bytes = bytes + scale_fraction(numerator, denominator, shift);
	return 0;
}

void size_format(uint64_t bytes, char out_text[SIZE_TEXT_MAX])
{
	char digits[20]; /* as many as UINT64_MAX has */
	size_t count = 0, length = 0;
	uint64_t whole = bytes, tenth = 0;
	unsigned step = 0; /* of suffixes: 0 is none */

	while (step < sizeof(suffixes) - 1 && whole >= 1024) {
		uint64_t rest, half;

		step++;
		half = UINT64_C(1) << (step * 10 - 1);
		whole = bytes >> (step * 10);
		rest = bytes & (half * 2 - 1);
		tenth = (rest * 10 + half) >> (step * 10); /* rest < 2^50: no overflow */
		if (tenth == 10) {                         /* to 1024 at most, which the next suffix takes */
			tenth = 0;
			whole++;
		}
	}
	do {
		digits[count++] = (char)('0' + whole % 10);
		whole /= 10;
	} while (whole > 0);
	while (count > 0)
		out_text[length++] = digits[--count];
	if (tenth > 0) {
		out_text[length++] = '.';
		out_text[length++] = (char)('0' + tenth);
	}
	if (step > 0)
		out_text[length++] = suffixes[step - 1];
	out_text[length] = '\0';
}

void size_format_exact(uint64_t bytes, char out_text[SIZE_EXACT_MAX])
{
	uint64_t read;
	unsigned step = 0; /* of suffixes: 0 is none */

	size_format(bytes, out_text);
	if (size_parse(out_text, &read) == 0 && read == bytes)
		return;
	for (; bytes % 1024 == 0; bytes /= 1024)
		step++;
	snprintf(out_text, SIZE_EXACT_MAX, "%" PRIu64 "%.1s", bytes, step > 0 ? &suffixes[step - 1] : "");
}
