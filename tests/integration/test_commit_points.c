/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies at every point of every operation. In a build with SHMB_COMMIT_TRAP it stops itself right before its commit
 * number N (server/commit.h); here N rises until the operation gets its answer, so no point can be forgotten, whatever is built
 * into an operation later. For each N: a fresh pool is prepared, a daemon with the trap takes it over, the client takes its session
 * up and sends the request. After the death:
 *
 * - the recovery itself is killed at its first commit, at its second, and so on, until one comes through;
 * - the client takes its session up again and sends the same request in the same slot with the same sequence, twice: the answer is
 *   that of an undisturbed run, and both times the same;
 * - the tables agree with a fresh recount, which is that of an undisturbed run;
 * - the session goes on, and when all has been given back the pool is empty.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/integration/commit_points/leftovers.h"
#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/outcome.h"
#include "tests/integration/commit_points/trial.h"

#define OPERATIONS_MAX 200
#define COMMITS_MAX 1000 /* no operation here has so many: the counting would never end */

static const struct operation *const rooms[] = {
	operation_sessions, operation_blocks,  operation_removals, operation_names, operation_links, operation_tickets,
	operation_leases,   operation_changes, operation_cache,    operation_holds, operation_waits,
};

/* The daemon has been killed in the pool in which the operation is to be. */
static void prepare(const struct operation *operation)
{
	trial_open();
	operation->prepare();
	daemon_fixture_kill(&trial.daemon);
}

/* Does it, or says that the daemon died. `again`: it did before. */
static bool perform(const struct operation *operation, bool again, struct outcome *out_outcome)
{
	Shmbuddy__V1__Reply *reply, *repeated;

	memset(out_outcome, 0, sizeof *out_outcome);
	if (operation->act)
		return operation->act(again);
	if (trial_ask(operation->request(), &reply) < 0)
		return false;
	outcome_keep_answer(out_outcome, reply);
	assert_int_equal(trial_ask(operation->request(), &repeated), 0);
	outcome_expect_same_answer(reply, repeated);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	shmbuddy__v1__reply__free_unpacked(repeated, NULL);
	return true;
}

/* Killed in the recovery too, at each of its commits in turn: it goes on where the one before was stopped. */
static void recover(uint64_t *out_kills)
{
	uint64_t trap = 1;

	for (; !trial_start(trap); trap++)
		assert_true(trap < COMMITS_MAX);
	daemon_fixture_kill(&trial.daemon);
	assert_true(trial_start(0));
	*out_kills += trap - 1;
}

static void expect_outcome(const struct operation *operation, uint64_t trap, const struct outcome *expected,
                           const struct outcome *outcome)
{
	struct outcome moved = *expected;

	outcome_add_owned(&moved, trial.grows);
	if (outcome_is_same(expected, outcome) || (trial.grows && outcome_is_same(&moved, outcome)))
		return;
	for (size_t i = 0; i < sizeof outcome->counted / sizeof outcome->counted[0]; i++)
		print_message("counted %llu, expected %llu\n", (unsigned long long)outcome->counted[i],
		              (unsigned long long)expected->counted[i]);
	fail_msg("%s, killed before commit %llu: status %d, expected %d", operation->name, (unsigned long long)trap,
	         (int)outcome->status, (int)expected->status);
}

static void test_operation(void **state)
{
	const struct operation *operation = *state;
	struct outcome expected, outcome;
	uint64_t first = 0, trap, recovery_kills = 0;

	/* Undisturbed. */
	prepare(operation);
	assert_true(trial_start(0));
	trial_take_up(&trial.mine);
	trial_take_up(&trial.other);
	assert_true(perform(operation, false, &expected));
	outcome_keep_tables(&expected);
	leftovers_expect_none();
	trial_close();

	for (trap = 1;; trap++) {
		assert_true(trap < COMMITS_MAX);
		prepare(operation);
		/* What the daemon commits before it serves anybody is not the operation's: measured, and passed over. */
		while (!trial_start(trap))
			first = trap++;
		trial_take_up(&trial.mine);
		trial_take_up(&trial.other);
		bool whole = perform(operation, false, &outcome);
		/* With the answer under way or received it dies as well. */
		if (whole)
			daemon_fixture_kill(&trial.daemon);
		else
			assert_int_equal(daemon_fixture_wait(&trial.daemon), -9);
		recover(&recovery_kills);
		trial_take_up(&trial.other);
		if (trial.mine.lock >= 0)
			trial_take_up(&trial.mine);
		assert_true(perform(operation, true, &outcome));
		outcome_keep_tables(&outcome);
		expect_outcome(operation, trap, &expected, &outcome);
		leftovers_expect_none();
		trial_close();
		if (whole)
			break;
	}
	print_message("%s: killed at %llu commits, and %llu times in the recovery\n", operation->name,
	              (unsigned long long)(trap - 1 - first), (unsigned long long)recovery_kills);
	assert_true(trap - 1 > first);
}

static int teardown(void **state)
{
	(void)state;
	unsetenv("SHMB_COMMIT_TRAP");
	trial.daemon.killed = true; /* a test that failed in the middle */
	trial_close();
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[OPERATIONS_MAX] = {0}; /* those without a name are passed over */
	size_t count = 0;

#ifndef SHMB_COMMIT_TRAP
	print_message("skipped: the daemon is built without SHMB_COMMIT_TRAP\n");
	return 77;
#endif
	for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
		for (const struct operation *operation = rooms[i]; operation->name; operation++) {
			assert_true(count < OPERATIONS_MAX);
			tests[count++] =
				(struct CMUnitTest){operation->name, test_operation, NULL, teardown, (void *)(uintptr_t)operation};
		}
	}
	return cmocka_run_group_tests_name("commit_points", tests, NULL, NULL);
}
