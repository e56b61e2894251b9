/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shmbuddy, the command line: reads the options before the verb, finds the verb, and makes sure in the end that what was
 * printed has arrived.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"

/*
 * A program may be started with standard streams closed. The next descriptor that is opened (the daemon's socket, say)
 * would take their place, and what is printed would go there. So a closed stream gets a descriptor that refuses: reading
 * from standard input and writing to the others is EBADF.
 */
static void guard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_REFUSED); /* there is nowhere to say why */
	}
}

/* A full disk or a closed stream must not look like success. */
static int finish_output(const struct command *command, int status)
{
	const char *verb = command->verb ? command->verb->name : NULL;
	bool failed = ferror(stdout) != 0;

	errno = 0;
	if (fclose(stdout) == 0 && !failed)
		return status;
	if (errno == 0)
		report(verb, "standard output: writing failed");
	else
		report_system(verb, errno, "standard output");
	return status == EXIT_DONE ? EXIT_REFUSED : status;
}

static int run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"version", no_argument, NULL, 'V'}, COMMAND_OPTIONS};
	int option, status;

	opterr = 0;
	while ((option = command_next_option(command, argc, argv, "+:hV", options)) != -1) {
		if (option != 'V')
			return command->status;
		printf("shmbuddy %s\n", shmb_version());
		return EXIT_DONE;
	}
	if (optind >= argc)
		return report_usage(NULL, "no verb: say what to do");
	command->verb = verb_find(argv[optind]);
	if (command->verb == NULL)
		return report_usage(NULL, "there is no verb '%s'", argv[optind]);
	status = command_check(command);
	if (status != EXIT_DONE)
		return status;
	argc -= optind;
	argv += optind;
	optind = 0; /* makes getopt start anew, as its manual says */
	return command->verb->run(command, argc, argv);
}

int main(int argc, char **argv)
{
	struct command command = {0};
	int status;

	guard_streams();
	setlocale(LC_CTYPE, ""); /* how wide characters are; numbers keep their point */
	status = run(&command, argc, argv);
	return finish_output(&command, status);
}
