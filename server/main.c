/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shmbuddyd: the daemon. Exit status: 0 ended as it should, 1 could not start (standard error says why), 2 wrong usage, 3 the pool
 * that is there cannot be served, and was left as it is.
 *
 * To find the way: daemon.c starts everything and ends it; listener.c takes clients in; connection.c reads their frames;
 * dispatch.c finds the handler; request_*.c are the handlers; pool.h says what a pool consists of.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "options.h"

/* A daemon that is started with a closed standard error must not write its log into the first file that it opens. */
static void open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct options options;

	enum options_result parsed = options_parse(argc, argv, &options);
	if (parsed != OPTIONS_RUN) {
		options_deinit(&options);
		return parsed == OPTIONS_DONE ? 0 : 2;
	}
	open_standard_streams();
	signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error of its connection, not an end of the daemon */
	signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an answer of ftruncate */
	log_open(options.log_level);
	int result = daemon_run(&options);
	options_deinit(&options);
	return result == -EUCLEAN ? 3 : result < 0 ? 1 : 0;
}
