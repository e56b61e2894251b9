/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sessions: see sessions.h. */
#include "sessions.h"

#include "boot.h"
#include "checksum.h"
#include "region.h"
#include "session.h"
#include "shared_object.h"

/* A session is a page; a few at a time. */
#define SESSIONS_STEP 16384

int sessions_init(struct sessions *sessions, uv_loop_t *loop, const struct shared_object *state, uint64_t at,
                  uint32_t capacity)
{
	uint32_t daemon;

	*sessions = (struct sessions){.records = (struct session_record *)((uint8_t *)state->base + at)};
	int result = table_init(&sessions->table, state, at, sizeof(struct session_record), capacity, SESSIONS_STEP);
	if (result == 0)
		result = region_new(capacity * sizeof *sessions->by_number, (void **)&sessions->by_number);
	if (result == 0)
		result = table_take(&sessions->table, &daemon);
	if (result == 0)
		result = uv_timer_init(loop, &sessions->lost_timer);
	if (result == 0)
		result = uv_timer_init(loop, &sessions->awaited_timer);
	if (result == 0)
		result = uv_idle_init(loop, &sessions->reaper);
	if (result == 0)
		pid_namespace(&sessions->pid_namespace); /* without /proc pids are not believed */
	sessions->loop = result == 0 ? loop : NULL;
	sessions->lost_timer.data = sessions->awaited_timer.data = sessions->reaper.data = sessions;
	if (result < 0)
		sessions_deinit(sessions);
	return result;
}

void sessions_deinit(struct sessions *sessions)
{
	if (sessions->loop) {
		uv_close((uv_handle_t *)&sessions->lost_timer, NULL);
		uv_close((uv_handle_t *)&sessions->awaited_timer, NULL);
		uv_close((uv_handle_t *)&sessions->reaper, NULL);
		uv_run(sessions->loop, UV_RUN_DEFAULT);
	}
	sessions->loop = NULL;
	region_free(sessions->by_number, sessions->table.capacity * sizeof *sessions->by_number);
	table_deinit(&sessions->table);
	sessions->by_number = NULL;
}

void sessions_unlink(struct session **list, const struct session *session)
{
	while (*list != session)
		list = &(*list)->next;
	*list = session->next;
}

struct session *sessions_from(const struct sessions *sessions, uint32_t number)
{
	for (; number < sessions->table.used; number++) {
		if (sessions->by_number[number])
			return sessions->by_number[number];
	}
	return NULL;
}

uint32_t session_record_checksum(const struct session_record *record, uint64_t serial)
{
	const uint8_t *first = record->token;

	return checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first)) ^ checksum_of(&serial, sizeof serial);
}
