/* SPDX-License-Identifier: Apache-2.0 */
/* How full a pool is: see pressure.h. */
#include "pressure.h"

#include <errno.h>

/* How far below its mark a level ends, in percent of the pool; at most half of the mark. */
#define GAP_PERCENT 5

static uint64_t percent(uint64_t size, unsigned part)
{
	return size / 100 * part + size % 100 * part / 100;
}

static void set_mark(struct pressure *pressure, unsigned which, uint64_t size, unsigned part)
{
	uint64_t up = percent(size, part), gap = percent(size, GAP_PERCENT);

	pressure->up[which] = up ? up : 1; /* an empty pool is under no pressure */
	pressure->down[which] = pressure->up[which] - (gap < up / 2 ? gap : up / 2);
}

void pressure_init(struct pressure *pressure, uint64_t size, unsigned low, unsigned high)
{
	pressure->level = PRESSURE_NONE;
	set_mark(pressure, 0, size, low);
	set_mark(pressure, 1, size, high);
}

bool pressure_update(struct pressure *pressure, uint64_t used)
{
	unsigned level = pressure->level, before = level;

	while (level < 2 && used >= pressure->up[level])
		level++;
	while (level > 0 && used < pressure->down[level - 1])
		level--;
	pressure->level = (enum pressure_level)level;
	return level != before;
}

/* Up to three digits. */
static const char *parse_percent(const char *text, unsigned *out_percent)
{
	const char *start = text;

	for (*out_percent = 0; *text >= '0' && *text <= '9' && text - start < 3; text++)
		*out_percent = *out_percent * 10 + (unsigned)(*text - '0');
	return text;
}

int pressure_parse(const char *text, unsigned *out_low, unsigned *out_high)
{
	unsigned low, high;

	text = parse_percent(text, &low);
	if (*text++ != ',')
		return -EINVAL;
	text = parse_percent(text, &high);
	if (*text || low < 1 || low >= high || high > 100)
		return -EINVAL;
	*out_low = low;
	*out_high = high;
	return 0;
}
