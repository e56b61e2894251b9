/* SPDX-License-Identifier: Apache-2.0 */
/* The table of blocks: what each call leaves in the records, as the daemon and as a reader of the view sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/blocks.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"
#include "view.h"

#define CAPACITY 64
#define MAX_SIZE (UINT64_C(1) << 20)

struct fixture {
	struct shared_object object;
	struct blocks blocks;
	struct view_header header;
	struct view view; /* of the same records */
};

static int setup(void **state)
{
	static struct fixture fixture;

	regions_until_failure = -1;
	memory_object_open(&fixture.object, 3 * 4096);
	assert_int_equal(blocks_init(&fixture.blocks, &fixture.object, 4096, CAPACITY), 0);
	fixture.header = (struct view_header){.max_blocks = CAPACITY, .max_size = MAX_SIZE};
	fixture.view = (struct view){.header = &fixture.header, .blocks = fixture.blocks.records};
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	blocks_deinit(&fixture->blocks);
	blocks_deinit(&fixture->blocks);
	shared_object_deinit(&fixture->object);
	return regions_open;
}

static const struct block_content content = {
	.id = 0x123456789abc,
	.offset = 8192,
	.size = 100,
	.granted = 128,
	.created_ns = 77,
	.owner = 5,
	.uid = 1000,
	.tag = "fifteen bytes!!and more",
	.tag_length = 15,
};

static uint32_t write_one(struct fixture *fixture, uint64_t id)
{
	struct block_content mine = content;
	uint32_t index;

	mine.id = id;
	assert_int_equal(table_take(&fixture->blocks.table, &index), 0);
	blocks_write(&fixture->blocks, index, &mine);
	return index;
}

static void test_pending_is_invisible(void **state)
{
	struct fixture *fixture = *state;
	struct view_block block;
	uint32_t index = write_one(fixture, content.id);

	assert_int_equal(record_state(blocks_word(&fixture->blocks, index)), RECORD_PENDING);
	assert_false(blocks_is_live(&fixture->blocks, index, content.id));
	assert_int_equal(view_read_block(&fixture->view, index, &block), 0);
	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	assert_true(blocks_is_live(&fixture->blocks, index, content.id));
	assert_int_equal(view_read_block(&fixture->view, index, &block), 1);
	assert_int_equal(block.id, content.id);
	assert_int_equal(block.offset, 8192);
	assert_int_equal(block.size, 100);
	assert_int_equal(block.granted, 128);
	assert_int_equal(block.created_ns, 77);
	assert_int_equal(block.owner, 5);
	assert_int_equal(block.uid, 1000);
	assert_string_equal(block.tag, "fifteen bytes!!");
}

static void test_is_live(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = write_one(fixture, 40);

	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	assert_true(blocks_is_live(&fixture->blocks, index, 40));
	assert_false(blocks_is_live(&fixture->blocks, index, 41));
	assert_false(blocks_is_live(&fixture->blocks, index + 1, 40));  /* never used */
	assert_false(blocks_is_live(&fixture->blocks, UINT32_MAX, 40)); /* not in the table */
	blocks_set_state(&fixture->blocks, index, RECORD_FREEING);
	assert_true(blocks_is_live(&fixture->blocks, index, 40));
	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	assert_int_equal(fixture->blocks.table.free_count, 0);
	blocks_set_state(&fixture->blocks, index, RECORD_FREE);
	assert_false(blocks_is_live(&fixture->blocks, index, 40));
	assert_int_equal(fixture->blocks.table.free_count, 1);
	/* The id of the last life stays, so that a handle of it is known as stale. */
	assert_int_equal(record_id(blocks_word(&fixture->blocks, index)), 40);
	assert_int_equal(write_one(fixture, 50), index);
	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	assert_false(blocks_is_live(&fixture->blocks, index, 40));
	assert_true(blocks_is_live(&fixture->blocks, index, 50));
}

/* The idle body is filled and the word flips to it, as often as one likes. */
static void test_drop_owner(void **state)
{
	struct fixture *fixture = *state;
	struct view_block block;
	uint32_t index = write_one(fixture, 40);

	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	assert_int_equal(record_body(blocks_word(&fixture->blocks, index)), 0);
	blocks_set_state(&fixture->blocks, index, RECORD_FREEING);
	for (unsigned body = 1; body < 4; body++) {
		blocks_drop_owner(&fixture->blocks, index, RECORD_LIVE);
		assert_int_equal(record_body(blocks_word(&fixture->blocks, index)), body & 1);
		assert_int_equal(record_state(blocks_word(&fixture->blocks, index)), RECORD_LIVE);
		assert_int_equal(blocks_body(&fixture->blocks, index)->owner, 0);
		assert_int_equal(view_read_block(&fixture->view, index, &block), 1);
		assert_int_equal(block.owner, 0);
		assert_int_equal(block.size, 100);
		assert_int_equal(block.granted, 128);
		assert_int_equal(block.id, 40);
		if (body == 1) /* the former body is as it was: a reader may stand on it */
			assert_int_equal(fixture->blocks.records[index].body[0].owner, 5);
		blocks_set_state(&fixture->blocks, index, RECORD_FREEING); /* keeps the body */
		assert_int_equal(record_body(blocks_word(&fixture->blocks, index)), body & 1);
	}
}

static void test_recycled_record(void **state)
{
	struct fixture *fixture = *state;
	struct view_block block;
	uint32_t index = write_one(fixture, 40);

	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	blocks_drop_owner(&fixture->blocks, index, RECORD_LIVE);
	blocks_set_state(&fixture->blocks, index, RECORD_FREE);
	struct block_content mine = {.id = 41, .granted = 16, .owner = 9, .tag = "x", .tag_length = 1};
	assert_int_equal(table_take(&fixture->blocks.table, &index), 0);
	blocks_write(&fixture->blocks, index, &mine);
	blocks_set_state(&fixture->blocks, index, RECORD_LIVE);
	assert_int_equal(view_read_block(&fixture->view, index, &block), 1);
	assert_int_equal(block.id, 41);
	assert_int_equal(block.owner, 9);
	assert_int_equal(block.size, 0);
	assert_string_equal(block.tag, "x"); /* and nothing of the longer tag before */
	assert_int_equal(block.tag[2], 0);
}

static void test_unheld(void **state)
{
	struct fixture *fixture = *state;
	struct blocks *blocks = &fixture->blocks;
	uint32_t index = write_one(fixture, 40);

	blocks_set_state(blocks, index, RECORD_LIVE);
	assert_false(blocks_is_unheld(blocks, index));
	blocks_drop_owner(blocks, index, RECORD_LIVE);
	assert_true(blocks_is_unheld(blocks, index));
	blocks->references[index] = 1;
	assert_false(blocks_is_unheld(blocks, index));
	blocks->references[index] = 0;
	blocks->names[index] = 1;
	assert_false(blocks_is_unheld(blocks, index));
	blocks->names[index] = 0;
	assert_true(blocks_is_unheld(blocks, index));
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct blocks blocks, empty = {0};

	for (int successes = 0; successes < 4; successes++) {
		int before = regions_open;
		regions_until_failure = successes;
		assert_int_equal(blocks_init(&blocks, &fixture->object, 4096, CAPACITY), -ENOMEM);
		assert_int_equal(regions_open, before);
		assert_memory_equal(&blocks, &empty, sizeof blocks);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pending_is_invisible), TEST(test_is_live), TEST(test_drop_owner),
		TEST(test_recycled_record),      TEST(test_unheld),  TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
