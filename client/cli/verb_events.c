/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows what happens in the pool until it is interrupted. Each line is out before the next event is waited for; so SIGINT, which is
 * let in only while it waits, and SIGPIPE, which comes from writing, may end the program on the spot, with success.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "event_line.h"

enum {
	EVENTS_KIND = COMMAND_FIRST_FREE,
	EVENTS_PREFIX,
	EVENTS_COUNT,
};

struct order {
	uint32_t kinds; /* 0: all */
	const char *prefix;
	uint64_t count; /* events; 0: until interrupted */
	bool json;
};

static void end_here(int signal)
{
	(void)signal;
	_exit(EXIT_DONE);
}

/* SIGINT is blocked from here on. What the caller chose to ignore, as a shell does for what runs behind it, stays ignored. */
static void take_signals(sigset_t *out_waiting)
{
	struct sigaction action = {.sa_handler = end_here}, before;
	sigset_t interrupt;

	sigemptyset(&action.sa_mask);
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, out_waiting);
	if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
		sigaction(SIGINT, &action, NULL);
	sigaction(SIGPIPE, &action, NULL);
}

static int next_event(shmb_session *session, const sigset_t *waiting, shmb_event *out_event)
{
	sigset_t working;
	int result;

	sigprocmask(SIG_SETMASK, waiting, &working);
	result = shmb_next_event(session, UINT32_MAX, out_event);
	sigprocmask(SIG_SETMASK, &working, NULL);
	return result;
}

static void report_lost(const shmb_event *event)
{
	if (event->lost != 0)
		report("events", "%" PRIu64 " %s lost here: more came than could be written", event->lost,
		       event->lost == 1 ? "event was" : "events were");
	else
		report("events", "the daemon was lost for a while, and with it an unknown number of events");
}

static int follow(struct command *command, shmb_session *session, const struct order *order)
{
	sigset_t waiting;
	shmb_event event;
	int result = shmb_subscribe(session, order->kinds ? order->kinds : SHMB_EVENT_ALL, order->prefix);

	if (result < 0)
		return report_failure("events", result, "cannot subscribe");
	take_signals(&waiting);
	for (uint64_t seen = 0; order->count == 0 || seen < order->count;) {
		result = next_event(session, &waiting, &event);
		if (result < 0)
			return report_failure("events", result, "no more events");
		if (event.kind == SHMB_EVENT_LOST)
			report_lost(&event);
		else
			seen++;
		if (order->json)
			event_line_print_json(&event);
		else
			event_line_print(command, &event);
		if (fflush(stdout) != 0)
			break; /* main says so */
	}
	return EXIT_DONE;
}

static int take_kind(const char *text, struct order *order)
{
	uint32_t kind = event_line_kind(text);

	if (kind == 0)
		return report_usage(
			"events",
			"there is no kind of events '%s': there are published, removed, freed, evicted, expired, pressure, "
			"opened and ended",
			text);
	order->kinds |= kind;
	return EXIT_DONE;
}

static int take_option(struct command *command, int option, struct order *order)
{
	switch (option) {
	case EVENTS_KIND: return take_kind(optarg, order);
	case EVENTS_COUNT: return command_count(command, "number of events", optarg, &order->count);
	case EVENTS_PREFIX: order->prefix = optarg; break;
	default: order->json = true; break;
	}
	return EXIT_DONE;
}

static int events_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"kind", required_argument, NULL, EVENTS_KIND},
	                                        {"prefix", required_argument, NULL, EVENTS_PREFIX},
	                                        {"count", required_argument, NULL, EVENTS_COUNT},
	                                        {"json", no_argument, NULL, COMMAND_JSON},
	                                        COMMAND_OPTIONS};
	struct order order = {0};
	shmb_session *session;
	int option, status;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		status = take_option(command, option, &order);
		if (status != EXIT_DONE)
			return status;
	}
	if (optind < argc)
		return report_usage("events", "it takes no operands");
	status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status != EXIT_DONE)
		return status;
	status = follow(command, session, &order);
	shmb_close(session);
	return status;
}

const struct verb verb_events = {
	.name = "events",
	.synopsis = "[--kind KIND]… [--prefix TEXT] [--count N] [--json]",
	.summary = "follow what happens",
	.help = "Prints a line for each thing that happens in the pool, until it is interrupted:\n"
			"time, kind, block, bytes, user/session, name; - for what there is not. Kinds:\n"
			"  published, removed         a name\n"
			"  freed, evicted, expired    a block\n"
			"  pressure                   how full the pool is has changed: none, low, high,\n"
			"                             or kernel, which has refused memory\n"
			"  opened, ended              a session\n"
			"  lost                       so many events, before this one could be written\n"
			"\n"
			"      --kind KIND     only of this kind; may be given several times\n"
			"      --prefix TEXT   of names, only those that start so\n"
			"      --count N       end after so many events\n"
			"      --json          print a JSON object a line\n",
	.run = events_run,
};
