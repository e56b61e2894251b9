/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: output_open makes `.NAME.XXXXXX` beside the final place and tells the signal handler its name, the caller writes,
 * output_finish renames. rename(2) puts the whole file in place of what was there before, in one step.
 * Failures: output_discard, or the handler, unlinks the temporary file. Only kill -9 can leave it, under a name that starts with
 * a point; what stood at the final place before is then still there.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/* Names tried before giving up; in practice the first one is free. */
#define NAMES_MAX 100

static const int fatal_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGXFSZ};
#define FATAL_SIGNAL_COUNT (sizeof(fatal_signals) / sizeof(fatal_signals[0]))

/* What the handler removes; NULL: nothing. Changed only while the signals are blocked. */
static const char *volatile endangered;

static void block_signals(sigset_t *out_before)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < FATAL_SIGNAL_COUNT; i++)
		sigaddset(&set, fatal_signals[i]);
	sigprocmask(SIG_BLOCK, &set, out_before);
}

/* Runs with its signal at the default again (SA_RESETHAND), so that raising it ends the program by the signal itself. */
static void on_fatal_signal(int signal)
{
	if (endangered)
		unlink(endangered);
	raise(signal);
}

static void watch_signals(void)
{
	struct sigaction action = {.sa_handler = on_fatal_signal, .sa_flags = (int)SA_RESETHAND};
	struct sigaction before;

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < FATAL_SIGNAL_COUNT; i++) {
		/* what the caller chose to ignore, as nohup does, stays ignored */
		if (sigaction(fatal_signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(fatal_signals[i], &action, NULL);
	}
}

/* `.NAME.XXXXXX` in the directory of `path`. The caller frees it. NULL: no memory. */
static char *temporary_template(const char *path)
{
	CLEANUP_FREE char *directory = strdup(path);
	CLEANUP_FREE char *base = strdup(path);
	char *template = NULL;

	/* NAME is cut so that the whole stays within NAME_MAX, 255 */
	if (directory == NULL || base == NULL ||
	    asprintf(&template, "%s/.%.200s.XXXXXX", dirname(directory), basename(base)) < 0)
		return NULL;
	return template;
}

/* Makes the temporary file of `output`, with the mode that a plain open would have given it. */
static int make_temporary(struct output *output)
{
	CLEANUP_FREE char *template = temporary_template(output->path);
	mode_t mask = umask(0);
	sigset_t before;
	int result = 0;

	umask(mask);
	if (template == NULL)
		return -ENOMEM;
	watch_signals();
	block_signals(&before);
	output->fd = mkostemp(template, O_CLOEXEC);
	if (output->fd < 0) {
		result = -errno;
	} else {
		output->temporary = take_pointer(&template);
		endangered = output->temporary;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (result == 0 && fchmod(output->fd, 0666 & ~mask) < 0)
		result = -errno;
	return result;
}

/* A device, a pipe or a socket: nothing that could be half done. */
static int open_directly(const char *path, struct output *out_output)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	*out_output = (struct output){.fd = fd};
	return 0;
}

int output_open(const char *path, struct output *out_output)
{
	struct output output = OUTPUT_INIT;
	struct stat status;
	bool exists = stat(path, &status) == 0;
	int result;

	if (!exists && errno != ENOENT)
		return -errno;
	if (exists && S_ISDIR(status.st_mode))
		return -EISDIR;
	if (exists && !S_ISREG(status.st_mode))
		return open_directly(path, out_output);
	/* a plain open would refuse too; without this the rename would go round the file's own mode */
	if (exists && access(path, W_OK) < 0)
		return -errno;
	output.path = exists ? realpath(path, NULL) : strdup(path);
	if (output.path == NULL)
		return -errno;
	result = make_temporary(&output);
	if (result < 0) {
		output_discard(&output);
		return result;
	}
	*out_output = output;
	return 0;
}

/* From here on the handler has nothing to remove. */
static void forget_temporary(struct output *output)
{
	endangered = NULL;
	free(output->temporary);
	output->temporary = NULL;
}

int output_finish(struct output *output)
{
	sigset_t before;
	int result = 0;

	/* some file systems say only now that the disk is full */
	if (close(take_fd(&output->fd)) < 0)
		result = -errno;
	if (result == 0 && output->temporary) {
		block_signals(&before);
		if (rename(output->temporary, output->path) < 0)
			result = -errno;
		else
			forget_temporary(output);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	output_discard(output);
	return result;
}

void output_discard(struct output *output)
{
	sigset_t before;

	if (output->fd >= 0)
		close(take_fd(&output->fd));
	if (output->temporary) {
		block_signals(&before);
		unlink(output->temporary);
		forget_temporary(output);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	free(output->path);
	output->path = NULL;
}
