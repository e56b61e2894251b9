/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verb of the command line, and the list of them all. A verb is one constant in its own file verb_NAME.c; verb.c has the
 * table. Everything here is static and read-only.
 */
#ifndef CLI_VERB_H
#define CLI_VERB_H

#include <stdbool.h>

struct command;
struct listing;

struct verb {
	const char *name;
	const char *synopsis; /* what follows the name on the command line */
	const char *summary;  /* a line in the list of verbs */
	const char *help;     /* what `shmbuddy NAME --help` adds: sentences, then the verb's own options; ends with a newline */

	const struct listing *listing; /* for the help; NULL: it prints no table */
	bool offline;                  /* it takes --offline: what lies in shared memory is all that it needs */

	/* Does the work. argv[0] is the verb's name; returns an enum exit_status of report.h, having reported what failed. */
	int (*run)(struct command *command, int argc, char **argv);
};

extern const struct verb verb_status, verb_ping, verb_ls, verb_show, verb_names, verb_clients, verb_users, verb_map,
	verb_alloc, verb_free, verb_name, verb_share, verb_revoke, verb_renew, verb_put, verb_get, verb_events, verb_gc,
	verb_end, verb_help;

/* All of them, in the order of the help; the last entry is NULL. */
extern const struct verb *const verb_table[];

/* The verb of that name, or NULL. */
const struct verb *verb_find(const char *name);

#endif
