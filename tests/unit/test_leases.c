/* SPDX-License-Identifier: Apache-2.0 */
/* The table of leases: what each call leaves in the records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/leases.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"

#define CAPACITY 100

struct fixture {
	struct shared_object object;
	struct leases leases;
};

static int setup(void **state)
{
	static struct fixture fixture;

	regions_until_failure = -1;
	memory_object_open(&fixture.object, 2 * 4096);
	assert_int_equal(leases_init(&fixture.leases, &fixture.object, 4096, CAPACITY), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	leases_deinit(&fixture->leases);
	leases_deinit(&fixture->leases);
	shared_object_deinit(&fixture->object);
	return regions_open;
}

static void test_life(void **state)
{
	struct leases *leases = &((struct fixture *)*state)->leases;
	const uint64_t far = LEASE_DEADLINE_MAX;
	uint32_t index, again;

	assert_int_equal(table_take(&leases->table, &index), 0);
	assert_int_equal(table_take(&leases->table, &index), 0);
	leases_write(leases, index, 70, 700, 5000);
	const struct lease_record *record = &leases->records[index];
	assert_int_equal(record->block, 70);
	assert_int_equal(record->block_id, 700);
	assert_int_equal(record->checksum, lease_checksum(record));
	assert_int_equal(leases_word(leases, index), lease_word(5000, RECORD_PENDING));
	leases_set(leases, index, far);
	assert_int_equal(LEASE_DEADLINE(leases_word(leases, index)), far);
	assert_int_equal(LEASE_STATE(leases_word(leases, index)), RECORD_LIVE);
	assert_int_equal(record->checksum, lease_checksum(record)); /* the deadline is no part of it */
	leases_set(leases, index, 0);
	assert_int_equal(leases_word(leases, index), 0);
	assert_int_equal(table_take(&leases->table, &again), 0);
	assert_int_equal(again, index);
}

static void test_checksum(void **state)
{
	struct leases *leases = &((struct fixture *)*state)->leases;
	struct lease_record *record = &leases->records[0];
	uint32_t index;

	assert_int_equal(table_take(&leases->table, &index), 0);
	leases_write(leases, index, 70, 700, 5000);
	record->block ^= 1;
	assert_int_not_equal(record->checksum, lease_checksum(record));
	record->block ^= 1;
	record->block_id ^= UINT64_C(1) << 63;
	assert_int_not_equal(record->checksum, lease_checksum(record));
}

/* The word has no damage that goes unnoticed for long: one bit, or the 8 of a byte. */
static void test_word(void **state)
{
	uint64_t word = lease_word(123456789, RECORD_LIVE);

	(void)state;
	assert_int_equal(LEASE_DEADLINE(word), 123456789);
	assert_int_equal(LEASE_STATE(word), RECORD_LIVE);
	assert_int_equal(lease_word(123456789, RECORD_FREE), 0);
	for (unsigned i = 0; i < 64; i++) {
		uint64_t one = word ^ UINT64_C(1) << i, byte = word ^ UINT64_C(0xff) << i / 8 * 8;
		assert_int_not_equal(one, lease_word(LEASE_DEADLINE(one), LEASE_STATE(one)));
		assert_int_not_equal(byte, lease_word(LEASE_DEADLINE(byte), LEASE_STATE(byte)));
	}
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct leases leases;

	regions_until_failure = 0;
	assert_int_equal(leases_init(&leases, &fixture->object, 4096, CAPACITY), -ENOMEM);
	regions_until_failure = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checksum, setup, teardown),
		cmocka_unit_test(test_word),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
