/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptor_leaks: how many descriptors a process has open, by /proc. No state: any thread.
 *
 *     size_t before = descriptor_leaks_count(0);
 *     …
 *     descriptor_leaks_assert(0, before);
 */
#ifndef TESTS_SUPPORT_DESCRIPTOR_LEAKS_H
#define TESTS_SUPPORT_DESCRIPTOR_LEAKS_H

#include <stddef.h>
#include <sys/types.h>

/* Descriptors that process `pid` has open; 0 is the calling process (the one used for looking is not counted). */
size_t descriptor_leaks_count(pid_t pid);

/*
 * Fails the test if the process has more than `expected` descriptors open. What a daemon closes, it closes a moment after
 * its client has gone: so another process is given up to ten seconds. Says what is open where there are too many.
 */
void descriptor_leaks_assert(pid_t pid, size_t expected);

#endif
