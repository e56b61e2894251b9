/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storm [--kills N] [--seed S]: clients allocate, fill, verify, share by names and free, while their daemon is killed N times, and
 * they are killed as well. What each of them was told stands in a ledger outside the pool (ledger.h). Now and then, and in the
 * end, all come to rest, and pool and ledger must agree to the byte (census.h): also after one more kill, at rest. Then all
 * is given back, and the pool is empty.
 *
 * It also fails where too few of the kills fell while a request was unanswered: then it has shown too little.
 *
 * With an odd seed the daemons zero what is freed, and what clients are given must be zeros.
 *
 * Start reading at operation.h: what clients do; then killer.h: what is done to them. With --kills 0 only clients are killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/storm/census.h"
#include "tests/storm/crew.h"
#include "tests/storm/killer.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"

#define UNANSWERED_SHARE 80 /* percent of the kills */
#define CENSUS_EVERY 50     /* kills */
#define CALM_ROUNDS 100     /* with --kills 0 */

static struct daemon_fixture fixture;
static struct ledger *ledger;
static struct crew crew;
static struct killer killer;
static unsigned kills = 100;
static uint64_t seed;
static unsigned censuses;
static struct census last_census;

/* Everybody comes to rest, on a daemon that nothing threatens, and the pool is looked at: twice, the daemon killed in between. */
static void take_census(void)
{
	struct census before, after;

	if (killer.trapped)
		killer_strike(&killer, true);
	crew_park(&crew);
	census_take(fixture.pool, &crew, &before);
	if (kills) {
		killer_strike_at_rest(&killer);
		census_take(fixture.pool, &crew, &after);
		assert_memory_equal(&before, &after, sizeof before);
	}
	last_census = before;
	censuses++;
	crew_unpark(&crew);
}

static void print_census(void)
{
	printf("pool and ledger compared %u times; the last time %" PRIu64 " blocks of %" PRIu64 " bytes, %" PRIu64
	       " holds, %" PRIu64 " names\n",
	       censuses, last_census.blocks, last_census.bytes, last_census.holds, last_census.names);
}

static void print_clients(void)
{
	uint64_t done[OPERATION_COUNT] = {0}, out_of_memory = 0, longest = 0;

	for (unsigned i = 0; i < LEDGER_SEATS; i++) {
		const struct seat *seat = &ledger->seats[i];
		for (unsigned k = 0; k < OPERATION_COUNT; k++)
			done[k] += atomic_load(&seat->done[k]);
		out_of_memory += atomic_load(&seat->out_of_memory);
		if (atomic_load(&seat->longest_ns) > longest)
			longest = atomic_load(&seat->longest_ns);
	}
	printf("operations:");
	for (unsigned k = 0; k < OPERATION_COUNT; k++)
		printf("%s %s %" PRIu64, k ? "," : "", operations[k].name, done[k]);
	printf("; out of memory %" PRIu64 "\n", out_of_memory);
	printf("clients: %u killed, %u stopped and continued, %u left with what they held; %u in all\n", crew.killed,
	       crew.stopped, crew.left, crew.started);
	printf("longest call: %.1f ms\n", (double)longest / 1e6);
}

static void print_kills(void)
{
	unsigned count = killer_kills(&killer);

	histogram_print(&killer.histogram);
	printf("daemon: %u kills, %u by the clock and %u at a commit, %u of those in a recovery\n", count, killer.by_clock,
	       killer.by_commit, killer.in_recovery);
	printf("kills with a request unanswered: %u of %u, %u %%\n", killer.unanswered, count,
	       count ? killer.unanswered * 100 / count : 0);
}

static void storm(void **state)
{
	(void)state;
	ledger->zeroed = seed % 2;
	ledger->limited = seed / 2 % 2;
	crew.ledger = ledger;
	killer_start(&killer, &fixture, &crew, seed + 1);
	crew_start(&crew, ledger, fixture.socket_path, seed);
	for (unsigned round = 0; round < CALM_ROUNDS && !kills; round++)
		killer_wait(&killer);
	do {
		unsigned until = killer_kills(&killer) + CENSUS_EVERY;
		while (killer_kills(&killer) < (until < kills ? until : kills))
			killer_strike(&killer, false);
		take_census();
	} while (killer_kills(&killer) < kills);
	crew_clear(&crew);
	census_take_empty(fixture.pool, fixture.socket_path);
	fixture.lasting = false; /* the last daemon takes the pool along */
	killer_strike_at_rest(&killer);
	daemon_fixture_terminate(&fixture);
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 0);
	print_census();
	print_clients();
	if (!kills)
		return;
	print_kills();
	if (killer.unanswered * 100 < killer_kills(&killer) * UNANSWERED_SHARE)
		fail_msg("too few kills fell while a request was unanswered: %d %% are needed", UNANSWERED_SHARE);
}

static int teardown(void **state)
{
	(void)state;
	crew_end(&crew);
	daemon_fixture_stop(&fixture);
	ledger_free(ledger);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: storm [--kills N] [--seed S]\n");
	return 2;
}

/* False: not a number. */
static bool parse(const char *text, uint64_t *out_value)
{
	char *end;

	*out_value = strtoull(text, &end, 0);
	return *text && !*end;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"kills", required_argument, NULL, 'k'},
		{"seed", required_argument, NULL, 's'},
		{0},
	};
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(storm, teardown)};
	uint64_t value;

	seed = ledger_now_ns();
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if ((option != 'k' && option != 's') || !parse(optarg, &value) || (option == 'k' && value > 1000000))
			return usage();
		if (option == 'k')
			kills = (unsigned)value;
		else
			seed = value;
	}
	if (optind != argc)
		return usage();
	if (!seed)
		seed = 1; /* what a generator cannot start from */
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed: --seed %" PRIu64 "%s\n", seed, seed % 2 ? ", with --zero on-free" : "");
	ledger = ledger_new();
	if (!ledger) {
		perror("storm: no memory for the ledger");
		return 1;
	}
	return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
