/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "name.h"

/* Longest text that is written; names of blocks are shorter. */
#define JSON_TEXT_MAX 1024

static void new_line(const struct json *json)
{
	printf("\n%*s", (int)(3 * json->depth), "");
}

/* Up to where the value itself stands. */
static void begin_value(struct json *json, const char *key)
{
	if (json->has_items)
		putchar(',');
	if (json->one_line && json->has_items)
		putchar(' ');
	if (json->depth > 0 && !json->one_line)
		new_line(json);
	if (key)
		printf("\"%s\": ", key);
	json->has_items = true;
}

void json_open(struct json *json, const char *key, char bracket)
{
	begin_value(json, key);
	putchar(bracket);
	json->depth++;
	json->has_items = false;
}

void json_close(struct json *json, char bracket)
{
	json->depth--;
	if (json->has_items && !json->one_line)
		new_line(json);
	putchar(bracket);
	json->has_items = true;
	if (json->depth == 0)
		putchar('\n');
}

void json_text(struct json *json, const char *key, const char *text)
{
	char clean[JSON_TEXT_MAX];

	begin_value(json, key);
	if (text == NULL) {
		fputs("null", stdout);
		return;
	}
	name_clean(text, strlen(text), sizeof(clean), clean);
	putchar('"');
	for (const char *at = clean; *at; at++) {
		if (*at == '"' || *at == '\\') /* control characters are gone already */
			putchar('\\');
		putchar(*at);
	}
	putchar('"');
}

void json_number(struct json *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	printf("%" PRIu64, value);
}

void json_decimal(struct json *json, const char *key, double value)
{
	begin_value(json, key);
	printf("%.6f", value); /* the locale's decimal point is not in use, see main() */
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin_value(json, key);
	fputs(value ? "true" : "false", stdout);
}
