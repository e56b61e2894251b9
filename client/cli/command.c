/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "duration.h"
#include "help.h"
#include "json.h"
#include "size.h"

/* The longest wait: 1000 hours, which fit 32 bits of milliseconds. */
#define WAIT_MAX_MS (UINT64_C(1000) * 3600 * 1000)

/* Seconds without an answer after which a terminal is told. */
#define SILENCE_S 2

static const char *name_of_verb(const struct command *command)
{
	return command->verb ? command->verb->name : NULL;
}

/* What getopt_long could not take. */
static int wrong_option(const struct command *command, char **argv, int kind)
{
	const char *word = argv[optind - 1];
	bool is_long = strncmp(word, "--", 2) == 0;

	if (kind == ':')
		return report_usage(name_of_verb(command), "the option %s needs a value", word);
	if (is_long && optopt != 0)
		return report_usage(name_of_verb(command), "the option in %s takes no value", word);
	if (is_long)
		return report_usage(name_of_verb(command), "there is no option %s", word);
	return report_usage(name_of_verb(command), "there is no option -%c", optopt); /* perhaps one of several in the word */
}

int command_next_option(struct command *command, int argc, char **argv, const char *letters, const struct option *options)
{
	for (;;) {
		int option = getopt_long(argc, argv, letters, options, NULL);

		switch (option) {
		case COMMAND_SOCKET: command->socket_path = optarg; break;
		case COMMAND_POOL: command->pool = optarg; break;
		case COMMAND_BYTES: command->bytes = true; break;
		case COMMAND_OFFLINE:
			command->offline = true;
			if (command->verb == NULL)
				break; /* main looks when it is known */
			command->status = command_check(command);
			if (command->status != EXIT_DONE)
				return COMMAND_ENDED;
			break;
		case 'h':
			help_print(command->verb);
			command->status = EXIT_DONE;
			return COMMAND_ENDED;
		case '?':
		case ':': command->status = wrong_option(command, argv, option); return COMMAND_ENDED;
		default: return option;
		}
	}
}

int command_check(const struct command *command)
{
	if (!command->offline || command->verb->offline)
		return EXIT_DONE;
	return report_usage(command->verb->name,
	                    "--offline reads what lies in shared memory, and this needs the daemon: only it knows its "
	                    "clients, hands out blocks and takes them back");
}

static void say_waiting(int signal)
{
	static const char text[] = "  waiting for the daemon to answer\n";

	(void)signal;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		return; /* who would be told? */
}

/* The daemon has half a minute to let this command in: somebody at a terminal is told why nothing happens. */
static int connect_visibly(const shmb_connect_options *options, shmb_session **out_session)
{
	struct sigaction waiting = {.sa_handler = say_waiting}, before;
	int result;

	if (isatty(STDERR_FILENO) != 1)
		return shmb_connect(options, out_session);
	sigemptyset(&waiting.sa_mask);
	sigaction(SIGALRM, &waiting, &before);
	alarm(SILENCE_S);
	result = shmb_connect(options, out_session);
	alarm(0);
	sigaction(SIGALRM, &before, NULL);
	return result;
}

int command_connect(struct command *command, enum shmb_access access, shmb_session **out_session)
{
	shmb_connect_options options = {
		.socket_path = command->socket_path,
		.pool = command->pool,
		.access = command->offline ? SHMB_OFFLINE : access,
	};
	int result = connect_visibly(&options, out_session), status;

	if (result == 0)
		return EXIT_DONE;
	if (!command->offline) {
		status = report_failure(command->verb->name, result, "cannot connect");
		if (status == EXIT_NO_DAEMON && command->verb->offline)
			report_remedy("try: --offline, which reads what the daemon has left in shared memory, as its user or root");
		return status;
	}
	status = report_failure(command->verb->name, result, "cannot read the pool");
	if (result != -SHMB_E_NO_SUCH_POOL)
		return status;
	report_remedy("try: name the pool with --pool NAME");
	return EXIT_NO_DAEMON;
}

/* Digits and nothing else, up to `max`. */
static bool parse_number(const char *text, uint64_t max, uint64_t *out_number)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t number;

	errno = 0;
	number = strtoull(text, NULL, 10);
	if (digits == 0 || text[digits] != '\0' || errno != 0 || number > max)
		return false;
	*out_number = number;
	return true;
}

bool command_is_id(const char *text, uint64_t *out_id)
{
	return parse_number(text, UINT64_MAX, out_id);
}

int command_block_id(struct command *command, const char *text, uint64_t *out_id)
{
	if (command_is_id(text, out_id))
		return EXIT_DONE;
	return report_usage(command->verb->name,
	                    "'%s' is no block: a block is its id, a decimal number that `shmbuddy ls` shows", text);
}

int command_session(struct command *command, const char *text, uint32_t *out_number)
{
	uint64_t number;

	if (!parse_number(text, UINT32_MAX, &number) || number == 0)
		return report_usage(command->verb->name,
		                    "'%s' is no session: a session is its number, which `shmbuddy clients` shows", text);
	*out_number = (uint32_t)number;
	return EXIT_DONE;
}

int command_size(struct command *command, const char *what, const char *text, uint64_t *out_bytes)
{
	uint64_t bytes;
	int result = size_parse(text, &bytes);

	if (result == -ERANGE)
		return report_usage(command->verb->name, "the %s '%s' does not fit 64 bits", what, text);
	if (result < 0)
		return report_usage(command->verb->name, "the %s '%s' is not a size such as 4096, 64K or 1.5G", what, text);
	if (bytes == 0)
		return report_usage(command->verb->name, "the %s must be 1 byte or more", what);
	*out_bytes = bytes;
	return EXIT_DONE;
}

int command_count(struct command *command, const char *what, const char *text, uint64_t *out_count)
{
	uint64_t count;

	if (!parse_number(text, UINT64_MAX, &count) || count == 0)
		return report_usage(command->verb->name, "the %s '%s' is not a number from 1 on", what, text);
	*out_count = count;
	return EXIT_DONE;
}

/* `range` is what is allowed, in words. */
static int read_span(struct command *command, const char *what, const char *text, uint64_t max_ms, const char *range,
                     uint64_t *out_ms)
{
	int result = duration_parse(text, out_ms);

	if (result == -ERANGE || (result == 0 && *out_ms > max_ms))
		return report_usage(command->verb->name, "the %s '%s' is too long: allowed is %s", what, text, range);
	if (result < 0)
		return report_usage(
			command->verb->name,
			"the %s '%s' is not a time: say a number and its unit, such as 500ms, 2s, 1m or 12h; allowed is %s", what, text,
			range);
	return EXIT_DONE;
}

int command_wait(struct command *command, const char *what, const char *text, uint32_t *out_ms)
{
	uint64_t ms = 0;
	int status = read_span(command, what, text, WAIT_MAX_MS, "0, or from 1ms to 1000h", &ms);

	if (status == EXIT_DONE)
		*out_ms = (uint32_t)ms;
	return status;
}

int command_ttl(struct command *command, bool or_none, const char *text, uint64_t *out_ms)
{
	const char *range = or_none ? "from 1ms to 720h (30 days), or 0 for none" : "from 1ms to 720h (30 days)";
	uint64_t ms = 0;
	int status = read_span(command, "time to live", text, SHMB_TTL_MAX_MS, range, &ms);

	if (status != EXIT_DONE)
		return status;
	if (ms == 0 && !or_none)
		return report_usage(command->verb->name, "the time to live '%s' is too short: allowed is %s", text, range);
	*out_ms = ms;
	return EXIT_DONE;
}

const char *command_format_size(const struct command *command, uint64_t bytes, char out_text[COMMAND_SIZE_MAX])
{
	_Static_assert(COMMAND_SIZE_MAX >= SIZE_TEXT_MAX, "size_format needs its room");

	if (command->bytes)
		snprintf(out_text, COMMAND_SIZE_MAX, "%" PRIu64, bytes);
	else
		size_format(bytes, out_text);
	return out_text;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t command_now_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t command_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

double command_fragmentation(const shmb_status *status)
{
	if (status->free == 0)
		return 0.0;
	return 1.0 - (double)status->longest_free / (double)status->free;
}

void command_print_block(const shmb_block *block, const char *name, bool as_json)
{
	struct json json = JSON_INIT;

	if (!as_json) {
		printf("%" PRIu64 "\n", block->handle.id);
		return;
	}
	json_open(&json, NULL, '{');
	json_number(&json, "id", block->handle.id);
	json_text(&json, "name", name);
	json_number(&json, "offset", block->offset);
	json_number(&json, "size", block->size);
	json_number(&json, "granted", block->granted);
	json_close(&json, '}');
}
