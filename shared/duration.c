/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of time from text, and as text: see duration.h. */
#include "duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	uint64_t ms;
} units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
#define UNITS (sizeof units / sizeof units[0])

int duration_parse(const char *text, uint64_t *out_ms)
{
	uint64_t number = 0;
	int over = 0; /* said only once the text is known to be well formed */

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		over |= __builtin_mul_overflow(number, 10, &number);
		over |= __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number);
	}
	if (*text == '\0' && number == 0 && !over) {
		*out_ms = 0;
		return 0;
	}
	for (size_t i = 0; i < UNITS; i++) {
		if (strcmp(text, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(number, units[i].ms, &number) || over)
			return -ERANGE;
		*out_ms = number;
		return 0;
	}
	return -EINVAL;
}

void duration_format(uint64_t ms, char out_text[DURATION_TEXT_MAX])
{
	size_t i = 0;

	if (ms == 0)
		i = 2; /* seconds */
	while (ms % units[i].ms)
		i++;
	snprintf(out_text, DURATION_TEXT_MAX, "%" PRIu64 "%s", ms / units[i].ms, units[i].name);
}
