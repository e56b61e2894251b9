/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file into a block. Happy path, length known: the block is allocated without a name, read(2) fills it (each byte is copied
 * once, by the kernel), and the name is published at the very end. Whatever ends this command before that moment leaves
 * nothing, because a block without a name dies with the session; but with --ttl, between setting that and the name: then it goes when its
 * time is over. With --replace the name goes over to the block at that moment: until then it stands for what it did. With --seal or --cache
 * the block is sealed before that: nobody finds it under its name unsealed. A cache block that got no name goes when its memory is needed.
 * Length not known (a pipe, a terminal, files of /proc): what comes is collected in memory of this process, a byte more than
 * the pool's longest free run at most, and copied into a block of exactly that size at the end of the input.
 * A file that grows or shrinks while it is read is refused: half of the old and half of the new is no copy of either.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "command.h"
#include "copy.h"
#include "input.h"
#include "meta.h"
#include "size.h"

enum {
	PUT_NAME = COMMAND_FIRST_FREE,
	PUT_TAG,
	PUT_WAIT,
	PUT_REPLACE,
	PUT_META,
	PUT_SEAL,
	PUT_CACHE,
	PUT_TTL,
};

/* Bytes that are collected first; doubled whenever they are full. */
#define COLLECT_FIRST ((size_t)64 << 10)

struct put {
	shmb_session *session;
	const char *name, *tag;
	uint32_t wait_ms; /* for room */
	uint64_t ttl_ms;  /* of the block; 0: none */
	bool replace;     /* the name may stand for something already */
	bool seal;        /* the block does not change any more, */
	bool cache;       /* and goes when its memory is needed */
	struct meta meta;
	struct input input;
	struct progress progress;
	bool endless;     /* its length is not known, and what came so far has filled all there is */
	shmb_block block; /* once it is allocated */
};

/* Reports that there is something else under the name. */
static int report_taken(const struct put *put, const char *why)
{
	report("put", "name '%s': %s", put->name, why);
	report_remedy("try: another name, --replace, or `shmbuddy free --name '%s'` first", put->name);
	return EXIT_REFUSED;
}

/* Refuses a name that is taken or can never be one, before anything is read. */
static int check_name(const struct put *put)
{
	shmb_block block;
	int result = shmb_lookup(put->session, put->name, &block);

	if (result == -SHMB_E_NO_SUCH_NAME)
		return EXIT_DONE;
	if (result < 0)
		return report_failure("put", result, "name '%s'", put->name);
	shmb_free(put->session, block.handle); /* and if that fails, the end of the session does it */
	if (put->replace)
		return EXIT_DONE;
	return report_taken(put, shmb_error_text(SHMB_E_NAME_TAKEN));
}

static int allocate(struct put *put, uint64_t size)
{
	shmb_alloc_options options = {
		.tag = put->tag,
		.wait_ms = put->wait_ms,
		.metadata = put->meta.bytes,
		.metadata_size = put->meta.size,
	};
	char text[SIZE_TEXT_MAX];
	int result = shmb_alloc(put->session, size, &options, &put->block);

	if (result == 0)
		return EXIT_DONE;
	progress_end(&put->progress);
	size_format(size, text);
	return report_failure("put", result, "%s%s for %s", put->endless ? "more than " : "", text, put->input.name);
}

static int report_empty(const struct put *put)
{
	report("put", "%s: it is empty, and a block has at least 1 byte", put->input.name);
	return EXIT_REFUSED;
}

/* Fills a block of `size` bytes, which is what the file had a moment ago. */
static int put_known(struct put *put, uint64_t size)
{
	size_t done;
	int status = allocate(put, size), result;

	if (status != EXIT_DONE)
		return status;
	progress_start(&put->progress, "put", size);
	result = copy_read(put->input.fd, put->block.data, size, &put->progress, &done);
	if (result == 0 && done == size)
		result = copy_at_end(put->input.fd);
	progress_end(&put->progress);
	if (result < 0)
		return report_system("put", -result, "reading %s", put->input.name);
	if (done == size && result == 1)
		return EXIT_DONE;
	report("put", "%s: it %s while it was read: nothing is published", put->input.name,
	       done < size ? "became shorter" : "grew");
	return EXIT_REFUSED;
}

/*
 * How much memory to collect in, once `collected` bytes have filled what there was: never more than a byte over the longest
 * free run. Where the pool has no room for another byte its refusal is the answer, out-of-memory detail and all.
 */
static int next_capacity(struct put *put, size_t collected, size_t *out_capacity)
{
	size_t wanted = collected ? 2 * collected : COLLECT_FIRST;
	shmb_status status;
	int result = shmb_get_status(put->session, &status), exit_status;

	if (result < 0)
		return report_failure("put", result, "cannot read the state of the pool");
	if (collected < status.longest_free) {
		*out_capacity = wanted <= status.longest_free ? wanted : status.longest_free + 1;
		return EXIT_DONE;
	}
	put->endless = true;
	exit_status = allocate(put, collected + 1);
	put->endless = false;
	if (exit_status != EXIT_DONE)
		return exit_status;
	shmb_free(put->session, put->block.handle); /* memory has become free in between */
	*out_capacity = wanted;
	return EXIT_DONE;
}

/* Reads to the end of the input into memory that the caller frees. */
static int collect(struct put *put, char **out_memory, size_t *out_size)
{
	CLEANUP_FREE char *memory = NULL;
	size_t size = 0, capacity = COLLECT_FIRST, done = 0;

	progress_start(&put->progress, "put", 0);
	do {
		int status = next_capacity(put, size, &capacity), result;
		char *grown;

		if (status != EXIT_DONE)
			return status;
		grown = realloc(memory, capacity); /* glibc moves large ones with mremap, without copying */
		if (grown == NULL)
			return report_system("put", ENOMEM, "collecting %s", put->input.name);
		memory = grown;
		result = copy_read(put->input.fd, memory + size, capacity - size, &put->progress, &done);
		if (result < 0) {
			progress_end(&put->progress);
			return report_system("put", -result, "reading %s", put->input.name);
		}
		size += done;
	} while (size == capacity);
	*out_memory = take_pointer(&memory);
	*out_size = size;
	return EXIT_DONE;
}

static int put_unknown(struct put *put)
{
	CLEANUP_FREE char *memory = NULL;
	size_t size = 0;
	int status = collect(put, &memory, &size);

	if (status != EXIT_DONE)
		return status;
	if (size == 0)
		return report_empty(put);
	status = allocate(put, size);
	if (status == EXIT_DONE)
		memcpy(put->block.data, memory, size);
	progress_end(&put->progress);
	return status;
}

/* Reads the input into a block. */
static int fill(struct put *put)
{
	uint64_t size = 0;
	int known = input_length(&put->input, &size);

	if (known < 0)
		return report_system("put", -known, "%s", put->input.name);
	return known ? put_known(put, size) : put_unknown(put);
}

static int seal(const struct put *put)
{
	int result = 0;

	if (put->cache)
		result = shmb_cache(put->session, put->block.handle);
	else if (put->seal)
		result = shmb_seal(put->session, put->block.handle);
	return result < 0 ? report_failure("put", result, "sealing the block") : EXIT_DONE;
}

static int publish(const struct put *put)
{
	const shmb_publish_options options = {.replace = put->replace};
	int result = shmb_publish_with(put->session, put->block.handle, put->name, &options);

	if (result == -SHMB_E_NAME_TAKEN)
		return report_taken(put, shmb_last_error());
	if (result < 0)
		return report_failure("put", result, "publishing '%s'", put->name);
	return EXIT_DONE;
}

/* Before it has a name: should this command end in between, the block goes by itself. */
static int set_ttl(const struct put *put)
{
	int result = put->ttl_ms ? shmb_renew(put->session, put->block.handle, put->ttl_ms) : 0;

	return result < 0 ? report_failure("put", result, "its time to live") : EXIT_DONE;
}

static int put_session(struct put *put, bool json)
{
	int status = check_name(put);

	if (status == EXIT_DONE)
		status = fill(put);
	if (status == EXIT_DONE)
		status = set_ttl(put);
	if (status == EXIT_DONE)
		status = seal(put);
	if (status == EXIT_DONE)
		status = publish(put);
	if (status != EXIT_DONE)
		return status;
	command_print_block(&put->block, put->name, json);
	return EXIT_DONE;
}

static int put_file(struct command *command, const char *path, struct put *put, bool json)
{
	int result = input_open(path, &put->input), status;

	if (result < 0)
		return report_system("put", -result, "opening %s", path);
	status = command_connect(command, SHMB_READ_WRITE, &put->session);
	if (status == EXIT_DONE) {
		status = put_session(put, json);
		shmb_close(put->session);
	}
	input_close(&put->input);
	return status;
}

static int put_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, PUT_NAME}, {"tag", required_argument, NULL, PUT_TAG},
		{"wait", required_argument, NULL, PUT_WAIT}, {"replace", no_argument, NULL, PUT_REPLACE},
		{"meta", required_argument, NULL, PUT_META}, {"seal", no_argument, NULL, PUT_SEAL},
		{"cache", no_argument, NULL, PUT_CACHE},     {"ttl", required_argument, NULL, PUT_TTL},
		{"json", no_argument, NULL, COMMAND_JSON},   COMMAND_OPTIONS};
	struct put put = {0};
	bool json = false;
	int option, status = EXIT_DONE;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == PUT_NAME)
			put.name = optarg;
		else if (option == PUT_TAG)
			put.tag = optarg;
		else if (option == PUT_WAIT)
			status = command_wait(command, "wait", optarg, &put.wait_ms);
		else if (option == PUT_TTL)
			status = command_ttl(command, false, optarg, &put.ttl_ms);
		else if (option == PUT_REPLACE)
			put.replace = true;
		else if (option == PUT_SEAL)
			put.seal = true;
		else if (option == PUT_CACHE)
			put.cache = true;
		else if (option == PUT_META)
			status = meta_read("put", optarg, &put.meta);
		else
			json = true;
		if (status != EXIT_DONE)
			return status;
	}
	if (argc - optind != 1)
		return report_usage("put", "say which file: one path, or - for standard input");
	if (put.seal && put.cache)
		return report_usage("put", "--cache seals the block: leave out --seal");
	if (put.name == NULL)
		return report_usage("put", "it needs --name, by which the block is found again");
	return put_file(command, argv[optind], &put, json);
}

const struct verb verb_put = {
	.name = "put",
	.synopsis = "FILE --name N [--replace] [--seal|--cache] [--ttl TIME] [--tag T] [--meta M] [--wait T] [--json]",
	.summary = "put a file into a block",
	.help = "Reads FILE, or with - standard input, into a block of exactly its length, gives\n"
			"that a name and prints its id. The name appears when the block is complete;\n"
			"whatever fails before leaves nothing. A file that changes its length meanwhile,\n"
			"an empty one and a name that is taken are refused. Where the length is not\n"
			"known beforehand, the input is collected in memory first.\n"
			"\n"
			"      --name N        publish the block under this name\n"
			"      --replace       even if it stands for another: in one step, at the very end;\n"
			"                      who reads the other keeps it\n"
			"      --seal          nobody changes it any more: who reads it gets it through a\n"
			"                      read-only mapping\n"
			"      --cache         the same, and it goes, name and all, when memory is needed and\n"
			"                      nobody holds it: what was not used for longest goes first\n"
			"      --ttl TIME      it lives for this long from then on, such as 500ms, 10m or 12h, up\n"
			"                      to 720h (30 days): then its names go, and it goes with the\n"
			"                      last program that holds it\n"
			"      --tag T         label for listings, up to 15 bytes\n"
			"      --meta M        metadata, up to 256 bytes: a text, or with @FILE what is in it\n"
			"      --wait T        wait so long, such as 500ms or 1m, up to 1000h, until there is room\n"
			"      --json          print JSON\n",
	.run = put_run,
};
