/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_waiting [WAITERS]: what those who wait cost those who do not. A free while nobody waits, and while ten thousand wait for more than it
 * brings; a name published and taken away while nobody waits, and while as many wait for other names; and how long others are held up
 * when a name is published for which all of them wait. And what each takes of the daemon's memory. Prints, and judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/bench/daemon_cost.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define WAITERS 10000
#define WAITERS_MAX 16384
#define SLOTS 59 /* of a session, beside the one for looking */
#define SESSIONS_MAX (WAITERS_MAX / SLOTS + 1)
#define POOL (UINT64_C(16) << 20)
#define BLOCKS 4000 /* freed one by one, and as many once more */
#define WAIT_MS 3600000

static struct daemon_fixture fixture;
static struct raw_session raw = RAW_SESSION_CLOSED, crowd[SESSIONS_MAX];
static Shmbuddy__V1__Handle blocks[2 * BLOCKS];
static unsigned waiters = WAITERS, sessions;
static struct samples samples;

/* All wait for what `request` says of waiter number n. */
static void post_all(uint64_t sequence, Shmbuddy__V1__Request *(*request)(unsigned n))
{
	for (unsigned n = 0; n < waiters; n++) {
		Shmbuddy__V1__Request *wanted = request(n);
		wanted->slot = 1 + n % SLOTS;
		wanted->sequence = sequence;
		assert_int_equal(raw_client_send_request(&crowd[n / SLOTS].client, wanted), 0);
	}
	for (unsigned i = 0; i < sessions; i++)
		assert_int_equal(raw_session_ping(&crowd[i]), OK); /* all have been read */
}

static Shmbuddy__V1__Request *want_all(unsigned n)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(POOL, NULL);

	(void)n;
	request->allocate->wait_ms = WAIT_MS;
	return request;
}

static Shmbuddy__V1__Request *want_name(const char *name)
{
	Shmbuddy__V1__Request *request = raw_request_lookup(name);

	request->lookup->wait_ms = WAIT_MS;
	return request;
}

static Shmbuddy__V1__Request *want_some_name(unsigned n)
{
	static char name[32];

	snprintf(name, sizeof name, "name %u", n);
	return want_name(name);
}

static Shmbuddy__V1__Request *want_one_name(unsigned n)
{
	(void)n;
	return want_name("one");
}

static void print_samples(const char *what)
{
	double median = samples_median(&samples);

	printf("%-52s %8.1f us, median; p99 %8.1f us\n", what, median / 1e3, samples_quantile(&samples, 0.99) / 1e3);
	samples_clear(&samples);
}

static void free_blocks(unsigned from, const char *what)
{
	for (unsigned i = from; i < from + BLOCKS; i++) {
		double start = clock_ns();
		assert_int_equal(raw_session_free(&raw, &blocks[i]), OK);
		samples_add(&samples, clock_ns() - start);
	}
	print_samples(what);
}

/* What they take of the daemon's memory, each. */
static void post_and_weigh(Shmbuddy__V1__Request *(*request)(unsigned n), const char *what)
{
	double before = daemon_cost_private(fixture.pid);

	post_all(1, request);
	printf("%-52s %8.0f bytes of the daemon's memory, each\n", what, (daemon_cost_private(fixture.pid) - before) / waiters);
}

static void publish_names(const Shmbuddy__V1__Handle *block, const char *what)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		double start = clock_ns();
		assert_int_equal(raw_session_publish(&raw, block, "another"), OK);
		assert_int_equal(raw_session_unpublish(&raw, "another"), OK);
		samples_add(&samples, clock_ns() - start);
	}
	print_samples(what);
}

/* Pings, while all are answered. The answers are read afterwards. */
static void publish_for_all(const Shmbuddy__V1__Handle *block)
{
	double start = clock_ns(), answered;

	assert_int_equal(raw_session_publish(&raw, block, "one"), OK);
	do {
		double before = clock_ns();
		assert_int_equal(raw_session_ping(&raw), OK);
		samples_add(&samples, clock_ns() - before);
		answered = clock_ns() - start;
	} while (answered < 1e8); /* far beyond what it takes */
	printf("a ping, while %u are answered: worst %.1f ms\n", waiters, samples_quantile(&samples, 1.0) / 1e6);
	samples_clear(&samples);
	for (unsigned n = 0; n < waiters; n++) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_receive_reply(&crowd[n / SLOTS].client, &reply), 0);
		assert_int_equal(reply->status, OK);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
}

static void open_crowd(void)
{
	sessions = (waiters + SLOTS - 1) / SLOTS;
	for (unsigned i = 0; i < sessions; i++)
		raw_session_open(&crowd[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

static void close_crowd(void)
{
	for (unsigned i = 0; i < sessions; i++)
		raw_session_close(&crowd[i]);
	raw_session_wait_for_sessions(&raw, 1);
}

/* A daemon of its own, so that none of its memory has been somebody's before. */
static void start(void)
{
	daemon_fixture_start(&fixture, "--log-level", "warning", "--size", "16M", NULL);
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	for (unsigned i = 0; i < 2 * BLOCKS; i++)
		assert_int_equal(raw_session_allocate(&raw, 64, NULL, &blocks[i]), OK);
	open_crowd();
}

static void measure_memory(void **unused)
{
	(void)unused;
	start();
	free_blocks(0, "free, nobody waits");
	post_and_weigh(want_all, "who waits for memory takes");
	free_blocks(BLOCKS, "free, all wait for memory");
	close_crowd();
}

static void measure_names(void **unused)
{
	(void)unused;
	start();
	publish_names(&blocks[0], "publish + unpublish, nobody waits");
	post_and_weigh(want_some_name, "who waits for a name takes");
	publish_names(&blocks[0], "publish + unpublish, all wait for other names");
	close_crowd();
	open_crowd();
	post_all(1, want_one_name);
	publish_for_all(&blocks[0]);
	close_crowd();
}

static int stop(void **unused)
{
	(void)unused;
	raw_session_close(&raw);
	samples_free(&samples);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(measure_memory, stop),
	                                   cmocka_unit_test_teardown(measure_names, stop)};
	struct rlimit limit;

	if (argc > 1)
		waiters = (unsigned)strtoul(argv[1], NULL, 10);
	if (waiters < 1 || waiters > WAITERS_MAX)
		waiters = WAITERS;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
