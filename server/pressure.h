/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How full a pool is: two thresholds, each crossed upwards at its mark and downwards a little below it, so that a pool that breathes at a
 * mark does not tell of it with each breath. Pure. Loop thread only.
 */
#ifndef SERVER_PRESSURE_H
#define SERVER_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

/* Parts of the pool in percent, unless the operator says otherwise. */
#define PRESSURE_DEFAULT_LOW 80
#define PRESSURE_DEFAULT_HIGH 95

/* As on the wire. */
enum pressure_level {
	PRESSURE_NONE = 0,
	PRESSURE_LOW = 1,
	PRESSURE_HIGH = 2,
	PRESSURE_KERNEL = 3, /* never a level of the pool: the kernel has refused memory */
};

struct pressure {
	uint64_t up[2], down[2]; /* bytes: LOW and HIGH begin at `up`, and end below `down` */
	enum pressure_level level;
};

/* For a pool of `size` bytes, in percent: 1 <= low < high <= 100. It is empty. */
void pressure_init(struct pressure *pressure, uint64_t size, unsigned low, unsigned high);

/* So many bytes are used now. True: the level is another one than before. */
bool pressure_update(struct pressure *pressure, uint64_t used);

/* "LOW,HIGH", in percent, such as "80,95". -EINVAL: not that, or not in order, or not from 1 to 100. */
int pressure_parse(const char *text, unsigned *out_low, unsigned *out_high);

#endif
