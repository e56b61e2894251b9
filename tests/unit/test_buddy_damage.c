/* SPDX-License-Identifier: Apache-2.0 */
/* buddy_is_valid() must see damage of every kind, in every level, one fault at a time. */
#include "server/buddy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* An arena with free blocks in six orders; the bitmap of order 0 has three levels, that of order 5
 * two. Orders 6 to 16 are empty, and there is no order 17. */
#define WORN_UNITS UINT64_C(100003)

static void *open_worn(struct buddy *buddy)
{
	void *memory = calloc(1, buddy_footprint(WORN_UNITS));

	assert_non_null(memory);
	assert_int_equal(buddy_init(buddy, memory, WORN_UNITS), 0);
	assert_int_equal(buddy_reserve(buddy, 0, WORN_UNITS), 0);
	for (uint64_t at = 0; at + 64 <= WORN_UNITS; at += 64) {
		if (at < WORN_UNITS / 2) {
			buddy_release(buddy, at + 1, 1);
			buddy_release(buddy, at + 4, 2);
			buddy_release(buddy, at + 8, 4);
		}
		if (at % 512 == 0)
			buddy_release(buddy, at + 32, 32);
	}
	buddy_release(buddy, WORN_UNITS - 1, 1);
	assert_true(buddy_is_valid(buddy));
	return memory;
}

static void spoil_leaf_lost(struct buddy *b)
{
	b->rest[0].level[0][5] = 0;
}
static void spoil_leaf_hidden(struct buddy *b)
{
	b->rest[0].level[0][1500] = 2;
}
static void spoil_leaf_beside(struct buddy *b)
{
	b->rest[0].level[0][5] ^= UINT64_C(1) << 40;
}
static void spoil_past_the_end(struct buddy *b)
{
	b->rest[0].level[0][WORN_UNITS / 64] |= UINT64_C(1) << 63;
}
static void spoil_middle(struct buddy *b)
{
	b->rest[0].level[1][3] ^= UINT64_C(1) << 9;
}
static void spoil_middle_unused(struct buddy *b)
{
	b->rest[0].level[1][24] ^= UINT64_C(1) << 63;
}
static void spoil_root(struct buddy *b)
{
	b->rest[0].level[2][0] ^= 4;
}
static void spoil_high_order_bitmap(struct buddy *b)
{
	b->rest[5].level[1][0] = 0;
}
static void spoil_empty_order_bitmap(struct buddy *b)
{
	b->rest[16].level[0][0] = 1;
}
static void spoil_empty_order_lowest(struct buddy *b)
{
	b->order[15].lowest = 0;
}
static void spoil_empty_order_far(struct buddy *b)
{
	b->order[15].lowest = BUDDY_NONE - 1;
}
static void spoil_others_up(struct buddy *b)
{
	b->order[2].others++;
}
static void spoil_others_lost(struct buddy *b)
{
	b->order[5].others = 0;
}
static void spoil_mask_lost(struct buddy *b)
{
	b->orders &= ~UINT64_C(4);
}
static void spoil_mask_gained(struct buddy *b)
{
	b->orders |= UINT64_C(1) << 16;
}
static void spoil_mask_beyond(struct buddy *b)
{
	b->orders |= UINT64_C(1) << 17;
}
static void spoil_others_beyond(struct buddy *b)
{
	b->order[17].others = 1;
}
static void spoil_lowest_beyond(struct buddy *b)
{
	b->order[40].lowest = 0;
}
static void spoil_lowest_none(struct buddy *b)
{
	b->order[5].lowest = BUDDY_NONE;
}
static void spoil_lowest_above_bits(struct buddy *b)
{
	b->order[0].lowest = WORN_UNITS - 1;
}
static void spoil_free_units(struct buddy *b)
{
	b->free_units--;
}
/* Sums stay right in those that follow: only the look at each block finds them. */
static void spoil_two_buddies(struct buddy *b)
{ /* 4 and 6, both free, are one block of 4 */
	bitmap_set(&b->rest[1], 3);
	b->order[1].others++;
	b->free_units += 2;
}
static void spoil_buddy_of_lowest(struct buddy *b)
{ /* 0 and 1 */
	bitmap_set(&b->rest[0], 1);
	b->order[0].others++;
	b->order[0].lowest = 0;
	b->free_units++;
}
static void spoil_overlap(struct buddy *b)
{ /* units 8 to 10 lie in the block 8 to 12 */
	bitmap_set(&b->rest[1], 4);
	b->order[1].others++;
	b->free_units += 2;
}
static void spoil_overlap_far(struct buddy *b)
{ /* unit 1024 + 40 lies in the block 1024 + 32 to 64 */
	bitmap_set(&b->rest[0], 1024 + 40);
	b->order[0].others++;
	b->free_units++;
}
static void spoil_block_out_of_arena(struct buddy *b)
{ /* order 16 has only block 0 */
	b->order[16] = (struct buddy_order){.lowest = 2};
	b->orders |= UINT64_C(1) << 16;
	b->free_units += UINT64_C(1) << 16;
}

static void deep_corruption_is_caught(void **state)
{
	static const struct {
		const char *name;
		void (*spoil)(struct buddy *);
	} cases[] = {
#define CASE(name) {#name, name}
		CASE(spoil_leaf_lost),
		CASE(spoil_leaf_hidden),
		CASE(spoil_leaf_beside),
		CASE(spoil_past_the_end),
		CASE(spoil_middle),
		CASE(spoil_middle_unused),
		CASE(spoil_root),
		CASE(spoil_high_order_bitmap),
		CASE(spoil_empty_order_bitmap),
		CASE(spoil_empty_order_lowest),
		CASE(spoil_others_up),
		CASE(spoil_others_lost),
		CASE(spoil_mask_lost),
		CASE(spoil_mask_gained),
		CASE(spoil_mask_beyond),
		CASE(spoil_others_beyond),
		CASE(spoil_lowest_beyond),
		CASE(spoil_lowest_none),
		CASE(spoil_lowest_above_bits),
		CASE(spoil_free_units),
		CASE(spoil_two_buddies),
		CASE(spoil_buddy_of_lowest),
		CASE(spoil_overlap),
		CASE(spoil_overlap_far),
		CASE(spoil_block_out_of_arena),
		CASE(spoil_empty_order_far),
#undef CASE
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buddy buddy;
		void *memory = open_worn(&buddy);

		cases[i].spoil(&buddy);
		if (buddy_is_valid(&buddy))
			fail_msg("%s was not seen", cases[i].name);
		free(memory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(deep_corruption_is_caught)};

	return cmocka_run_group_tests_name("buddy_damage", tests, NULL, NULL);
}
