/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"
#include "help.h"

static int help_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {COMMAND_OPTIONS};
	const struct verb *verb = NULL;

	if (command_next_option(command, argc, argv, ":h", options) != -1) /* it has no options of its own */
		return command->status;
	if (argc - optind > 1)
		return report_usage("help", "one verb at a time");
	if (argc > optind) {
		verb = verb_find(argv[optind]);
		if (verb == NULL)
			return report_usage(NULL, "there is no verb '%s'", argv[optind]);
	}
	help_print(verb);
	return EXIT_DONE;
}

const struct verb verb_help = {
	.name = "help",
	.synopsis = "[VERB]",
	.summary = "say what the verbs are, or how to use one of them",
	.help = "Shows the list of verbs, or the help of one of them.\n",
	.offline = true,
	.run = help_run,
};
