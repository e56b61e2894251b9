/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of names and its index: by hand, with many names in one bucket, and at random against a model. Whatever the daemon
 * finds, a reader of the view finds, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hash.h"
#include "server/names.h"
#include "tests/unit/draw.h"
#include "tests/unit/failing_region.h"
#include "tests/unit/memory_object.h"
#include "view.h"

#define MAX_NAMES 3000 /* 4096 buckets: four pages of index */

struct fixture {
	struct shared_object object;
	struct view_header header;
	struct names names;
	struct view view; /* of the same records */
	uint64_t next_id;
};

static void open_names(struct fixture *fixture, uint32_t max_names)
{
	struct view_geometry geometry;

	view_geometry(1, max_names, &geometry);
	fixture->next_id = 1;
	fixture->header = (struct view_header){
		.name_buckets = geometry.name_buckets,
		.max_names = max_names,
		.max_blocks = UINT32_MAX,
		.names_at = geometry.names_at,
	};
	memory_object_open(&fixture->object, geometry.view_size);
	assert_int_equal(names_init(&fixture->names, &fixture->object, &fixture->header), 0);
	fixture->view = (struct view){
		.header = &fixture->header,
		.buckets = fixture->names.buckets,
		.names = fixture->names.records,
	};
}

static void close_names(struct fixture *fixture)
{
	names_deinit(&fixture->names);
	names_deinit(&fixture->names);
	shared_object_deinit(&fixture->object);
}

static int setup(void **state)
{
	static struct fixture fixture;

	regions_until_failure = -1;
	open_names(&fixture, MAX_NAMES);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	close_names(*state);
	return regions_open;
}

static int take(struct fixture *fixture, uint32_t *out_index)
{
	return table_take(&fixture->names.table, out_index);
}

static void write_name(struct fixture *fixture, uint32_t index, const char *name, uint32_t block)
{
	names_write(&fixture->names, index,
	            &(struct name_content){
					.id = fixture->next_id++,
					.block = block,
					.block_id = block + 1000u,
					.range = {16, 32},
					.created_ns = 48,
					.uid = 64,
					.name = name,
					.name_length = strlen(name),
				});
}

static uint32_t add(struct fixture *fixture, const char *name, uint32_t block)
{
	uint32_t index;

	assert_int_equal(take(fixture, &index), 0);
	write_name(fixture, index, name, block);
	names_set_live(&fixture->names, index);
	return index;
}

/* What both sides say; UINT32_MAX: not there. */
static uint32_t find(const struct fixture *fixture, const char *name)
{
	uint32_t index = UINT32_MAX, seen = UINT32_MAX;
	int result = names_find(&fixture->names, name, strlen(name), &index);

	assert_true(result == 0 || result == -ENOENT);
	assert_int_equal(view_find_name(&fixture->view, name, strlen(name), &seen), result == 0);
	assert_int_equal(seen, index);
	return index;
}

static void test_life(void **state)
{
	struct fixture *fixture = *state;
	struct view_name found;
	uint32_t index, again;

	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	assert_int_equal(take(fixture, &index), 0);
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	write_name(fixture, index, "camera", 7);
	assert_int_equal(find(fixture, "camera"), UINT32_MAX); /* pending */
	assert_int_equal(view_read_name(&fixture->view, index, &found), 0);
	names_set_live(&fixture->names, index);
	assert_int_equal(find(fixture, "camera"), index);
	assert_int_equal(find(fixture, "camer"), UINT32_MAX);
	assert_int_equal(find(fixture, "camera "), UINT32_MAX);
	assert_int_equal(view_read_name(&fixture->view, index, &found), 1);
	assert_int_equal(found.id, 1);
	assert_int_equal(found.block, 7);
	assert_int_equal(found.block_id, 1007);
	assert_int_equal(found.offset, 16);
	assert_int_equal(found.length, 32);
	assert_int_equal(found.created_ns, 48);
	assert_int_equal(found.uid, 64);
	assert_string_equal(found.name, "camera");
	names_drop(&fixture->names, index);
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	assert_int_equal(view_read_name(&fixture->view, index, &found), 0);
	assert_int_equal(take(fixture, &again), 0);
	assert_int_equal(again, index);
	write_name(fixture, again, "mic", 8);
	names_set_live(&fixture->names, again);
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	assert_int_equal(find(fixture, "mic"), again);
	assert_int_equal(fixture->names.records[again].name[4], 0); /* nothing of the longer one before */
	assert_int_equal(fixture->names.records[again].name[5], 0);
}

static void replace_with(struct fixture *fixture, uint32_t index, uint32_t block)
{
	names_write_next(&fixture->names, index,
	                 &(struct name_content){
						 .id = fixture->next_id++,
						 .block = block,
						 .block_id = block + 1000u,
						 .range = {2 * block, 3 * block},
						 .created_ns = 49,
						 .uid = 65,
					 });
	names_replace(&fixture->names, index);
}

/* Before its one store the old block is found, behind it the new one; the record, its place in the index and its first id stay. */
static void test_replace(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = add(fixture, "camera", 7), neighbour = add(fixture, "mic", 8);
	struct view_named named;
	struct view_name found;

	names_write_next(&fixture->names, index, &(struct name_content){.id = 99, .block = 9, .block_id = 1009});
	assert_int_equal(find(fixture, "camera"), index);
	assert_int_equal(names_body(&fixture->names, index)->block, 7);
	assert_int_equal(view_read_name(&fixture->view, index, &found), 1);
	assert_int_equal(found.block_id, 1007);
	assert_int_equal(found.id, found.first_id);
	for (uint32_t block = 10; block < 13; block++) {
		replace_with(fixture, index, block);
		assert_int_equal(find(fixture, "camera"), index);
		assert_int_equal(find(fixture, "mic"), neighbour);
		assert_int_equal(names_body(&fixture->names, index)->block, block);
		assert_int_equal(names_range(&fixture->names, index).offset, 2 * block);
		assert_int_equal(names_range(&fixture->names, index).length, 3 * block);
		assert_int_equal(view_find_named(&fixture->view, "camera", 6, &named), 1);
		assert_int_equal(named.block_id, block + 1000);
		assert_int_equal(named.offset, 2 * block);
		assert_int_equal(named.length, 3 * block);
		assert_int_equal(view_read_name(&fixture->view, index, &found), 1);
		assert_int_equal(found.id, fixture->next_id - 1);
		assert_int_equal(found.first_id, 1);
		assert_int_equal(found.block_id, block + 1000);
		assert_int_equal(found.created_ns, 49);
		assert_int_equal(found.uid, 65);
		assert_string_equal(found.name, "camera");
	}
	names_drop(&fixture->names, index);
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	assert_int_equal(add(fixture, "camera", 3), index);
	assert_int_equal(names_body(&fixture->names, index)->block, 3);
}

/* In a process of its own, as clients are: at no moment is the name missed, or anything found but what it stood for. */
static void look_for_ever(const struct fixture *fixture, _Atomic uint32_t *done, _Atomic uint32_t *looks)
{
	while (!atomic_load(done)) {
		struct view_named named;
		struct view_name found;
		uint32_t index;

		if (view_find_named(&fixture->view, "camera", 6, &named) != 1 || named.block_id != named.block + 1000u ||
		    named.offset != 2 * named.block || named.length != 3 * named.block)
			_exit(1);
		if (view_find_name(&fixture->view, "camera", 6, &index) != 1 || view_read_name(&fixture->view, index, &found) != 1 ||
		    found.block_id != found.block + 1000u || found.offset != 2 * found.block || found.length != 3 * found.block)
			_exit(2);
		atomic_fetch_add(looks, 1);
	}
	_exit(0);
}

/* Has the process ended? It stays a zombie. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

static void test_replaced_under_readers(void **state)
{
	enum { READERS = 2, TIMES = 100000, LOOKS = 200000 };
	struct fixture *fixture = *state;
	_Atomic uint32_t *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* done, and the looks of each */
	pid_t readers[READERS];
	char name[32];
	int status;

	assert_ptr_not_equal(shared, MAP_FAILED);
	add(fixture, "camera", 5);
	replace_with(fixture, 0, 5); /* with a range */
	for (int i = 0, count = 0; count < 3; i++) {
		snprintf(name, sizeof name, "n%d", i);
		bool neighbour = ((hash_of(name, strlen(name)) ^ hash_of("camera", 6)) & (fixture->header.name_buckets - 1)) == 0;
		if (neighbour)
			add(fixture, name, 1);
		count += neighbour;
	}
	fflush(NULL);
	for (int i = 0; i < READERS; i++) {
		readers[i] = fork();
		assert_true(readers[i] >= 0);
		if (readers[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			look_for_ever(fixture, &shared[0], &shared[1 + i]);
		}
	}
	/* Replaced a hundred thousand times, and on until each reader has looked twice as often meanwhile, or has failed. */
	uint32_t from[READERS], times = 0;
	for (int i = 0; i < READERS; i++)
		from[i] = atomic_load(&shared[1 + i]);
	for (bool enough = false; times < TIMES || !enough; times++) {
		replace_with(fixture, 0, times % 1000);
		enough = true;
		for (int i = 0; i < READERS; i++)
			enough = enough && (atomic_load(&shared[1 + i]) - from[i] >= LOOKS || has_ended(readers[i]));
	}
	atomic_store(&shared[0], 1);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(waitpid(readers[i], &status, 0), readers[i]);
		assert_int_equal(status, 0);
	}
	print_message("replaced %u times; %u and %u looks\n", times, shared[1], shared[2]);
	munmap(shared, 4096);
}

static void test_longest(void **state)
{
	struct fixture *fixture = *state;
	char name[256], shorter[256];

	memset(name, 'n', 255);
	name[255] = '\0';
	strcpy(shorter, name + 1);
	uint32_t index = add(fixture, name, 0);
	assert_int_equal(find(fixture, name), index);
	assert_int_equal(find(fixture, shorter), UINT32_MAX);
}

/* A look for a name must not make the kernel back a page of the index: it may have none left. */
static void test_looking_costs_nothing(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before = memory_object_backed(&fixture->object);
	char name[32];
	uint32_t index;

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "nobody %d", i);
		assert_int_equal(names_find(&fixture->names, name, strlen(name), &index), -ENOENT);
	}
	assert_int_equal(memory_object_backed(&fixture->object), before);
}

/* The whole index is committed from the start, so that readers may look into any bucket; records as they are needed. */
static void test_index_is_committed_at_once(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index;

	assert_int_equal(memory_object_backed(&fixture->object), fixture->header.names_at - VIEW_INDEX_AT);
	assert_int_equal(take(fixture, &index), 0);
	assert_int_equal(memory_object_backed(&fixture->object),
	                 fixture->header.names_at - VIEW_INDEX_AT + fixture->names.table.committed);
}

static void test_kernel_refuses(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = 7;
	int fd = memory_object_break(&fixture->object);

	assert_int_equal(take(fixture, &index), -EBADF);
	memory_object_mend(&fixture->object, fd);
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	assert_int_equal(take(fixture, &index), 0);
	table_give(&fixture->names.table, index);
	fd = memory_object_break(&fixture->object);
	assert_int_equal(take(fixture, &index), 0); /* all is there */
	memory_object_mend(&fixture->object, fd);
}

static void test_full(void **state)
{
	struct fixture small;
	uint32_t index, first;

	(void)state;
	open_names(&small, 2);
	first = add(&small, "one", 0);
	add(&small, "two", 0);
	assert_int_equal(take(&small, &index), -EDQUOT);
	names_drop(&small.names, first);
	add(&small, "three", 0);
	assert_int_equal(find(&small, "one"), UINT32_MAX);
	assert_true(find(&small, "two") != UINT32_MAX);
	close_names(&small);
}

/* All in one bucket, some of them pending, dropped from its end, its start and its middle. */
static void test_collisions(void **state)
{
	enum { COUNT = 6 };
	struct fixture *fixture = *state;
	char names[COUNT][32];
	uint32_t indexes[COUNT], count = 0;

	for (int i = 0; count < COUNT; i++) {
		snprintf(names[count], sizeof names[0], "n%d", i);
		count += (hash_of(names[count], strlen(names[count])) & (fixture->header.name_buckets - 1)) == 77;
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_int_equal(take(fixture, &indexes[i]), 0);
		write_name(fixture, indexes[i], names[i], i);
		if (i != 3)
			names_set_live(&fixture->names, indexes[i]);
	}
	static const uint32_t order[] = {0, 5, 2, 3, 1, 4};
	bool here[COUNT] = {true, true, true, false, true, true};
	for (uint32_t i = 0; i < COUNT; i++) {
		for (uint32_t k = 0; k < COUNT; k++)
			assert_int_equal(find(fixture, names[k]), here[k] ? indexes[k] : UINT32_MAX);
		names_drop(&fixture->names, indexes[order[i]]);
		here[order[i]] = false;
	}
	assert_int_equal(fixture->names.buckets[77], 0);
}

/* Names that were chosen for one place of the public index are anywhere in the daemon's own. */
static void test_chosen_names(void **state)
{
	enum { COUNT = 500 };
	struct fixture chosen;
	char name[32];
	uint32_t longest = 0, buckets;

	(void)state;
	open_names(&chosen, 1024);
	buckets = chosen.header.name_buckets;
	for (uint32_t i = 0, count = 0; count < COUNT; i++) {
		snprintf(name, sizeof name, "n%u", i);
		if (hash_of(name, strlen(name)) % buckets == 77)
			add(&chosen, name, count++);
	}
	for (uint32_t i = 0; i < buckets; i++) {
		uint32_t length = 0;
		for (uint32_t link = chosen.names.first[i]; link; link = chosen.names.next[link - 1])
			length++;
		longest = length > longest ? length : longest;
	}
	/* At random: as many in one of 1024 or more once in 10^10. */
	assert_in_range(longest, 1, 15);
	close_names(&chosen);
}

/* Two names of one hash, which is not to be had otherwise: one record is doctored to say so. */
static void test_same_hash(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = add(fixture, "camera", 1);
	struct name_record *record = &fixture->names.records[index];

	strcpy(record->name, "cinema");
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	strcpy(record->name, "cameras");
	record->name_length = 7;
	assert_int_equal(find(fixture, "camera"), UINT32_MAX);
	strcpy(record->name, "camera");
	record->name_length = 6;
	names_drop(&fixture->names, index);
}

/* A thousand possible names come and go; a small table keeps the chains long. */
static void test_against_model(void **state)
{
	enum { POSSIBLE = 1000, TABLE = 60 };
	static uint32_t where[POSSIBLE]; /* index plus one; 0: not there */
	struct fixture small;
	uint32_t count = 0, index;
	char name[32];

	(void)state;
	memset(where, 0, sizeof where);
	open_names(&small, TABLE);
	for (int step = 0; step < 60000; step++) {
		uint32_t which = (uint32_t)draw(POSSIBLE);
		snprintf(name, sizeof name, "the name %u", which);
		assert_int_equal(find(&small, name), where[which] - 1);
		if (where[which] && draw(3) == 0) {
			replace_with(&small, where[which] - 1, (uint32_t)draw(100));
		} else if (where[which]) {
			names_drop(&small.names, where[which] - 1);
			where[which] = 0;
			count--;
		} else if (count < TABLE) {
			where[which] = add(&small, name, which) + 1;
			count++;
		} else {
			assert_int_equal(take(&small, &index), -EDQUOT);
			/* Make room: the next one that is there. */
			while (!where[which])
				which = (which + 1) % POSSIBLE;
			names_drop(&small.names, where[which] - 1);
			where[which] = 0;
			count--;
		}
		if (step % 5000)
			continue;
		for (uint32_t i = 0; i < POSSIBLE; i++) {
			snprintf(name, sizeof name, "the name %u", i);
			assert_int_equal(find(&small, name), where[i] - 1);
		}
	}
	close_names(&small);
}

static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	struct names names, empty = {0};

	int before = regions_open;
	for (int successes = 0; successes < 3; successes++) {
		regions_until_failure = successes;
		assert_int_equal(names_init(&names, &fixture->object, &fixture->header), -ENOMEM);
		assert_int_equal(regions_open, before);
		assert_memory_equal(&names, &empty, sizeof names);
	}
	/* Nor without the pages of the index. */
	regions_until_failure = -1;
	int fd = memory_object_break(&fixture->object);
	assert_int_equal(names_init(&names, &fixture->object, &fixture->header), -EBADF);
	memory_object_mend(&fixture->object, fd);
	assert_int_equal(regions_open, before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_replace),
		TEST(test_replaced_under_readers),
		TEST(test_longest),
		TEST(test_looking_costs_nothing),
		TEST(test_index_is_committed_at_once),
		TEST(test_kernel_refuses),
		cmocka_unit_test(test_full),
		TEST(test_collisions),
		cmocka_unit_test(test_chosen_names),
		TEST(test_same_hash),
		cmocka_unit_test(test_against_model),
		TEST(test_no_memory),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
