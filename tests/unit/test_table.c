/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: which index comes next, and what is committed when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/table.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"

#define PAGE 4096u
#define AT (2 * PAGE)
#define STRIDE 96
#define CAPACITY 100
#define OBJECT_SIZE (AT + 3 * PAGE) /* 9600 bytes of records: two pages and a bit */

struct fixture {
	struct shared_object object;
	struct table table;
};

static int setup(void **state)
{
	static struct fixture fixture;

	regions_until_failure = -1;
	memory_object_open(&fixture.object, OBJECT_SIZE);
	assert_int_equal(table_init(&fixture.table, &fixture.object, AT, STRIDE, CAPACITY, PAGE), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	table_deinit(&fixture->table);
	table_deinit(&fixture->table); /* twice does no harm */
	shared_object_deinit(&fixture->object);
	return regions_open;
}

static uint32_t take(struct table *table)
{
	uint32_t index = UINT32_MAX;

	assert_int_equal(table_take(table, &index), 0);
	return index;
}

static void test_in_order_until_full(void **state)
{
	struct table *table = &((struct fixture *)*state)->table;
	uint32_t index = 7;

	for (uint32_t i = 0; i < CAPACITY; i++)
		assert_int_equal(take(table), i);
	assert_int_equal(table_take(table, &index), -EDQUOT);
	assert_int_equal(index, 7);
	assert_int_equal(table_prepare(table, 1), -EDQUOT);
	assert_int_equal(table_prepare(table, 0), 0);
	table_give(table, 99);
	assert_int_equal(table_prepare(table, 2), -EDQUOT);
	assert_int_equal(table_prepare(table, 1), 0);
	assert_int_equal(take(table), 99);
}

static void test_last_given_comes_first(void **state)
{
	struct table *table = &((struct fixture *)*state)->table;

	for (uint32_t i = 0; i < 5; i++)
		take(table);
	table_give(table, 1);
	table_give(table, 4);
	table_give(table, 0);
	assert_int_equal(take(table), 0);
	assert_int_equal(take(table), 4);
	table_give(table, 2);
	assert_int_equal(take(table), 2);
	assert_int_equal(take(table), 1);
	assert_int_equal(take(table), 5);
	assert_int_equal(table->used, 6);
}

/* A step before the first record that reaches into it, no earlier; and nothing outside the table. */
static void test_commits_as_it_goes(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(memory_object_backed(&fixture->object), 0);
	for (uint32_t i = 0; i < CAPACITY; i++) {
		uint64_t pages = ((i + 1) * STRIDE + PAGE - 1) / PAGE;
		assert_int_equal(take(&fixture->table), i);
		assert_int_equal(memory_object_backed(&fixture->object), pages * PAGE);
		assert_int_equal(fixture->table.committed, pages * PAGE);
	}
	for (uint32_t i = CAPACITY; i-- > 0;)
		table_give(&fixture->table, i);
	take(&fixture->table);
	assert_int_equal(memory_object_backed_from(&fixture->object, AT), 3 * PAGE);
}

static void test_last_step_is_short(void **state)
{
	struct fixture *fixture = *state;

	table_deinit(&fixture->table);
	assert_int_equal(table_init(&fixture->table, &fixture->object, AT, STRIDE, CAPACITY, 2 * PAGE), 0);
	take(&fixture->table);
	assert_int_equal(memory_object_backed(&fixture->object), 2 * PAGE);
	assert_int_equal(table_prepare(&fixture->table, CAPACITY - 1), 0);
	assert_int_equal(memory_object_backed(&fixture->object), 3 * PAGE);
}

static void test_prepare_promises(void **state)
{
	struct fixture *fixture = *state;
	struct table *table = &fixture->table;

	take(table);
	take(table);
	table_give(table, 0);
	assert_int_equal(table_prepare(table, 1), 0); /* the one that was given back serves */
	assert_int_equal(memory_object_backed(&fixture->object), PAGE);
	assert_int_equal(table_prepare(table, 99), 0);
	assert_int_equal(table->used, 2);
	assert_int_equal(table->free_count, 1);
	int fd = memory_object_break(&fixture->object);
	assert_int_equal(take(table), 0); /* nothing needs the kernel any more */
	for (uint32_t i = 2; i < 100; i++)
		assert_int_equal(take(table), i);
	memory_object_mend(&fixture->object, fd);
}

static void test_kernel_refuses(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = 7;
	int fd = memory_object_break(&fixture->object);

	assert_int_equal(table_take(&fixture->table, &index), -EBADF);
	assert_int_equal(table_prepare(&fixture->table, 3), -EBADF);
	assert_int_equal(index, 7);
	memory_object_mend(&fixture->object, fd);
	assert_int_equal(take(&fixture->table), 0);
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct table table;

	regions_until_failure = 0;
	assert_int_equal(table_init(&table, &fixture->object, AT, STRIDE, CAPACITY, PAGE), -ENOMEM);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_in_order_until_full), TEST(test_last_given_comes_first), TEST(test_commits_as_it_goes),
		TEST(test_last_step_is_short),  TEST(test_prepare_promises),       TEST(test_kernel_refuses),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
