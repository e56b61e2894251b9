/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of the segment are backed by memory of the kernel: a bitmap in the pool's state, one bit a page. A bit is set
 * after the page was committed and cleared before it is punched, so that a set bit is always true. Loop thread only.
 */
#ifndef SERVER_EXTENTS_H
#define SERVER_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

struct shared_object;

struct extents {
	const struct shared_object *state;
	uint64_t at;    /* where the bitmap starts, bytes */
	uint64_t pages; /* of the segment */
	_Atomic uint64_t *words;
	uint8_t *word_pages; /* per page of the bitmap: is it committed itself? */
	uint64_t committed;  /* pages whose bit is set */
};

/* Bytes that the bitmap of a segment takes, whole pages. */
uint64_t extents_footprint(uint64_t segment_pages);

int extents_init(struct extents *extents, const struct shared_object *state, uint64_t at, uint64_t segment_pages);
void extents_deinit(struct extents *extents);

/* The first run of pages in [from, end) that are not committed. False: all are. */
bool extents_next_gap(const struct extents *extents, uint64_t from, uint64_t end, uint64_t *out_from, uint64_t *out_end);

/* Has the kernel back the bitmap itself for [from, end), so that marking cannot fail. -ENOSPC, -ENOMEM. */
int extents_prepare(struct extents *extents, uint64_t from, uint64_t end);

/* Finds out which pages of a former daemon's bitmap are there, and counts the bits. -errno. */
int extents_recover(struct extents *extents);

/* Sets, or clears, the bits of [from, end). To set, prepare first; to clear, nothing is needed. */
void extents_mark(struct extents *extents, uint64_t from, uint64_t end, bool committed);

#endif
