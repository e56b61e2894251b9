/* SPDX-License-Identifier: Apache-2.0 */
/* Demands: what they say of an arena is what the allocator does with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/buddy.h"
#include "server/demand.h"
#include "tests/unit/draw.h"

#define UNITS_MAX 512
#define BLOCKS_MAX 24

static uint64_t memory[1024];
static struct buddy buddy;

struct wish {
	uint64_t units, alignment;
};

static void make(uint64_t units)
{
	memset(memory, 0, sizeof memory);
	assert_true(buddy_footprint(units) <= sizeof memory);
	assert_int_equal(buddy_init(&buddy, memory, units), 0);
}

static struct demand sum(const struct wish *wishes, size_t count)
{
	struct demand demand = {0};

	for (size_t i = 0; i < count; i++)
		assert_int_equal(demand_add(&demand, wishes[i].units, wishes[i].alignment), 0);
	assert_int_equal(demand.blocks, count);
	return demand;
}

/* Allocates all, or none. */
static bool try(const struct wish *wishes, size_t count)
{
	uint64_t offsets[BLOCKS_MAX], granted[BLOCKS_MAX];
	size_t done = 0;

	while (done < count && buddy_allocate(&buddy, wishes[done].units, wishes[done].alignment ? wishes[done].alignment : 1,
	                                      &offsets[done], &granted[done]) == 0)
		done++;
	bool all = done == count;
	while (done-- > 0)
		buddy_release(&buddy, offsets[done], granted[done]);
	return all;
}

static void test_one(void **state)
{
	struct demand demand = {0}, empty = {0};

	(void)state;
	make(100);
	assert_int_equal(demand_add(&demand, 33, 0), 0);
	assert_int_equal(demand.units, 64);
	assert_int_equal(demand_order(&demand), 6);
	assert_true(demand_fits_empty(&demand, 64));
	assert_false(demand_fits_empty(&demand, 63));
	assert_true(demand_fits(&demand, &buddy));
	assert_int_equal(buddy_reserve(&buddy, 10, 1), 0);
	assert_false(demand_fits(&demand, &buddy)); /* 36 to 99 are free, and no place for it */
	assert_int_equal(demand_add(&demand, 1, 128), 0);
	assert_int_equal(demand.of_order[7], 1);
	assert_int_equal(demand_order(&demand), 8);
	assert_int_equal(demand_add(&demand, BUDDY_UNITS_MAX + 1, 0), -ENOMEM);
	assert_int_equal(demand_add(&demand, 1, BUDDY_UNITS_MAX * 2), -ENOMEM);
	assert_int_equal(demand_add(&demand, BUDDY_UNITS_MAX, 1), 0);
	assert_int_equal(demand.blocks, 3);
	assert_false(demand_fits_empty(&demand, BUDDY_UNITS_MAX));
	assert_true(demand_fits_empty(&empty, 0));
	assert_true(demand_fits(&empty, &buddy));
}

/* In arenas of any size and any disorder the trial has the last word. One free block of the order is always enough. */
static void test_against_the_allocator(void **state)
{
	unsigned fitted = 0, rounds = 20000;

	(void)state;
	for (unsigned round = 0; round < rounds; round++) {
		struct wish wishes[BLOCKS_MAX];
		size_t count = 1 + draw(BLOCKS_MAX);
		uint64_t units = 1 + draw(UNITS_MAX), alignment = draw(3) ? 0 : UINT64_C(1) << draw(7);
		make(units);
		for (size_t i = 0; i < count; i++)
			wishes[i] = (struct wish){1 + draw(draw(4) ? 8 : units), alignment};
		struct demand demand = sum(wishes, count);
		assert_int_equal(demand_fits_empty(&demand, units), try(wishes, count));
		assert_int_equal(demand_fits(&demand, &buddy), try(wishes, count));
		for (uint64_t taken = draw(units); taken; taken--)
			buddy_reserve(&buddy, draw(units), 1 + draw(4));
		bool fits = try(wishes, count);
		assert_int_equal(demand_fits(&demand, &buddy), fits);
		assert_true(fits || buddy_largest_free(&buddy) < UINT64_C(1) << demand_order(&demand));
		fitted += fits;
	}
	assert_in_range(fitted, rounds / 50, rounds - rounds / 50); /* both happen */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_against_the_allocator),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
