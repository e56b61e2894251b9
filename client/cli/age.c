/* SPDX-License-Identifier: Apache-2.0 */
#include "age.h"

#include <inttypes.h>
#include <stdio.h>

#include "duration.h"

uint64_t age_between(uint64_t then_ns, uint64_t now_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

void age_format(uint64_t age_ns, char out_text[AGE_TEXT_MAX])
{
	uint64_t seconds = age_ns / UINT64_C(1000000000);
	uint64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;

	if (minutes == 0)
		snprintf(out_text, AGE_TEXT_MAX, "%" PRIu64 "s", seconds);
	else if (hours == 0)
		snprintf(out_text, AGE_TEXT_MAX, "%" PRIu64 "m%02" PRIu64 "s", minutes, seconds % 60);
	else if (days == 0)
		snprintf(out_text, AGE_TEXT_MAX, "%" PRIu64 "h%02" PRIu64 "m", hours, minutes % 60);
	else
		snprintf(out_text, AGE_TEXT_MAX, "%" PRIu64 "d%02" PRIu64 "h", days, hours % 24);
}

void age_format_left(uint64_t left_ms, char out_text[AGE_TEXT_MAX])
{
	_Static_assert(AGE_TEXT_MAX >= DURATION_TEXT_MAX, "duration_format needs its room");

	if (left_ms > 0 && left_ms < 1000)
		duration_format(left_ms, out_text);
	else
		age_format(left_ms * UINT64_C(1000000), out_text);
}
