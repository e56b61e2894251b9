/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listing: columns that the reader chooses and sorts by, as a table for people or as JSON. A thin face to libsmartcols, which
 * aligns and which escapes what a terminal must not see. JSON has every column unless some are chosen, plain numbers, and null
 * where there is nothing. Owned by whoever made it; one thread.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "command.h"

enum table_kind {
	TABLE_TEXT,
	TABLE_NUMBER, /* to the right; sorted by value */
	TABLE_BOOL,   /* yes or no; in JSON true or false */
};

/* When a column is shown where --output does not choose. JSON has all of them. */
enum table_show {
	TABLE_ALWAYS,
	TABLE_IF_ANY,  /* where any line has something in it */
	TABLE_ON_WISH, /* only with --output */
};

struct table_column {
	const char *
		name; /* the heading, in capitals with dashes; --output and --sort take small letters; JSON has small ones and underscores */
	enum table_kind kind;
	enum table_show show;
	const char *help;
};

/* How the reader wants the listing. All zeros: as it comes. */
struct table_view {
	bool json, no_headings;
	const char *output, *sort; /* values of --output and --sort, or NULL */
};

/* Values of the options below, beside 'o' and COMMAND_JSON. */
enum {
	TABLE_SORT = COMMAND_FIRST_FREE,
	TABLE_NO_HEADINGS,
	TABLE_FIRST_FREE,
};

/* Stands in the `struct option` array of every listing; the letters are ":o:h". */
/* clang-format off */
#define TABLE_OPTIONS                                                  \
	{ "json", no_argument, NULL, COMMAND_JSON },                   \
	{ "output", required_argument, NULL, 'o' },                    \
	{ "sort", required_argument, NULL, TABLE_SORT },               \
	{ "no-headings", no_argument, NULL, TABLE_NO_HEADINGS }
/* clang-format on */

/* Takes what command_next_option returned into the view. */
void table_option(struct table_view *view, int option);

struct table;

/*
 * Makes an empty table of `count` columns, named `name` in JSON. `columns` must outlive it. Reports what is wrong with the
 * reader's wishes. Returns an exit status.
 */
int table_new(struct command *command, const char *name, const struct table_column *columns, size_t count,
              const struct table_view *view, struct table **out_table);

/* Whether JSON is wanted. */
bool table_is_json(const struct table *table);

/* A new line; what follows fills it. A cell that is not set stays empty. */
void table_line(struct table *table);
void table_text(struct table *table, size_t column, const char *text);
void table_bool(struct table *table, size_t column, bool value);

/* `text` is how people see the value, NULL: as it is. */
void table_number(struct table *table, size_t column, uint64_t value, const char *text);

/* A size, as command_format_size writes it. */
void table_size(struct table *table, size_t column, uint64_t bytes);

/* The same, as text. Returns `out_text`. */
const char *table_format_size(const struct table *table, uint64_t bytes, char out_text[COMMAND_SIZE_MAX]);

/* An age: people see "3m12s", JSON has seconds with three decimals. */
void table_age(struct table *table, size_t column, uint64_t age_ns);

/* Sorts and prints. Returns an exit status: a lack of memory while it was filled is reported here. */
int table_print(struct table *table);

/* NULL is fine. */
void table_free(struct table *table);

#endif
