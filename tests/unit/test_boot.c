/* SPDX-License-Identifier: Apache-2.0 */
/* The boot's id and the pid namespace: those of this machine, and what /proc may say or not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/boot.h"
#include "tests/support/descriptor_leaks.h"

static const char *text; /* what the file says; NULL: what the kernel does */
static bool missing;     /* there is no /proc */
static bool unreadable;

/* Stand before libc's. */
int open(const char *path, int flags, ...)
{
	if (missing) {
		errno = ENOENT;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

ssize_t read(int fd, void *buffer, size_t size)
{
	if (unreadable) {
		errno = EIO;
		return -1;
	}
	if (!text)
		return syscall(SYS_read, fd, buffer, size);
	size_t length = strlen(text) < size ? strlen(text) : size;
	memcpy(buffer, text, length);
	return (ssize_t)length;
}

int stat(const char *path, struct stat *out_status)
{
	if (missing) {
		errno = ENOENT;
		return -1;
	}
	return fstatat(AT_FDCWD, path, out_status, 0);
}

static int setup(void **state)
{
	(void)state;
	text = NULL;
	missing = unreadable = false;
	return 0;
}

/* The kernel's text has the same digits. */
static void test_id(void **state)
{
	char digits[33], expected[64] = "", *end = expected;
	uint8_t id[16], again[16];
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	(void)state;
	assert_non_null(file);
	for (int c; (c = fgetc(file)) != EOF;) {
		if (c != '-' && c != '\n')
			*end++ = (char)c;
	}
	fclose(file);
	size_t before = descriptor_leaks_count(0);
	assert_int_equal(boot_id(id), 0);
	assert_int_equal(boot_id(again), 0);
	assert_int_equal(descriptor_leaks_count(0), before);
	assert_memory_equal(id, again, sizeof id);
	for (size_t i = 0; i < sizeof id; i++)
		snprintf(digits + 2 * i, 3, "%02x", id[i]);
	assert_string_equal(digits, expected);
}

static void test_texts(void **state)
{
	static const uint8_t expected[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
	                                     0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78};
	static const char *const good[] = {
		"01234567-89ab-cdef-0f1e-2d3c4b5a6978\n", "0123456789abcdef0f1e2d3c4b5a6978",
		"01234567-89ab-cdef-0f1e-2d3c4b5a69789999\n", /* what comes after 32 digits is not looked at */
	};
	static const char *const bad[] = {"", "\n", "01234567-89ab-cdef-0f1e-2d3c4b5a697\n", "no id at all here"};
	uint8_t id[16];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		text = good[i];
		assert_int_equal(boot_id(id), 0);
		assert_memory_equal(id, expected, sizeof id);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		text = bad[i];
		assert_int_equal(boot_id(id), -EBADMSG);
	}
}

static void test_no_proc(void **state)
{
	uint8_t id[16];
	uint32_t inode = 7;
	size_t before = descriptor_leaks_count(0);

	(void)state;
	missing = true;
	assert_int_equal(boot_id(id), -ENOENT);
	assert_int_equal(pid_namespace(&inode), -ENOENT);
	assert_int_equal(inode, 7);
	missing = false;
	unreadable = true;
	assert_int_equal(boot_id(id), -EBADMSG);
	assert_int_equal(descriptor_leaks_count(0), before);
}

/* The link's text has the number: "pid:[4026531836]". */
static void test_pid_namespace(void **state)
{
	char link[64] = "";
	uint32_t inode;

	(void)state;
	assert_true(readlink("/proc/self/ns/pid", link, sizeof link - 1) > 0);
	assert_int_equal(pid_namespace(&inode), 0);
	assert_int_equal(strncmp(link, "pid:[", 5), 0);
	assert_int_equal(inode, strtoul(link + 5, NULL, 10));
}

#define TEST(function) cmocka_unit_test_setup(function, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_id),
		TEST(test_texts),
		TEST(test_no_proc),
		TEST(test_pid_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
