/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promises of buddy.h, one by one: what is refused, what is chosen, which ranges can go, and
 * that a huge arena touches little. Random operations are in test_buddy_model.c, and whether the deep
 * check sees damage in test_buddy_damage.c.
 */
#include "server/buddy.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TEBI (UINT64_C(1) << 40)

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state >> 12; /* xorshift64*, Vigna 2016 */
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * UINT64_C(2685821657736338717) >> 16) % below;
}

/* 1 to about `most`, each octave as likely as the next. */
static uint64_t draw_log(uint64_t most)
{
	uint64_t octaves = 1;

	while (most >> octaves != 0)
		octaves++;
	uint64_t low = UINT64_C(1) << draw(octaves);

	return low + draw(low);
}

struct arena {
	struct buddy buddy;
	size_t bytes;
	uint64_t *memory;
};

static void open_arena(struct arena *arena, uint64_t units)
{
	arena->bytes = buddy_footprint(units);
	arena->memory = calloc(1, arena->bytes);
	assert_non_null(arena->memory);
	assert_int_equal(buddy_init(&arena->buddy, arena->memory, units), 0);
}

static void close_arena(struct arena *arena)
{
	free(arena->memory);
}

/* All free again: one block for each bit of the size, and not a bit in any bitmap. */
static void assert_whole(const struct arena *arena, uint64_t units)
{
	const struct buddy *buddy = &arena->buddy;

	assert_true(buddy_is_valid(buddy));
	assert_int_equal(buddy_units(buddy), units);
	assert_int_equal(buddy_free_units(buddy), units);
	for (unsigned order = 0; order < 64; order++)
		assert_int_equal(buddy_free_blocks(buddy, order), (units >> order) & 1);
	for (size_t i = 0; i < arena->bytes / sizeof(uint64_t); i++)
		assert_int_equal(arena->memory[i], 0);
	assert_true(buddy_is_free(buddy, 0, units));
}

static uint64_t take(struct buddy *buddy, uint64_t units, uint64_t alignment)
{
	uint64_t offset = 0, granted = 0;

	assert_int_equal(buddy_allocate(buddy, units, alignment, &offset, &granted), 0);
	assert_true(granted >= units && granted / 2 < units);
	assert_int_equal(offset % granted, 0);
	assert_int_equal(offset % alignment, 0);
	return offset;
}

static void assert_refused(struct buddy *buddy, uint64_t units, uint64_t alignment, int error)
{
	uint64_t offset = 11, granted = 12, before = buddy_free_units(buddy);

	assert_int_equal(buddy_allocate(buddy, units, alignment, &offset, &granted), error);
	assert_int_equal(offset, 11);
	assert_int_equal(granted, 12);
	assert_int_equal(buddy_free_units(buddy), before);
}

static void bad_arenas_are_refused(void **state)
{
	uint64_t memory[8] = {0};
	struct buddy buddy;

	(void)state;
	assert_int_equal(buddy_footprint(0), 0);
	assert_int_equal(buddy_footprint(BUDDY_UNITS_MAX + 1), 0);
	assert_int_equal(buddy_footprint(UINT64_MAX), 0);
	assert_int_equal(buddy_footprint(1), sizeof(uint64_t));
	assert_true(buddy_footprint(BUDDY_UNITS_MAX) / (BUDDY_UNITS_MAX / 4) == 1);
	assert_int_equal(buddy_init(&buddy, memory, 0), -EINVAL);
	assert_int_equal(buddy_init(&buddy, memory, BUDDY_UNITS_MAX + 1), -EINVAL);
	assert_int_equal(buddy_init(&buddy, NULL, 8), -EINVAL);
	assert_int_equal(buddy_init(&buddy, (char *)memory + 1, 8), -EINVAL);
}

static void bad_requests_are_refused(void **state)
{
	static const uint64_t sizes[] = {1, 2, 3, 1000, 1024};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct arena arena;
		uint64_t units = sizes[i];

		open_arena(&arena, units);
		assert_refused(&arena.buddy, 0, 1, -EINVAL);
		assert_refused(&arena.buddy, 1, 0, -EINVAL);
		assert_refused(&arena.buddy, 1, 3, -EINVAL);
		assert_refused(&arena.buddy, 1, UINT64_MAX, -EINVAL);
		assert_refused(&arena.buddy, units + 1, 1, -ENOMEM);
		assert_refused(&arena.buddy, BUDDY_UNITS_MAX, 1, -ENOMEM);
		assert_refused(&arena.buddy, BUDDY_UNITS_MAX + 1, 1, -ENOMEM);
		for (unsigned shift = 62; shift < 64; shift++)
			for (uint64_t off = 0; off < 3; off++)
				assert_refused(&arena.buddy, (UINT64_C(1) << shift) - 1 + off, 1, -ENOMEM);
		assert_refused(&arena.buddy, UINT64_MAX, 1, -ENOMEM);
		assert_refused(&arena.buddy, UINT64_MAX, UINT64_C(1) << 63, -ENOMEM);
		assert_refused(&arena.buddy, 1, UINT64_C(1) << 63, -ENOMEM);
		assert_refused(&arena.buddy, 1, 2048, -ENOMEM);
		assert_whole(&arena, units);
		close_arena(&arena);
	}
}

/* The example of every user's first day: 1,024 bytes in units of 16. */
static void the_kilobyte(void **state)
{
	struct arena arena;

	(void)state;
	open_arena(&arena, 64);
	assert_int_equal(take(&arena.buddy, 16, 1), 0);
	assert_int_equal(take(&arena.buddy, 16, 1), 16);
	buddy_release(&arena.buddy, 0, 16);
	assert_refused(&arena.buddy, 64, 1, -ENOMEM);
	assert_int_equal(buddy_free_units(&arena.buddy), 48);
	assert_int_equal(buddy_largest_free(&arena.buddy), 32);
	buddy_release(&arena.buddy, 16, 16);
	assert_int_equal(take(&arena.buddy, 64, 1), 0);
	assert_int_equal(buddy_largest_free(&arena.buddy), 0);
	assert_refused(&arena.buddy, 1, 1, -ENOMEM);
	buddy_release(&arena.buddy, 0, 64);
	assert_whole(&arena, 64);
	close_arena(&arena);
}

static void lowest_address_in_smallest_order(void **state)
{
	struct arena arena;

	(void)state;
	open_arena(&arena, 64);
	assert_int_equal(buddy_reserve(&arena.buddy, 0, 64), 0);
	buddy_release(&arena.buddy, 48, 1); /* added from the top down */
	buddy_release(&arena.buddy, 33, 1);
	buddy_release(&arena.buddy, 40, 1);
	buddy_release(&arena.buddy, 8, 4);
	buddy_release(&arena.buddy, 4, 2);
	assert_int_equal(buddy_next_free(&arena.buddy, 0, 0), 33);
	assert_int_equal(buddy_next_free(&arena.buddy, 0, 33), 33);
	assert_int_equal(buddy_next_free(&arena.buddy, 0, 34), 40);
	assert_int_equal(buddy_next_free(&arena.buddy, 0, 49), BUDDY_NONE);
	assert_int_equal(buddy_next_free(&arena.buddy, 2, 11), 8);
	assert_int_equal(buddy_next_free(&arena.buddy, 2, 12), BUDDY_NONE);
	assert_int_equal(buddy_next_free(&arena.buddy, 3, 0), BUDDY_NONE);
	assert_int_equal(buddy_next_free(&arena.buddy, 64, 0), BUDDY_NONE);
	assert_true(buddy_is_valid(&arena.buddy));
	assert_int_equal(take(&arena.buddy, 1, 1), 33);
	assert_int_equal(take(&arena.buddy, 1, 1), 40);
	assert_int_equal(take(&arena.buddy, 1, 1), 48);
	assert_int_equal(take(&arena.buddy, 1, 1), 4);
	assert_int_equal(take(&arena.buddy, 1, 1), 5);
	assert_int_equal(take(&arena.buddy, 2, 1), 8);
	buddy_release(&arena.buddy, 33, 31);
	buddy_release(&arena.buddy, 0, 10);
	buddy_release(&arena.buddy, 12, 21);
	assert_whole(&arena, 64);
	close_arena(&arena);
}

static void alignment_above_the_size(void **state)
{
	struct arena arena;

	(void)state;
	open_arena(&arena, 100);
	assert_int_equal(take(&arena.buddy, 1, 1), 96);
	assert_int_equal(take(&arena.buddy, 1, 32), 64); /* 64..96 is the smallest order that serves */
	assert_int_equal(buddy_free_blocks(&arena.buddy, 0), 2);
	assert_true(buddy_is_free(&arena.buddy, 65, 31));
	assert_int_equal(take(&arena.buddy, 3, 64), 0);
	assert_refused(&arena.buddy, 1, 64, -ENOMEM);
	assert_true(buddy_is_valid(&arena.buddy));
	buddy_release(&arena.buddy, 0, 4);
	buddy_release(&arena.buddy, 64, 1);
	buddy_release(&arena.buddy, 96, 1);
	assert_whole(&arena, 100);
	close_arena(&arena);
}

static void ranges(void **state)
{
	struct arena arena;

	(void)state;
	open_arena(&arena, 1000);
	assert_int_equal(buddy_reserve(&arena.buddy, 0, 0), -EINVAL);
	assert_int_equal(buddy_reserve(&arena.buddy, 999, 2), -EINVAL);
	assert_int_equal(buddy_reserve(&arena.buddy, 1001, 1), -EINVAL);
	assert_int_equal(buddy_reserve(&arena.buddy, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(buddy_reserve(&arena.buddy, 1, UINT64_MAX), -EINVAL);
	assert_whole(&arena, 1000);

	assert_int_equal(buddy_reserve(&arena.buddy, 3, 990), 0);
	assert_true(buddy_is_taken(&arena.buddy, 3, 990));
	assert_true(buddy_is_free(&arena.buddy, 0, 3));
	assert_true(buddy_is_free(&arena.buddy, 993, 7));
	assert_false(buddy_is_free(&arena.buddy, 0, 4));
	assert_false(buddy_is_free(&arena.buddy, 992, 2));
	assert_false(buddy_is_taken(&arena.buddy, 2, 2));
	assert_false(buddy_is_taken(&arena.buddy, 900, 94));
	assert_int_equal(buddy_reserve(&arena.buddy, 992, 2), -EBUSY);
	assert_int_equal(buddy_reserve(&arena.buddy, 0, 1000), -EBUSY);
	assert_int_equal(buddy_free_units(&arena.buddy), 10);

	/* Empty ranges are both, wherever they lie; what is outside is neither. */
	for (uint64_t at = 0; at <= 1000; at += 100) {
		assert_true(buddy_is_free(&arena.buddy, at, 0));
		assert_true(buddy_is_taken(&arena.buddy, at, 0));
	}
	assert_false(buddy_is_free(&arena.buddy, 993, 8));
	assert_false(buddy_is_free(&arena.buddy, 1001, 0));
	assert_false(buddy_is_taken(&arena.buddy, 500, 501));
	assert_false(buddy_is_taken(&arena.buddy, UINT64_MAX, 2));

	buddy_release(&arena.buddy, 500, 0);
	buddy_release(&arena.buddy, 501, 37);
	assert_true(buddy_is_valid(&arena.buddy));
	assert_true(buddy_is_free(&arena.buddy, 501, 37));
	assert_true(buddy_is_taken(&arena.buddy, 3, 498));
	assert_true(buddy_is_taken(&arena.buddy, 538, 455));
	buddy_release(&arena.buddy, 3, 498);
	buddy_release(&arena.buddy, 538, 455);
	assert_whole(&arena, 1000);
	close_arena(&arena);
}

#ifndef NDEBUG
/* Whether releasing the range stops the process. */
static bool release_aborts(struct buddy *buddy, uint64_t offset, uint64_t units)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		signal(SIGABRT, SIG_DFL);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
		buddy_release(buddy, offset, units);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
#endif

static void wrong_releases_are_asserted(void **state)
{
	(void)state;
#ifdef NDEBUG
	skip();
#else
	struct arena arena;

	open_arena(&arena, 100);
	assert_int_equal(take(&arena.buddy, 8, 1), 64);
	assert_int_equal(take(&arena.buddy, 8, 1), 72);
	assert_false(release_aborts(&arena.buddy, 64, 8));
	assert_true(release_aborts(&arena.buddy, 93, 8));         /* beyond the end */
	assert_true(release_aborts(&arena.buddy, UINT64_MAX, 2)); /* overflow */
	assert_true(release_aborts(&arena.buddy, 0, 17));         /* more than is taken */
	buddy_release(&arena.buddy, 64, 8);
	assert_true(release_aborts(&arena.buddy, 64, 8)); /* twice */
	close_arena(&arena);
#endif
}

static size_t resident_pages(const struct arena *arena)
{
	static unsigned char pages[1u << 18];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), chunk = sizeof(pages) * page, count = 0;

	for (size_t at = 0; at < arena->bytes; at += chunk) {
		size_t bytes = arena->bytes - at < chunk ? arena->bytes - at : chunk;

		assert_int_equal(mincore((char *)arena->memory + at, bytes, pages), 0);
		for (size_t i = 0; i < (bytes + page - 1) / page; i++)
			count += pages[i] & 1;
	}
	return count;
}

/* Pages that `places` bits of each order can touch at most: in each level one a bit, unless the level
 * has fewer (and may begin within a page). */
static size_t most_pages(uint64_t units, size_t places)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), sum = 0;

	for (unsigned order = 0; units >> order != 0; order++) {
		for (unsigned level = 0; level < BITMAP_LEVELS; level++) {
			size_t has = bitmap_words(units >> order, level) * sizeof(uint64_t) / page + 1;

			sum += has < places ? has : places;
		}
	}
	return sum;
}

static void map_arena(struct arena *arena, uint64_t units)
{
	arena->bytes = buddy_footprint(units);
	arena->memory = mmap(NULL, arena->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena->memory == MAP_FAILED) {
		print_message("no %zu bytes of address space here\n", arena->bytes);
		skip();
	}
	assert_int_equal(madvise(arena->memory, arena->bytes, MADV_NOHUGEPAGE), 0);
	assert_int_equal(buddy_init(&arena->buddy, arena->memory, units), 0);
}

/* The largest arena there can be: 2^40 units, 256 GiB of bitmaps, of which next to nothing is touched. */
static void huge_arena_is_sparse(void **state)
{
	enum { BLOCKS = 1000 };
	static uint64_t offset[BLOCKS], granted[BLOCKS];
	struct arena arena;
	size_t fresh, used, spread;

	(void)state;
	map_arena(&arena, TEBI);
	assert_int_equal(take(&arena.buddy, TEBI, 1), 0);
	assert_refused(&arena.buddy, 1, 1, -ENOMEM);
	buddy_release(&arena.buddy, 0, TEBI);
	assert_int_equal(take(&arena.buddy, 1, TEBI), 0);
	buddy_release(&arena.buddy, 0, 1);
	assert_int_equal(take(&arena.buddy, 1, 1), 0);
	fresh = resident_pages(&arena);
	assert_int_equal(fresh, 0); /* every half that was split off is the lowest of its order */
	buddy_release(&arena.buddy, 0, 1);

	for (int i = 0; i < BLOCKS; i++)
		assert_int_equal(buddy_allocate(&arena.buddy, draw_log(1000), 1, &offset[i], &granted[i]), 0);
	for (int i = 0; i < BLOCKS; i += 2)
		buddy_release(&arena.buddy, offset[i], granted[i]);
	used = resident_pages(&arena);
	assert_true(used <= 100);
	for (int i = 1; i < BLOCKS; i += 2)
		buddy_release(&arena.buddy, offset[i], granted[i]);
	assert_int_equal(buddy_largest_free(&arena.buddy), TEBI);

	/* Single units far apart each leave one free block in every order. */
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(buddy_reserve(&arena.buddy, i * (TEBI / 16) + 12345, 1), 0);
	spread = resident_pages(&arena);
	assert_true(spread <= used + most_pages(TEBI, 16));
	for (uint64_t i = 0; i < 16; i++)
		buddy_release(&arena.buddy, i * (TEBI / 16) + 12345, 1);
	assert_int_equal(buddy_largest_free(&arena.buddy), TEBI);
	print_message("# pages touched: %zu fresh, %zu by 1,000 blocks, %zu with 16 far apart\n", fresh, used, spread);
	munmap(arena.memory, arena.bytes);
}

/* Large enough for five levels, small enough to be read as a whole. */
static void large_arena_is_valid(void **state)
{
	uint64_t units = (UINT64_C(1) << 27) - 5;
	struct arena arena;

	(void)state;
	map_arena(&arena, units);
	for (int i = 0; i < 300; i++)
		buddy_reserve(&arena.buddy, draw(units - 5000), draw_log(4000));
	assert_true(buddy_free_units(&arena.buddy) < units);
	assert_true(buddy_is_valid(&arena.buddy));
	munmap(arena.memory, arena.bytes);
}

/* A block grows into its right buddy and the next ones, as far as they are free and it is the left one. */
static void growing_in_place(void **state)
{
	struct arena arena;
	uint64_t granted = 0;

	(void)state;
	open_arena(&arena, 48);
	assert_int_equal(buddy_reserve(&arena.buddy, 0, 4), 0);
	assert_int_equal(buddy_grow(&arena.buddy, 0, 4, 5, &granted), 0);
	assert_int_equal(granted, 8);
	assert_int_equal(buddy_grow(&arena.buddy, 0, 8, 32, &granted), 0);
	assert_int_equal(granted, 32);
	assert_int_equal(buddy_free_units(&arena.buddy), 16);
	granted = 77;
	assert_int_equal(buddy_grow(&arena.buddy, 0, 32, 33, &granted), -ENOMEM); /* beyond the end */
	assert_int_equal(buddy_grow(&arena.buddy, 0, 32, BUDDY_UNITS_MAX + 1, &granted), -ENOMEM);
	assert_int_equal(buddy_grow(&arena.buddy, 0, 32, UINT64_MAX, &granted), -ENOMEM);
	buddy_release(&arena.buddy, 4, 28);
	assert_int_equal(take(&arena.buddy, 4, 1), 4);
	assert_int_equal(buddy_grow(&arena.buddy, 4, 4, 8, &granted), -ENOMEM); /* it is the right one of two */
	assert_int_equal(buddy_grow(&arena.buddy, 0, 4, 8, &granted), -ENOMEM); /* its buddy is taken */
	buddy_release(&arena.buddy, 4, 4);
	assert_int_equal(buddy_reserve(&arena.buddy, 7, 1), 0);
	assert_int_equal(buddy_grow(&arena.buddy, 0, 4, 8, &granted), -ENOMEM); /* some of it is */
	assert_int_equal(granted, 77);
	assert_int_equal(buddy_free_units(&arena.buddy), 43);
	buddy_release(&arena.buddy, 7, 1);
	buddy_release(&arena.buddy, 0, 4);
	assert_whole(&arena, 48);
	close_arena(&arena);
}

static void what_is_granted(void **state)
{
	(void)state;
	for (uint64_t units = 1; units < 5000; units++)
		assert_true(buddy_rounded(units) >= units && buddy_rounded(units) / 2 < units);
	assert_int_equal(buddy_rounded(1), 1);
	assert_int_equal(buddy_rounded(3), 4);
	assert_int_equal(buddy_rounded(4), 4);
	assert_int_equal(buddy_rounded(UINT64_C(1) << 62), UINT64_C(1) << 62);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arenas_are_refused),
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(the_kilobyte),
		cmocka_unit_test(lowest_address_in_smallest_order),
		cmocka_unit_test(alignment_above_the_size),
		cmocka_unit_test(ranges),
		cmocka_unit_test(growing_in_place),
		cmocka_unit_test(what_is_granted),
		cmocka_unit_test(wrong_releases_are_asserted),
		cmocka_unit_test(huge_arena_is_sparse),
		cmocka_unit_test(large_arena_is_valid),
	};
	const char *seed = getenv("SHMB_TEST_SEED");

	random_state = seed ? strtoull(seed, NULL, 0) : UINT64_C(0x5eedb0dd);
	random_state += random_state == 0;
	printf("# SHMB_TEST_SEED=%llu\n", (unsigned long long)random_state);
	return cmocka_run_group_tests_name("buddy", tests, NULL, NULL);
}
