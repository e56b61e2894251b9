/* SPDX-License-Identifier: Apache-2.0 */
/* Records of sessions: see session_record.h. Each is written whole before the one store that makes it count. */
#include "session_record.h"

#include <string.h>

#include "checksum.h"
#include "clock.h"
#include "commit.h"
#include "peer.h"
#include "pool.h"
#include "session.h"

static enum session_state state_of(const struct session_record *record)
{
	return (enum session_state)(atomic_load_explicit(&record->word, memory_order_relaxed) & 0xff);
}

/* Does `adopter` count? */
static bool is_adopted(const struct session_record *record)
{
	enum session_state state = state_of(record);

	return (record->access & SESSION_CLONE) && (state == SESSION_ADOPTED || state == SESSION_LIVE || state == SESSION_ASKED);
}

static uint32_t adopter_checksum(const struct session_adopter *adopter, uint64_t serial)
{
	return checksum_of(adopter, offsetof(struct session_adopter, checksum)) ^ checksum_of(&serial, sizeof serial);
}

struct session_process session_record_process(const struct session_record *record)
{
	const struct session_adopter *adopter = &record->adopter;

	if (is_adopted(record))
		return (struct session_process){adopter->start_time, adopter->pid, adopter->pid_namespace};
	return (struct session_process){record->start_time, record->pid, record->pid_namespace};
}

/* What all have, and the store. */
static void write_record(struct session *session, enum session_state state)
{
	struct session_record *record = session->record;

	memset(record->slots, 0, sizeof record->slots);
	memset(&record->adopter, 0, sizeof record->adopter);
	atomic_store_explicit(&record->hold_page, 0, memory_order_relaxed);
	record->opened_ns = clock_realtime_ns();
	memset(record->program, 0, sizeof record->program);
	memcpy(record->program, session->program, strlen(session->program));
	record->checksum = session_record_checksum(record, session->serial);
	commit(&record->word, session->serial << 8 | state);
}

void session_record_open(struct session *session, const struct peer *peer)
{
	struct session_record *record = session->record;

	record->start_time = peer->start_time;
	record->uid = peer->uid;
	record->gid = peer->gid;
	record->pid = peer->pid;
	record->pid_namespace = session->pool->sessions.pid_namespace;
	record->access = session->read_only ? SESSION_READ_ONLY : 0;
	write_record(session, SESSION_LIVE);
}

void session_record_clone(struct session *copy, const struct session *parent)
{
	struct session_record *record = copy->record;

	record->start_time = 0;
	record->uid = parent->record->uid;
	record->gid = parent->record->gid;
	record->pid = record->pid_namespace = 0;
	record->access = SESSION_CLONE | (copy->read_only ? SESSION_READ_ONLY : 0);
	write_record(copy, SESSION_CLONING);
}

void session_record_adopt(struct session *session, const struct peer *peer)
{
	struct session_record *record = session->record;
	struct session_adopter *adopter = &record->adopter;

	adopter->start_time = peer->start_time;
	adopter->pid = peer->pid;
	adopter->pid_namespace = session->pool->sessions.pid_namespace;
	adopter->checksum = adopter_checksum(adopter, session->serial);
	commit(&record->word, session->serial << 8 | SESSION_ADOPTED);
}

bool session_record_is_sound(const struct session_record *record)
{
	uint64_t serial = atomic_load_explicit(&record->word, memory_order_relaxed) >> 8;

	return !is_adopted(record) || record->adopter.checksum == adopter_checksum(&record->adopter, serial);
}
