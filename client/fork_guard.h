/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells sessions that the process has forked. One registry a process; sessions embed an entry. The child's handler runs
 * before anything else of ours in the child, and a word in memory that the kernel wipes for children (MADV_WIPEONFORK) tells
 * the same where no handler ran, after a bare clone(2).
 *
 * What the handler does in the child is limited to what glibc allows there: it takes no lock that the fork did not take
 * before, and malloc, which glibc makes safe across fork, even in a child of a program with threads.
 */
#ifndef CLIENT_FORK_GUARD_H
#define CLIENT_FORK_GUARD_H

#include <stdbool.h>

struct fork_guard {
	void (*before)(struct fork_guard *guard); /* in the parent, before: take the lock, which is never held for long */
	void (*parent)(struct fork_guard *guard); /* in the parent, after: release it */
	/* In the child; `orderly`: the lock is this thread's and is to be released; else nothing is known of its state. */
	void (*child)(struct fork_guard *guard, bool orderly);
	struct fork_guard *next, **place; /* in the registry; `place` points here */
};

/* Enters it, its three functions set; it must not move. Negative errno: no memory. */
int fork_guard_add(struct fork_guard *guard);
void fork_guard_remove(struct fork_guard *guard);

/* First thing in every call on a session. One load where nothing has happened. */
void fork_guard_check(void);

#endif
