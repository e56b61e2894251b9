/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shmbuddyd: the daemon. Exit status: 0 ended as it should, 1 could not start (standard error says why), 2 wrong usage.
 *
 * To find the way: daemon.c starts everything and ends it; listener.c takes clients in; connection.c reads their frames;
 * dispatch.c finds the handler; request_*.c are the handlers; pool.h says what a pool consists of.
 */
#include "daemon.h"
#include "log.h"
#include "options.h"

int main(int argc, char **argv)
{
	struct options options;

	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_DONE: return 0;
	case OPTIONS_WRONG: return 2;
	case OPTIONS_RUN: break;
	}
	log_open(options.log_level);
	return daemon_run(&options) < 0 ? 1 : 0;
}
