/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_holds [ROUNDS]: what it costs to take hold of a block and to let go again without asking the daemon, by handle and by name, beside a
 * getpid system call; the goal is less than one. And by request, acquire and free beside allocate and free; the goal is no more. All
 * interleaved, in the same rounds. Prints, and judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_session.h"

#define ROUNDS 200
#define QUICK 10000 /* of those that ask nobody, in a round */
#define ASKED 500   /* of requests */
#define NAME "camera/left/frame"

static struct daemon_fixture fixture;
static struct raw_session raw = RAW_SESSION_CLOSED;
static shmb_session *session, *owner;
static shmb_block block;
static Shmbuddy__V1__Handle wire;
static unsigned rounds = ROUNDS;

static void ask_the_kernel(void)
{
	syscall(SYS_getpid);
}

static void hold_by_handle(void)
{
	shmb_block held;

	assert_int_equal(shmb_acquire(session, block.handle, &held), 0);
	assert_int_equal(shmb_free(session, block.handle), 0);
}

static void hold_by_name(void)
{
	shmb_block held;

	assert_int_equal(shmb_lookup(session, NAME, &held), 0);
	assert_int_equal(shmb_free(session, held.handle), 0);
}

static void acquire_by_request(void)
{
	assert_int_equal(raw_session_acquire(&raw, &wire), SHMBUDDY__V1__STATUS__OK);
	assert_int_equal(raw_session_free(&raw, &wire), SHMBUDDY__V1__STATUS__OK);
}

static void allocate_by_request(void)
{
	Shmbuddy__V1__Handle handle;

	assert_int_equal(raw_session_allocate(&raw, 4096, NULL, &handle), SHMBUDDY__V1__STATUS__OK);
	assert_int_equal(raw_session_free(&raw, &handle), SHMBUDDY__V1__STATUS__OK);
}

static struct measured {
	const char *what;
	void (*once)(void);
	unsigned times;
	struct samples samples;
} measured[] = {
	{"getpid", ask_the_kernel, QUICK, {0}},
	{"acquire + free by handle, by hold", hold_by_handle, QUICK, {0}},
	{"look up + free by name, by hold", hold_by_name, QUICK, {0}},
	{"allocate + free, by request", allocate_by_request, ASKED, {0}},
	{"acquire + free, by request", acquire_by_request, ASKED, {0}},
};
#define MEASURED (sizeof measured / sizeof measured[0])

static void measure(void **unused)
{
	(void)unused;
	daemon_fixture_start(&fixture, "--log-level", "warning", NULL);
	owner = pool_session_open(&fixture);
	session = pool_session_open(&fixture);
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_ok(shmb_alloc(owner, 4096, &(shmb_alloc_options){.name = NAME}, &block));
	wire = (Shmbuddy__V1__Handle)SHMBUDDY__V1__HANDLE__INIT;
	wire.id = block.handle.id;
	wire.index = block.handle.index;
	wire.incarnation = block.handle.incarnation;
	for (unsigned i = 0; i < 10; i++)
		hold_by_name(); /* the page comes with the fourth */

	for (unsigned round = 0; round < rounds; round++) {
		for (size_t i = 0; i < MEASURED; i++) {
			double start = clock_ns();
			for (unsigned n = 0; n < measured[i].times; n++)
				measured[i].once();
			samples_add(&measured[i].samples, (clock_ns() - start) / measured[i].times);
		}
	}
	double pid = samples_median(&measured[0].samples), allocate = samples_median(&measured[3].samples);
	for (size_t i = 0; i < MEASURED; i++) {
		double median = samples_median(&measured[i].samples);
		printf("%-36s %9.1f ns, %.2f times %s\n", measured[i].what, median, median / (i < 3 ? pid : allocate),
		       measured[i < 3 ? 0 : 3].what);
		samples_free(&measured[i].samples);
	}
}

static int stop(void **unused)
{
	(void)unused;
	raw_session_close(&raw);
	shmb_close(session);
	shmb_close(owner);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(measure, stop)};

	if (argc > 1)
		rounds = (unsigned)strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests_name("holds", tests, NULL, NULL);
}
