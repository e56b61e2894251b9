/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"
#include "meta.h"
#include "size.h"

enum {
	ALLOC_NAME = COMMAND_FIRST_FREE,
	ALLOC_ALIGN,
	ALLOC_TAG,
	ALLOC_WAIT,
	ALLOC_TTL,
	ALLOC_REPLACE,
	ALLOC_META,
};

static int alloc(shmb_session *session, uint64_t size, const shmb_alloc_options *options, bool json)
{
	char text[SIZE_TEXT_MAX];
	shmb_block block;
	int result = shmb_alloc(session, size, options, &block), status;

	if (result < 0) {
		size_format(size, text);
		if (options->name)
			status = report_failure("alloc", result, "%s under the name '%s'", text, options->name);
		else
			status = report_failure("alloc", result, "%s", text);
		if (result == -SHMB_E_NAME_TAKEN)
			report_remedy("try: another name, --replace, or `shmbuddy free --name '%s'` first", options->name);
		return status;
	}
	command_print_block(&block, options->name, json);
	return EXIT_DONE;
}

static int alloc_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, ALLOC_NAME},
	                                        {"align", required_argument, NULL, ALLOC_ALIGN},
	                                        {"tag", required_argument, NULL, ALLOC_TAG},
	                                        {"replace", no_argument, NULL, ALLOC_REPLACE},
	                                        {"wait", required_argument, NULL, ALLOC_WAIT},
	                                        {"ttl", required_argument, NULL, ALLOC_TTL},
	                                        {"meta", required_argument, NULL, ALLOC_META},
	                                        {"json", no_argument, NULL, COMMAND_JSON},
	                                        COMMAND_OPTIONS};
	shmb_alloc_options wanted = {0};
	struct meta meta = {.size = 0};
	shmb_session *session;
	bool json = false;
	int option, status = EXIT_DONE;
	uint64_t size = 0;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == ALLOC_NAME)
			wanted.name = optarg;
		else if (option == ALLOC_ALIGN)
			status = command_size(command, "alignment", optarg, &wanted.alignment);
		else if (option == ALLOC_TAG)
			wanted.tag = optarg;
		else if (option == ALLOC_WAIT)
			status = command_wait(command, "wait", optarg, &wanted.wait_ms);
		else if (option == ALLOC_TTL)
			status = command_ttl(command, false, optarg, &wanted.ttl_ms);
		else if (option == ALLOC_REPLACE)
			wanted.replace = true;
		else if (option == ALLOC_META)
			status = meta_read("alloc", optarg, &meta);
		else
			json = true;
		if (status != EXIT_DONE)
			return status;
	}
	if (argc - optind != 1)
		return report_usage("alloc", "say how much: one size");
	status = command_size(command, "size", argv[optind], &size);
	if (status != EXIT_DONE)
		return status;
	if (wanted.alignment != 0 && (!size_is_power_of_two(wanted.alignment) || wanted.alignment > SHMB_ALIGNMENT_MAX))
		return report_usage("alloc", "the alignment must be a power of two up to 1G");
	if (wanted.name == NULL && wanted.ttl_ms == 0)
		return report_usage("alloc", "it needs --name or --ttl: a block that nothing holds is freed when this command ends");
	status = command_connect(command, SHMB_READ_WRITE, &session);
	if (status != EXIT_DONE)
		return status;
	wanted.metadata = meta.bytes;
	wanted.metadata_size = meta.size;
	status = alloc(session, size, &wanted, json);
	shmb_close(session);
	return status;
}

const struct verb verb_alloc = {
	.name = "alloc",
	.synopsis = "SIZE --name N|--ttl TIME [--replace] [--align SIZE] [--tag T] [--meta M] [--wait T] [--json]",
	.summary = "allocate a block by hand",
	.help = "Allocates a block and prints its id. It must have a name, which holds it until\n"
			"`shmbuddy free --name N`, or a time to live, which holds it until that has\n"
			"passed: nothing else would hold it after this command. SIZE is a number of\n"
			"bytes, or such as 64K and 1.5G (powers of 1024).\n"
			"\n"
			"      --name N        publish the block under this name\n"
			"      --replace       even if it stands for another, which goes where nothing else\n"
			"                      holds it\n"
			"      --ttl TIME      it lives for this long, such as 500ms, 10m or 12h, up to 720h\n"
			"                      (30 days): then its names go, and it goes with the last\n"
			"                      program that holds it\n"
			"      --align SIZE    align it to a power of two, up to 1G\n"
			"      --tag T         label for listings, up to 15 bytes\n"
			"      --meta M        metadata, up to 256 bytes: a text, or with @FILE what is in it\n"
			"      --wait T        wait so long, such as 500ms or 1m, up to 1000h, until there is room\n"
			"      --json          print JSON\n",
	.run = alloc_run,
};
