/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's log: see log.h. */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* syslog(3) */

static enum log_level log_level = LOG_LEVEL_INFO;
static bool log_to_journal;
static unsigned long log_dropped;

void log_open(enum log_level level)
{
	const char *stream = getenv("JOURNAL_STREAM"); /* "device:inode" of the journal's socket, systemd.exec(5) */
	struct stat status;
	unsigned long long device, inode;

	log_level = level;
	log_to_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
	                 status.st_dev == device && status.st_ino == inode;
}

int log_parse_level(const char *text, enum log_level *out_level)
{
	for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out_level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/*
 * One write a line, so that lines of several processes do not mix. A reader that has stopped must not stop the daemon: a line that
 * would have to wait is dropped, and the next one that goes out says how many were.
 */
static void put(const char *line, size_t length)
{
	struct pollfd standard_error = {.fd = STDERR_FILENO, .events = POLLOUT};
	char note[64];

	if (poll(&standard_error, 1, 0) != 1) {
		log_dropped++;
		return;
	}
	if (log_dropped) {
		int size = snprintf(note, sizeof note, "%s%lu lines were dropped\n", log_to_journal ? "<4>" : "", log_dropped);
		if (write(STDERR_FILENO, note, (size_t)size) == size)
			log_dropped = 0;
	}
	if (write(STDERR_FILENO, line, length) < 0)
		log_dropped++;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	int head;
	va_list arguments;

	if (level > log_level)
		return;
	if (log_to_journal) {
		head = snprintf(line, sizeof line, "<%d>", level_priorities[level]);
	} else {
		struct timespec now;
		struct tm local;
		char clock[32];

		clock_gettime(CLOCK_REALTIME, &now);
		localtime_r(&now.tv_sec, &local);
		strftime(clock, sizeof clock, "%F %T", &local);
		head = snprintf(line, sizeof line, "%s.%03ld %-7s ", clock, now.tv_nsec / 1000000, level_names[level]);
	}
	va_start(arguments, format);
	int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, arguments);
	va_end(arguments);

	(void)body; /* a longer line is cut */
	size_t length = strlen(line);
	line[length] = '\n';
	put(line, length + 1);
}
