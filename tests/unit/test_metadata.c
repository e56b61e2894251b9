/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metadata: what is written is read back by way of a block, and nothing of a former, longer one is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/metadata.h"
#include "tests/unit/memory_object.h"
#include "view.h"

#define MOST 70 /* more than are committed at a time */

struct fixture {
	struct shared_object object;
	struct view_counters *counters;
	struct metadata metadata;
};

static int setup(void **state)
{
	static struct fixture fixture;
	struct view_geometry geometry;

	view_geometry(1, MOST, &geometry);
	memory_object_open(&fixture.object, geometry.view_size);
	((struct view_header *)fixture.object.base)->metadata_at = geometry.metadata_at;
	((struct view_header *)fixture.object.base)->max_names = MOST;
	fixture.counters = (struct view_counters *)((uint8_t *)fixture.object.base + VIEW_COUNTERS_AT);
	*state = &fixture;
	return metadata_init(&fixture.metadata, &fixture.object);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	metadata_deinit(&fixture->metadata);
	metadata_deinit(&fixture->metadata);
	shared_object_deinit(&fixture->object);
	return 0;
}

static void expect(const struct fixture *fixture, uint32_t index, uint64_t id, const uint8_t *bytes, size_t length)
{
	static const uint8_t zeros[METADATA_MAX];
	const struct metadata_record *record = &fixture->metadata.records[index];

	assert_int_equal(record->block_id, id);
	assert_int_equal(record->length, length);
	assert_memory_equal(record->bytes, bytes, length);
	assert_memory_equal(record->bytes + length, zeros, METADATA_MAX - length);
	assert_int_equal(record->checksum, metadata_checksum(record));
}

static void test_write(void **state)
{
	struct fixture *fixture = *state;
	struct metadata *metadata = &fixture->metadata;
	uint8_t bytes[METADATA_MAX];
	uint32_t index = 0;

	memset(bytes, 0xa5, sizeof bytes);
	assert_int_equal(table_take(&metadata->table, &index), 0);
	assert_int_equal(fixture->counters->metadata_records, 0);
	metadata_write(metadata, index, 7, bytes, METADATA_MAX);
	expect(fixture, index, 7, bytes, METADATA_MAX);
	assert_int_equal(fixture->counters->metadata_records, index + 1);
	metadata_write(metadata, index, 8, bytes, 1);
	expect(fixture, index, 8, bytes, 1);
	assert_int_equal(fixture->counters->metadata_records, index + 1);
}

/* Full, and not, and full again. What a former daemon counted further stays counted. */
static void test_full(void **state)
{
	struct fixture *fixture = *state;
	struct metadata *metadata = &fixture->metadata;
	uint32_t index = 0;

	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < MOST; i++) {
			assert_int_equal(table_take(&metadata->table, &index), 0);
			metadata_write(metadata, index, i + 1, (const uint8_t *)"shape", 5);
			assert_int_equal(fixture->counters->metadata_records, round ? MOST : i + 1);
		}
		assert_int_equal(table_take(&metadata->table, &index), -EDQUOT);
		for (uint32_t i = MOST; i-- > 0;)
			metadata_give(metadata, i + 1);
		metadata_give(metadata, 0); /* there was none */
		assert_int_equal(metadata->table.free_count, MOST);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_write), TEST(test_full)};

	return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
