/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole against a simple model (model/model.h): sessions of several users, in processes of their own, do at random what sessions can do,
 * while they and the daemon are killed; and every answer, every event, every counter and list, and every byte must be what the model says. Alone,
 * where all of that is predicted, alone under quotas, and beside other models on the same pool.
 *
 * test_model [--steps N] [--seed S]: $SHMB_MODEL_STEPS and $SHMB_TEST_SEED, which are printed, say the same, and replay a failure, as far
 * as that does not depend on when a process died.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "shmbuddy.h"
#include "tests/integration/model/model.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/recount.h"

#define STEPS 20000
#define BESIDE 3
/* MODEL_POOL bytes. */
#define ARGUMENTS                                                                                                           \
	"--size", "3M", "--max-blocks", "2048", "--log-level", "warning", "--quota", quotas[0], "--quota", quotas[1], NULL

/* Of each kind some are refused, to the one user or the other, or to a session, and most are not. */
static const struct known_limits limits = {
	.user = {[QUOTA_BYTES] = 1200000,
             [QUOTA_BLOCKS] = 110,
             [QUOTA_NAMES] = 35,
             [QUOTA_TICKETS] = 14,
             [QUOTA_LINKS] = 8,
             [QUOTA_WAITERS] = 1,
             [QUOTA_SESSIONS] = 3},
	.session = {[QUOTA_BYTES] = 600000, [QUOTA_BLOCKS] = 55, [QUOTA_NAMES] = 20, [QUOTA_TICKETS] = 8, [QUOTA_LINKS] = 5},
};
static const struct known_limits no_limits;
static char quotas[2][256];

static void say_quota(char out_text[256], const char *whose, const uint64_t most[], int kinds)
{
	size_t length = (size_t)snprintf(out_text, 256, "%s:*:", whose);

	for (int kind = 0; kind < kinds; kind++) {
		char value[24] = "none";
		if (most[kind])
			snprintf(value, sizeof value, "%" PRIu64, most[kind]);
		length += (size_t)snprintf(out_text + length, 256 - length, "%s%s=%s", kind ? "," : "",
		                           known_account_word((enum quota_kind)kind), value);
	}
}

static void say_quotas(const struct known_limits *given)
{
	say_quota(quotas[0], "user", given->user, QUOTA_KIND_COUNT);
	say_quota(quotas[1], "session", given->session, QUOTA_SESSIONS); /* no session has sessions */
}

static struct daemon_fixture fixture;
static struct client_process processes[BESIDE];

static unsigned steps(void)
{
	const char *text = getenv("SHMB_MODEL_STEPS");

	return text ? (unsigned)strtoul(text, NULL, 0) : STEPS;
}

/* Other users may come in. */
static void kill_daemon(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, ARGUMENTS);
	daemon_fixture_let_all_in(&fixture);
}

static struct model_recount recount(void)
{
	static struct recount counted;

	recount_pool(fixture.pool, &counted);
	return (struct model_recount){.links = counted.links, .holds = counted.owned + counted.holds + counted.page_holds};
}

/* Does what the driver asks for, until it has ended. */
static void serve(struct client_process *driver)
{
	char wish;

	while (client_process_hear(driver->control, &wish, 1)) {
		if (wish == MODEL_KILL_DAEMON) {
			kill_daemon();
			client_process_send(driver, &wish, 1);
		} else {
			assert_int_equal(wish, MODEL_RECOUNT);
			struct model_recount counted = recount();
			client_process_send(driver, &counted, sizeof counted);
		}
	}
}

static void assert_all_gone(void)
{
	shmb_session *watcher = pool_session_open(&fixture);

	pool_session_await_clients(watcher, 1);
	pool_session_assert_empty(watcher, UINT64_C(2) << 20); /* the longest buddy of three */
	shmb_close(watcher);
}

static void run_alone(const char *prefix, uint64_t seed, const struct known_limits *given)
{
	struct model_script script = {
		.prefix = prefix, .steps = steps(), .alone = true, .users = geteuid() == 0, .limits = given};

	script.seed = pattern_seed(seed);
	say_quotas(given ? given : &no_limits);
	daemon_fixture_start_lasting(&fixture, ARGUMENTS);
	daemon_fixture_let_all_in(&fixture);
	script.socket_path = fixture.socket_path;
	script.pool = fixture.pool;
	client_process_start(&processes[0], model_run, &script);
	serve(&processes[0]);
	assert_int_equal(client_process_reap(&processes[0]), 0);
	assert_all_gone();
}

static void test_model_alone(void **state)
{
	(void)state;
	run_alone("alone", UINT64_C(0x0de1), NULL);
}

static void test_model_with_quotas(void **state)
{
	(void)state;
	run_alone("limited", UINT64_C(0x900a), &limits);
}

static void test_models_beside_each_other(void **state)
{
	static const char *const prefixes[BESIDE] = {"left", "middle", "right"};
	uint64_t seed = pattern_seed(UINT64_C(0x3de1));

	(void)state;
	say_quotas(&no_limits);
	daemon_fixture_start(&fixture, ARGUMENTS);
	daemon_fixture_let_all_in(&fixture);
	for (int i = 0; i < BESIDE; i++) {
		struct model_script script = {.prefix = prefixes[i], .steps = steps() / BESIDE, .users = geteuid() == 0};
		script.seed = pattern_random(&seed);
		script.socket_path = fixture.socket_path;
		script.pool = fixture.pool;
		client_process_start(&processes[i], model_run, &script);
	}
	for (int i = 0; i < BESIDE; i++)
		assert_int_equal(client_process_reap(&processes[i]), 0);
	assert_all_gone();
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < BESIDE; i++)
		client_process_end(&processes[i]);
	daemon_fixture_stop(&fixture);
	return 0;
}

static void take_arguments(int argc, char **argv)
{
	static const struct option options[] = {
		{"steps", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?') {
			fprintf(stderr, "usage: test_model [--steps N] [--seed S]\n");
			exit(2);
		}
		setenv(option == 'n' ? "SHMB_MODEL_STEPS" : "SHMB_TEST_SEED", optarg, 1);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_model_alone, tear_down),
		cmocka_unit_test_teardown(test_model_with_quotas, tear_down),
		cmocka_unit_test_teardown(test_models_beside_each_other, tear_down),
	};

	take_arguments(argc, argv);
	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
