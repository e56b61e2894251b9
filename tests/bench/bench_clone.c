/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_clone [BLOCKS [ROUNDS]]: what it takes to clone a session that holds many blocks, and how long others wait meanwhile. A thread clones
 * it again and again; another session pings the daemon all the time, and between the clones, for comparison. Judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"

#define BLOCKS 100000
#define ROUNDS 10
#define BATCH 1000

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static uint64_t blocks = BLOCKS;
static unsigned rounds = ROUNDS;
static atomic_bool cloned;

static void fill(void)
{
	static uint64_t sizes[BATCH];
	static shmb_block batch[BATCH];

	for (size_t i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (uint64_t i = 0; i < blocks; i += BATCH)
		assert_ok(shmb_alloc_batch(session, sizes, BATCH, NULL, batch));
}

static void *clone_it(void *argument)
{
	struct samples *took = argument;
	shmb_clone_token clone;
	double start = clock_ns();

	assert_ok(shmb_clone(session, &clone));
	samples_add(took, clock_ns() - start);
	atomic_store(&cloned, true);
	assert_ok(shmb_end_session(session, clone.session, false));
	return NULL;
}

static void ping(struct samples *samples)
{
	double start = clock_ns();

	assert_ok(shmb_ping(other));
	samples_add(samples, clock_ns() - start);
}

static void print(const char *what, struct samples *samples)
{
	printf("%-30s %6zu samples, us: median %8.1f, p99 %8.1f, worst %8.1f\n", what, samples->count,
	       samples_median(samples) / 1e3, samples_quantile(samples, 0.99) / 1e3, samples_quantile(samples, 1) / 1e3);
}

static void measure(void **state)
{
	struct samples took = {0}, calm = {0}, busy = {0}, cleanup = {0};

	(void)state;
	daemon_fixture_start(&fixture, "--size", "256M", "--max-blocks", "2M", "--log-level", "error", NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
	fill();
	for (unsigned i = 0; i < rounds; i++) {
		pthread_t thread;
		for (unsigned k = 0; k < 200; k++)
			ping(&calm);
		atomic_store(&cloned, false);
		assert_int_equal(pthread_create(&thread, NULL, clone_it, &took), 0);
		while (!atomic_load(&cloned))
			ping(&busy);
		pthread_join(thread, NULL);
		while (pool_session_status(other).clients > 2)
			ping(&cleanup);
	}
	printf("%" PRIu64 " blocks\n", blocks);
	print("clone", &took);
	print("ping, calm", &calm);
	print("ping, beside a clone", &busy);
	print("ping, while it is given back", &cleanup);
	samples_free(&took);
	samples_free(&calm);
	samples_free(&busy);
	samples_free(&cleanup);
}

static int stop(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(measure, stop)};

	if (argc > 1)
		blocks = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests_name("bench_clone", tests, NULL, NULL);
}
