/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command that is being run: its verb, the options that every verb takes, and what all verbs do with them. main() owns
 * the one there is. One thread.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "report.h"
#include "shmbuddy.h"
#include "verb.h"

struct command {
	const struct verb *verb; /* NULL until it is known */
	const char *socket_path; /* NULL: the library's default */
	const char *pool;        /* NULL: the daemon's first */
	bool bytes;              /* sizes as plain numbers */
	bool offline;            /* ask no daemon */
	int status;              /* why command_next_option returned COMMAND_ENDED */
};

/* Values of long options that have no letter. */
enum {
	COMMAND_SOCKET = 256,
	COMMAND_POOL,
	COMMAND_BYTES,
	COMMAND_OFFLINE,
	COMMAND_JSON,
	COMMAND_FIRST_FREE, /* verbs and table.h number theirs from here */
};

/* What command_next_option returns when the verb is to return `status` at once. */
#define COMMAND_ENDED 0

/* Stands at the end of the `struct option` array of every verb: the options that all take, and the terminator. */
/* clang-format off */
#define COMMAND_OPTIONS                                        \
	{ "socket", required_argument, NULL, COMMAND_SOCKET }, \
	{ "pool", required_argument, NULL, COMMAND_POOL },     \
	{ "bytes", no_argument, NULL, COMMAND_BYTES },         \
	{ "offline", no_argument, NULL, COMMAND_OFFLINE },     \
	{ "help", no_argument, NULL, 'h' },                    \
	{ NULL, 0, NULL, 0 }
/* clang-format on */

/*
 * The verb's next own option, its value in optarg; -1 after the last, when argv[optind] is the first operand. COMMAND_ENDED:
 * the help was printed or the usage is wrong, and command->status says how to end. `letters` as getopt has them, starting
 * with ':' and with an 'h' among them.
 */
int command_next_option(struct command *command, int argc, char **argv, const char *letters, const struct option *options);

/* Whether the verb, which is known, can do what the options say. Reports why not. Returns an exit status. */
int command_check(const struct command *command);

/* Opens a session with the options of the command line, offline where they say so. Reports what fails. Returns an exit status. */
int command_connect(struct command *command, enum shmb_access access, shmb_session **out_session);

/* Whether the text can be a block's id, and which. */
bool command_is_id(const char *text, uint64_t *out_id);

/* Reads an operand that is a block's id. Returns an exit status, having reported what is wrong with it. */
int command_block_id(struct command *command, const char *text, uint64_t *out_id);

/* Reads an operand that is a session's number. As above. */
int command_session(struct command *command, const char *text, uint32_t *out_number);

/* Reads an operand or option that is a size, 1 or more. As above; `what` names it in the message. */
int command_size(struct command *command, const char *what, const char *text, uint64_t *out_bytes);

/* Reads an option that is a number, 1 or more. As above. */
int command_count(struct command *command, const char *what, const char *text, uint64_t *out_count);

/* Reads an option that says how long to wait, in milliseconds: 1000 hours at most. As above. */
int command_wait(struct command *command, const char *what, const char *text, uint32_t *out_ms);

/* Reads an option that is a time to live, in milliseconds: 30 days at most, and 0 only where `or_none`. As above. */
int command_ttl(struct command *command, bool or_none, const char *text, uint64_t *out_ms);

/* Room for a size as command_format_size writes it, 20 digits and a NUL at most. */
#define COMMAND_SIZE_MAX 24

/* A size as this command prints them: "1.5G", or a plain number with --bytes. Returns `out_text`. */
const char *command_format_size(const struct command *command, uint64_t bytes, char out_text[COMMAND_SIZE_MAX]);

/* Nanoseconds since 1970-01-01 UTC, as the library counts them. */
uint64_t command_now_ns(void);

/* Nanoseconds of a clock that nobody sets, to measure with. */
uint64_t command_monotonic_ns(void);

/* The share of the free bytes that the longest request cannot reach: 0 to 1; 0 where nothing is free. */
double command_fragmentation(const shmb_status *status);

/* Prints what a verb has made: the block's id, or all about it in JSON. */
void command_print_block(const shmb_block *block, const char *name, bool as_json);

#endif
