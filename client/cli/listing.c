/* SPDX-License-Identifier: Apache-2.0 */
#include "listing.h"

#include <stdio.h>

int listing_show(const struct listing *listing, struct command *command, const struct table_view *view, const void *wish)
{
	struct table *table;
	shmb_session *session;
	/* first what the reader wants: a wrong column is wrong without a daemon too */
	int status = table_new(command, listing->name, listing->columns, listing->count, view, &table);

	if (status != EXIT_DONE)
		return status;
	status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status == EXIT_DONE) {
		status = listing->fill(session, table, wish);
		shmb_close(session);
	}
	if (status == EXIT_DONE)
		status = table_print(table);
	table_free(table);
	return status;
}

int listing_run(const struct listing *listing, struct command *command, int argc, char **argv)
{
	static const struct option options[] = {TABLE_OPTIONS, COMMAND_OPTIONS};
	struct table_view view = {0};
	int option;

	while ((option = command_next_option(command, argc, argv, ":o:h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		table_option(&view, option);
	}
	if (optind < argc)
		return report_usage(command->verb->name, "it takes no operands");
	return listing_show(listing, command, &view, NULL);
}
