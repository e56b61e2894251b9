/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fork, in the order of time: the handler before takes the registry's lock and every session's, so the child gets all of them
 * in a state between two steps, whatever other threads were doing. The parent's handler releases them. The child's lets every
 * session close and forget what is the parent's, and sets the word again, which the kernel had wiped.
 *
 * After a bare clone none of this happens; the first call finds the word wiped and does the child's part without the locks.
 */
#include "fork_guard.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the word says. 0, as the kernel leaves it in a child: everything here is the parent's. */
enum { GUARD_WIPED = 0, GUARD_OURS = 1, GUARD_BEING_TOLD = 2 };

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fork_guard *registry;
static _Atomic uint32_t *_Atomic guard_word; /* NULL until the first session */

static void before_fork(void)
{
	pthread_mutex_lock(&registry_mutex);
	for (struct fork_guard *guard = registry; guard; guard = guard->next)
		guard->before(guard);
}

static void in_parent(void)
{
	for (struct fork_guard *guard = registry; guard; guard = guard->next)
		guard->parent(guard);
	pthread_mutex_unlock(&registry_mutex);
}

static void in_child(void)
{
	for (struct fork_guard *guard = registry; guard; guard = guard->next)
		guard->child(guard, true);
	if (guard_word)
		atomic_store(guard_word, GUARD_OURS);
	pthread_mutex_unlock(&registry_mutex);
}

/* Under the registry's mutex. */
static int set_up(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *word;
	int r;

	if (guard_word)
		return 0;
	word = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (word == MAP_FAILED)
		return -errno;
	madvise(word, page, MADV_WIPEONFORK); /* kernels before 4.14 do not know it: there the handlers are all there is */
	r = -pthread_atfork(before_fork, in_parent, in_child);
	if (r < 0) {
		munmap(word, page);
		return r;
	}
	atomic_store((_Atomic uint32_t *)word, GUARD_OURS);
	guard_word = word;
	return 0;
}

int fork_guard_add(struct fork_guard *guard)
{
	int r;

	fork_guard_check();
	pthread_mutex_lock(&registry_mutex);
	r = set_up();
	if (r == 0) {
		guard->next = registry;
		guard->place = &registry;
		if (guard->next)
			guard->next->place = &guard->next;
		registry = guard;
	}
	pthread_mutex_unlock(&registry_mutex);
	return r;
}

void fork_guard_remove(struct fork_guard *guard)
{
	pthread_mutex_lock(&registry_mutex);
	*guard->place = guard->next;
	if (guard->next)
		guard->next->place = guard->place;
	pthread_mutex_unlock(&registry_mutex);
}

static void tell_all(_Atomic uint32_t *word)
{
	uint32_t wiped = GUARD_WIPED;

	if (atomic_compare_exchange_strong(word, &wiped, GUARD_BEING_TOLD)) {
		pthread_mutex_init(&registry_mutex, NULL);
		for (struct fork_guard *guard = registry; guard; guard = guard->next)
			guard->child(guard, false);
		atomic_store(word, GUARD_OURS);
	}
	while (atomic_load(word) != GUARD_OURS)
		sched_yield();
}

void fork_guard_check(void)
{
	_Atomic uint32_t *word = atomic_load_explicit(&guard_word, memory_order_acquire);

	if (word && atomic_load_explicit(word, memory_order_acquire) != GUARD_OURS)
		tell_all(word);
}
