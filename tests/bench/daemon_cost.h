/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon_cost: what a daemon has used of its processor and of memory, as the kernel tells it. Its own processor time is what a busy machine
 * changes least. Ends the program where there is nothing to read.
 */
#ifndef TESTS_BENCH_DAEMON_COST_H
#define TESTS_BENCH_DAEMON_COST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Nanoseconds that its main thread, the loop, has run for. */
static inline double daemon_cost_ns(pid_t pid)
{
	char path[64];
	unsigned long long ns;

	snprintf(path, sizeof path, "/proc/%ld/task/%ld/schedstat", (long)pid, (long)pid);
	FILE *file = fopen(path, "re");
	if (!file || fscanf(file, "%llu", &ns) != 1)
		exit(1);
	fclose(file);
	return (double)ns;
}

/* Bytes of memory that only it has. */
static inline double daemon_cost_private(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		exit(1);
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			break;
	fclose(file);
	return (double)kib * 1024;
}

/* Bytes that the kernel backs of one of a pool's objects: ".view", ".state". */
static inline double daemon_cost_shared(const char *pool, const char *object)
{
	struct stat status;
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", pool, object);
	if (stat(path, &status) < 0)
		exit(1);
	return (double)status.st_blocks * 512;
}

#endif
