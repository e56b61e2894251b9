/* SPDX-License-Identifier: Apache-2.0 */
/* What ls, names, clients and users have in common: a table filled from a session. Static and read-only; one thread. */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "table.h"

struct listing {
	const char *name; /* of the array in JSON */
	const struct table_column *columns;
	size_t count;

	/* Adds all lines, or those that the verb's own `wish` is about. Returns an exit status, having reported what failed. */
	int (*fill)(shmb_session *session, struct table *table, const void *wish);
};

/* Stands after the verb's name in its synopsis. */
#define LISTING_SYNOPSIS "[-o COL,…] [--sort COL] [--no-headings] [--json]"

/* All of a listing verb's run(), where it has no options of its own. */
int listing_run(const struct listing *listing, struct command *command, int argc, char **argv);

/* The same after the options, of a verb that has some of its own. */
int listing_show(const struct listing *listing, struct command *command, const struct table_view *view, const void *wish);

#endif
