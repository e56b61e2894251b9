/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ends [COUNT]: how long others wait while very much ends at once: a client that has acquired 100,000 blocks, a chain of 100,000 links,
 * a block that holds as many, and one that has as many names and is removed, or expires. For each the worst ping, and what the daemon's loop
 * ran for at most while one ping waited, which shows its work without what the machine adds. Prints, and judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "shmbuddy.h"
#include "tests/bench/daemon_cost.h"
#include "tests/bench/pipeline.h"
#include "tests/bench/samples.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define COUNT 100000
#define BATCH 4000

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static struct raw_session raw = RAW_SESSION_CLOSED, filler = RAW_SESSION_CLOSED;
static struct client_process client;
static shmb_block *blocks;
static unsigned count = COUNT;
static struct samples samples;

static Shmbuddy__V1__Handle wire(shmb_handle handle)
{
	Shmbuddy__V1__Handle message = SHMBUDDY__V1__HANDLE__INIT;

	message.id = handle.id;
	message.index = handle.index;
	message.incarnation = handle.incarnation;
	return message;
}

/* `count` blocks and one, which the session holds. */
static void allocate(shmb_session *owner)
{
	static uint64_t sizes[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (unsigned done = 0; done < count + 1; done += BATCH) {
		unsigned now = count + 1 - done < BATCH ? count + 1 - done : BATCH;
		assert_ok(shmb_alloc_batch(owner, sizes, now, NULL, &blocks[done]));
	}
}

/* Gives back those from `first` on. */
static void let_go(unsigned first)
{
	static shmb_handle handles[BATCH];

	for (unsigned done = first; done < count + 1;) {
		unsigned now = 0;
		while (now < BATCH && done < count + 1)
			handles[now++] = blocks[done++].handle;
		assert_ok(shmb_free_batch(session, handles, now));
	}
}

/* Pings until `is_over`, and a while beyond. */
static void ping(const char *what, bool (*is_over)(const shmb_status *status))
{
	double longest = 0, started = clock_ns(), ended = 0;
	bool over = false;
	shmb_status status;

	do {
		double ran = daemon_cost_ns(fixture.pid), start = clock_ns();
		assert_int_equal(raw_session_ping(&raw), OK);
		samples_add(&samples, clock_ns() - start);
		ran = daemon_cost_ns(fixture.pid) - ran;
		longest = ran > longest ? ran : longest;
		assert_ok(shmb_get_status(other, &status));
		if (!over && is_over(&status)) {
			over = true;
			ended = clock_ns();
		}
	} while (!over || clock_ns() - ended < 5e6);
	printf("%-44s %7.1f ms; %5zu pings, ms: median %.3f, worst %6.2f; the loop ran for at most %5.2f\n", what,
	       (ended - started) / 1e6, samples.count, samples_median(&samples) / 1e6, samples_quantile(&samples, 1) / 1e6,
	       longest / 1e6);
	samples_clear(&samples);
}

static bool is_calm(const shmb_status *status)
{
	(void)status;
	return samples.count >= 5000;
}

static bool is_empty(const shmb_status *status)
{
	return status->blocks == 0;
}

static bool is_alone(const shmb_status *status)
{
	return status->clients == 3; /* session, other, raw */
}

/* ---- Who ends --------------------------------------------------------------------------------------------------- */

static Shmbuddy__V1__Request *acquire(unsigned n)
{
	static Shmbuddy__V1__Handle handle;

	handle = wire(blocks[n].handle);
	return raw_request_acquire(&handle);
}

static Shmbuddy__V1__Request *publish(unsigned n)
{
	static Shmbuddy__V1__Handle handle;
	static char name[32];

	handle = wire(blocks[0].handle);
	snprintf(name, sizeof name, "name %u", n);
	return raw_request_publish(&handle, name);
}

static Shmbuddy__V1__Request *link_chain(unsigned n)
{
	static Shmbuddy__V1__Handle from, to;

	from = wire(blocks[n].handle);
	to = wire(blocks[n + 1].handle);
	return raw_request_link(&from, &to);
}

static Shmbuddy__V1__Request *link_star(unsigned n)
{
	static Shmbuddy__V1__Handle from, to;

	from = wire(blocks[0].handle);
	to = wire(blocks[n + 1].handle);
	return raw_request_link(&from, &to);
}

static void hold_references(int control, const void *argument)
{
	struct raw_session own = RAW_SESSION_CLOSED;
	uint64_t sequence = 0;
	char there = 't';

	(void)argument;
	raw_session_open(&own, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	pipeline_run(&own, &sequence, 0, count, acquire);
	client_process_say(control, &there, 1);
	client_process_hear(control, &there, 1);
}

/* ---- What is measured ------------------------------------------------------------------------------------------- */

static void start_holder(void)
{
	char there;

	client_process_start(&client, hold_references, NULL);
	client_process_receive(&client, &there, 1);
}

static void references(bool alone)
{
	allocate(session);
	start_holder();
	if (alone)
		let_go(0);
	kill(client.pid, SIGKILL); /* and not reaped yet: what follows begins at once */
	ping(alone ? "a client that held the blocks alone has died" : "a client that held others' blocks has died",
	     alone ? is_empty : is_alone);
	client_process_end(&client);
	if (!alone)
		let_go(0);
}

static void links(const char *what, Shmbuddy__V1__Request *(*request)(unsigned n))
{
	uint64_t sequence = 0;

	allocate(session);
	raw_session_open(&filler, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	/* Who links holds both. */
	pipeline_run(&filler, &sequence, 0, count + 1, acquire);
	pipeline_run(&filler, &sequence, 0, count, request);
	let_go(1);
	raw_session_close(&filler);
	raw_session_wait_for_sessions(&raw, 3);
	assert_ok(shmb_free(session, blocks[0].handle));
	ping(what, is_empty);
}

static void names(bool expire)
{
	uint64_t sequence = 0;

	assert_ok(shmb_alloc(session, 64, NULL, &blocks[0]));
	raw_session_open(&filler, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	const Shmbuddy__V1__Handle handle = wire(blocks[0].handle);
	assert_int_equal(raw_session_acquire(&filler, &handle), OK);
	pipeline_run(&filler, &sequence, 0, count, publish);
	assert_int_equal(raw_session_free(&filler, &handle), OK);
	assert_ok(shmb_free(session, blocks[0].handle));
	if (expire) {
		assert_ok(shmb_renew(session, blocks[0].handle, 1));
	} else {
		/* Who asks waits until it is done; so its ping comes behind. */
		Shmbuddy__V1__Request *request = raw_request_remove(&handle);
		request->slot = 0;
		request->sequence = ++filler.sequence;
		assert_int_equal(raw_client_send_request(&filler.client, request), 0);
	}
	ping(expire ? "a block with as many names has expired" : "a block with as many names is removed", is_empty);
	raw_session_close(&filler);
	raw_session_wait_for_sessions(&raw, 3);
}

static void measure(void **unused)
{
	(void)unused;
	daemon_fixture_start(&fixture, "--log-level", "warning", "--size", "64M", "--max-blocks", "1M", "--max-names", "1M",
	                     NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	printf("%u\n", count);
	ping("nothing ends", is_calm);
	references(false);
	references(true);
	links("the first block of a chain of links is freed", link_chain);
	links("a block that holds as many is freed", link_star);
	names(false);
	names(true);
}

static int stop(void **unused)
{
	(void)unused;
	client_process_end(&client);
	raw_session_close(&raw);
	raw_session_close(&filler);
	shmb_close(session);
	shmb_close(other);
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
	if (!count)
		count = COUNT;
	blocks = calloc(count + 1, sizeof *blocks);
	return blocks ? cmocka_run_group_tests_name("ends", tests, NULL, NULL) : 1;
}
