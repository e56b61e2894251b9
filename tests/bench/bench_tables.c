/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_tables [COUNT]: what a million names, and a million links, make dearer: an operation among so many beside one among a thousand, as the
 * client sees it and in the daemon's own processor time; and what each takes of memory. Prints, and judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/daemon_cost.h"
#include "tests/bench/pipeline.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define COUNT 1000000
#define FEW 1000u
#define MEASURED 4000 /* pairs of operations */

static struct daemon_fixture fixture;
static struct raw_session raw = RAW_SESSION_CLOSED;
static Shmbuddy__V1__Handle *blocks;
static unsigned count = COUNT;
static uint64_t sequence, random_state = 0x7ab1e5;
static struct samples samples;

/* What one kind of record costs. */
struct cost {
	double ns, daemon_ns; /* a pair of operations */
};

static Shmbuddy__V1__Request *publish(unsigned n)
{
	static char name[32];

	snprintf(name, sizeof name, "camera/left/%u", n);
	return raw_request_publish(&blocks[n % FEW], name);
}

/* Of a ring: each block holds the next. */
static Shmbuddy__V1__Request *link_next(unsigned n)
{
	return raw_request_link(&blocks[n], &blocks[n + 1]);
}

static void name_pair(unsigned there)
{
	char name[32];

	snprintf(name, sizeof name, "camera/left/%u", (unsigned)pattern_below(&random_state, there));
	assert_int_equal(raw_session_unpublish(&raw, name), OK);
	assert_int_equal(raw_session_publish(&raw, &blocks[0], name), OK);
}

static void link_pair(unsigned there)
{
	unsigned n = (unsigned)pattern_below(&random_state, there);

	assert_int_equal(raw_session_call(&raw, raw_request_unlink(&blocks[n], &blocks[n + 1])), OK);
	assert_int_equal(raw_session_call(&raw, raw_request_link(&blocks[n], &blocks[n + 1])), OK);
}

static struct cost measure_pairs(void (*pair)(unsigned there), unsigned there)
{
	double before = daemon_cost_ns(fixture.pid);
	struct cost cost;

	for (unsigned i = 0; i < MEASURED; i++) {
		double start = clock_ns();
		pair(there);
		samples_add(&samples, clock_ns() - start);
	}
	cost.daemon_ns = (daemon_cost_ns(fixture.pid) - before) / MEASURED;
	cost.ns = samples_median(&samples);
	samples_clear(&samples);
	return cost;
}

static void measure_kind(const char *what, Shmbuddy__V1__Request *(*request)(unsigned n), void (*pair)(unsigned there))
{
	pipeline_run(&raw, &sequence, 0, FEW, request);
	measure_pairs(pair, FEW); /* the first are dearer, whatever there is */
	struct cost few = measure_pairs(pair, FEW);
	double private_before = daemon_cost_private(fixture.pid);
	double view = daemon_cost_shared(fixture.pool, ".view"), state = daemon_cost_shared(fixture.pool, ".state");
	pipeline_run(&raw, &sequence, FEW, count, request);
	double grown = daemon_cost_private(fixture.pid) - private_before, added = count - FEW;
	view = daemon_cost_shared(fixture.pool, ".view") - view;
	state = daemon_cost_shared(fixture.pool, ".state") - state;
	struct cost many = measure_pairs(pair, count);
	printf("%-28s among %u: %6.1f us, of them %5.1f the daemon's; among %u: %6.1f us, %5.1f; ratio %.2f, %.2f\n", what, FEW,
	       few.ns / 1e3, few.daemon_ns / 1e3, count, many.ns / 1e3, many.daemon_ns / 1e3, many.ns / few.ns,
	       many.daemon_ns / few.daemon_ns);
	printf("%-28s bytes each: %.1f in the view, %.1f in the state, %.1f in the daemon\n", "", view / added, state / added,
	       grown / added);
}

static void allocate(void)
{
	static const unsigned batch = 4000;
	uint64_t size[4000];

	for (unsigned i = 0; i < batch; i++)
		size[i] = 64;
	for (unsigned done = 0; done < count + 1; done += batch) {
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		Shmbuddy__V1__AllocateBatch body = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
		body.n_size = count + 1 - done < batch ? count + 1 - done : batch;
		body.size = size;
		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
		request.allocate_batch = &body;
		Shmbuddy__V1__Reply *reply = raw_session_send(&raw, 0, ++raw.sequence, &request);
		assert_int_equal(reply->status, OK);
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH);
		for (size_t i = 0; i < body.n_size; i++) {
			blocks[done + i] = (Shmbuddy__V1__Handle)SHMBUDDY__V1__HANDLE__INIT;
			blocks[done + i].id = reply->block_batch->first_id + i;
			blocks[done + i].index = reply->block_batch->index[i];
			blocks[done + i].incarnation = raw.incarnation;
		}
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
}

static void measure(void **unused)
{
	(void)unused;
	daemon_fixture_start(&fixture, "--log-level", "warning", "--size", "1G", "--max-blocks", "16M", "--max-names", "16M",
	                     NULL);
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	allocate();
	measure_kind("unpublish + publish", publish, name_pair);
	measure_kind("unlink + link", link_next, link_pair);
}

static int stop(void **unused)
{
	(void)unused;
	raw_session_close(&raw);
	samples_free(&samples);
	free(blocks);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(measure, stop)};

	if (argc > 1)
		count = (unsigned)strtoul(argv[1], NULL, 10);
	if (count <= FEW)
		count = COUNT;
	blocks = calloc(count + 4001, sizeof *blocks);
	return blocks ? cmocka_run_group_tests_name("tables", tests, NULL, NULL) : 1;
}
