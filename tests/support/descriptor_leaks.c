/* SPDX-License-Identifier: Apache-2.0 */
/* Counting descriptors: see descriptor_leaks.h. */
#include "tests/support/descriptor_leaks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* The descriptors of a process; with `print`, each with what it refers to. */
static size_t look(pid_t pid, int print)
{
	char folder[64];
	size_t count = 0;

	if (pid == 0)
		snprintf(folder, sizeof(folder), "/proc/self/fd");
	else
		snprintf(folder, sizeof(folder), "/proc/%ld/fd", (long)pid);
	DIR *directory = opendir(folder);
	if (!directory) {
		fail_msg("%s cannot be read", folder);
		return 0;
	}
	for (struct dirent *entry; (entry = readdir(directory));) {
		char target[PATH_MAX];

		if (entry->d_name[0] == '.' || (pid == 0 && atoi(entry->d_name) == dirfd(directory)))
			continue;
		count++;
		if (!print)
			continue;
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = 0;
		print_message("descriptor %s of process %ld: %s\n", entry->d_name, (long)pid, target);
	}
	closedir(directory);
	return count;
}

size_t descriptor_leaks_count(pid_t pid)
{
	return look(pid, 0);
}

void descriptor_leaks_assert(pid_t pid, size_t expected)
{
	size_t count = look(pid, 0);

	for (int waited = 0; pid != 0 && count > expected && waited < PATIENCE_MS; waited += 2) {
		poll(NULL, 0, 2);
		count = look(pid, 0);
	}
	if (count <= expected)
		return;
	look(pid, 1);
	fail_msg("%zu descriptors are open, %zu at most were expected", count, expected);
}
