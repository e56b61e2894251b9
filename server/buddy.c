/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary buddy system: K. C. Knowlton, "A fast storage allocator", CACM 8(10), 1965; D. E. Knuth,
 * The Art of Computer Programming, vol. 1, section 2.5, algorithms R (reserve) and S (free).
 *
 * Idea. A block of order k is 2^k units and starts at a multiple of 2^k. Halved, it gives two buddies
 * of order k-1, whose offsets differ in one bit. To allocate, take a free block of the smallest order
 * that is large enough and halve it, keeping the left half, until it fits; the right halves stay free.
 * To release, look whether the buddy is free as a whole; if so the two become one block of the next
 * order, and so on upwards. An arena that is not a power of two starts as several blocks, one for each
 * bit of its size; a buddy that would lie beyond the end is simply never free.
 *
 * Knuth threads lists through the free blocks. We cannot: the daemon never maps what clients can
 * write, and a list has no lowest address. So the free blocks of each order are a bitmap of block
 * indexes with summary levels (bitmap.c), all outside the arena.
 *
 * The lowest block stands apart. Each order's lowest free block is a plain number in struct
 * buddy_order, and only the others are bits. This is what makes the allocator fast, because of how the
 * halves of a split are used: if order n is the smallest that serves a request of order k, then orders
 * k to n-1 are all empty, so each half that is left over is the only block of its order. Splitting thus
 * stores one number an order and never touches a bitmap; so does merging the same halves again. An
 * arena that was never fragmented writes to no bitmap at all.
 *
 * Any range can be released, because any range is a sequence of aligned blocks, at most two of each
 * order: from the left, each the largest that its start is aligned to and that still fits. Reserving
 * an exact range is the reverse: take each free block that covers a part, give back what sticks out.
 *
 * Invariants, checked by buddy_is_valid():
 *   1. Free blocks do not overlap and lie within the arena.
 *   2. No two buddies are both free: they would be one block. Together with 1 this makes the set of
 *      free blocks a function of the set of free units alone, whatever the history.
 *   3. In each order: the bitmap holds `others` bits, all above lowest, and its summaries agree; an
 *      order with no free block has lowest BUDDY_NONE, no others, and its bit in `orders` is clear.
 *   4. free_units is the sum over the free blocks.
 *
 * Cost. Allocating finds the order with one count-trailing-zeros over `orders`, replaces one lowest
 * block out of its bitmap (if it has others), and stores one number an order split. Releasing looks at
 * one number an order merged, and at a bitmap where the order has several blocks; a bitmap that changes
 * costs one word, and one more for each summary that becomes empty or stops being so. A hard case is
 * single units scattered over a large arena, where each release merges through nearly all orders:
 * counted over 300 pairs among 2,000 of them in 2^34 units, allocating touched up to 10 cache lines,
 * releasing up to 108, and 82 on average.
 * The bitmaps lie in memory by level, topmost level first, and within a level from the highest order
 * down: so all summaries but the lowest, and all bitmaps of high orders, share a few pages.
 * Memory: 2 bits a unit, and 1/63 more for the summaries; a page is touched when a bit in it is.
 */
#include "buddy.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

_Static_assert(BUDDY_UNITS_MAX <= BITMAP_BITS_MAX, "one bitmap must hold a bit for each unit");

static uint64_t bit_of(unsigned order)
{
	return UINT64_C(1) << order;
}

/* Largest order whose blocks are not longer than `units`. */
static unsigned order_within(uint64_t units)
{
	return 63u - (unsigned)__builtin_clzll(units);
}

/* Smallest order whose blocks are not shorter than `units`, which is at most 2^62. */
static unsigned order_holding(uint64_t units)
{
	return units == 1 ? 0 : order_within(units - 1) + 1;
}

/* Whether the range lies in the arena; written so that nothing overflows. */
static bool is_inside(const struct buddy *buddy, uint64_t offset, uint64_t units)
{
	return offset <= buddy->units && units <= buddy->units - offset;
}

/* Places every level of every order's bitmap one after the other, and returns the words they take.
 * Without `memory` it only adds up. */
static uint64_t lay_out(struct bitmap *rest, uint64_t *memory, uint64_t units)
{
	uint64_t at = 0;

	for (unsigned level = BITMAP_LEVELS; level-- > 0;) {
		for (unsigned order = order_within(units) + 1; order-- > 0;) {
			uint64_t words = bitmap_words(units >> order, level);

			if (memory && words > 0)
				bitmap_attach(&rest[order], level, memory + at);
			at += words;
		}
	}
	return at;
}

uint64_t buddy_footprint(uint64_t units)
{
	if (units == 0 || units > BUDDY_UNITS_MAX)
		return 0;
	return lay_out(NULL, NULL, units) * sizeof(uint64_t);
}

int buddy_init(struct buddy *buddy, void *memory, uint64_t units)
{
	if (units == 0 || units > BUDDY_UNITS_MAX)
		return -EINVAL;
	if (!memory || (uintptr_t)memory % sizeof(uint64_t) != 0)
		return -EINVAL;

	*buddy = (struct buddy){.units = units};
	for (unsigned order = 0; order < BUDDY_ORDERS; order++)
		buddy->order[order].lowest = BUDDY_NONE;
	for (unsigned order = 0; order <= order_within(units); order++)
		bitmap_init(&buddy->rest[order], units >> order);
	lay_out(buddy->rest, memory, units);
	buddy_release(buddy, 0, units);
	return 0;
}

static bool is_free_block(const struct buddy *buddy, unsigned order, uint64_t index)
{
	const struct buddy_order *o = &buddy->order[order];

	if (index <= o->lowest)
		return index == o->lowest;
	return o->others > 0 && bitmap_test(&buddy->rest[order], index);
}

/* Adds a block that is not free. It is not merged. */
static void insert(struct buddy *buddy, unsigned order, uint64_t index)
{
	struct buddy_order *o = &buddy->order[order];

	if (o->lowest == BUDDY_NONE) {
		o->lowest = index;
		buddy->orders |= bit_of(order);
		return;
	}
	if (index < o->lowest) {
		uint64_t former = o->lowest;

		o->lowest = index;
		index = former;
	}
	bitmap_set(&buddy->rest[order], index);
	o->others++;
}

static void remove_lowest(struct buddy *buddy, unsigned order)
{
	struct buddy_order *o = &buddy->order[order];

	if (o->others == 0) {
		o->lowest = BUDDY_NONE;
		buddy->orders &= ~bit_of(order);
		return;
	}
	o->lowest = bitmap_pop(&buddy->rest[order]);
	o->others--;
}

static void remove_block(struct buddy *buddy, unsigned order, uint64_t index)
{
	struct buddy_order *o = &buddy->order[order];

	if (index == o->lowest) {
		remove_lowest(buddy, order);
		return;
	}
	bitmap_clear(&buddy->rest[order], index);
	o->others--;
}

int buddy_allocate(struct buddy *buddy, uint64_t units, uint64_t alignment_units, uint64_t *out_offset,
                   uint64_t *out_granted)
{
	if (units == 0 || alignment_units == 0 || (alignment_units & (alignment_units - 1)) != 0)
		return -EINVAL;
	if (units > buddy->units || alignment_units > buddy->units)
		return -ENOMEM;

	unsigned wanted = order_holding(units);
	unsigned aligned = order_within(alignment_units);
	unsigned least = aligned > wanted ? aligned : wanted;
	uint64_t serving = buddy->orders >> least << least;

	if (serving == 0)
		return -ENOMEM;

	unsigned order = (unsigned)__builtin_ctzll(serving);
	uint64_t index = buddy->order[order].lowest;

	remove_lowest(buddy, order);
	/* These orders are empty, or one of them would have served. */
	buddy->orders |= bit_of(order) - bit_of(least);
	while (order > least) {
		index *= 2;
		buddy->order[--order].lowest = index + 1;
	}
	while (order > wanted) {
		index *= 2;
		insert(buddy, --order, index + 1);
	}
	buddy->free_units -= bit_of(wanted);
	*out_offset = index << wanted;
	*out_granted = bit_of(wanted);
	return 0;
}

/* Makes one block free and merges it upwards. The walk ends at the latest in the highest order, whose
 * only block has no buddy. Buddies that are alone in their orders, as a split leaves them, are taken in
 * runs, and `orders` is written once for each run. */
static void release_block(struct buddy *buddy, unsigned order, uint64_t index)
{
	assert(!is_free_block(buddy, order, index));
	for (;;) {
		struct buddy_order *o = &buddy->order[order];
		unsigned first = order;

		for (; o->lowest == (index ^ 1) && o->others == 0; o++, order++) {
			o->lowest = BUDDY_NONE;
			index /= 2;
		}
		buddy->orders &= ~(bit_of(order) - bit_of(first));
		if (!is_free_block(buddy, order, index ^ 1))
			break;
		remove_block(buddy, order, index ^ 1);
		index /= 2;
		order++;
	}
	insert(buddy, order, index);
}

void buddy_release(struct buddy *buddy, uint64_t offset, uint64_t units)
{
	assert(is_inside(buddy, offset, units));
	assert(units <= buddy->units - buddy->free_units);
	buddy->free_units += units;
	while (units > 0) {
		unsigned order = order_within(units);

		if (offset != 0 && (unsigned)__builtin_ctzll(offset) < order)
			order = (unsigned)__builtin_ctzll(offset);
		release_block(buddy, order, offset >> order);
		offset += bit_of(order);
		units -= bit_of(order);
	}
}

/* Order of the free block in which `offset` lies, or BUDDY_ORDERS if that unit is taken. */
static unsigned order_covering(const struct buddy *buddy, uint64_t offset)
{
	for (uint64_t left = buddy->orders; left != 0; left &= left - 1) {
		unsigned order = (unsigned)__builtin_ctzll(left);

		if (is_free_block(buddy, order, offset >> order))
			return order;
	}
	return BUDDY_ORDERS;
}

int buddy_reserve(struct buddy *buddy, uint64_t offset, uint64_t units)
{
	if (units == 0 || !is_inside(buddy, offset, units))
		return -EINVAL;
	if (!buddy_is_free(buddy, offset, units))
		return -EBUSY;

	uint64_t end = offset + units;

	while (offset < end) {
		unsigned order = order_covering(buddy, offset);
		uint64_t start = offset >> order << order;
		uint64_t stop = start + bit_of(order);

		remove_block(buddy, order, start >> order);
		buddy->free_units -= bit_of(order);
		buddy_release(buddy, start, offset - start);
		if (stop > end)
			buddy_release(buddy, end, stop - end);
		offset = stop;
	}
	return 0;
}

uint64_t buddy_rounded(uint64_t units)
{
	return bit_of(order_holding(units));
}

int buddy_grow(struct buddy *buddy, uint64_t offset, uint64_t granted, uint64_t units, uint64_t *out_granted)
{
	if (units > BUDDY_UNITS_MAX)
		return -ENOMEM;

	uint64_t wanted = buddy_rounded(units);

	assert(wanted > granted);
	/* The left one of two buddies grows into the right one, and so on upwards. */
	if (offset % wanted != 0 || buddy_reserve(buddy, offset + granted, wanted - granted) < 0)
		return -ENOMEM;
	*out_granted = wanted;
	return 0;
}

uint64_t buddy_units(const struct buddy *buddy)
{
	return buddy->units;
}

uint64_t buddy_free_units(const struct buddy *buddy)
{
	return buddy->free_units;
}

uint64_t buddy_largest_free(const struct buddy *buddy)
{
	return buddy->orders == 0 ? 0 : bit_of(order_within(buddy->orders));
}

uint64_t buddy_free_blocks(const struct buddy *buddy, unsigned order)
{
	if (order >= BUDDY_ORDERS || buddy->order[order].lowest == BUDDY_NONE)
		return 0;
	return 1 + buddy->order[order].others;
}

uint64_t buddy_next_free(const struct buddy *buddy, unsigned order, uint64_t from)
{
	if (buddy_free_blocks(buddy, order) == 0)
		return BUDDY_NONE;

	uint64_t index = from >> order;
	uint64_t lowest = buddy->order[order].lowest;

	if (index <= lowest)
		return lowest << order;
	index = bitmap_next(&buddy->rest[order], index);
	return index == BITMAP_NONE ? BUDDY_NONE : index << order;
}

bool buddy_is_free(const struct buddy *buddy, uint64_t offset, uint64_t units)
{
	if (!is_inside(buddy, offset, units))
		return false;

	uint64_t end = offset + units;

	while (offset < end) {
		unsigned order = order_covering(buddy, offset);

		if (order == BUDDY_ORDERS)
			return false;
		offset = ((offset >> order) + 1) << order;
	}
	return true;
}

bool buddy_is_taken(const struct buddy *buddy, uint64_t offset, uint64_t units)
{
	if (!is_inside(buddy, offset, units))
		return false;
	for (unsigned order = 0; units > 0 && order < BUDDY_ORDERS; order++)
		if (buddy_next_free(buddy, order, offset) < offset + units)
			return false;
	return true;
}

/* Invariants 1 and 2 for one free block. An overlap shows from the smaller block, from which the
 * larger one is a parent. */
static bool block_is_valid(const struct buddy *buddy, unsigned order, uint64_t index)
{
	if (index >= buddy->units >> order || is_free_block(buddy, order, index ^ 1))
		return false;
	for (unsigned above = order + 1; above < BUDDY_ORDERS; above++)
		if (is_free_block(buddy, above, index >> (above - order)))
			return false;
	return true;
}

/* Invariant 3, then 1 and 2 for each of its blocks, the lowest first. */
static bool order_is_valid(const struct buddy *buddy, unsigned order)
{
	const struct buddy_order *o = &buddy->order[order];
	const struct bitmap *rest = &buddy->rest[order];
	bool is_empty = o->lowest == BUDDY_NONE;

	if (!bitmap_is_valid(rest) || bitmap_count(rest) != o->others)
		return false;
	if (is_empty == ((buddy->orders >> order) & 1))
		return false;
	if (is_empty)
		return o->others == 0;
	if (bitmap_next(rest, 0) <= o->lowest)
		return false;
	for (uint64_t index = o->lowest; index != BITMAP_NONE; index = bitmap_next(rest, index + 1))
		if (!block_is_valid(buddy, order, index))
			return false;
	return true;
}

bool buddy_is_valid(const struct buddy *buddy)
{
	unsigned orders = order_within(buddy->units) + 1;
	uint64_t units = 0;

	if (buddy->orders >> orders != 0)
		return false;
	for (unsigned order = orders; order < BUDDY_ORDERS; order++)
		if (buddy->order[order].others != 0 || buddy->order[order].lowest != BUDDY_NONE)
			return false;
	for (unsigned order = 0; order < orders; order++) {
		if (!order_is_valid(buddy, order))
			return false;
		units += buddy_free_blocks(buddy, order) << order;
	}
	return units == buddy->free_units;
}
