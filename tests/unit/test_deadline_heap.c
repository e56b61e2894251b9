/* SPDX-License-Identifier: Apache-2.0 */
/* The heap of deadlines against a list that is searched from end to end, and its check against damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/deadline_heap.h"
#include "tests/unit/draw.h"
#include "tests/unit/failing_region.h"

#define INDEXES 300
#define ROUNDS 200000

static const uint32_t capacity[DEADLINE_KINDS] = {[DEADLINE_TICKET] = INDEXES, [DEADLINE_LEASE] = INDEXES / 2};

static uint64_t model[DEADLINE_KINDS][INDEXES]; /* when each is due; 0: never */

/* What the heap says is first is due no later than anything is, and is in the model. */
static void expect_first(const struct deadline_heap *heap)
{
	const struct deadline *first = deadline_heap_first(heap);
	uint64_t earliest = 0;
	uint32_t count = 0;

	for (unsigned kind = 0; kind < DEADLINE_KINDS; kind++) {
		for (unsigned i = 0; i < INDEXES; i++) {
			count += model[kind][i] != 0;
			if (model[kind][i] && (!earliest || model[kind][i] < earliest))
				earliest = model[kind][i];
		}
	}
	assert_int_equal(heap->count, count);
	assert_true((first != NULL) == (count != 0));
	if (!first)
		return;
	assert_int_equal(first->due, earliest);
	assert_int_equal(model[first->kind][first->index], earliest);
}

static void test_against_model(void **state)
{
	struct deadline_heap heap;

	(void)state;
	memset(model, 0, sizeof model);
	assert_int_equal(deadline_heap_init(&heap, capacity), 0);
	expect_first(&heap);
	for (unsigned round = 0; round < ROUNDS; round++) {
		enum deadline_kind kind = (enum deadline_kind)draw(DEADLINE_KINDS);
		uint32_t index = (uint32_t)draw(capacity[kind]);
		/* It fills, is about half full, and empties, in turn; many are due at the same time. */
		unsigned phase = round / 5000 % 3;
		if (draw(4) >= 1 + phase) {
			model[kind][index] = 1 + draw(draw(2) ? 10 : 1000000);
			deadline_heap_set(&heap, kind, index, model[kind][index]);
		} else if (draw(2) && deadline_heap_first(&heap)) {
			struct deadline first = *deadline_heap_first(&heap);
			model[first.kind][first.index] = 0;
			deadline_heap_remove(&heap, (enum deadline_kind)first.kind, first.index);
		} else {
			model[kind][index] = 0;
			deadline_heap_remove(&heap, kind, index);
		}
		if (round % 16 == 0) {
			expect_first(&heap);
			assert_true(deadline_heap_is_valid(&heap));
		}
	}
	deadline_heap_deinit(&heap);
}

static void test_in_order(void **state)
{
	struct deadline_heap heap;
	uint64_t last = 0;

	(void)state;
	assert_int_equal(deadline_heap_init(&heap, capacity), 0);
	for (uint32_t i = 0; i < INDEXES; i++)
		deadline_heap_set(&heap, DEADLINE_TICKET, i, (i * UINT64_C(7919)) % INDEXES);
	for (uint32_t i = 0; i < INDEXES; i++) {
		struct deadline first = *deadline_heap_first(&heap);
		assert_true(first.due >= last);
		last = first.due;
		deadline_heap_remove(&heap, (enum deadline_kind)first.kind, first.index);
	}
	assert_null(deadline_heap_first(&heap));
	deadline_heap_deinit(&heap);
	deadline_heap_deinit(&heap); /* nothing is left */
}

static void test_damage(void **state)
{
	struct deadline_heap heap;

	(void)state;
	assert_int_equal(deadline_heap_init(&heap, capacity), 0);
	for (uint32_t i = 0; i < INDEXES; i++)
		deadline_heap_set(&heap, DEADLINE_TICKET, i, 10 + i);
	assert_true(deadline_heap_is_valid(&heap));
	struct deadline *deep = &heap.entries[INDEXES - 1], whole = *deep;
	deep->due = 0;
	assert_false(deadline_heap_is_valid(&heap));
	*deep = whole;
	deep->kind = DEADLINE_KINDS;
	assert_false(deadline_heap_is_valid(&heap));
	*deep = whole;
	deep->index = INDEXES;
	assert_false(deadline_heap_is_valid(&heap));
	*deep = whole;
	heap.places[DEADLINE_TICKET][deep->index]++;
	assert_false(deadline_heap_is_valid(&heap));
	heap.places[DEADLINE_TICKET][deep->index]--;
	assert_true(deadline_heap_is_valid(&heap));
	deadline_heap_deinit(&heap);
}

static void test_no_memory(void **state)
{
	struct deadline_heap heap;

	(void)state;
	for (int regions = 0; regions <= DEADLINE_KINDS; regions++) {
		regions_until_failure = regions;
		assert_int_equal(deadline_heap_init(&heap, capacity), -ENOMEM);
		deadline_heap_deinit(&heap);
		assert_int_equal(regions_open, 0);
	}
	regions_until_failure = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_no_memory),
	};

	regions_until_failure = -1;
	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
