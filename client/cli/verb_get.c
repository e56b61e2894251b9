/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block into a file. write(2) takes the bytes straight out of the block. Looking the name up takes a reference, so the block
 * stays whole until this command ends, even if the name is taken away meanwhile; who may write into it may still do so. With a ticket it is
 * the same; its file is opened before the ticket is used, and where writing fails later the ticket has been used all the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "copy.h"
#include "name_list.h"
#include "output.h"
#include "ticket_file.h"
#include "ticket_word.h"

enum {
	GET_WAIT = COMMAND_FIRST_FREE,
	GET_TICKET,
};

/* To standard output. `wanted`: the reader said -, and gets whatever is in the block on a terminal too. */
static int get_stream(const shmb_block *block, const char *name, bool wanted)
{
	struct progress progress;
	int result;

	if (!wanted && isatty(STDOUT_FILENO) == 1 && !copy_is_text(block->data, block->size)) {
		report("get", "%s%s%s is not text, and standard output is a terminal", name ? "'" : "", name ? name : "the block",
		       name ? "'" : "");
		if (name)
			report_remedy("try: `shmbuddy get '%s' FILE`, or - as FILE to see it all the same", name);
		else
			report_remedy("say a FILE, or - to see it all the same; the ticket has been used");
		return EXIT_REFUSED;
	}
	progress_start(&progress, "get", block->size);
	result = copy_write(STDOUT_FILENO, block->data, block->size, &progress);
	progress_end(&progress);
	if (result < 0)
		return report_system("get", -result, "standard output");
	return EXIT_DONE;
}

/* Into the open output, which is closed. */
static int fill_file(const shmb_block *block, const char *path, struct output *output)
{
	struct progress progress;
	int result;

	progress_start(&progress, "get", block->size);
	result = copy_write(output->fd, block->data, block->size, &progress);
	progress_end(&progress);
	if (result == 0)
		result = output_finish(output);
	else
		output_discard(output);
	if (result < 0)
		return report_system("get", -result, "writing %s", path);
	return EXIT_DONE;
}

static bool is_file(const char *path)
{
	return path && strcmp(path, "-") != 0;
}

static int open_file(const char *path, struct output *output)
{
	int result = is_file(path) ? output_open(path, output) : 0;

	return result < 0 ? report_system("get", -result, "opening %s", path) : EXIT_DONE;
}

/* The name that there is not may be meant as the id of a block. */
static void help_with_id(shmb_session *session, const char *text)
{
	struct name_list names = NAME_LIST_INIT;
	shmb_block_info block;
	uint64_t id;
	size_t first;

	if (!command_is_id(text, &id))
		return;
	if (shmb_find_block(session, id, &block) < 0 || name_list_load(session, &names) < 0)
		report_remedy("get takes a name, not an id, and no live block has the id %" PRIu64, id);
	else if (name_list_of_block(&names, id, &first) > 0)
		report_remedy("get takes a name, not an id: block %" PRIu64 " has the name '%s'", id, names.items[first].name);
	else
		report_remedy("get takes a name, not an id, and block %" PRIu64 " has none: give it one, `shmbuddy name %" PRIu64
		              " NAME`, or get it by a ticket, `shmbuddy share %" PRIu64 " | shmbuddy get --ticket -`",
		              id, id, id);
	name_list_deinit(&names);
}

static int get(shmb_session *session, const char *name, const char *path, uint32_t wait_ms)
{
	shmb_block block;
	int result = shmb_lookup_wait(session, name, wait_ms, &block), status;

	if (result < 0) {
		status = report_failure("get", result, "name '%s'", name);
		if (result == -SHMB_E_NO_SUCH_NAME)
			help_with_id(session, name);
		return status;
	}
	/* Closing the session gives the reference back. */
	if (!is_file(path))
		return get_stream(&block, name, path != NULL);
	struct output output = OUTPUT_INIT;
	status = open_file(path, &output);
	return status == EXIT_DONE ? fill_file(&block, path, &output) : status;
}

/* ---- By ticket -------------------------------------------------------------------------------------------------- */

static int get_by_ticket(shmb_session *session, shmb_ticket ticket, const char *path)
{
	struct output output = OUTPUT_INIT;
	shmb_block block;
	int status = open_file(path, &output);

	if (status != EXIT_DONE)
		return status;
	int result = shmb_redeem(session, ticket, &block);
	if (result < 0) {
		if (is_file(path))
			output_discard(&output);
		return report_failure("get", result, "the ticket");
	}
	if (!is_file(path))
		return get_stream(&block, NULL, path != NULL);
	status = fill_file(&block, path, &output);
	if (status != EXIT_DONE)
		report_remedy("the ticket has been used: the block is gone, unless something else holds it");
	return status;
}

static int get_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"wait", required_argument, NULL, GET_WAIT}, {"ticket", required_argument, NULL, GET_TICKET}, COMMAND_OPTIONS};
	const char *from = NULL;
	shmb_session *session;
	shmb_ticket ticket = {0};
	uint32_t wait_ms = 0;
	int option, status = EXIT_DONE, names;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == GET_TICKET)
			from = optarg;
		else
			status = command_wait(command, "wait", optarg, &wait_ms);
		if (status != EXIT_DONE)
			return status;
	}
	names = from ? 0 : 1;
	if (argc - optind < names || argc - optind > names + 1)
		return report_usage("get", "say which name, or --ticket and where the ticket is, and perhaps a file");
	if (!from && ticket_word_is(argv[optind]))
		return ticket_file_refuse_word("get");
	if (from && wait_ms)
		return report_usage("get", "--wait is for names: a ticket's block is there");
	if (from)
		status = ticket_file_read("get", from, &ticket);
	if (status == EXIT_DONE)
		status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status != EXIT_DONE)
		return status;
	const char *path = argc - optind > names ? argv[optind + names] : NULL;
	status = from ? get_by_ticket(session, ticket, path) : get(session, argv[optind], path, wait_ms);
	shmb_close(session);
	return status;
}

const struct verb verb_get = {
	.name = "get",
	.synopsis = "NAME [FILE] [--wait T] | --ticket FROM [FILE]",
	.summary = "get a block's bytes into a file",
	.help = "Writes what is published under NAME to FILE, or to standard output where there\n"
			"is none or it is -. A regular file appears, or is replaced, when it is\n"
			"complete; whatever fails before leaves what was there. Devices and pipes are\n"
			"written to directly. A terminal gets text only, unless FILE is -.\n"
			"\n"
			"      --wait T        wait so long, such as 500ms or 1m, up to 1000h, for the name\n"
			"      --ticket FROM   in place of a name: the block of the ticket in the file FROM,\n"
			"                      or on standard input where that is -; uses the ticket up.\n"
			"                      A ticket is no argument, for everybody sees those\n",
	.run = get_run,
};
