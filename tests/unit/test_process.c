/* SPDX-License-Identifier: Apache-2.0 */
/* /proc: real processes with ordinary and with hostile names, and texts that no kernel writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "name.h"
#include "process.h"

_Static_assert(PROCESS_NAME_MAX == PROGRAM_LENGTH_MAX + 1, "a process's name is a program's");

/* Where set, what read answers instead of the kernel: this text, or -1 with this errno. */
static const char *read_text;
static int read_errno;

/* Stands before libc's. */
ssize_t read(int fd, void *buffer, size_t size)
{
	if (read_errno != 0) {
		errno = read_errno;
		return -1;
	}
	if (read_text) {
		size_t length = strlen(read_text);

		if (length > size)
			length = size;
		memcpy(buffer, read_text, length);
		return (ssize_t)length;
	}
	return syscall(SYS_read, fd, buffer, size);
}

#define FIELDS_4_TO_21 " 1 2 3 4 -5 6 7 8 9 10 11 12 13 14 15 16 17 18"

static int parse(const char *text, uint64_t *out_ticks)
{
	/* A copy of exact size, so that AddressSanitizer sees a read behind its end. */
	size_t length = strlen(text);
	char *copy = malloc(length + 1);
	int result;

	assert_non_null(copy);
	memcpy(copy + 1, text, length);
	result = process_parse_start_time(copy + 1, length, out_ticks);
	free(copy);
	return result;
}

static void test_parse(void **state)
{
	const char *const heads[] = {"1 (init)", "77 (a) R 1 (b)", "77 ( )", "77 ()", "77 (()", "77 ())", "77 (x\ny)"};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		uint64_t ticks = 0;
		char text[200];

		strcpy(text, heads[i]);
		strcat(text, " S" FIELDS_4_TO_21 " 4711 99 98\n");
		assert_int_equal(parse(text, &ticks), 0);
		assert_int_equal(ticks, 4711);
	}
}

static void test_parse_limits(void **state)
{
	uint64_t ticks = 5;

	(void)state;
	assert_int_equal(parse("1 (x) S" FIELDS_4_TO_21 " 18446744073709551615 ", &ticks), 0);
	assert_int_equal(ticks, UINT64_MAX);
	ticks = 5;
	assert_int_equal(parse("1 (x) S" FIELDS_4_TO_21 " 18446744073709551616 ", &ticks), -EBADMSG);
	assert_int_equal(parse("1 (x) S" FIELDS_4_TO_21 " 184467440737095516150 ", &ticks), -EBADMSG);
	assert_int_equal(ticks, 5);
	assert_int_equal(parse("1 (x) S" FIELDS_4_TO_21 " 0 ", &ticks), 0);
	assert_int_equal(ticks, 0);
}

static void test_parse_refuses(void **state)
{
	const char *const texts[] = {
		"no parenthesis at all",
		"1 (x)S" FIELDS_4_TO_21 " 4711 ",
		"1 (x) S" FIELDS_4_TO_21 " -4711 ",
		"1 (x) S" FIELDS_4_TO_21 " x4711 ",
		"1 (x) S" FIELDS_4_TO_21 " /711 ",
		"1 (x) S" FIELDS_4_TO_21 " :711 ",
		"1 (x) S" FIELDS_4_TO_21 " 47.11 ",
		"1 (x) S" FIELDS_4_TO_21 " 47/11 ",
		"1 (x) S" FIELDS_4_TO_21 " 47x11 ",
		"1 (x) S" FIELDS_4_TO_21 "  4711 ",
	};
	uint64_t ticks = 5;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(texts[i], &ticks), -EBADMSG);
	assert_int_equal(ticks, 5);
}

/* Cut off anywhere before the blank behind the number, there is no number. */
static void test_parse_cut_off(void **state)
{
	const char whole[] = "1 (x) S" FIELDS_4_TO_21 " 4711 ";
	char text[sizeof(whole)];
	uint64_t ticks = 5;

	(void)state;
	for (size_t length = 0; length < sizeof(whole) - 1; length++) {
		memcpy(text, whole, length);
		text[length] = '\0';
		assert_int_equal(parse(text, &ticks), -EBADMSG);
	}
	assert_int_equal(ticks, 5);
	assert_int_equal(parse(whole, &ticks), 0);
	assert_int_equal(ticks, 4711);
}

static void test_start_time(void **state)
{
	uint64_t mine = 0, again = 0, parents = 0;
	double uptime;
	char text[64] = "";
	FILE *file = fopen("/proc/uptime", "re");

	(void)state;
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	uptime = strtod(text, NULL) * (double)sysconf(_SC_CLK_TCK);
	assert_int_equal(process_start_time(0, &mine), 0);
	assert_true(mine > 0 && (double)mine <= uptime + 1);
	assert_int_equal(process_start_time(getpid(), &again), 0);
	assert_int_equal(again, mine);
	assert_int_equal(process_start_time(getppid(), &parents), 0);
	assert_true(parents <= mine);
}

/* A name made to look like other fields changes nothing. */
static void test_start_time_with_hostile_name(void **state)
{
	uint64_t before, after;
	char old[16];

	(void)state;
	assert_int_equal(prctl(PR_GET_NAME, old), 0);
	assert_int_equal(process_start_time(0, &before), 0);
	assert_int_equal(prctl(PR_SET_NAME, "x) R 1 (2 3)\n)"), 0);
	assert_int_equal(process_start_time(0, &after), 0);
	assert_int_equal(prctl(PR_SET_NAME, old), 0);
	assert_int_equal(after, before);
}

static int parse_pidfd(const char *text, pid_t *out_pid)
{
	return process_parse_pidfd(text, strlen(text), out_pid);
}

static void test_parse_pidfd(void **state)
{
	pid_t pid = 5;

	(void)state;
	assert_int_equal(parse_pidfd("pos:\t0\nPid:\t-1\nNSpid:\t0\n", &pid), -ESRCH); /* reaped */
	assert_int_equal(parse_pidfd("pos:\t0\nPid:\t0\nNSpid:\t0\n", &pid), -ESRCH);  /* in another namespace */
	static const char *const odd[] = {
		"",
		"pos:\t0\nNSpid:\t7\n",
		"Pid:\t7\n", /* the first line is another */
		"pos:\t0\nPid:\t",
		"pos:\t0\nPid:\t7",
		"pos:\t0\nPid:\tx\n",
		"pos:\t0\nPid:\t7x\n",
		"pos:\t0\nPid:\t2147483648\n",
		"pos:\t0\nPid:\t99999999999\n",
	};
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		assert_int_equal(parse_pidfd(odd[i], &pid), -EBADMSG);
	assert_int_equal(pid, 5);
	assert_int_equal(parse_pidfd("pos:\t0\nPid:\t2147483647\nNSpid:\t7\n", &pid), 0);
	assert_int_equal(pid, 2147483647);
}

static void test_of_pidfd(void **state)
{
	pid_t pid = 5, child = fork();

	(void)state;
	if (child == 0) {
		pause();
		_exit(0);
	}
	int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	assert_true(pidfd >= 0);
	assert_int_equal(process_of_pidfd(pidfd, &pid), 0);
	assert_int_equal(pid, child);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(process_of_pidfd(pidfd, &pid), -ESRCH);
	close(pidfd);
	assert_int_equal(process_of_pidfd(pidfd, &pid), -ESRCH); /* no descriptor at all */
	assert_int_equal(process_of_pidfd(STDERR_FILENO, &pid), -EBADMSG);
	assert_int_equal(pid, child);
}

/* Where boot is said to have been earlier or later, start times are not given. */
static void test_shifted_boot(void **state)
{
	static const char *const shifted[] = {
		"monotonic           0         0\nboottime         1000         0\n",
		"monotonic           0         0\nboottime           -1 999000000\n",
		"monotonic           0         0\nboottime            0         1\n",
	};
	uint64_t ticks = 5;

	(void)state;
	for (size_t i = 0; i < sizeof shifted / sizeof shifted[0]; i++) {
		read_text = shifted[i];
		assert_int_equal(process_start_time(0, &ticks), -EOPNOTSUPP);
	}
	/* Not shifted: then it is what follows that is read, and this is no stat. */
	read_text = "monotonic         500         0\nboottime            0         0\n";
	assert_int_equal(process_start_time(0, &ticks), -EBADMSG);
	read_text = "monotonic         500         0\n";
	assert_int_equal(process_start_time(0, &ticks), -EBADMSG);
	read_text = NULL;
	assert_int_equal(ticks, 5);
}

static void assert_name(const char *given, const char *expected)
{
	char name[PROCESS_NAME_MAX];

	assert_int_equal(prctl(PR_SET_NAME, given), 0);
	assert_int_equal(process_name(0, name), 0);
	assert_string_equal(name, expected);
	assert_int_equal(process_name(getpid(), name), 0);
	assert_string_equal(name, expected);
}

static void test_name(void **state)
{
	char old[16];

	(void)state;
	assert_int_equal(prctl(PR_GET_NAME, old), 0);
	assert_name("camera 1", "camera 1");
	assert_name("", "");
	assert_name("fifteen bytes!!", "fifteen bytes!!");
	assert_name("caf\xc3\xa9", "caf\xc3\xa9");
	assert_name("bad\xff\x01\x1b[2J", "bad???[2J");
	assert_name("cut in utf8 \xf0\x9f\x90\xa7", "cut in utf8 ???"); /* the kernel keeps 15 bytes */
	assert_name("two\nlines\n", "two?lines?");
	assert_int_equal(prctl(PR_SET_NAME, old), 0);
}

/* What the kernel of today does not send: nothing, no end of line, and a name longer than there is room for. */
static void test_odd_name(void **state)
{
	char name[PROCESS_NAME_MAX], longest[200];

	(void)state;
	read_text = "";
	assert_int_equal(process_name(0, name), 0);
	assert_string_equal(name, "");
	read_text = "plain";
	assert_int_equal(process_name(0, name), 0);
	assert_string_equal(name, "plain");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	read_text = longest;
	assert_int_equal(process_name(0, name), 0);
	assert_int_equal(strlen(name), PROCESS_NAME_MAX - 1);
	read_text = NULL;
}

static void test_gone(void **state)
{
	uint64_t ticks = 5;
	char name[PROCESS_NAME_MAX] = "same";
	pid_t child = fork();

	(void)state;
	if (child == 0)
		_exit(0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(process_start_time(child, &ticks), -ESRCH);
	assert_int_equal(process_name(child, name), -ESRCH);
	assert_int_equal(process_start_time(-1, &ticks), -ESRCH);
	read_errno = ESRCH; /* it ended between open and read */
	assert_int_equal(process_start_time(0, &ticks), -ESRCH);
	read_errno = EIO;
	assert_int_equal(process_name(0, name), -EIO);
	read_errno = 0;
	assert_int_equal(ticks, 5);
	assert_string_equal(name, "same");
}

static void test_no_descriptors(void **state)
{
	struct rlimit old, none;
	uint64_t ticks = 5;
	int result;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	result = process_start_time(0, &ticks);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(result, -EMFILE);
	assert_int_equal(ticks, 5);
}

/* No call leaves a descriptor open: the next one opened has the same number as before. */
static void test_leaves_no_descriptor(void **state)
{
	uint64_t ticks;
	char name[PROCESS_NAME_MAX];
	int before = dup(2), after;

	(void)state;
	assert_true(before >= 0);
	close(before);
	assert_int_equal(process_start_time(0, &ticks), 0);
	assert_int_equal(process_name(0, name), 0);
	read_errno = EIO;
	assert_int_equal(process_name(0, name), -EIO);
	read_errno = 0;
	after = dup(2);
	close(after);
	assert_int_equal(after, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),          cmocka_unit_test(test_parse_limits),
		cmocka_unit_test(test_parse_refuses),  cmocka_unit_test(test_parse_cut_off),
		cmocka_unit_test(test_start_time),     cmocka_unit_test(test_start_time_with_hostile_name),
		cmocka_unit_test(test_parse_pidfd),    cmocka_unit_test(test_of_pidfd),
		cmocka_unit_test(test_shifted_boot),   cmocka_unit_test(test_name),
		cmocka_unit_test(test_odd_name),       cmocka_unit_test(test_gone),
		cmocka_unit_test(test_no_descriptors), cmocka_unit_test(test_leaves_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
