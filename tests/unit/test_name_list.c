/* SPDX-License-Identifier: Apache-2.0 */
/* Names by block: sorted, found, counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "client/cli/name_list.h"

static struct name_list make(size_t count, const uint64_t *blocks, const char *const *names)
{
	struct name_list list = {calloc(count ? count : 1, sizeof(*list.items)), count};

	assert_non_null(list.items);
	for (size_t i = 0; i < count; i++) {
		list.items[i].block = blocks[i];
		snprintf(list.items[i].name, sizeof(list.items[i].name), "%s", names[i]);
	}
	name_list_sort(&list);
	return list;
}

static void test_find(void **state)
{
	static const uint64_t blocks[] = {9, 4, 4, UINT64_MAX, 4, 7};
	static const char *const names[] = {"nine", "b", "c", "last", "a", "seven"};
	struct name_list list = make(6, blocks, names);
	size_t first = 99;

	(void)state;
	assert_true(name_list_of_block(&list, 4, &first) == 3);
	assert_true(first == 0);
	assert_string_equal(list.items[0].name, "a");
	assert_string_equal(list.items[1].name, "b");
	assert_string_equal(list.items[2].name, "c");
	assert_true(name_list_of_block(&list, 7, &first) == 1);
	assert_string_equal(list.items[first].name, "seven");
	assert_true(name_list_of_block(&list, UINT64_MAX, &first) == 1);
	assert_string_equal(list.items[first].name, "last");
	assert_true(name_list_of_block(&list, 1, &first) == 0); /* before all */
	assert_true(name_list_of_block(&list, 8, &first) == 0); /* between */
	assert_true(name_list_of_block(&list, UINT64_MAX - 1, &first) == 0);
	name_list_deinit(&list);
	assert_null(list.items);
}

/* What stands for the whole block comes before what stands for a part of it. */
static void test_ranges(void **state)
{
	shmb_name_info items[] = {
		{.name = "a", .block = 4, .offset = 10, .length = 20}, {.name = "b", .block = 4, .offset = 0, .length = 20},
		{.name = "c", .block = 4, .offset = 0, .length = 30},  {.name = "d", .block = 4, .offset = 10, .length = 20},
		{.name = "e", .block = 4, .offset = 0, .length = 30},
	};
	struct name_list list = {items, 5};
	const shmb_block_info block = {.size = 30};

	(void)state;
	name_list_sort(&list);
	assert_ptr_equal(name_list_find(&list, "c"), &items[0]);
	assert_ptr_equal(name_list_find(&list, "d"), &items[4]);
	assert_null(name_list_find(&list, "f"));
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(items[i].name[0], "cebad"[i]);
		assert_int_equal(name_list_is_range(&items[i], &block), i > 1);
	}
}

static void test_empty(void **state)
{
	struct name_list list = NAME_LIST_INIT;
	size_t first = 99;

	(void)state;
	name_list_sort(&list);
	assert_true(name_list_of_block(&list, 1, &first) == 0);
	assert_true(first == 0);
	name_list_deinit(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
