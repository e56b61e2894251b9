/* SPDX-License-Identifier: Apache-2.0 */
/* Files of hold pages, in /dev/shm under a name of this process: whatever a client makes of one, reading it is the same bounded work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/hold_page.h"

static char pool[32];
static uint64_t slots[HOLD_SLOTS];

static int setup(void **state)
{
	(void)state;
	snprintf(pool, sizeof pool, "unit-hold-page-%d", (int)getpid());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hold_page_remove_all(pool);
	return 0;
}

static void path_of(const char *end, char out_path[96])
{
	snprintf(out_path, 96, "/dev/shm/shmbuddy.%s%s", pool, end);
}

static bool is_there(const char *end)
{
	char path[96];

	path_of(end, path);
	return access(path, F_OK) == 0;
}

static void make(const char *end)
{
	char path[96];

	path_of(end, path);
	CLEANUP_CLOSE int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
}

static void unmake(const char *end)
{
	char path[96];

	path_of(end, path);
	assert_int_equal(unlink(path), 0);
}

static void write_slot(int fd, size_t slot, uint64_t value)
{
	off_t at = (off_t)(offsetof(struct hold_page, slots) + slot * sizeof value);

	assert_int_equal(pwrite(fd, &value, sizeof value, at), sizeof value);
}

static void test_made_and_opened(void **state)
{
	CLEANUP_CLOSE int fd = -1, again = -1;
	uint64_t inode, next;
	struct stat status;

	(void)state;
	assert_int_equal(hold_page_create(pool, 7, &fd, &inode), 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, HOLD_PAGE_SIZE);
	assert_int_equal(status.st_blocks, HOLD_PAGE_SIZE / 512); /* committed */
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(hold_page_open(pool, 7, inode, &again), 0);
	write_slot(again, 3, 99 | HOLD_CLAIMED);
	assert_int_equal(hold_page_read(fd, slots), 0);
	assert_int_equal(slots[3], 99);
	close(take_fd(&again));

	assert_int_equal(hold_page_open(pool, 7, inode + 1, &again), -EPERM);
	assert_int_equal(hold_page_open(pool, 8, inode, &again), -ENOENT);
	/* Made anew, it is another one, of zeros. */
	close(take_fd(&fd));
	assert_int_equal(hold_page_create(pool, 7, &fd, &next), 0);
	assert_int_equal(hold_page_read(fd, slots), 0);
	assert_int_equal(slots[3], 0);
	hold_page_remove(pool, 7);
	assert_false(is_there(".hold.7"));
}

/* Cut off in the middle of a slot, with a hole, and longer than any memory. */
static void test_what_a_client_makes_of_it(void **state)
{
	CLEANUP_CLOSE int fd = -1;
	uint64_t inode;
	struct stat status;

	(void)state;
	assert_int_equal(hold_page_create(pool, 1, &fd, &inode), 0);
	for (size_t i = 0; i < HOLD_SLOTS; i++)
		write_slot(fd, i, i + 1);
	assert_int_equal(ftruncate(fd, INT64_C(1) << 42), 0);
	assert_int_equal(hold_page_read(fd, slots), 0);
	for (size_t i = 0; i < HOLD_SLOTS; i++)
		assert_int_equal(slots[i], i + 1);
	assert_int_equal(ftruncate(fd, offsetof(struct hold_page, slots) + 2 * sizeof slots[0] + 3), 0);
	assert_int_equal(hold_page_read(fd, slots), 0);
	assert_int_equal(slots[1], 2);
	for (size_t i = 2; i < HOLD_SLOTS; i++)
		assert_int_equal(slots[i], 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(hold_page_read(fd, slots), 0);
	assert_int_equal(slots[0], 0);
	assert_int_equal(fallocate(fd, 0, 0, HOLD_PAGE_SIZE), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HOLD_PAGE_SIZE), 0);
	assert_int_equal(hold_page_read(fd, slots), 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_blocks, 0); /* reading takes no memory for it */
	hold_page_notify(fd);
	uint64_t notice = 0;
	assert_int_equal(pread(fd, &notice, sizeof notice, 0), sizeof notice);
	assert_int_equal(notice, 1);
	hold_page_notify(HOLD_PAGE_LOST);
	assert_int_equal(hold_page_read(HOLD_PAGE_LOST, slots), -EBADF);
}

static bool is_odd(const void *context, uint32_t session)
{
	return context == pool && session % 2;
}

/* Names that are of no page of this pool are left alone. */
static void test_removed(void **state)
{
	static const char *const pages[] = {".hold.1", ".hold.2", ".hold.3", ".hold.40", ".hold.4294967295"};
	static const char *const others[] = {".hold.x",          ".hold.",    ".hold.02", ".hold.2x",
	                                     ".hold.4294967296", "-x.hold.2", ".holds.2"};

	(void)state;
	for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
		make(pages[i]);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		make(others[i]);
	hold_page_remove_others(pool, is_odd, pool);
	assert_true(is_there(".hold.1"));
	assert_false(is_there(".hold.2"));
	assert_true(is_there(".hold.3"));
	assert_false(is_there(".hold.40"));
	assert_true(is_there(".hold.4294967295"));
	hold_page_remove_all(pool);
	for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
		assert_false(is_there(pages[i]));
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		unmake(others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_and_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_a_client_makes_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
