/* SPDX-License-Identifier: Apache-2.0 */
/* The heap against a list that is searched from end to end, two heaps that share their places, and its check against damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/priority_heap.h"
#include "tests/unit/draw.h"
#include "tests/unit/failing_region.h"

#define ITEMS 400
#define ROUNDS 200000

static uint64_t model[ITEMS]; /* keys; 0: not in the heap */
static uint32_t places[ITEMS];

/* What the heap says is first has no larger key than anything, and is in the model. */
static void expect_first(const struct priority_heap *heap)
{
	const struct heap_entry *first = priority_heap_first(heap);
	uint64_t smallest = 0;
	uint32_t count = 0;

	for (unsigned i = 0; i < ITEMS; i++) {
		count += model[i] != 0;
		if (model[i] && (!smallest || model[i] < smallest))
			smallest = model[i];
	}
	assert_int_equal(heap->count, count);
	assert_true((first != NULL) == (count != 0));
	if (!first)
		return;
	assert_int_equal(first->key, smallest);
	assert_int_equal(model[first->item], smallest);
	assert_int_equal(priority_heap_key(heap, first->item), smallest);
}

static void test_against_model(void **state)
{
	struct priority_heap heap;

	(void)state;
	memset(model, 0, sizeof model);
	assert_int_equal(priority_heap_init(&heap, places, ITEMS), 0);
	expect_first(&heap);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t item = (uint32_t)draw(ITEMS);
		/* It fills, is about half full, and empties, in turn; many have the same key. */
		unsigned phase = round / 5000 % 3;
		if (draw(4) >= 1 + phase) {
			model[item] = 1 + draw(draw(2) ? 10 : 1000000);
			priority_heap_set(&heap, item, model[item]);
		} else if (draw(2) && priority_heap_first(&heap)) {
			item = priority_heap_first(&heap)->item;
			model[item] = 0;
			priority_heap_remove(&heap, item);
		} else {
			model[item] = 0;
			priority_heap_remove(&heap, item);
		}
		if (round % 16 == 0) {
			expect_first(&heap);
			assert_true(priority_heap_is_valid(&heap));
		}
	}
	priority_heap_deinit(&heap);
}

static void test_in_order(void **state)
{
	struct priority_heap heap;
	uint64_t last = 0;

	(void)state;
	assert_int_equal(priority_heap_init(&heap, places, ITEMS), 0);
	for (uint32_t i = 0; i < ITEMS; i++)
		priority_heap_set(&heap, i, (i * UINT64_C(7919)) % ITEMS);
	for (uint32_t i = 0; i < ITEMS; i++) {
		struct heap_entry first = *priority_heap_first(&heap);
		assert_true(first.key >= last);
		last = first.key;
		priority_heap_remove(&heap, first.item);
	}
	assert_null(priority_heap_first(&heap));
	priority_heap_deinit(&heap);
	priority_heap_deinit(&heap); /* nothing is left */
}

static void test_shared_places(void **state)
{
	struct priority_heap even, odd;

	(void)state;
	assert_int_equal(priority_heap_init(&even, places, ITEMS), 0);
	assert_int_equal(priority_heap_init(&odd, places, ITEMS), 0);
	for (uint32_t i = 0; i < ITEMS; i++)
		priority_heap_set(i % 2 ? &odd : &even, i, ITEMS - i);
	assert_true(priority_heap_is_valid(&even) && priority_heap_is_valid(&odd));
	assert_int_equal(priority_heap_first(&even)->item, ITEMS - 2);
	assert_int_equal(priority_heap_first(&odd)->item, ITEMS - 1);
	priority_heap_deinit(&even);
	assert_true(priority_heap_is_valid(&odd));
	for (uint32_t i = 0; i < ITEMS; i += 2)
		priority_heap_set(&odd, i, ITEMS - i); /* those of the first are free */
	assert_int_equal(odd.count, ITEMS);
	assert_true(priority_heap_is_valid(&odd));
	priority_heap_deinit(&odd);
	for (uint32_t i = 0; i < ITEMS; i++)
		assert_int_equal(places[i], 0);
}

static void test_damage(void **state)
{
	struct priority_heap heap;

	(void)state;
	assert_int_equal(priority_heap_init(&heap, places, ITEMS), 0);
	for (uint32_t i = 0; i < ITEMS; i++)
		priority_heap_set(&heap, i, 10 + i);
	assert_true(priority_heap_is_valid(&heap));
	struct heap_entry *deep = &heap.entries[ITEMS - 1], whole = *deep;
	deep->key = 0;
	assert_false(priority_heap_is_valid(&heap));
	*deep = whole;
	deep->item = ITEMS;
	assert_false(priority_heap_is_valid(&heap));
	*deep = whole;
	places[deep->item]++;
	assert_false(priority_heap_is_valid(&heap));
	places[deep->item]--;
	assert_true(priority_heap_is_valid(&heap));
	priority_heap_deinit(&heap);
}

static void test_no_memory(void **state)
{
	struct priority_heap heap;

	(void)state;
	regions_until_failure = 0;
	assert_int_equal(priority_heap_init(&heap, places, ITEMS), -ENOMEM);
	assert_int_equal(regions_open, 0);
	regions_until_failure = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model), cmocka_unit_test(test_in_order),  cmocka_unit_test(test_shared_places),
		cmocka_unit_test(test_damage),        cmocka_unit_test(test_no_memory),
	};

	regions_until_failure = -1;
	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
