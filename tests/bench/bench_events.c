/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_events [ROUNDS]: what it costs the others that somebody is subscribed to events. With nobody, with one who reads, with one who does
 * not, and with 1,000 who do not: a pair of allocate and free, of which the free is an event; and while a client that was killed with
 * 100,000 blocks is cleaned up, 100,000 events, how long that takes, and how long a ping takes meanwhile. All of them in turn, in
 * each round, on a daemon of its own. Judges nothing.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"

#define ROUNDS 3
#define PAIRS 4000
#define BLOCKS 100000
#define BATCH 4000
#define MANY 1000

struct crowd {
	const char *name;
	unsigned subscribers;
	bool reads;
	struct samples pairs, pings, cleaning;
};

static struct crowd crowds[] = {
	{.name = "nobody"},
	{.name = "1 who reads", .subscribers = 1, .reads = true},
	{.name = "1 who does not", .subscribers = 1},
	{.name = "1,000 who do not", .subscribers = MANY},
};
#define CROWDS (sizeof crowds / sizeof crowds[0])

static struct daemon_fixture fixture;
static shmb_session *session;

static void must(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "bench_events: %s: %s\n", what, shmb_last_error());
	exit(1);
}

static shmb_session *open_session(void)
{
	shmb_session *opened;

	must(shmb_connect(&(shmb_connect_options){.socket_path = fixture.socket_path}, &opened), "connect");
	return opened;
}

/* A process that calls `run`, says so by a byte, and then does what it does until it is killed. */
static pid_t start(void (*run)(const struct crowd *crowd, int ready), const struct crowd *crowd)
{
	int ends[2];
	char byte;

	if (pipe(ends) < 0)
		exit(1);
	pid_t pid = fork();
	if (pid < 0)
		exit(1);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		run(crowd, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 1)
		exit(1);
	close(ends[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void say_ready(int ready)
{
	if (write(ready, "", 1) != 1)
		exit(1);
}

static void subscribe(const struct crowd *crowd, int ready)
{
	static shmb_session *subscribers[MANY];
	shmb_event event;

	for (unsigned i = 0; i < crowd->subscribers; i++) {
		subscribers[i] = open_session();
		must(shmb_subscribe(subscribers[i], SHMB_EVENT_BLOCK_FREED, NULL), "subscribe");
	}
	say_ready(ready);
	while (crowd->reads)
		must(shmb_next_event(subscribers[0], UINT32_MAX, &event), "next event");
	for (;;)
		pause();
}

static void hold_blocks(const struct crowd *crowd, int ready)
{
	static uint64_t sizes[BATCH];
	static shmb_block blocks[BATCH];
	shmb_session *own = open_session();

	(void)crowd;
	for (unsigned i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (unsigned i = 0; i < BLOCKS / BATCH; i++)
		must(shmb_alloc_batch(own, sizes, BATCH, NULL, blocks), "allocate");
	say_ready(ready);
	for (;;)
		pause();
}

static void time_pairs(struct crowd *crowd)
{
	shmb_block block;

	for (unsigned i = 0; i < PAIRS; i++) {
		double started = clock_ns();
		must(shmb_alloc(session, 64, NULL, &block), "allocate");
		must(shmb_free(session, block.handle), "free");
		samples_add(&crowd->pairs, clock_ns() - started);
	}
}

static void time_cleaning(struct crowd *crowd)
{
	pid_t pid = start(hold_blocks, crowd);
	shmb_status status;
	double started = clock_ns();

	end(pid);
	do {
		double asked = clock_ns();
		must(shmb_ping(session), "ping");
		samples_add(&crowd->pings, clock_ns() - asked);
		must(shmb_get_status(session, &status), "status");
	} while (status.blocks);
	samples_add(&crowd->cleaning, clock_ns() - started);
}

static void run(struct crowd *crowd)
{
	daemon_fixture_start(&fixture, "--size", "64M", "--log-level", "warning", NULL);
	session = open_session();
	pid_t pid = crowd->subscribers ? start(subscribe, crowd) : 0;
	time_pairs(crowd);
	time_cleaning(crowd);
	shmb_close(session);
	if (pid)
		end(pid);
	daemon_fixture_stop(&fixture);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;

	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < CROWDS; i++)
			run(&crowds[i]);
	}
	printf("%-18s%12s%10s%14s%12s%12s%12s\n", "subscribed", "pair, us", "p99", "cleaned, ms", "ping, us", "p99", "worst");
	for (size_t i = 0; i < CROWDS; i++) {
		struct crowd *crowd = &crowds[i];
		printf("%-18s%12.1f%10.1f%14.1f%12.1f%12.1f%12.1f\n", crowd->name, samples_quantile(&crowd->pairs, 0.5) / 1e3,
		       samples_quantile(&crowd->pairs, 0.99) / 1e3, samples_quantile(&crowd->cleaning, 0.5) / 1e6,
		       samples_quantile(&crowd->pings, 0.5) / 1e3, samples_quantile(&crowd->pings, 0.99) / 1e3,
		       samples_quantile(&crowd->pings, 1.0) / 1e3);
		free(crowd->pairs.ns);
		free(crowd->pings.ns);
		free(crowd->cleaning.ns);
	}
	return 0;
}
