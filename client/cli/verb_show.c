/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "age.h"
#include "cleanup.h"
#include "command.h"
#include "json.h"
#include "meta.h"
#include "name.h"
#include "name_list.h"
#include "user.h"

enum {
	SHOW_NAME = COMMAND_FIRST_FREE,
};

/* All that is known of one block. */
struct portrait {
	shmb_block_info block;
	struct meta meta;
	struct name_list names; /* of the whole pool */
	size_t first, count;    /* which of them are the block's */
	bool holders_known;     /* not without the daemon; nor is its lifetime */
	shmb_lifetime lifetime;
	shmb_holder_info *holders;
	size_t holder_count;
};

static void portrait_deinit(struct portrait *portrait)
{
	name_list_deinit(&portrait->names);
	free(portrait->holders);
}

/* All but the names. */
static int load_block(shmb_session *session, uint64_t id, struct portrait *portrait)
{
	int result = shmb_find_block(session, id, &portrait->block);

	if (result < 0)
		return report_failure("show", result, "block %" PRIu64, id);
	result = shmb_get_metadata(session, portrait->block.handle, portrait->meta.bytes, sizeof(portrait->meta.bytes),
	                           &portrait->meta.size);
	if (result < 0)
		return report_failure("show", result, "the metadata of block %" PRIu64, id);
	if (portrait->holders_known)
		result = shmb_list_holders(session, id, &portrait->holders, &portrait->holder_count);
	if (portrait->holders_known && result == 0)
		result = shmb_get_lifetime(session, id, &portrait->lifetime);
	return result < 0 ? report_failure("show", result, "cannot list the holders of block %" PRIu64, id) : EXIT_DONE;
}

/*
 * `name`: of the block, or NULL, where it is `id`. It is looked for in the view: looked up, this command would hold the block and be
 * one of those that it lists.
 */
static int portrait_load(shmb_session *session, const char *name, uint64_t id, bool offline, struct portrait *out_portrait)
{
	struct portrait portrait = {.holders_known = !offline, .names = NAME_LIST_INIT};
	const shmb_name_info *found;
	int result = name_list_load(session, &portrait.names), status;

	if (result < 0)
		return report_failure("show", result, "cannot read the names");
	found = name ? name_list_find(&portrait.names, name) : NULL;
	if (found)
		id = found->block;
	status = name && !found ? report_no_name("show", name) : load_block(session, id, &portrait);
	if (status != EXIT_DONE) {
		portrait_deinit(&portrait);
		return status;
	}
	portrait.count = name_list_of_block(&portrait.names, id, &portrait.first);
	*out_portrait = portrait;
	return EXIT_DONE;
}

/* Room for the kinds of holders there are, in words. */
#define HOLDERS_TEXT_MAX 160

/* Of tickets and links there may be more than were counted. */
static const char *or_more(uint64_t counted)
{
	return counted >= SHMB_COUNTED_MAX ? " or more" : "";
}

/* Adds one kind, "3 tickets", to those that were named: "1 name, 2 sessions". */
static void add_kind(char text[HOLDERS_TEXT_MAX], uint64_t count, const char *more, const char *one, const char *many)
{
	size_t length = strlen(text);

	if (count)
		snprintf(text + length, HOLDERS_TEXT_MAX - length, "%s%" PRIu64 "%s %s", length ? ", " : "", count, more,
		         count == 1 ? one : many);
}

/* Why the block is still there, as a sentence. */
static void print_reason(const struct portrait *portrait)
{
	bool timed = portrait->lifetime.expires_ms != 0, cached = portrait->block.cached;
	char held[HOLDERS_TEXT_MAX] = "";

	if (!portrait->holders_known) {
		printf("Which sessions hold it is not known without the daemon.\n");
		return;
	}
	if (!timed && !cached)
		add_kind(held, portrait->count, "", "name", "names");
	add_kind(held, portrait->holder_count, "", "session", "sessions");
	add_kind(held, portrait->lifetime.tickets, or_more(portrait->lifetime.tickets), "ticket", "tickets");
	add_kind(held, portrait->lifetime.links, or_more(portrait->lifetime.links), "block, by a link", "blocks, by links");
	if (cached && held[0])
		printf("It lives because of what holds it: %s. When nothing does, it goes when its memory is needed%s.\n", held,
		       timed ? ", or its time has passed" : "");
	else if (cached)
		printf("It lives until its memory is needed%s, and goes then%s: nothing holds it.\n",
		       timed ? " or its time has passed" : "", portrait->count ? ", names and all" : "");
	else if (timed && !held[0])
		printf("It lives until its time has passed, and is freed then%s.\n", portrait->count ? ", names and all" : "");
	else if (timed)
		printf("It lives until its time has passed%s, and as long as what else holds it: %s.\n",
		       portrait->count ? ", when its names go" : "", held);
	else if (held[0])
		printf("It lives because of what holds it: %s. It is freed when nothing does.\n", held);
	else
		printf("Nothing held it any more at the time of asking: it is being freed.\n");
}

static void print_lifetime(const struct portrait *portrait)
{
	const shmb_lifetime *lifetime = &portrait->lifetime;
	char left[AGE_TEXT_MAX];

	if (lifetime->expires_ms) {
		age_format_left(lifetime->expires_ms, left);
		printf("expires     in %s\n", left);
	}
	if (lifetime->tickets)
		printf("tickets     %" PRIu64 "%s\n", lifetime->tickets, or_more(lifetime->tickets));
	if (lifetime->links)
		printf("links       %" PRIu64 "%s, from the blocks that hold it\n", lifetime->links, or_more(lifetime->links));
}

static void print_holder(const shmb_holder_info *holder)
{
	char program[SHMB_PROGRAM_MAX + 1];

	name_clean(holder->program, strlen(holder->program), sizeof(program), program);
	printf("held by     session %" PRIu32 ", %s, pid %" PRIu32 ", user %s, %" PRIu32 " %s%s\n", holder->session, program,
	       holder->pid, user_name(holder->uid), holder->references, holder->references == 1 ? "reference" : "references",
	       holder->allocated ? ", allocated it" : "");
}

static void print_text(const struct command *command, const struct portrait *portrait)
{
	const shmb_block_info *block = &portrait->block;
	char text[COMMAND_SIZE_MAX], more[COMMAND_SIZE_MAX], age[AGE_TEXT_MAX], clean[SHMB_NAME_MAX + 1];

	age_format(age_between(block->created_ns, command_now_ns()), age);
	printf("block       %" PRIu64 "\n", block->handle.id);
	printf("offset      %s (0x%" PRIx64 ")\n", command_format_size(command, block->offset, text), block->offset);
	printf("size        %s (%" PRIu64 " %s)\n", command_format_size(command, block->size, text), block->size,
	       block->size == 1 ? "byte" : "bytes");
	printf("granted     %s, %s lost to rounding\n", command_format_size(command, block->granted, text),
	       command_format_size(command, block->granted - block->size, more));
	printf("allocated   %s ago by user %s\n", age, user_name(block->uid));
	if (block->owner)
		printf("owner       session %" PRIu32 "\n", block->owner);
	else
		printf("owner       none: who allocated it has let go of it\n");
	if (block->tag[0]) {
		name_clean(block->tag, strlen(block->tag), sizeof(clean), clean);
		printf("tag         %s\n", clean);
	}
	if (block->cached)
		printf("cached      sealed, and kept though nobody holds it, until its memory is needed\n");
	else if (block->sealed)
		printf("sealed      neither its bytes nor its size or metadata change any more\n");
	meta_print(&portrait->meta, "metadata");
	for (size_t i = portrait->first; i < portrait->first + portrait->count; i++) {
		const shmb_name_info *name = &portrait->names.items[i];

		name_clean(name->name, strlen(name->name), sizeof(clean), clean);
		age_format(age_between(name->created_ns, command_now_ns()), age);
		printf("name        %s", clean);
		if (name_list_is_range(name, block))
			printf(", for %s from %s on", command_format_size(command, name->length, text),
			       command_format_size(command, name->offset, more));
		printf(", published %s ago by user %s\n", age, user_name(name->uid));
	}
	for (size_t i = 0; i < portrait->holder_count; i++)
		print_holder(&portrait->holders[i]);
	print_lifetime(portrait);
	print_reason(portrait);
}

static double seconds_since(uint64_t then_ns)
{
	return (double)age_between(then_ns, command_now_ns()) / 1e9;
}

static void print_json_holders(const struct portrait *portrait, struct json *json)
{
	json_open(json, "holders", '[');
	for (size_t i = 0; i < portrait->holder_count; i++) {
		const shmb_holder_info *holder = &portrait->holders[i];

		json_open(json, NULL, '{');
		json_number(json, "session", holder->session);
		if (holder->pid)
			json_number(json, "pid", holder->pid);
		else
			json_text(json, "pid", NULL); /* not visible to the daemon */
		json_number(json, "uid", holder->uid);
		json_text(json, "program", holder->program);
		json_number(json, "references", holder->references);
		json_bool(json, "allocated", holder->allocated);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void print_json(const struct portrait *portrait)
{
	const shmb_block_info *block = &portrait->block;
	struct json json = JSON_INIT;
	char hex[META_HEX_MAX];

	json_open(&json, NULL, '{');
	json_number(&json, "id", block->handle.id);
	json_number(&json, "offset", block->offset);
	json_number(&json, "size", block->size);
	json_number(&json, "granted", block->granted);
	json_number(&json, "uid", block->uid);
	json_text(&json, "user", user_name(block->uid));
	if (block->owner)
		json_number(&json, "owner", block->owner);
	else
		json_text(&json, "owner", NULL);
	json_text(&json, "tag", block->tag[0] ? block->tag : NULL);
	json_bool(&json, "sealed", block->sealed);
	json_bool(&json, "cached", block->cached);
	meta_hex(&portrait->meta, hex);
	json_text(&json, "metadata", portrait->meta.size ? hex : NULL);
	json_decimal(&json, "age", seconds_since(block->created_ns));
	json_open(&json, "names", '[');
	for (size_t i = portrait->first; i < portrait->first + portrait->count; i++) {
		const shmb_name_info *name = &portrait->names.items[i];

		json_open(&json, NULL, '{');
		json_text(&json, "name", name->name);
		json_number(&json, "offset", name->offset);
		json_number(&json, "size", name->length);
		json_number(&json, "uid", name->uid);
		json_decimal(&json, "age", seconds_since(name->created_ns));
		json_close(&json, '}');
	}
	json_close(&json, ']');
	if (portrait->holders_known)
		print_json_holders(portrait, &json);
	else
		json_text(&json, "holders", NULL);
	if (portrait->lifetime.expires_ms)
		json_decimal(&json, "expires", (double)portrait->lifetime.expires_ms / 1e3);
	else
		json_text(&json, "expires", NULL);
	if (portrait->holders_known) {
		json_number(&json, "tickets", portrait->lifetime.tickets);
		json_number(&json, "links", portrait->lifetime.links);
	} else {
		json_text(&json, "tickets", NULL);
		json_text(&json, "links", NULL);
	}
	json_close(&json, '}');
}

static int show_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, SHOW_NAME}, {"json", no_argument, NULL, COMMAND_JSON}, COMMAND_OPTIONS};
	struct portrait portrait = {0};
	const char *name = NULL;
	shmb_session *session;
	bool json = false;
	int option, status;
	uint64_t id = 0;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == SHOW_NAME)
			name = optarg;
		else
			json = true;
	}
	if (argc - optind != (name ? 0 : 1))
		return report_usage("show", "say which block: either its id, or --name and one of its names");
	if (name == NULL) {
		status = command_block_id(command, argv[optind], &id);
		if (status != EXIT_DONE)
			return status;
	}
	status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status != EXIT_DONE)
		return status;
	status = portrait_load(session, name, id, command->offline, &portrait);
	shmb_close(session);
	if (status != EXIT_DONE)
		return status;
	if (json)
		print_json(&portrait);
	else
		print_text(command, &portrait);
	portrait_deinit(&portrait);
	return EXIT_DONE;
}

const struct verb verb_show = {
	.name = "show",
	.synopsis = "BLOCK | --name N [--json]",
	.summary = "show all about one block, and why it lives",
	.help = "Shows one block: its place, its metadata, its names, the sessions that hold it,\n"
			"and why it lives. BLOCK is an id as `shmbuddy ls` shows it. With --offline it\n"
			"cannot say which sessions hold it.\n"
			"\n"
			"      --name N        the block of this name, in place of an id\n"
			"      --json          print JSON; sizes in bytes, times in seconds\n",
	.offline = true,
	.run = show_run,
};
