/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line: see options.h. One table gives getopt and the help. */
#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buddy.h"
#include "duration.h"
#include "name.h"
#include "scavenger.h"
#include "size.h"

#define DEFAULT_SIZE (UINT64_C(1) << 30)

/* Room to grow that costs address space only: this many times the size, as far as that is no more than 1 TiB. */
#define DEFAULT_GROWTH 8
#define DEFAULT_MAX_SIZE_MAX (UINT64_C(1) << 40)

#define DEFAULT_UNIT 64
#define MIN_UNIT 16
#define DEFAULT_RETURN_AFTER 1000 /* milliseconds */
#define MAX_RETURN_AFTER (UINT64_C(365) * 24 * 3600 * 1000)

/* Records of a table: their indexes are 32 bits, and session numbers are kept well below. */
#define MAX_RECORDS (UINT32_C(1) << 31)
#define MAX_SESSIONS (UINT32_C(1) << 20)

enum {
	OPTION_SOCKET = 's',
	OPTION_SIZE = 'S',
	OPTION_MIN_BLOCK = 'm',
	OPTION_POOL = 'p',
	OPTION_EPHEMERAL = 'e',
	OPTION_HELP = 'h',
	OPTION_VERSION = 'V',
	OPTION_OVERCOMMIT = 256,
	OPTION_DISCARD,
	OPTION_MAX_SIZE,
	OPTION_MAX_BLOCKS,
	OPTION_MAX_NAMES,
	OPTION_MAX_SESSIONS,
	OPTION_COMMIT,
	OPTION_ZERO,
	OPTION_RETURN_AFTER,
	OPTION_PRESSURE,
	OPTION_LOG_LEVEL,
	OPTION_QUOTA,
	OPTION_GUARANTEE,
};

static const struct {
	const char *name;
	int value;
	const char *argument; /* NULL: none */
	const char *help;
} table[] = {
	{"socket", OPTION_SOCKET, "PATH",
     "listen there (default: $SHMBUDDY_SOCKET, else\n$XDG_RUNTIME_DIR/shmbuddy.sock, else /run/shmbuddy/shmbuddy.sock)"},
	{"pool", OPTION_POOL, "NAME", "name of the pool (default: default)"},
	{"size", OPTION_SIZE, "SIZE",
     "bytes to manage, as 64K, 1.5G (default: 1G); a pool that is\nthere grows to a larger size, or keeps its own"},
	{"max-size", OPTION_MAX_SIZE, "SIZE", "bytes that a new pool may ever grow to (default: 8 times\n--size, at most 1T)"},
	{"min-block", OPTION_MIN_BLOCK, "SIZE", "the smallest piece handed out, a power of two from 16\n(default: 64)"},
	{"max-blocks", OPTION_MAX_BLOCKS, "N", "blocks at a time (default: as many as fit, at most 16M)"},
	{"max-names", OPTION_MAX_NAMES, "N",
     "names at a time (default: one for 16 blocks of --size, or for\n64 of --max-size, from 1024 to 1M)"},
	{"max-sessions", OPTION_MAX_SESSIONS, "N", "sessions at a time (default: 16384)"},
	{"ephemeral", OPTION_EPHEMERAL, NULL, "remove everything at exit; otherwise the next start takes\nthe pool over"},
	{"discard", OPTION_DISCARD, NULL, "throw away what a former daemon left of the pool, and say\nwhat that was"},
	{"overcommit", OPTION_OVERCOMMIT, NULL,
     "allow a pool larger than /dev/shm; what does not fit is\nrefused when it is allocated"},
	{"commit", OPTION_COMMIT, "WHEN",
     "get memory from the kernel on-alloc (default), or all of it\nup-front, before the first client, to be kept"},
	{"zero", OPTION_ZERO, "WHEN", "never (default), or on-free: nobody is handed what another\nhas written"},
	{"return-after", OPTION_RETURN_AFTER, "TIME",
     "give freed memory back to the kernel after 500ms, 2s, 1m\n(default: 1s), or never; with --commit up-front it stays"},
	{"pressure", OPTION_PRESSURE, "LOW,HIGH",
     "tell who is subscribed to memory pressure when so many percent\nof the pool are used (default: 80,95)"},
	{"quota", OPTION_QUOTA, "LIMITS",
     "user:WHO:KIND=N,... or session:WHO:KIND=N,...: WHO is a user or\n* for all others; KIND bytes, blocks, names, "
     "tickets, links,\n"
     "waiters or sessions; N a number, a size, or none. Again for more"},
	{"guarantee", OPTION_GUARANTEE, "BYTES", "user:WHO=SIZE: so much memory is kept for that user. Again for\nmore"},
	{"log-level", OPTION_LOG_LEVEL, "LEVEL", "error, warning, info (default) or debug"},
	{"help", OPTION_HELP, NULL, "this"},
	{"version", OPTION_VERSION, NULL, "the version"},
};
#define OPTION_COUNT (sizeof table / sizeof table[0])

static void print_help(void)
{
	printf("Usage: shmbuddyd [OPTION...]\n\nServes a pool of shared memory to the processes of this machine.\n\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char head[64];
		const char *line = table[i].help, *end;
		if (table[i].value < 128)
			snprintf(head, sizeof head, "-%c, --%s %s", table[i].value, table[i].name,
			         table[i].argument ? table[i].argument : "");
		else
			snprintf(head, sizeof head, "    --%s %s", table[i].name, table[i].argument ? table[i].argument : "");
		printf("  %-26s", head);
		for (; (end = strchr(line, '\n')); line = end + 1)
			printf("%.*s\n  %-26s", (int)(end - line), line, "");
		printf("%s\n", line);
	}
	printf("\nIt runs in the foreground and logs to standard error. See shmbuddyd(8).\n");
}

__attribute__((format(printf, 1, 2))) static enum options_result wrong(const char *format, ...)
{
	va_list arguments;

	fputs("shmbuddyd: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs("; see shmbuddyd --help\n", stderr);
	return OPTIONS_WRONG;
}

static int parse_count(const char *text, uint32_t max, uint32_t *out_count)
{
	uint64_t value;

	if (size_parse(text, &value) < 0 || value == 0 || value > max)
		return -1;
	*out_count = (uint32_t)value;
	return 0;
}

/* One of two words; true: the second. */
static int parse_either(const char *text, const char *first, const char *second, bool *out_second)
{
	bool is_second = strcmp(text, second) == 0;

	if (!is_second && strcmp(text, first) != 0)
		return -1;
	*out_second = is_second;
	return 0;
}

static int parse_delay(const char *text, uint64_t *out_ms)
{
	uint64_t ms;

	if (strcmp(text, "never") == 0) {
		*out_ms = SCAVENGER_NEVER;
		return 0;
	}
	if (duration_parse(text, &ms) < 0 || ms == 0 || ms > MAX_RETURN_AFTER)
		return -1;
	*out_ms = ms;
	return 0;
}

/* The library looks in the same order: shmb_connect_options in shmbuddy.h. */
static const char *default_socket(char *out_path, size_t size)
{
	const char *path = getenv("SHMBUDDY_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");

	if (path && *path)
		return path;
	if (runtime && *runtime && access(runtime, F_OK) == 0 &&
	    (size_t)snprintf(out_path, size, "%s/shmbuddy.sock", runtime) < size)
		return out_path;
	return "/run/shmbuddy/shmbuddy.sock";
}

static uint64_t default_max_size(uint64_t size)
{
	if (size <= DEFAULT_MAX_SIZE_MAX / DEFAULT_GROWTH)
		return size * DEFAULT_GROWTH;
	return size < DEFAULT_MAX_SIZE_MAX ? DEFAULT_MAX_SIZE_MAX : size;
}

/* `option` is --size or --max-size. */
static enum options_result check_size(const char *option, uint64_t size, uint64_t unit, bool unit_given)
{
	char bytes[SIZE_EXACT_MAX], text[SIZE_EXACT_MAX];

	if (size == 0)
		return wrong("%s 0: a pool has at least one block", option);
	size_format_exact(size, bytes);
	/* A pool that is there may have smaller pieces than a new one would: pool.c knows. */
	if (size % (unit_given ? unit : MIN_UNIT)) {
		size_format_exact(unit, text);
		return wrong("%s %s: must be a multiple of --min-block, which is %s", option, bytes, text);
	}
	if (size / unit > BUDDY_UNITS_MAX || size > INT64_MAX / 2) {
		size_format(BUDDY_UNITS_MAX <= INT64_MAX / 2 / unit ? BUDDY_UNITS_MAX * unit : INT64_MAX / 2, text);
		return wrong("%s %s: the largest with this --min-block is %s", option, bytes, text);
	}
	return OPTIONS_RUN;
}

static enum options_result check(struct pool_options *pool)
{
	enum options_result result;
	char text[SIZE_EXACT_MAX], most[SIZE_EXACT_MAX];

	if (pool_name_check(pool->name, strlen(pool->name)) < 0)
		return wrong("--pool %s: a name has 1 to 63 of A-Z a-z 0-9 _ - and starts with a letter or digit", pool->name);
	if (!size_is_power_of_two(pool->unit) || pool->unit < MIN_UNIT) {
		size_format_exact(pool->unit, text);
		return wrong("--min-block %s: must be a power of two, at least 16", text);
	}
	if (pool->max_size_given) {
		result = check_size("--max-size", pool->max_size, pool->unit, pool->unit_given);
		if (result != OPTIONS_RUN)
			return result;
		if (!pool->size_given && pool->size > pool->max_size)
			pool->size = pool->max_size;
	}
	result = check_size("--size", pool->size, pool->unit, pool->unit_given);
	if (result != OPTIONS_RUN)
		return result;
	if (!pool->max_size_given)
		pool->max_size = default_max_size(pool->size);
	if (pool->max_size < pool->size) {
		size_format_exact(pool->max_size, most);
		size_format_exact(pool->size, text);
		return wrong("--max-size %s: must be at least --size, which is %s", most, text);
	}
	if (pool->up_front && pool->overcommit)
		return wrong("--commit up-front and --overcommit exclude each other");
	return OPTIONS_RUN;
}

/* --quota or --guarantee. */
static enum options_result take_quota(int option, const char *argument, struct quotas *quotas)
{
	bool limit = option == OPTION_QUOTA;
	char why[QUOTA_TEXT_MAX] = "there is no memory left";

	if ((limit ? quotas_limit(quotas, argument, why) : quotas_guarantee(quotas, argument, why)) < 0)
		return wrong("--%s %s: %s", limit ? "quota" : "guarantee", argument, why);
	return OPTIONS_RUN;
}

static enum options_result take(int option, const char *argument, struct options *options)
{
	struct pool_options *pool = &options->pool;

	switch (option) {
	case OPTION_SOCKET:
		if (!*argument)
			return wrong("--socket: the path is empty");
		options->socket_path = argument;
		break;
	case OPTION_POOL: pool->name = argument; break;
	case OPTION_SIZE:
		if (size_parse(argument, &pool->size) < 0)
			return wrong("--size %s: not a size such as 64K or 1.5G", argument);
		pool->size_given = true;
		break;
	case OPTION_MAX_SIZE:
		if (size_parse(argument, &pool->max_size) < 0)
			return wrong("--max-size %s: not a size such as 64K or 1.5G", argument);
		pool->max_size_given = true;
		break;
	case OPTION_MIN_BLOCK:
		if (size_parse(argument, &pool->unit) < 0)
			return wrong("--min-block %s: not a size such as 64 or 4K", argument);
		pool->unit_given = true;
		break;
	case OPTION_MAX_BLOCKS:
		if (parse_count(argument, MAX_RECORDS, &pool->max_blocks) < 0)
			return wrong("--max-blocks %s: must be 1 to 2G", argument);
		break;
	case OPTION_MAX_NAMES:
		if (parse_count(argument, MAX_RECORDS, &pool->max_names) < 0)
			return wrong("--max-names %s: must be 1 to 2G", argument);
		break;
	case OPTION_MAX_SESSIONS:
		if (parse_count(argument, MAX_SESSIONS, &pool->max_sessions) < 0)
			return wrong("--max-sessions %s: must be 1 to 1M", argument);
		break;
	case OPTION_EPHEMERAL: pool->ephemeral = true; break;
	case OPTION_DISCARD: pool->discard = true; break;
	case OPTION_OVERCOMMIT: pool->overcommit = true; break;
	case OPTION_COMMIT:
		if (parse_either(argument, "on-alloc", "up-front", &pool->up_front) < 0)
			return wrong("--commit %s: must be on-alloc or up-front", argument);
		break;
	case OPTION_ZERO:
		if (parse_either(argument, "never", "on-free", &pool->zero_on_free) < 0)
			return wrong("--zero %s: must be never or on-free", argument);
		break;
	case OPTION_RETURN_AFTER:
		if (parse_delay(argument, &pool->return_after_ms) < 0)
			return wrong("--return-after %s: must be a time from 1ms to 8760h (365 days), such as 500ms, 2s or 1m, or never",
			             argument);
		break;
	case OPTION_PRESSURE:
		if (pressure_parse(argument, &pool->pressure_low, &pool->pressure_high) < 0)
			return wrong("--pressure %s: must be two numbers from 1 to 100, the lower one first, such as 80,95", argument);
		break;
	case OPTION_QUOTA:
	case OPTION_GUARANTEE: return take_quota(option, argument, &options->quotas);
	case OPTION_LOG_LEVEL:
		if (log_parse_level(argument, &options->log_level) < 0)
			return wrong("--log-level %s: must be error, warning, info or debug", argument);
		break;
	case OPTION_HELP: print_help(); return OPTIONS_DONE;
	case OPTION_VERSION: printf("shmbuddyd %s\n", SHMB_VERSION); return OPTIONS_DONE;
	default: /* getopt has said what is wrong */ fputs("Try shmbuddyd --help\n", stderr); return OPTIONS_WRONG;
	}
	return OPTIONS_RUN;
}

enum options_result options_parse(int argc, char **argv, struct options *out_options)
{
	struct option options[OPTION_COUNT + 1] = {{0}};
	char letters[2 * OPTION_COUNT + 1], *letter = letters;
	int option;

	for (size_t i = 0; i < OPTION_COUNT; i++) {
		options[i] =
			(struct option){table[i].name, table[i].argument ? required_argument : no_argument, NULL, table[i].value};
		if (table[i].value >= 128)
			continue;
		*letter++ = (char)table[i].value;
		if (table[i].argument)
			*letter++ = ':';
	}
	*letter = '\0';
	*out_options = (struct options){
		.log_level = LOG_LEVEL_INFO,
		.pool = {.name = "default", .size = DEFAULT_SIZE, .unit = DEFAULT_UNIT, .return_after_ms = DEFAULT_RETURN_AFTER},
	};
	quotas_init(&out_options->quotas);
	out_options->pool.quotas = &out_options->quotas;
	out_options->socket_path = default_socket(out_options->default_path, sizeof out_options->default_path);
	optind = 0; /* glibc: from the start, whatever an earlier call left, getopt(3) */
	while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		enum options_result result = take(option, optarg, out_options);
		if (result != OPTIONS_RUN)
			return result;
	}
	if (optind < argc)
		return wrong("\"%s\": an argument that is no option", argv[optind]);
	char why[QUOTA_TEXT_MAX];
	if (quotas_resolve(&out_options->quotas, why) < 0)
		return wrong("--guarantee: %s", why);
	return check(&out_options->pool);
}

void options_deinit(struct options *options)
{
	quotas_deinit(&options->quotas);
}
