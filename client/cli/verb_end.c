/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends a session. The daemon answers once the session has been asked or its process killed; that it is over shows in the list of
 * clients, where its number is gone or another's: a number is given again, but not with the same time of connecting.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "json.h"
#include "name.h"
#include "user.h"

enum {
	END_KILL = COMMAND_FIRST_FREE,
	END_WAIT,
};

#define WAIT_MS 2000

/* Between two looks at the list of clients. */
#define PAUSE_NS 5000000

#define MS_NS UINT64_C(1000000)

/* Room for what describe() writes. */
#define DESCRIPTION_MAX (SHMB_PROGRAM_MAX + 64)

struct order {
	uint32_t number;
	bool kill;
	bool json;
	uint32_t wait_ms;
};

/* 1 with the session of that number, 0 where there is none, or a negative SHMB_E_*. */
static int find(shmb_session *session, uint32_t number, shmb_client_info *out_client)
{
	shmb_client_info *clients;
	size_t count;
	int result = shmb_list_clients(session, &clients, &count);

	if (result < 0)
		return result;
	for (size_t i = 0; i < count && result == 0; i++) {
		if (clients[i].session != number)
			continue;
		*out_client = clients[i];
		result = 1;
	}
	free(clients);
	return result;
}

/* 1 when it is over, 0 when it is not after all that time, or a negative SHMB_E_*. Looks once in any case. */
static int await_end(shmb_session *session, const shmb_client_info *target, uint64_t wait_ms)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	uint64_t start = command_monotonic_ns();
	shmb_client_info found = {0};

	for (;;) {
		int result = find(session, target->session, &found);

		if (result < 0)
			return result;
		if (result == 0 || found.connected_ns != target->connected_ns)
			return 1;
		if ((command_monotonic_ns() - start) / MS_NS >= wait_ms)
			return 0;
		nanosleep(&pause, NULL);
	}
}

/* "session 2, python3, pid 4711". */
static const char *describe(const shmb_client_info *target, char out_text[DESCRIPTION_MAX])
{
	char program[SHMB_PROGRAM_MAX + 1] = "a program without a name", pid[24] = "";

	if (target->program[0])
		name_clean(target->program, strlen(target->program), sizeof(program), program);
	if (target->pid != 0)
		snprintf(pid, sizeof(pid), ", pid %" PRIu32, target->pid);
	snprintf(out_text, DESCRIPTION_MAX, "session %" PRIu32 ", %s%s", target->session, program, pid);
	return out_text;
}

static void print_json(const shmb_client_info *target, bool killed)
{
	struct json json = JSON_INIT;

	json_open(&json, NULL, '{');
	json_number(&json, "session", target->session);
	if (target->pid != 0)
		json_number(&json, "pid", target->pid);
	else
		json_text(&json, "pid", NULL);
	json_number(&json, "uid", target->uid);
	json_text(&json, "user", user_name(target->uid));
	json_text(&json, "program", target->program);
	json_bool(&json, "killed", killed);
	json_number(&json, "blocks", target->blocks);
	json_number(&json, "bytes", target->bytes);
	json_close(&json, '}');
}

static void print_text(const struct command *command, const shmb_client_info *target)
{
	char text[DESCRIPTION_MAX], size[COMMAND_SIZE_MAX];

	printf("%s, has ended: it held %" PRIu64 " %s, %s set aside for it\n", describe(target, text), target->blocks,
	       target->blocks == 1 ? "block" : "blocks", command_format_size(command, target->bytes, size));
}

static int report_asked_in_vain(const shmb_client_info *target)
{
	char text[DESCRIPTION_MAX];

	report("end", "%s, was asked but goes on: its program has made no call of the library since", describe(target, text));
	if (target->pid != 0)
		report_remedy("it ends at its next call. To end its process: --kill, or `kill -9 %" PRIu32 "`", target->pid);
	else
		report_remedy("it ends at its next call. The daemon does not see its process: kill -9 it where it runs");
	return EXIT_REFUSED;
}

static int report_killed_in_vain(const shmb_client_info *target)
{
	char text[DESCRIPTION_MAX];

	report("end", "%s, was killed but has not ended: its process is still in the kernel", describe(target, text));
	report_remedy("try: `shmbuddy clients` later");
	return EXIT_REFUSED;
}

static int end(const struct command *command, shmb_session *session, const struct order *order)
{
	shmb_client_info target = {0};
	uint32_t own = 0;
	int result = shmb_session_number(session, &own);

	if (result == 0)
		result = find(session, order->number, &target);
	if (result < 0)
		return report_failure("end", result, "cannot find session %" PRIu32, order->number);
	if (result == 0 || order->number == own) {
		report("end", "there is no session %" PRIu32 "%s", order->number,
		       result == 0 ? "" : " but that of this command, which has got that number");
		report_remedy("`shmbuddy clients` lists the sessions");
		return EXIT_REFUSED;
	}
	result = shmb_end_session(session, order->number, order->kill);
	if (result < 0)
		return report_failure("end", result, "cannot end it");
	result = await_end(session, &target, order->wait_ms);
	if (result < 0)
		return report_failure("end", result, "session %" PRIu32 " was %s, but whether it has ended is not known",
		                      order->number, order->kill ? "killed" : "asked");
	if (result == 0)
		return order->kill ? report_killed_in_vain(&target) : report_asked_in_vain(&target);
	if (order->json)
		print_json(&target, order->kill);
	else
		print_text(command, &target);
	return EXIT_DONE;
}

static int end_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"kill", no_argument, NULL, END_KILL},
	                                        {"wait", required_argument, NULL, END_WAIT},
	                                        {"json", no_argument, NULL, COMMAND_JSON},
	                                        COMMAND_OPTIONS};
	struct order order = {.wait_ms = WAIT_MS};
	shmb_session *session;
	int option, status;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		status = EXIT_DONE;
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == END_KILL)
			order.kill = true;
		else if (option == END_WAIT)
			status = command_wait(command, "time to wait", optarg, &order.wait_ms);
		else
			order.json = true;
		if (status != EXIT_DONE)
			return status;
	}
	if (argc - optind != 1)
		return report_usage("end", "say which session: one number");
	status = command_session(command, argv[optind], &order.number);
	if (status != EXIT_DONE)
		return status;
	status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	status = end(command, session, &order);
	shmb_close(session);
	return status;
}

const struct verb verb_end = {
	.name = "end",
	.synopsis = "SESSION [--kill] [--wait TIME] [--json]",
	.summary = "end the session of a program",
	.help = "Asks a session to end, by its number in `shmbuddy clients`. At its program's\n"
			"next call of the library the pool becomes inaccessible there, and what the\n"
			"session held is free, unless names or others hold it. A program that makes no\n"
			"call goes on: then exit status 1. --kill ends any program.\n"
			"For sessions of one's own user, and for root and the daemon's user.\n"
			"\n"
			"      --kill          kill its process (SIGKILL), and so end all its sessions\n"
			"      --wait TIME     wait that long for the end: 500ms, 2s, 1m, up to 1000h; else 2s\n"
			"      --json          print JSON\n",
	.run = end_run,
};
