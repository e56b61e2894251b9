/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says about a process: see process.h. Formats as in proc(5). */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "name.h"

/* Fields of /proc/PID/stat, counted from 1. */
#define FIELD_STATE 3 /* the first one behind the name */
#define FIELD_START_TIME 22

/* Reads up to `capacity` bytes of /proc/PID/FILE. The kernel hands these small files out in one read. */
static int read_file(pid_t pid, const char *file, size_t capacity, char *out_text, size_t *out_length)
{
	char path[64];
	CLEANUP_CLOSE int fd = -1;
	ssize_t length;

	if (pid == 0)
		snprintf(path, sizeof(path), "/proc/self/%s", file);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	length = read(fd, out_text, capacity);
	if (length < 0)
		return -errno; /* -ESRCH where it ended in between */
	*out_length = (size_t)length;
	return 0;
}

int process_parse_start_time(const char *text, size_t length, uint64_t *out_ticks)
{
	const char *end = text + length;
	const char *next = end; /* then: behind the name, which may have blanks and parentheses; no field has a ')' */
	uint64_t ticks = 0;

	while (next > text && next[-1] != ')')
		next--;
	if (next == text || next == end || *next != ' ')
		return -EBADMSG;
	for (int field = FIELD_STATE; field < FIELD_START_TIME; field++) {
		next = memchr(next + 1, ' ', (size_t)(end - next - 1));
		if (!next)
			return -EBADMSG;
	}
	next++;
	if (next == end || *next < '0' || *next > '9')
		return -EBADMSG;
	for (; next < end && *next >= '0' && *next <= '9'; next++) {
		if (__builtin_mul_overflow(ticks, 10, &ticks) || __builtin_add_overflow(ticks, (uint64_t)(*next - '0'), &ticks))
			return -EBADMSG;
	}
	if (next == end || *next != ' ')
		return -EBADMSG; /* cut off: digits may be missing */
	*out_ticks = ticks;
	return 0;
}

/* time_namespaces(7); kernels before 5.6 know no such thing. */
int64_t process_boot_shift(void)
{
	char text[256], *rest;
	size_t length = 0;

	if (read_file(0, "timens_offsets", sizeof(text) - 1, text, &length) < 0)
		return 0;
	text[length] = '\0';
	const char *line = strstr(text, "boottime");
	if (!line)
		return 0;
	long long seconds = strtoll(line + strlen("boottime"), &rest, 10);
	return seconds * 1000000000 + strtoll(rest, NULL, 10);
}

int process_start_time(pid_t pid, uint64_t *out_ticks)
{
	char text[1024]; /* the first 22 fields need 600 at most */
	size_t length = 0;

	if (process_boot_shift())
		return -EOPNOTSUPP;
	int result = read_file(pid, "stat", sizeof(text), text, &length);
	return result < 0 ? result : process_parse_start_time(text, length, out_ticks);
}

int process_parse_pidfd(const char *text, size_t length, pid_t *out_pid)
{
	static const char field[] = "\nPid:\t";
	const char *next = memmem(text, length, field, sizeof(field) - 1), *end = text + length;
	pid_t pid = 0;

	if (!next)
		return -EBADMSG;
	next += sizeof(field) - 1;
	if (end - next >= 2 && *next == '-')
		return -ESRCH; /* -1: reaped */
	const char *digits = next;
	for (; next < end && *next >= '0' && *next <= '9'; next++) {
		if (__builtin_mul_overflow(pid, 10, &pid) || __builtin_add_overflow(pid, *next - '0', &pid))
			return -EBADMSG;
	}
	if (next == digits || next == end || *next != '\n')
		return -EBADMSG;
	if (pid == 0)
		return -ESRCH; /* not in the namespace that /proc shows */
	*out_pid = pid;
	return 0;
}

int process_of_pidfd(int pidfd, pid_t *out_pid)
{
	char text[512], file[32];
	size_t length = 0;

	snprintf(file, sizeof(file), "fdinfo/%d", pidfd);
	int result = read_file(0, file, sizeof(text), text, &length);
	return result < 0 ? result : process_parse_pidfd(text, length, out_pid);
}

int process_name(pid_t pid, char out_name[PROCESS_NAME_MAX])
{
	char text[128];
	size_t length = 0;
	int result = read_file(pid, "comm", sizeof(text), text, &length);

	if (result < 0)
		return result;
	if (length > 0 && text[length - 1] == '\n')
		length--;
	name_clean(text, length, PROCESS_NAME_MAX, out_name);
	return 0;
}
