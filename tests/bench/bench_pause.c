/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pause [ROUNDS]: what programs notice of a daemon that is killed with -9 and started again. Eight processes allocate, fill and
 * free 4 KiB without a pause; any error ends the benchmark. The longest call of each process over each restart is a sample. Beside it the
 * longest call of rounds in which nothing was killed, which is what the machine itself adds. Judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"

#define CLIENTS 8
#define ROUNDS 50
#define ROUND_MS 40
#define SIZE 4096

/* What the processes tell: mapped in all of them. */
static struct shared {
	_Atomic uint64_t longest_ns[CLIENTS], calls[CLIENTS];
} * shared;

struct job {
	const char *socket_path;
	unsigned number;
};

static struct daemon_fixture fixture;
static struct client_process clients[CLIENTS];
static unsigned rounds = ROUNDS;

static void note(unsigned number, double start)
{
	uint64_t ns = (uint64_t)(clock_ns() - start);

	if (ns > atomic_load(&shared->longest_ns[number]))
		atomic_store(&shared->longest_ns[number], ns);
	atomic_fetch_add(&shared->calls[number], 1);
}

static void work(int control, const void *argument)
{
	const struct job *job = argument;
	shmb_connect_options options = {.socket_path = job->socket_path};
	shmb_session *session;
	shmb_block block;

	(void)control;
	CLIENT_CHECK(shmb_connect(&options, &session) == 0);
	for (;;) {
		double start = clock_ns();
		CLIENT_CHECK(shmb_alloc(session, SIZE, NULL, &block) == 0);
		note(job->number, start);
		memset(block.data, 1, SIZE);
		start = clock_ns();
		CLIENT_CHECK(shmb_free(session, block.handle) == 0);
		note(job->number, start);
	}
}

/* One round: every process has called since its start, and what its longest call was. */
static void measure_round(bool killed, struct samples *samples)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		atomic_store(&shared->longest_ns[i], 0);
		atomic_store(&shared->calls[i], 0);
	}
	poll(NULL, 0, ROUND_MS / 2);
	if (killed) {
		daemon_fixture_kill(&fixture);
		daemon_fixture_restart(&fixture, "--log-level", "warning", NULL);
	}
	poll(NULL, 0, ROUND_MS / 2);
	for (unsigned i = 0; i < CLIENTS; i++) {
		uint64_t calls = atomic_load(&shared->calls[i]);
		while (atomic_load(&shared->calls[i]) < calls + 4)
			poll(NULL, 0, 1);
		samples_add(samples, (double)atomic_load(&shared->longest_ns[i]));
	}
}

static void print(const char *what, struct samples *samples)
{
	printf("%-22s %6zu samples, ms: median %6.2f, p90 %6.2f, worst %6.2f\n", what, samples->count,
	       samples_median(samples) / 1e6, samples_quantile(samples, 0.9) / 1e6, samples_quantile(samples, 1) / 1e6);
}

static void measure(void **state)
{
	struct samples calm = {0}, stormy = {0};
	struct job jobs[CLIENTS];

	(void)state;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	daemon_fixture_start_lasting(&fixture, "--log-level", "warning", NULL);
	for (unsigned i = 0; i < CLIENTS; i++) {
		jobs[i] = (struct job){fixture.socket_path, i};
		client_process_start(&clients[i], work, &jobs[i]);
	}
	for (unsigned i = 0; i < rounds; i++) {
		measure_round(false, &calm);
		measure_round(true, &stormy);
	}
	print("longest call, calm", &calm);
	print("longest call, a restart", &stormy);
	samples_free(&calm);
	samples_free(&stormy);
}

static int stop(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++)
		client_process_end(&clients[i]);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(measure, stop)};

	if (argc > 1)
		rounds = (unsigned)strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests_name("bench_pause", tests, NULL, NULL);
}
