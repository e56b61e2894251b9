/* SPDX-License-Identifier: Apache-2.0 */
/* The log: levels, the shape of a line, and the journal's prefix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log.h"

/* Standard error is a pipe from open_log to close_log, as under the journal; in between, no assertion. */
static int pipe_ends[2], standard_error;
static char text[8192];

enum stream { STREAM_NONE, STREAM_OURS, STREAM_OTHER_INODE, STREAM_OTHER_DEVICE, STREAM_NONSENSE };

static void open_log(enum log_level level, enum stream stream)
{
	char value[64];
	struct stat status;

	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(fstat(pipe_ends[1], &status), 0);
	snprintf(value, sizeof value, "%llu:%llu", (unsigned long long)status.st_dev + (stream == STREAM_OTHER_DEVICE),
	         (unsigned long long)status.st_ino + (stream == STREAM_OTHER_INODE));
	if (stream == STREAM_NONE)
		unsetenv("JOURNAL_STREAM");
	else
		setenv("JOURNAL_STREAM", stream == STREAM_NONSENSE ? "8:x" : value, 1);
	standard_error = dup(STDERR_FILENO);
	assert_true(standard_error >= 0);
	dup2(pipe_ends[1], STDERR_FILENO);
	close(pipe_ends[1]);
	log_open(level);
}

static void close_log(void)
{
	dup2(standard_error, STDERR_FILENO);
	close(standard_error);
	ssize_t length = read(pipe_ends[0], text, sizeof text - 1);
	close(pipe_ends[0]);
	assert_true(length >= 0);
	text[length] = '\0';
}

static void log_all(void)
{
	log_error("an %s", "error");
	log_warning("a warning");
	log_info("number %d", 5);
	log_debug("small talk");
}

static void test_levels(void **state)
{
	static const char *const lines[] = {"<3>an error\n", "<4>a warning\n", "<6>number 5\n", "<7>small talk\n"};
	char expected[256] = "";

	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		strcat(expected, lines[level]);
		open_log((enum log_level)level, STREAM_OURS);
		log_all();
		close_log();
		assert_string_equal(text, expected);
	}
}

/* Elsewhere a line carries time and level. */
static void test_without_a_journal(void **state)
{
	static const enum stream streams[] = {STREAM_NONE, STREAM_OTHER_INODE, STREAM_OTHER_DEVICE, STREAM_NONSENSE};
	regex_t shape;

	(void)state;
	assert_int_equal(regcomp(&shape,
	                         "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} error   an error\n"
	                         "[-0-9]{10} [0-9:.]{12} warning a warning\n"
	                         "[-0-9]{10} [0-9:.]{12} info    number 5\n$",
	                         REG_EXTENDED | REG_NOSUB),
	                 0);
	for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
		open_log(LOG_LEVEL_INFO, streams[i]);
		log_all();
		close_log();
		int result = regexec(&shape, text, 0, NULL, 0);
		if (result)
			regfree(&shape);
		assert_int_equal(result, 0);
	}
	regfree(&shape);
}

/* One line, one write, and an end of line whatever happens. */
static void test_long_line_is_cut(void **state)
{
	char longest[3000];

	(void)state;
	memset(longest, 'y', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	open_log(LOG_LEVEL_INFO, STREAM_OURS);
	log_info("%s", longest);
	log_info("next");
	close_log();
	size_t length = strcspn(text, "\n");
	assert_true(length > 1000 && length < 1024);
	assert_int_equal(strspn(text + 3, "y"), length - 3);
	assert_string_equal(text + length, "\n<6>next\n");
}

/* Nobody reads any more: not worth dying for. */
static void test_cannot_write(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	open_log(LOG_LEVEL_INFO, STREAM_OURS);
	int reader = dup(pipe_ends[0]);
	close(pipe_ends[0]);
	close(reader);
	log_info("into the void");
	assert_int_equal(dup2(standard_error, STDERR_FILENO), STDERR_FILENO);
	close(standard_error);
	signal(SIGPIPE, SIG_DFL);
}

static void test_parse_level(void **state)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	static const char *const wrong[] = {"", "Error", "errors", "warn", "0", "debug "};
	enum log_level level = LOG_LEVEL_INFO;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		assert_int_equal(log_parse_level(names[i], &level), 0);
		assert_int_equal(level, i);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(log_parse_level(wrong[i], &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

/* A reader that has stopped costs lines, and they are counted; it does not stop the daemon. */
static void test_stopped_reader(void **state)
{
	static char taken[1 << 20];
	ssize_t length;

	(void)state;
	open_log(LOG_LEVEL_INFO, STREAM_OURS);
	for (int i = 0; i < 2000; i++) /* more than the 64 KiB of a pipe: hangs here if a line can wait */
		log_info("line %d of many that nobody reads, fifty bytes or more", i);
	length = read(pipe_ends[0], taken, sizeof taken);
	log_info("the reader is back");
	close_log();
	assert_true(length > 0);
	assert_non_null(strstr(text, " lines were dropped\n"));
	assert_non_null(strstr(text, "the reader is back\n"));
	assert_true(strstr(text, " lines were dropped\n") < strstr(text, "the reader is back\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),           cmocka_unit_test(test_without_a_journal),
		cmocka_unit_test(test_long_line_is_cut), cmocka_unit_test(test_cannot_write),
		cmocka_unit_test(test_parse_level),      cmocka_unit_test(test_stopped_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
