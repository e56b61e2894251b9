/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "command.h"
#include "json.h"
#include "shade.h"
#include "window.h"

/* Lines of the window that the picture leaves to the figures, the legend and the shell's prompt. */
#define LINES_AROUND 5

/* Columns beside the picture: a blank and a bar to the left, after the offset, and a bar to the right. */
#define COLUMNS_AROUND 3

enum {
	MAP_ASCII = COMMAND_FIRST_FREE,
};

static const char *const shades[SHADE_LEVELS] = {" ", "░", "▒", "▓", "█"};
static const char *const plain_shades[SHADE_LEVELS] = {" ", ".", ":", "+", "#"};

/* What is drawn: the pool and its cells, and how they are arranged. */
struct map {
	shmb_status status;
	struct shade shade;
	unsigned label; /* columns of the offset before each line */
	size_t line;    /* cells in a line */
};

/* Columns that the largest offset takes; without --bytes, "1023.9M" is the longest there is. */
static unsigned label_width(const struct command *command, uint64_t segment)
{
	return command->bytes ? (unsigned)snprintf(NULL, 0, "%" PRIu64, segment) : 7;
}

/* Fills the cells from the blocks of the pool. Returns an exit status. */
static int look(const struct command *command, shmb_session *session, struct map *out_map)
{
	struct window window = window_of(STDOUT_FILENO);
	size_t lines = window.rows > LINES_AROUND ? window.rows - LINES_AROUND : 1;
	struct map map = {0};
	shmb_block_info *blocks;
	unsigned around;
	size_t count;
	int result = shmb_get_status(session, &map.status);

	if (result < 0)
		return report_failure("map", result, "cannot read the state of the pool");
	if (map.status.size == 0 || map.status.unit == 0) { /* it comes from shared memory, and is divided by */
		report("map", "cannot draw a segment of %" PRIu64 " bytes in units of %" PRIu64, map.status.size, map.status.unit);
		return EXIT_REFUSED;
	}
	map.label = label_width(command, map.status.size);
	around = map.label + COLUMNS_AROUND;
	map.line = shade_line_cells(window.columns > around ? window.columns - around : 1);
	if (shade_init(map.status.size, map.status.unit, map.line * lines, &map.shade) < 0)
		return report_system("map", ENOMEM, "drawing the map");
	result = shmb_list_blocks(session, &blocks, &count);
	if (result < 0) {
		shade_deinit(&map.shade);
		return report_failure("map", result, "cannot read the blocks");
	}
	for (size_t i = 0; i < count; i++)
		shade_add(&map.shade, blocks[i].offset, blocks[i].granted);
	free(blocks);
	*out_map = map;
	return EXIT_DONE;
}

static void print_picture(const struct command *command, const struct map *map, const char *const *symbols, const char *bar)
{
	const struct shade *shade = &map->shade;
	char text[COMMAND_SIZE_MAX];

	for (size_t start = 0; start < shade->count; start += map->line) {
		printf("%*s %s", (int)map->label, command_format_size(command, start * shade->cell_size, text), bar);
		for (size_t i = start; i < start + map->line && i < shade->count; i++)
			fputs(symbols[shade_level(shade, i)], stdout);
		printf("%s\n", bar);
	}
}

static void print_text(const struct command *command, const struct map *map, bool unicode)
{
	const char *const *symbols = unicode ? shades : plain_shades;
	const shmb_status *status = &map->status;
	char first[COMMAND_SIZE_MAX], second[COMMAND_SIZE_MAX];

	printf("pool %s: %s, used %s (%.1f %%) in %" PRIu64 " %s\n", status->pool,
	       command_format_size(command, status->size, first), command_format_size(command, status->used, second),
	       100.0 * (double)status->used / (double)status->size, status->blocks, status->blocks == 1 ? "block" : "blocks");
	print_picture(command, map, symbols, unicode ? "│" : "|");
	printf("a cell is %s: '%s' free, '%s' '%s' '%s' used in part, by thirds, '%s' used\n",
	       command_format_size(command, map->shade.cell_size, first), symbols[0], symbols[1], symbols[2], symbols[3],
	       symbols[4]);
	printf("free %s, longest run %s, fragmentation %.2f\n", command_format_size(command, status->free, first),
	       command_format_size(command, status->longest_free, second), command_fragmentation(status));
}

static void print_json(const struct map *map)
{
	const shmb_status *status = &map->status;
	const struct shade *shade = &map->shade;
	struct json json = JSON_INIT;

	json_open(&json, NULL, '{');
	json_text(&json, "pool", status->pool);
	json_number(&json, "size", status->size);
	json_number(&json, "unit", status->unit);
	json_number(&json, "used", status->used);
	json_number(&json, "free", status->free);
	json_number(&json, "longest_free", status->longest_free);
	json_decimal(&json, "fragmentation", command_fragmentation(status));
	json_number(&json, "cell_size", shade->cell_size);
	json_open(&json, "cells", '[');
	for (size_t i = 0; i < shade->count; i++) {
		json_open(&json, NULL, '{');
		json_number(&json, "offset", i * shade->cell_size);
		json_number(&json, "size", shade_cell_length(shade, i));
		json_number(&json, "used", shade->used[i]);
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_close(&json, '}');
}

static int map_run(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, COMMAND_JSON}, {"ascii", no_argument, NULL, MAP_ASCII}, COMMAND_OPTIONS};
	struct map map = {0};
	shmb_session *session;
	bool json = false, ascii = false;
	int option, status;

	while ((option = command_next_option(command, argc, argv, ":h", options)) != -1) {
		if (option == COMMAND_ENDED)
			return command->status;
		if (option == COMMAND_JSON)
			json = true;
		else
			ascii = true;
	}
	if (optind < argc)
		return report_usage("map", "it takes no operands");
	status = command_connect(command, SHMB_READ_ONLY, &session);
	if (status != EXIT_DONE)
		return status;
	status = look(command, session, &map);
	shmb_close(session);
	if (status != EXIT_DONE)
		return status;
	if (json)
		print_json(&map);
	else
		print_text(command, &map, !ascii && window_of(STDOUT_FILENO).unicode);
	shade_deinit(&map.shade);
	return EXIT_DONE;
}

const struct verb verb_map = {
	.name = "map",
	.synopsis = "[--ascii] [--json]",
	.summary = "draw the segment: what is used and what is free",
	.help = "Draws the segment in a picture that fits the window ($COLUMNS by $LINES, or 80\n"
			"by 24, where there is none). A cell stands for a unit times a power of two, and\n"
			"is the darker the more of it is used. Each line starts with its offset.\n"
			"\n"
			"      --ascii         draw with ' .:+#' alone; the default where standard output\n"
			"                      is not a terminal in UTF-8\n"
			"      --json          print the cells as JSON\n",
	.offline = true,
	.run = map_run,
};
