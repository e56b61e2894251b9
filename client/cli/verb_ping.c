/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "command.h"
#include "json.h"

static void print_json(const shmb_status *status, double microseconds)
{
	struct json json = JSON_INIT;

	json_open(&json, NULL, '{');
	json_text(&json, "pool", status->pool);
	json_number(&json, "daemon_pid", status->daemon_pid);
	json_decimal(&json, "round_trip_us", microseconds);
	json_close(&json, '}');
}

static int ping(shmb_session *session, bool json)
{
	shmb_status status;
	double microseconds;
	uint64_t started;
	int result;

	started = command_monotonic_ns();
	result = shmb_ping(session);
	if (result < 0)
		return report_failure("ping", result, "no answer");
	microseconds = (double)(command_monotonic_ns() - started) / 1e3;
	result = shmb_get_status(session, &status);
	if (result < 0)
		return report_failure("ping", result, "cannot read the state of the pool");
	if (json)
		print_json(&status, microseconds);
	else
		printf("pool %s: process %u answers in %.0f us\n", status.pool, status.daemon_pid, microseconds);
	return EXIT_DONE;
}

static int ping_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, COMMAND_JSON}, COMMAND_OPTIONS};
	shmb_session *session;
	bool json = false;
	int option, status;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option != COMMAND_JSON)
			return command->status;
		json = true;
	}
	if (optind < argc)
		return report_usage("ping", "it takes no operands");
	status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status != EXIT_DONE)
		return status;
	status = ping(session, json);
	shmb_close(session);
	return status;
}

const struct verb verb_ping = {
	.name = "ping",
	.synopsis = "[--json]",
	.summary = "ask whether the daemon is there",
	.help = "Sends one request to the daemon and says how long the answer took. Exit status\n"
			"3: nobody answers.\n"
			"\n"
			"      --json          print JSON\n",
	.run = ping_run,
};
