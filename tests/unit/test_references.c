/* SPDX-License-Identifier: Apache-2.0 */
/* The table of references: what each call leaves in the records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "checksum.h"
#include "server/references.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"

#define CAPACITY 100

struct fixture {
	struct shared_object object;
	struct references references;
};

static int setup(void **state)
{
	static struct fixture fixture;

	regions_until_failure = -1;
	memory_object_open(&fixture.object, 2 * 4096);
	assert_int_equal(references_init(&fixture.references, &fixture.object, 4096, CAPACITY), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	references_deinit(&fixture->references);
	references_deinit(&fixture->references);
	shared_object_deinit(&fixture->object);
	return regions_open;
}

static void test_life(void **state)
{
	struct references *references = &((struct fixture *)*state)->references;
	const struct reference_record *record;
	uint32_t index, again;

	assert_int_equal(table_take(&references->table, &index), 0);
	assert_int_equal(table_take(&references->table, &index), 0);
	references_write(references, index, 7, 70, 700);
	record = &references->records[index];
	assert_ptr_equal((const uint8_t *)record, (uint8_t *)((struct fixture *)*state)->object.base + 4096 + 32);
	assert_int_equal(record->session, 7);
	assert_int_equal(record->block, 70);
	assert_int_equal(record->block_id, 700);
	assert_int_equal(record->checksum, checksum_of(&record->block, 16));
	assert_int_equal(references_word(references, index), REFERENCE_WORD(1, 1, RECORD_PENDING));
	references_set(references, index, 3, 2, RECORD_FREEING);
	assert_int_equal(REFERENCE_COUNT(references_word(references, index)), 3);
	assert_int_equal(REFERENCE_NEXT(references_word(references, index)), 2);
	assert_int_equal(REFERENCE_STATE(references_word(references, index)), RECORD_FREEING);
	references_set(references, index, REFERENCE_COUNT_MAX, REFERENCE_COUNT_MAX, RECORD_LIVE);
	assert_int_equal(REFERENCE_COUNT(references_word(references, index)), REFERENCE_COUNT_MAX);
	assert_int_equal(REFERENCE_NEXT(references_word(references, index)), REFERENCE_COUNT_MAX);
	assert_int_equal(REFERENCE_STATE(references_word(references, index)), RECORD_LIVE);
	assert_int_equal(references->table.free_count, 0);
	references_set(references, index, 0, 0, RECORD_FREE);
	assert_int_equal(references_word(references, index), 0);
	assert_int_equal(table_take(&references->table, &again), 0);
	assert_int_equal(again, index);
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct references references, empty = {0};

	for (int successes = 0; successes < 3; successes++) {
		int before = regions_open;
		regions_until_failure = successes;
		assert_int_equal(references_init(&references, &fixture->object, 4096, CAPACITY), -ENOMEM);
		assert_int_equal(regions_open, before);
		assert_memory_equal(&references, &empty, sizeof references);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
