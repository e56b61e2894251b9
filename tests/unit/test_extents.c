/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages are committed: by hand, and random marks against a byte for each page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "server/extents.h"
#include "tests/unit/draw.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"

#define PAGE_BITS 32768u           /* pages that one page of the bitmap speaks for */
#define PAGES (3 * PAGE_BITS + 70) /* four pages of bitmap, the last hardly used */
#define AT 4096

struct fixture {
	struct shared_object object;
	struct extents extents;
	uint8_t model[PAGES]; /* 1: committed */
	uint64_t committed;
};

static int setup(void **state)
{
	static struct fixture fixture;

	memset(&fixture, 0, sizeof fixture);
	regions_until_failure = -1;
	memory_object_open(&fixture.object, AT + extents_footprint(PAGES));
	assert_int_equal(extents_init(&fixture.extents, &fixture.object, AT, PAGES), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	extents_deinit(&fixture->extents);
	extents_deinit(&fixture->extents);
	shared_object_deinit(&fixture->object);
	return regions_open;
}

static void mark(struct fixture *fixture, uint64_t from, uint64_t end, bool committed)
{
	for (uint64_t page = from; page < end; page++) {
		fixture->committed += (uint64_t)committed - fixture->model[page];
		fixture->model[page] = committed;
	}
	extents_mark(&fixture->extents, from, end, committed);
	assert_int_equal(fixture->extents.committed, fixture->committed);
}

static void assert_gap(const struct fixture *fixture, uint64_t from, uint64_t end)
{
	uint64_t gap = from, gap_end, found = 1, found_end = 2;

	while (gap < end && fixture->model[gap])
		gap++;
	if (gap == end) {
		assert_false(extents_next_gap(&fixture->extents, from, end, &found, &found_end));
		assert_int_equal(found, 1);
		assert_int_equal(found_end, 2);
		return;
	}
	for (gap_end = gap; gap_end < end && !fixture->model[gap_end];)
		gap_end++;
	assert_true(extents_next_gap(&fixture->extents, from, end, &found, &found_end));
	assert_int_equal(found, gap);
	assert_int_equal(found_end, gap_end);
}

static void test_footprint(void **state)
{
	(void)state;
	assert_int_equal(extents_footprint(1), 4096);
	assert_int_equal(extents_footprint(PAGE_BITS), 4096);
	assert_int_equal(extents_footprint(PAGE_BITS + 1), 8192);
	assert_int_equal(extents_footprint(PAGES), 4 * 4096);
}

static void test_fresh_is_one_gap(void **state)
{
	struct fixture *fixture = *state;

	assert_gap(fixture, 0, PAGES);
	assert_gap(fixture, 5, 5); /* an empty range has none */
	assert_gap(fixture, 17, PAGE_BITS + 3);
}

/*
 * A look at a page of the bitmap that nobody prepared must not make the kernel back it: where it has no page left, that look
 * would be the daemon's death.
 */
static void test_looking_costs_nothing(void **state)
{
	struct fixture *fixture = *state;

	assert_gap(fixture, 0, PAGES);
	assert_int_equal(memory_object_backed(&fixture->object), 0);
	assert_int_equal(extents_prepare(&fixture->extents, 0, 1), 0);
	mark(fixture, 0, PAGE_BITS, true);
	assert_gap(fixture, 0, PAGES);
	assert_int_equal(memory_object_backed(&fixture->object), 4096);
	/* A page with marks behind one without memory is found. */
	assert_int_equal(extents_prepare(&fixture->extents, 2 * PAGE_BITS + 5, 2 * PAGE_BITS + 6), 0);
	mark(fixture, 2 * PAGE_BITS + 5, 2 * PAGE_BITS + 6, true);
	assert_gap(fixture, 0, PAGES);
	assert_gap(fixture, PAGE_BITS + 9, PAGES);
	assert_gap(fixture, 2 * PAGE_BITS + 5, PAGES);
	assert_gap(fixture, PAGE_BITS + 9, 2 * PAGE_BITS + 2);
	assert_int_equal(memory_object_backed(&fixture->object), 2 * 4096);
}

static void test_prepare(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(extents_prepare(&fixture->extents, PAGE_BITS - 1, PAGE_BITS + 1), 0);
	assert_int_equal(memory_object_backed(&fixture->object), 2 * 4096);
	int fd = memory_object_break(&fixture->object);
	assert_int_equal(extents_prepare(&fixture->extents, 0, 2 * PAGE_BITS), 0); /* already there */
	assert_int_equal(extents_prepare(&fixture->extents, 9, 9), 0);
	assert_int_equal(extents_prepare(&fixture->extents, 0, 2 * PAGE_BITS + 1), -EBADF);
	memory_object_mend(&fixture->object, fd);
	assert_int_equal(extents_prepare(&fixture->extents, 0, PAGES), 0);
	assert_int_equal(memory_object_backed_from(&fixture->object, AT), 4 * 4096);
}

static void test_words_whole_and_in_part(void **state)
{
	static const uint64_t edges[] = {0, 1, 63, 64, 65, 127, 128, 200};
	struct fixture *fixture = *state;

	assert_int_equal(extents_prepare(&fixture->extents, 0, 200), 0);
	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
		for (size_t j = i; j < sizeof edges / sizeof edges[0]; j++) {
			mark(fixture, edges[i], edges[j], true);
			assert_gap(fixture, 0, 200);
			mark(fixture, edges[i], edges[j], true); /* once more changes nothing */
			mark(fixture, edges[i], edges[j], false);
			assert_int_equal(fixture->extents.committed, 0);
		}
	}
}

static void test_against_model(void **state)
{
	struct fixture *fixture = *state;

	for (int step = 0; step < 4000; step++) {
		uint64_t from = draw(PAGES), most = draw(2) ? 200 : PAGES, end = from + draw(most);
		if (end > PAGES)
			end = PAGES;
		if (draw(3)) {
			assert_int_equal(extents_prepare(&fixture->extents, from, end), 0);
			mark(fixture, from, end, draw(5) > 1);
		}
		from = draw(PAGES);
		assert_gap(fixture, from, from + draw(PAGES + 1 - from));
	}
	/* All gaps, one after the other, are what is not committed. */
	uint64_t missing = 0, at = 0, end;
	while (extents_next_gap(&fixture->extents, at, PAGES, &at, &end)) {
		missing += end - at;
		at = end;
	}
	assert_int_equal(missing, PAGES - fixture->committed);
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct extents extents;

	regions_until_failure = 0;
	assert_int_equal(extents_init(&extents, &fixture->object, AT, PAGES), -ENOMEM);
	extents_deinit(&extents);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_footprint),
		TEST(test_fresh_is_one_gap),
		TEST(test_looking_costs_nothing),
		TEST(test_prepare),
		TEST(test_words_whole_and_in_part),
		TEST(test_against_model),
		TEST(test_no_memory),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
