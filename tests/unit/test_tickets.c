/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tickets: what each call leaves in the records, and who is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/tickets.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"
#include "view_layout.h"

#define CAPACITY 100

struct fixture {
	struct shared_object object;
	struct tickets tickets;
};

static int setup(void **state)
{
	static struct fixture fixture;

	regions_until_failure = -1;
	memory_object_open(&fixture.object, 3 * 4096);
	assert_int_equal(tickets_init(&fixture.tickets, &fixture.object, 4096, CAPACITY), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	tickets_deinit(&fixture->tickets);
	tickets_deinit(&fixture->tickets);
	shared_object_deinit(&fixture->object);
	return regions_open;
}

static uint32_t make(struct tickets *tickets, uint64_t id, const uint8_t *token)
{
	uint32_t index;

	assert_int_equal(table_take(&tickets->table, &index), 0);
	tickets_write(
		tickets, index,
		&(struct ticket_content){
			.id = id, .block_id = 700, .deadline = 5000, .block = 70, .uid = 7, .for_uid = TICKET_FOR_ALL, .token = token});
	assert_int_equal(tickets_word(tickets, index), record_word(id, 0, RECORD_PENDING));
	assert_int_equal(tickets_find(tickets, token), 0);
	tickets_set_state(tickets, index, RECORD_LIVE);
	tickets_add(tickets, index);
	return index;
}

static void test_life(void **state)
{
	struct tickets *tickets = &((struct fixture *)*state)->tickets;
	uint8_t token[TICKET_TOKEN_SIZE];

	assert_int_equal(tickets_draw(tickets, token), 0);
	uint32_t index = make(tickets, 9, token), again;
	const struct ticket_record *record = &tickets->records[index];
	assert_int_equal(record->block, 70);
	assert_int_equal(record->block_id, 700);
	assert_int_equal(record->deadline, 5000);
	assert_int_equal(record->uid, 7);
	assert_memory_equal(record->token, token, sizeof token);
	assert_int_equal(record->checksum, ticket_checksum(record, 9));
	assert_int_not_equal(record->checksum, ticket_checksum(record, 10)); /* of another life */
	assert_int_equal(tickets_word(tickets, index), record_word(9, 0, RECORD_LIVE));
	assert_int_equal(tickets->count, 1);
	tickets_set_state(tickets, index, RECORD_FREE);
	assert_int_equal(tickets_word(tickets, index), record_word(9, 0, RECORD_FREE));
	assert_int_equal(tickets_find(tickets, token), 0);
	assert_int_equal(tickets->count, 0);
	assert_int_equal(table_take(&tickets->table, &again), 0);
	assert_int_equal(again, index);
}

/* Every bit of a token counts, those that the index knows and the others. */
static void test_find(void **state)
{
	struct tickets *tickets = &((struct fixture *)*state)->tickets;
	uint8_t token[CAPACITY][TICKET_TOKEN_SIZE];
	uint32_t index[CAPACITY];

	for (unsigned i = 0; i < CAPACITY; i++) {
		assert_int_equal(tickets_draw(tickets, token[i]), 0);
		index[i] = make(tickets, i + 1, token[i]);
	}
	for (unsigned i = 0; i < CAPACITY; i++) {
		assert_int_equal(tickets_find(tickets, token[i]), index[i] + 1);
		for (unsigned bit = 0; bit < 8 * TICKET_TOKEN_SIZE; bit++) {
			token[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(tickets_find(tickets, token[i]), 0);
			assert_int_equal(tickets_find_alike(tickets, token[i]), bit < 64 ? 0 : index[i] + 1);
			token[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void test_checksum(void **state)
{
	struct tickets *tickets = &((struct fixture *)*state)->tickets;
	uint8_t token[TICKET_TOKEN_SIZE] = {1, 2, 3};
	uint32_t index = make(tickets, 9, token);
	struct ticket_record *record = &tickets->records[index];
	uint8_t *bytes = record->token;

	for (size_t i = 0; i < offsetof(struct ticket_record, checksum) - offsetof(struct ticket_record, token); i++) {
		bytes[i] ^= 0x10;
		assert_int_not_equal(record->checksum, ticket_checksum(record, 9));
		bytes[i] ^= 0x10;
	}
	assert_int_equal(record->checksum, ticket_checksum(record, 9));
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	int open = regions_open;

	for (int regions = 0; regions < 5; regions++) {
		struct tickets tickets;
		regions_until_failure = regions;
		assert_int_equal(tickets_init(&tickets, &fixture->object, 4096, CAPACITY), -ENOMEM);
		assert_int_equal(regions_open, open);
	}
	regions_until_failure = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_find, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checksum, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
