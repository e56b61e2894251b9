/* SPDX-License-Identifier: Apache-2.0 */
#include "event_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "name.h"
#include "user.h"

static const struct {
	enum shmb_event_kind kind;
	const char *name;
} kinds[] = {
	{SHMB_EVENT_NAME_PUBLISHED, "published"}, {SHMB_EVENT_NAME_REMOVED, "removed"},  {SHMB_EVENT_BLOCK_FREED, "freed"},
	{SHMB_EVENT_BLOCK_EVICTED, "evicted"},    {SHMB_EVENT_BLOCK_EXPIRED, "expired"}, {SHMB_EVENT_PRESSURE, "pressure"},
	{SHMB_EVENT_SESSION_OPENED, "opened"},    {SHMB_EVENT_SESSION_ENDED, "ended"},   {SHMB_EVENT_LOST, "lost"},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

uint32_t event_line_kind(const char *name)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (kinds[i].kind != SHMB_EVENT_LOST && strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	}
	return 0;
}

static const char *kind_name(enum shmb_event_kind kind)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (kinds[i].kind == kind)
			return kinds[i].name;
	}
	return "unknown";
}

static const char *pressure_name(enum shmb_pressure pressure)
{
	switch (pressure) {
	case SHMB_PRESSURE_NONE: return "none";
	case SHMB_PRESSURE_LOW: return "low";
	case SHMB_PRESSURE_HIGH: return "high";
	case SHMB_PRESSURE_KERNEL: return "kernel";
	}
	return "unknown";
}

/* Whose the event is; that of pressure and losses is nobody's. */
static bool has_user(const shmb_event *event)
{
	return event->kind != SHMB_EVENT_LOST && event->kind != SHMB_EVENT_PRESSURE;
}

static bool has_bytes(const shmb_event *event)
{
	return event->kind != SHMB_EVENT_LOST && event->kind != SHMB_EVENT_SESSION_OPENED;
}

static void print_time(uint64_t time_ns)
{
	time_t seconds = (time_t)(time_ns / UINT64_C(1000000000));
	struct tm local;
	char text[32];

	if (localtime_r(&seconds, &local) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &local) == 0)
		snprintf(text, sizeof(text), "-");
	printf("%s.%03u", text, (unsigned)(time_ns / 1000000 % 1000));
}

void event_line_print(const struct command *command, const shmb_event *event)
{
	char size[COMMAND_SIZE_MAX], name[SHMB_NAME_MAX + 1];

	print_time(event->time_ns);
	printf(" %s", kind_name(event->kind));
	if (event->block.id != 0)
		printf(" %" PRIu64, event->block.id);
	else
		printf(" -");
	printf(" %s", !has_bytes(event) ? "-" : command_format_size(command, event->bytes, size));
	printf(" %s", has_user(event) ? user_name(event->uid) : "-");
	if (event->session != 0)
		printf("/%" PRIu32, event->session);
	name_clean(event->name, strlen(event->name), sizeof(name), name);
	if (event->kind == SHMB_EVENT_PRESSURE)
		printf(" %s\n", pressure_name(event->pressure));
	else if (event->kind == SHMB_EVENT_LOST && event->lost != 0)
		printf(" %" PRIu64 "\n", event->lost);
	else
		printf(" %s\n", name[0] ? name : "-");
}

static void number_or_null(struct json *json, const char *key, bool is_there, uint64_t number)
{
	if (is_there)
		json_number(json, key, number);
	else
		json_text(json, key, NULL);
}

void event_line_print_json(const shmb_event *event)
{
	struct json json = JSON_ONE_LINE;
	bool lost = event->kind == SHMB_EVENT_LOST, pressure = event->kind == SHMB_EVENT_PRESSURE;

	json_open(&json, NULL, '{');
	json_number(&json, "time_ns", event->time_ns);
	json_text(&json, "kind", kind_name(event->kind));
	number_or_null(&json, "block", event->block.id != 0, event->block.id);
	json_text(&json, "name", event->name[0] ? event->name : NULL);
	number_or_null(&json, "bytes", has_bytes(event), event->bytes);
	json_text(&json, "user", has_user(event) ? user_name(event->uid) : NULL);
	number_or_null(&json, "uid", has_user(event), event->uid);
	number_or_null(&json, "session", event->session != 0, event->session);
	json_text(&json, "pressure", pressure ? pressure_name(event->pressure) : NULL);
	number_or_null(&json, "lost", lost && event->lost != 0, event->lost);
	json_close(&json, '}');
}
