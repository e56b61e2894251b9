/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "age.h"
#include "name.h"

/* Longest text of a cell; names of blocks are shorter. */
#define CELL_MAX 512

/* Room for the heading of a column. */
#define HEADING_MAX 32

/* More columns than any listing has. */
#define COLUMNS_MAX 32

struct table {
	struct command *command;
	const struct table_column *columns;
	size_t count;
	bool json;
	bool by_default; /* nobody chose the columns: those that are shown where there is any are hidden until then */
	struct libscols_table *scols;
	struct libscols_column *shown[COLUMNS_MAX]; /* NULL: neither shown nor sorted by */
	struct libscols_column *sort;               /* NULL: as it comes */
	enum table_kind sort_kind;
	bool descending;
	struct libscols_line *line;
	int error; /* negative errno: the first thing that failed while it was filled */
};

void table_option(struct table_view *view, int option)
{
	switch (option) {
	case COMMAND_JSON: view->json = true; break;
	case 'o': view->output = optarg; break;
	case TABLE_SORT: view->sort = optarg; break;
	case TABLE_NO_HEADINGS: view->no_headings = true; break;
	default: break;
	}
}

/* In JSON a name has underscores for its dashes; both are understood. */
static bool is_name(const char *name, const char *text, size_t length)
{
	if (strlen(name) != length)
		return false;
	for (size_t i = 0; i < length; i++) {
		int letter = text[i] == '_' ? '-' : text[i];

		if (strncasecmp(&name[i], &(char){(char)letter}, 1) != 0)
			return false;
	}
	return true;
}

/* The number of the column called text[0..length-1], or -1. */
static int find_column(const struct table *table, const char *text, size_t length)
{
	for (size_t i = 0; i < table->count; i++) {
		if (is_name(table->columns[i].name, text, length))
			return (int)i;
	}
	return -1;
}

static int wrong_column(const struct table *table, const char *text, size_t length)
{
	char list[CELL_MAX] = "";
	size_t used = 0;

	for (size_t i = 0; i < table->count && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", table->columns[i].name);
	for (char *at = list; *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	}
	return report_usage(table->command->verb->name, "there is no column '%.*s'; there are %s", (int)length, text, list);
}

static int show_column(struct table *table, size_t index, int flags)
{
	const struct table_column *column = &table->columns[index];
	struct libscols_column *shown;
	char name[HEADING_MAX];

	snprintf(name, sizeof(name), "%s", column->name);
	for (char *dash = name; table->json && (dash = strchr(dash, '-'));)
		*dash = '_';
	if (column->kind == TABLE_NUMBER)
		flags |= SCOLS_FL_RIGHT;
	shown = scols_table_new_column(table->scols, name, 0, flags);
	if (shown == NULL)
		return report_system(table->command->verb->name, ENOMEM, "making a table");
	if (column->kind == TABLE_NUMBER)
		scols_column_set_json_type(shown, SCOLS_JSON_NUMBER);
	else if (column->kind == TABLE_BOOL)
		scols_column_set_json_type(shown, SCOLS_JSON_BOOLEAN);
	table->shown[index] = shown;
	return EXIT_DONE;
}

static int choose_columns(struct table *table, const char *output)
{
	int status = EXIT_DONE;

	for (size_t i = 0; output == NULL && i < table->count && status == EXIT_DONE; i++) {
		if (table->json || table->columns[i].show == TABLE_ALWAYS)
			status = show_column(table, i, 0);
		else if (table->columns[i].show == TABLE_IF_ANY)
			status = show_column(table, i, SCOLS_FL_HIDDEN);
	}
	while (output && status == EXIT_DONE) {
		size_t length = strcspn(output, ",");
		int index = find_column(table, output, length);

		if (index < 0)
			return wrong_column(table, output, length);
		if (table->shown[index])
			return report_usage(table->command->verb->name, "the column '%.*s' stands twice in the list", (int)length,
			                    output);
		status = show_column(table, (size_t)index, 0);
		output = output[length] == ',' ? output + length + 1 : NULL;
	}
	return status;
}

/* Numbers are compared by value, which stands beside the text that people see. */
static int compare_cells(struct libscols_cell *left, struct libscols_cell *right, void *data)
{
	const struct table *table = data;
	int order;

	if (table->sort_kind == TABLE_NUMBER) {
		uintptr_t a = (uintptr_t)scols_cell_get_userdata(left), b = (uintptr_t)scols_cell_get_userdata(right);

		order = (a > b) - (a < b);
	} else {
		const char *a = scols_cell_get_data(left), *b = scols_cell_get_data(right);

		order = strcmp(a ? a : "", b ? b : "");
	}
	return table->descending ? -order : order;
}

static int choose_order(struct table *table, const char *sort)
{
	size_t length = strcspn(sort, ":");
	int index = find_column(table, sort, length), status;

	if (index < 0)
		return wrong_column(table, sort, length);
	if (strcmp(sort + length, ":desc") == 0)
		table->descending = true;
	else if (sort[length] != '\0' && strcmp(sort + length, ":asc") != 0)
		return report_usage(table->command->verb->name, "'%s' is no order: it is COL, COL:asc or COL:desc", sort);
	if (table->shown[index] == NULL) {
		status = show_column(table, (size_t)index, SCOLS_FL_HIDDEN);
		if (status != EXIT_DONE)
			return status;
	}
	table->sort = table->shown[index];
	table->sort_kind = table->columns[index].kind;
	scols_column_set_cmpfunc(table->sort, compare_cells, table);
	return EXIT_DONE;
}

int table_new(struct command *command, const char *name, const struct table_column *columns, size_t count,
              const struct table_view *view, struct table **out_table)
{
	struct table *table = calloc(1, sizeof(*table));
	int status;

	if (table == NULL)
		return report_system(command->verb->name, ENOMEM, "making a table");
	table->command = command;
	table->columns = columns;
	table->count = count < COLUMNS_MAX ? count : COLUMNS_MAX;
	table->json = view->json;
	table->by_default = !view->json && view->output == NULL;
	table->scols = scols_new_table();
	if (table->scols == NULL || scols_table_set_name(table->scols, name) < 0) {
		table_free(table);
		return report_system(command->verb->name, ENOMEM, "making a table");
	}
	scols_table_enable_json(table->scols, view->json);
	scols_table_enable_noheadings(table->scols, view->no_headings);
	status = choose_columns(table, view->output);
	if (status == EXIT_DONE && view->sort)
		status = choose_order(table, view->sort);
	if (status != EXIT_DONE) {
		table_free(table);
		return status;
	}
	*out_table = table;
	return EXIT_DONE;
}

bool table_is_json(const struct table *table)
{
	return table->json;
}

void table_line(struct table *table)
{
	table->line = scols_table_new_line(table->scols, NULL);
	if (table->line == NULL)
		table->error = -ENOMEM;
}

static void set_cell(struct table *table, size_t column, const char *text, uint64_t value)
{
	struct libscols_cell *cell;

	_Static_assert(sizeof(uintptr_t) >= sizeof(uint64_t), "a cell's user data carries the value of a number");
	if (table->line == NULL || column >= table->count || table->shown[column] == NULL)
		return;
	cell = scols_line_get_column_cell(table->line, table->shown[column]);
	if (cell == NULL || scols_cell_set_data(cell, text) < 0)
		table->error = -ENOMEM;
	else
		scols_cell_set_userdata(cell, (void *)(uintptr_t)value);
	if (table->by_default && table->columns[column].show == TABLE_IF_ANY)
		scols_column_set_flags(table->shown[column], scols_column_get_flags(table->shown[column]) & ~SCOLS_FL_HIDDEN);
}

void table_text(struct table *table, size_t column, const char *text)
{
	char clean[CELL_MAX];

	name_clean(text, strlen(text), sizeof(clean), clean);
	set_cell(table, column, clean, 0);
}

void table_bool(struct table *table, size_t column, bool value)
{
	if (table->json)
		set_cell(table, column, value ? "1" : "0", 0);
	else
		set_cell(table, column, value ? "yes" : "no", 0);
}

void table_number(struct table *table, size_t column, uint64_t value, const char *text)
{
	char plain[24];

	if (table->json || text == NULL) {
		snprintf(plain, sizeof(plain), "%" PRIu64, value);
		text = plain;
	}
	set_cell(table, column, text, value);
}

void table_size(struct table *table, size_t column, uint64_t bytes)
{
	char text[COMMAND_SIZE_MAX];

	table_number(table, column, bytes, table_format_size(table, bytes, text));
}

const char *table_format_size(const struct table *table, uint64_t bytes, char out_text[COMMAND_SIZE_MAX])
{
	return command_format_size(table->command, bytes, out_text);
}

void table_age(struct table *table, size_t column, uint64_t age_ns)
{
	char text[AGE_TEXT_MAX + 8];

	if (table->json)
		snprintf(text, sizeof(text), "%" PRIu64 ".%03" PRIu64, age_ns / UINT64_C(1000000000), age_ns / 1000000 % 1000);
	else
		age_format(age_ns, text);
	set_cell(table, column, text, age_ns);
}

int table_print(struct table *table)
{
	int result = table->error;

	if (result == 0 && table->sort)
		scols_sort_table(table->scols, table->sort);
	if (result == 0)
		result = scols_print_table(table->scols);
	if (result < 0)
		return report_system(table->command->verb->name, -result, "printing the table");
	return EXIT_DONE;
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	scols_unref_table(table->scols);
	free(table);
}
