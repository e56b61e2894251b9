/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "age.h"
#include "command.h"
#include "daemon_process.h"
#include "json.h"

/* Nanoseconds between the two samples that the rates come from. */
#define SAMPLE_NS 200000000L

/* What became of the daemon. Where it has just answered there is nothing to ask. */
struct keeper {
	enum daemon_process state;
	char name[PROCESS_NAME_MAX]; /* of what runs under its process id */
};

/* What happened a second between two samples. */
struct rates {
	double allocations, frees, refusals, requests;
};

static double per_second(uint64_t before, uint64_t after, double seconds)
{
	return after > before && seconds > 0 ? (double)(after - before) / seconds : 0.0;
}

static int sample(shmb_session *session, shmb_status *out_status, struct rates *out_rates)
{
	struct timespec pause = {.tv_nsec = SAMPLE_NS}, from, to;
	shmb_status before, after;
	double seconds;
	int result;

	clock_gettime(CLOCK_MONOTONIC, &from);
	result = shmb_get_status(session, &before);
	if (result < 0)
		return report_failure("status", result, "cannot read the state of the pool");
	nanosleep(&pause, NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	result = shmb_get_status(session, &after);
	if (result < 0)
		return report_failure("status", result, "cannot read the state of the pool");
	seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	out_rates->allocations = per_second(before.allocations, after.allocations, seconds);
	out_rates->frees = per_second(before.frees, after.frees, seconds);
	out_rates->refusals = per_second(before.refusals, after.refusals, seconds);
	out_rates->requests = per_second(before.requests, after.requests, seconds);
	*out_status = after;
	return EXIT_DONE;
}

static void print_json(const shmb_status *status, const struct keeper *keeper, const struct rates *rates)
{
	struct json json = JSON_INIT;

	json_open(&json, NULL, '{');
	json_text(&json, "pool", status->pool);
	json_number(&json, "incarnation", status->incarnation);
	json_number(&json, "daemon_pid", status->daemon_pid);
	if (keeper->state == DAEMON_OTHER)
		json_text(&json, "daemon_running", NULL);
	else
		json_bool(&json, "daemon_running", keeper->state == DAEMON_RUNS);
	json_decimal(&json, "uptime", (double)age_between(status->created_ns, command_now_ns()) / 1e9);
	json_number(&json, "unit", status->unit);
	json_number(&json, "size", status->size);
	json_number(&json, "used", status->used);
	json_number(&json, "requested", status->requested);
	json_number(&json, "free", status->free);
	json_number(&json, "longest_free", status->longest_free);
	json_decimal(&json, "fragmentation", command_fragmentation(status));
	json_number(&json, "committed", status->committed);
	json_number(&json, "blocks", status->blocks);
	json_number(&json, "max_blocks", status->max_blocks);
	json_number(&json, "names", status->names);
	json_number(&json, "max_names", status->max_names);
	json_number(&json, "clients", status->clients);
	json_number(&json, "max_clients", status->max_clients);
	json_number(&json, "tickets", status->tickets);
	json_number(&json, "timed_blocks", status->leases);
	json_number(&json, "idle_blocks", status->idle_blocks);
	json_number(&json, "idle_bytes", status->idle_bytes);
	json_number(&json, "evictions", status->evictions);
	json_number(&json, "allocations", status->allocations);
	json_number(&json, "frees", status->frees);
	json_number(&json, "refusals", status->refusals);
	json_number(&json, "requests", status->requests);
	json_decimal(&json, "allocations_per_second", rates->allocations);
	json_decimal(&json, "frees_per_second", rates->frees);
	json_decimal(&json, "refusals_per_second", rates->refusals);
	json_decimal(&json, "requests_per_second", rates->requests);
	json_close(&json, '}');
}

static void print_share(const char *label, const char *amount, uint64_t part, uint64_t whole, const char *of)
{
	printf("%-14s%10s  %5.1f %% of %s\n", label, amount, whole ? 100.0 * (double)part / (double)whole : 0.0, of);
}

static void print_count(const char *label, uint64_t count, uint64_t maximum)
{
	printf("%-14s%10" PRIu64 "  of at most %" PRIu64 "\n", label, count, maximum);
}

static void print_rate(const char *label, uint64_t count, double rate)
{
	printf("%-14s%10" PRIu64 "  %.0f/s\n", label, count, rate);
}

static void print_keeper(const shmb_status *status, const struct keeper *keeper)
{
	char age[AGE_TEXT_MAX];

	age_format(age_between(status->created_ns, command_now_ns()), age);
	printf("pool %s, made %s ago, ", status->pool, age);
	if (keeper->state == DAEMON_RUNS)
		printf("served by process %" PRIu32 "\n\n", status->daemon_pid);
	else if (keeper->state == DAEMON_ENDED)
		printf("last served by process %" PRIu32 ", which has ended\n\n", status->daemon_pid);
	else
		printf("last served by process %" PRIu32 ", which is now %s\n\n", status->daemon_pid, keeper->name);
}

static void print_text(const struct command *command, const shmb_status *status, const struct keeper *keeper,
                       const struct rates *rates)
{
	char text[COMMAND_SIZE_MAX];

	print_keeper(status, keeper);
	printf("%-14s%10s  in units of %" PRIu64 " bytes\n", "segment", command_format_size(command, status->size, text),
	       status->unit);
	print_share("used", command_format_size(command, status->used, text), status->used, status->size, "the segment");
	print_share("requested", command_format_size(command, status->requested, text), status->requested, status->used,
	            "what is used; the rest is rounding");
	print_share("free", command_format_size(command, status->free, text), status->free, status->size, "the segment");
	print_share("longest run", command_format_size(command, status->longest_free, text), status->longest_free, status->free,
	            "what is free");
	printf("%-14s%10.2f  1 - longest run / free\n", "fragmentation", command_fragmentation(status));
	print_share("committed", command_format_size(command, status->committed, text), status->committed, status->size,
	            "the segment");
	if (status->idle_blocks)
		print_share("cached", command_format_size(command, status->idle_bytes, text), status->idle_bytes, status->used,
		            "what is used; nobody holds it, and it goes when memory is needed");
	putchar('\n');
	print_count("blocks", status->blocks, status->max_blocks);
	print_count("names", status->names, status->max_names);
	print_count("clients", status->clients, status->max_clients);
	printf("%-14s%10" PRIu64 "  that can be used\n", "tickets", status->tickets);
	printf("%-14s%10" PRIu64 "  with a time to live\n", "timed blocks", status->leases);
	putchar('\n');
	print_rate("allocations", status->allocations, rates->allocations);
	print_rate("frees", status->frees, rates->frees);
	print_rate("refusals", status->refusals, rates->refusals);
	print_rate("requests", status->requests, rates->requests);
}

static int status_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, COMMAND_JSON}, COMMAND_OPTIONS};
	shmb_session *session;
	shmb_status state = {0};
	struct keeper keeper = {DAEMON_RUNS, ""};
	struct rates rates = {0};
	bool json = false;
	int option, status;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option != COMMAND_JSON)
			return command->status;
		json = true;
	}
	if (optind < argc)
		return report_usage("status", "it takes no operands");
	status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status != EXIT_DONE)
		return status;
	status = sample(session, &state, &rates);
	shmb_close(session);
	if (status != EXIT_DONE)
		return status;
	if (command->offline)
		keeper.state = daemon_process_look(state.daemon_pid, keeper.name);
	if (json)
		print_json(&state, &keeper, &rates);
	else
		print_text(command, &state, &keeper, &rates);
	return EXIT_DONE;
}

const struct verb verb_status = {
	.name = "status",
	.synopsis = "[--json]",
	.summary = "show the state of the pool on one screen",
	.help = "Shows the segment, what is used and free, how fragmented it is, and what\n"
			"happens a second: the counters are read twice, 0.2 s apart. The command itself\n"
			"is one of the clients, but with --offline. That also says whether the daemon is\n"
			"still there, going by its process id. What each user has: shmbuddy users.\n"
			"\n"
			"      --json          print JSON; sizes in bytes, times in seconds\n",
	.offline = true,
	.run = status_run,
};
