/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "command.h"

enum {
	RENEW_TTL = COMMAND_FIRST_FREE,
};

static int renew(shmb_session *session, uint64_t id, uint64_t ttl_ms)
{
	shmb_block_info info;
	int result = shmb_find_block(session, id, &info);

	if (result == 0)
		result = shmb_renew(session, info.handle, ttl_ms);
	return result == 0 ? EXIT_DONE : report_failure("renew", result, "block %" PRIu64, id);
}

static int renew_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"ttl", required_argument, NULL, RENEW_TTL}, COMMAND_OPTIONS};
	shmb_session *session;
	bool given = false;
	int option, status;
	uint64_t ttl_ms = 0, id = 0;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option != RENEW_TTL)
			return command->status;
		status = command_ttl(command, true, optarg, &ttl_ms);
		if (status != EXIT_DONE)
			return status;
		given = true;
	}
	if (argc - optind != 1 || !given)
		return report_usage("renew", "say which block, by its id, and --ttl for how long");
	status = command_block_id(command, argv[optind], &id);
	if (status == EXIT_DONE)
		status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	status = renew(session, id, ttl_ms);
	shmb_close(session);
	return status;
}

const struct verb verb_renew = {
	.name = "renew",
	.synopsis = "BLOCK --ttl TIME",
	.summary = "give a block another time to live",
	.help = "From now on the block lives for TIME: it is there at least until then, and then\n"
			"its names go, and it goes with the last program that holds it. For blocks that\n"
			"you allocated. BLOCK is an id as `shmbuddy ls` shows it.\n"
			"\n"
			"      --ttl TIME      such as 500ms, 10m or 12h, up to 720h (30 days); 0: it has no\n"
			"                      time to live any more, and only its names and the programs\n"
			"                      that hold it keep it\n",
	.run = renew_run,
};
