/* SPDX-License-Identifier: Apache-2.0 */
#include "help.h"

#include <ctype.h>
#include <stdio.h>

#include "listing.h"
#include "verb.h"

/* The columns of a listing, and the options that choose among them. */
static void print_listing(const struct listing *listing)
{
	static const char *const where[] = {
		[TABLE_ALWAYS] = "",
		[TABLE_IF_ANY] = " (where there is any, with -o, or in JSON)",
		[TABLE_ON_WISH] = " (only with -o, or in JSON)",
	};

	printf("\nColumns:\n");
	for (size_t i = 0; i < listing->count; i++) {
		const struct table_column *column = &listing->columns[i];
		char name[16];
		size_t length = 0;

		for (; column->name[length] && length + 1 < sizeof(name); length++)
			name[length] = (char)tolower((unsigned char)column->name[length]);
		name[length] = '\0';
		printf("  %-13s%s%s\n", name, column->help, where[column->show]);
	}
	printf("\nOptions:\n"
	       "  -o, --output COL,…  show these columns, in this order\n"
	       "      --sort COL      sort by a column; COL:desc turns the order round\n"
	       "      --no-headings   leave out the headings\n"
	       "      --json          print JSON, with all columns unless -o chooses; keys have an\n"
	       "                      underscore where a column has a dash\n");
}

static void print_verb(const struct verb *verb)
{
	printf("usage: shmbuddy [OPTION…] %s%s%s\n\n%s", verb->name, verb->synopsis[0] ? " " : "", verb->synopsis, verb->help);
	if (verb->listing)
		print_listing(verb->listing);
	printf("\nEvery verb takes --socket PATH, --pool NAME, --bytes and --help%s: see `shmbuddy help`.\n",
	       verb->offline ? ", this one --offline too" : "");
}

static void print_program(void)
{
	printf("usage: shmbuddy [OPTION…] VERB …\n\n"
	       "Looks into the shared memory that shmbuddyd manages, and changes it.\n\nVerbs:\n");
	for (const struct verb *const *each = verb_table; *each; each++)
		printf("  %-9s%s\n", (*each)->name, (*each)->summary);
	printf("\nOptions, before the verb or behind it:\n"
	       "      --socket PATH  the daemon's socket; else $SHMBUDDY_SOCKET, else\n"
	       "                     $XDG_RUNTIME_DIR/shmbuddy.sock where it exists, else\n"
	       "                     /run/shmbuddy/shmbuddy.sock\n"
	       "      --pool NAME    the daemon's pool of that name; else its first\n"
	       "      --bytes        sizes as plain numbers, not as 64K or 1.5G\n"
	       "      --offline      ask no daemon: read what lies in shared memory, whether the\n"
	       "                     daemon answers, hangs or has ended. With status, ls, show,\n"
	       "                     names and map, for the daemon's user and root\n"
	       "  -h, --help         this; behind a verb, how to use it\n"
	       "  -V, --version      the version; only before a verb\n\n"
	       "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon (with\n"
	       "--offline, no such pool).\n");
}

void help_print(const struct verb *verb)
{
	if (verb)
		print_verb(verb);
	else
		print_program();
}
