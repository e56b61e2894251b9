/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit(): the store, and in a build with SHMB_COMMIT_TRAP the trap. There a child makes commits with the trap set, and dies
 * with exactly the stores before the chosen one done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/commit.h"

#define COMMITS 5

/* A child commits 1 to COMMITS; returns how it ended, and how far it came. */
static int run_child(const char *trap, uint64_t *out_last)
{
	_Atomic uint64_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	assert_true(words != MAP_FAILED);
	pid_t child = fork();
	if (child == 0) {
		if (trap)
			setenv("SHMB_COMMIT_TRAP", trap, 1);
		else
			unsetenv("SHMB_COMMIT_TRAP");
		for (uint64_t i = 1; i <= COMMITS; i++)
			commit(&words[i], i);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	*out_last = 0;
	while (*out_last < COMMITS && words[*out_last + 1] == *out_last + 1)
		++*out_last;
	for (uint64_t i = *out_last + 1; i <= COMMITS; i++)
		assert_int_equal(words[i], 0);
	munmap(words, 4096);
	return status;
}

static void test_stores(void **state)
{
	_Atomic uint64_t word = 1;
	uint64_t last;

	(void)state;
	commit(&word, UINT64_MAX);
	assert_int_equal(word, UINT64_MAX);
	int status = run_child(NULL, &last);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(last, COMMITS);
}

#ifdef SHMB_COMMIT_TRAP
/* Before each of them in turn; the parent has made no commit yet when it forks, so that the child counts from 1. */
static void test_trap(void **state)
{
	(void)state;
	for (uint64_t stop = 1; stop <= COMMITS + 1; stop++) {
		char text[24];
		uint64_t last;
		snprintf(text, sizeof text, "%d", (int)stop);
		int status = run_child(text, &last);
		assert_int_equal(last, stop - 1);
		if (stop <= COMMITS) {
			assert_true(WIFSIGNALED(status));
			assert_int_equal(WTERMSIG(status), SIGKILL);
		} else {
			assert_true(WIFEXITED(status));
		}
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef SHMB_COMMIT_TRAP
		cmocka_unit_test(test_trap),
#endif
		cmocka_unit_test(test_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
