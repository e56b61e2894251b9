/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one JSON value that is not a table (those are table.h's), indented or in one line, to standard output. Keys are NULL inside arrays
 * and for the outermost value. Text is made printable UTF-8 first. Failures to write are seen at the end of main(). One thread.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>

struct json {
	unsigned depth;
	bool has_items; /* the innermost object or array has one already */
	bool one_line;
};

#define JSON_INIT                                                                                                           \
	{                                                                                                                       \
		0                                                                                                                   \
	}

/* Not indented: the whole value in one line. */
#define JSON_ONE_LINE                                                                                                       \
	{                                                                                                                       \
		.one_line = true                                                                                                    \
	}

void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                 /* '}' or ']' */

void json_text(struct json *json, const char *key, const char *text); /* NULL: null */
void json_number(struct json *json, const char *key, uint64_t value);
void json_decimal(struct json *json, const char *key, double value); /* finite */
void json_bool(struct json *json, const char *key, bool value);

#endif
