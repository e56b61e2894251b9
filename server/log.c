/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's log: see log.h. */
#include "log.h"

#include <errno.h>
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

	size_t length = strlen(line);
	(void)body; /* a longer line is cut */
	/* One write a line, so that lines of several processes do not mix. What cannot be logged is not worth dying for. */
	line[length] = '\n';
	if (write(STDERR_FILENO, line, length + 1) < 0)
		return;
}
