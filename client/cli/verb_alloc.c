/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"
#include "meta.h"
#include "size.h"

enum {
	ALLOC_NAME = COMMAND_FIRST_FREE,
	ALLOC_ALIGN,
	ALLOC_TAG,
	ALLOC_META,
};

static int alloc(shmb_session *session, uint64_t size, const shmb_alloc_options *options, bool json)
{
	char text[SIZE_TEXT_MAX];
	shmb_block block;
	int result = shmb_alloc(session, size, options, &block), status;

	if (result < 0) {
		size_format(size, text);
		status = report_failure("alloc", result, "%s under the name '%s'", text, options->name);
		if (result == -SHMB_E_NAME_TAKEN)
			report_remedy("try: another name, or `shmbuddy free --name '%s'` first", options->name);
		return status;
	}
	command_print_block(&block, options->name, json);
	return EXIT_DONE;
}

static int alloc_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, ALLOC_NAME}, {"align", required_argument, NULL, ALLOC_ALIGN},
		{"tag", required_argument, NULL, ALLOC_TAG},   {"meta", required_argument, NULL, ALLOC_META},
		{"json", no_argument, NULL, COMMAND_JSON},     COMMAND_OPTIONS};
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
	if (wanted.name == NULL)
		return report_usage("alloc", "it needs --name: a block that nothing holds is freed when this command ends");
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
	.synopsis = "SIZE --name N [--align SIZE] [--tag T] [--meta M] [--json]",
	.summary = "allocate a block by hand",
	.help = "Allocates a block and prints its id. It must have a name, which holds it until\n"
			"`shmbuddy free --name N`: nothing else would hold it after this command. SIZE\n"
			"is a number of bytes, or such as 64K and 1.5G (powers of 1024).\n"
			"\n"
			"      --name N        publish the block under this name\n"
			"      --align SIZE    align it to a power of two, up to 1G\n"
			"      --tag T         label for listings, up to 15 bytes\n"
			"      --meta M        metadata, up to 256 bytes: a text, or with @FILE what is in it\n"
			"      --json          print JSON\n",
	.run = alloc_run,
};
