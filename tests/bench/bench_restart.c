/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_restart [BLOCKS [ROUNDS]]: how long a pool with many live blocks of 64 bytes is without a daemon. The daemon is killed, another
 * is started, and the time runs from its exec to a client's first reply, which is the welcome to the session that holds all the
 * blocks. The goal is 200 ms for 1 M blocks. Then what a live block costs beside its data, in shared memory and in the daemon's own;
 * the goal is 128 bytes. Prints, and judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_session.h"

#define BLOCKS 1000000
#define ROUNDS 10
#define BATCH 4000
#define BLOCK_SIZE 64

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED;
static uint64_t blocks = BLOCKS;
static unsigned rounds = ROUNDS;

static void allocate_all(void)
{
	static uint64_t sizes[BATCH];
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	for (size_t i = 0; i < BATCH; i++)
		sizes[i] = BLOCK_SIZE;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	batch.size = sizes;
	for (uint64_t done = 0; done < blocks; done += batch.n_size) {
		batch.n_size = blocks - done < BATCH ? blocks - done : BATCH;
		assert_int_equal(raw_session_call(&session, &request), SHMBUDDY__V1__STATUS__OK);
	}
}

/* Bytes that an object takes from the kernel. */
static uint64_t bytes_of(const char *suffix)
{
	char path[128];
	struct stat status;

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", fixture.pool, suffix);
	assert_int_equal(stat(path, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* The daemon's own memory: resident, and neither file nor shared. */
static uint64_t private_bytes(void)
{
	char path[64], line[256];
	uint64_t kib = 0;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)fixture.pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		sscanf(line, "RssAnon: %" SCNu64, &kib);
	fclose(file);
	return kib * 1024;
}

static void print_memory(const char *when, uint64_t view, uint64_t state, uint64_t private)
{
	printf("%-16s bytes a block: view %5.1f, state %5.1f, daemon %5.1f, together %5.1f\n", when,
	       (double)view / (double)blocks, (double)state / (double)blocks, (double)private / (double)blocks,
	       (double)(view + state + private) / (double)blocks);
}

static void measure(void **unused)
{
	struct samples times = {0};

	(void)unused;
	daemon_fixture_start_lasting(&fixture, "--size", "256M", "--log-level", "warning", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	uint64_t view = bytes_of(".view"), state = bytes_of(".state"), private = private_bytes();
	allocate_all();
	print_memory("as allocated", bytes_of(".view") - view, bytes_of(".state") - state, private_bytes() - private);
	for (unsigned i = 0; i < rounds; i++) {
		daemon_fixture_kill(&fixture);
		double start = clock_ns();
		daemon_fixture_respawn(&fixture, "--size", "256M", "--log-level", "warning", NULL);
		assert_int_equal(daemon_fixture_comes_up(&fixture), 0);
		assert_true(fixture.pid > 0);
		assert_int_equal(raw_session_resume(&session, fixture.socket_path), SHMBUDDY__V1__STATUS__OK);
		samples_add(&times, clock_ns() - start);
	}
	print_memory("after a restart", bytes_of(".view") - view, bytes_of(".state") - state, private_bytes() - private);
	printf("%" PRIu64 " blocks of %d bytes, %u restarts, ms from exec to the first reply:", blocks, BLOCK_SIZE, rounds);
	for (size_t i = 0; i < times.count; i++)
		printf(" %.1f", times.ns[i] / 1e6);
	printf("\n");
	free(times.ns);
}

static int stop(void **unused)
{
	(void)unused;
	raw_session_close(&session);
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
	return cmocka_run_group_tests_name("bench_restart", tests, NULL, NULL);
}
