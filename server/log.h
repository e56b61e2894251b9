/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log: one line an event to standard error. Under the journal each line carries its priority (sd-daemon(3)),
 * elsewhere its time and level. A line that would have to wait for its reader
 * is dropped, and counted. Loop thread only.
 */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_WARNING = 1,
	LOG_LEVEL_INFO = 2,
	LOG_LEVEL_DEBUG = 3,
};

/* Lines above `level` are left out. Looks whether standard error is the journal. */
void log_open(enum log_level level);

/* "error", "warning", "info" or "debug"; -EINVAL for anything else. */
int log_parse_level(const char *text, enum log_level *out_level);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
