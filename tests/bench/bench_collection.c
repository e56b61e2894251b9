/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_collection [LINKS]: what it takes to look through so many links, in circles of a thousand, all held or all left to themselves: the whole
 * time, the longest slice, how long others wait meanwhile, and what memory the daemon takes for it. Judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"

#define LINKS 1000000
#define RING 1000
#define THREADS 8
#define ROUNDS 5

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static uint64_t rings = LINKS / RING;
static shmb_block *blocks;
static atomic_ullong next_ring;
static atomic_bool ended;

/* Kilobytes of the daemon's that are no one else's; of the field of /proc/PID/status. */
static uint64_t daemon_memory(const char *field)
{
	char path[64], line[256];
	uint64_t kilobytes = 0;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)fixture.pid);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, field, strlen(field)) == 0)
			kilobytes = strtoull(line + strlen(field) + 1, NULL, 10);
	if (file)
		fclose(file);
	return kilobytes;
}

/* Many threads link, whose requests share their way. */
static void *link_rings(void *argument)
{
	uint64_t ring;

	(void)argument;
	while ((ring = atomic_fetch_add(&next_ring, 1)) < rings)
		for (size_t i = 0; i < RING; i++)
			assert_ok(shmb_link(session, blocks[ring * RING + i].handle, blocks[ring * RING + (i + 1) % RING].handle));
	return NULL;
}

static void make(void)
{
	static uint64_t sizes[RING];
	pthread_t threads[THREADS];

	for (size_t i = 0; i < RING; i++)
		sizes[i] = 64;
	for (uint64_t i = 0; i < rings; i++)
		assert_ok(shmb_alloc_batch(session, sizes, RING, NULL, &blocks[i * RING]));
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, link_rings, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* Of each circle so many blocks, from the first on. */
static void let_go(size_t from, size_t to)
{
	static shmb_handle handles[RING];

	for (uint64_t ring = 0; ring < rings; ring++) {
		for (size_t i = from; i < to; i++)
			handles[i - from] = blocks[ring * RING + i].handle;
		assert_ok(shmb_free_batch(session, handles, to - from));
	}
}

static void *ping_all_the_time(void *argument)
{
	struct samples *samples = argument;

	while (!atomic_load(&ended)) {
		double start = clock_ns();
		assert_ok(shmb_ping(other));
		samples_add(samples, clock_ns() - start);
	}
	return NULL;
}

static void collect(const char *what)
{
	struct samples pings = {0};
	shmb_collection collection;
	pthread_t thread;

	atomic_store(&ended, false);
	assert_int_equal(pthread_create(&thread, NULL, ping_all_the_time, &pings), 0);
	assert_ok(shmb_collect(session, &collection));
	atomic_store(&ended, true);
	pthread_join(thread, NULL);
	printf("%-12s %8" PRIu64 " marked, %8" PRIu64 " freed, %6.1f ms, %5" PRIu64 " slices, longest %5" PRIu64
	       " us; pings beside: median %6.1f us, p99 %7.1f us, worst %7.1f us\n",
	       what, collection.marked, collection.freed, (double)collection.duration_us / 1e3, collection.slices,
	       collection.longest_us, samples_median(&pings) / 1e3, samples_quantile(&pings, 0.99) / 1e3,
	       samples_quantile(&pings, 1) / 1e3);
	samples_free(&pings);
}

static void measure(void **state)
{
	(void)state;
	blocks = calloc(rings * RING, sizeof *blocks);
	assert_non_null(blocks);
	daemon_fixture_start(&fixture, "--size", "1G", "--max-blocks", "4M", "--log-level", "error", NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
	collect("no links");
	make();
	uint64_t before = daemon_memory("RssAnon:");
	for (unsigned i = 0; i < ROUNDS; i++)
		collect("owned");
	let_go(1, RING);
	for (unsigned i = 0; i < ROUNDS; i++)
		collect("reached");
	printf("%" PRIu64 " kB before, %" PRIu64 " kB after\n", before, daemon_memory("RssAnon:"));
	let_go(0, 1);
	collect("left");
	printf("%" PRIu64 " kB afterwards, %" PRIu64 " kB at most\n", daemon_memory("RssAnon:"), daemon_memory("VmHWM:"));
	free(blocks);
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
		rings = (strtoull(argv[1], NULL, 10) + RING - 1) / RING;
	return cmocka_run_group_tests_name("bench_collection", tests, NULL, NULL);
}
