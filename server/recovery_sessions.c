/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over sessions: see recovery.h. They come back lost, and those whose process is gone are ended at the end. */
#include "recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reply.h"
#include "session.h"
#include "session_record.h"
#include "slot.h"

/* At most one slot of the pool is open. */
static int look_at_slots(struct recovery *recovery, uint32_t number)
{
	struct session_record *record = &recovery->pool->sessions.records[number];

	for (uint32_t i = 0; i < SESSION_SLOTS; i++) {
		enum slot_phase phase = SLOT_PHASE(atomic_load_explicit(&record->slots[i].word, memory_order_relaxed));
		if (phase > SLOT_DONE)
			return recovery_contradiction(recovery, "session", number, "has a slot in a phase that does not exist");
		if (phase == SLOT_DONE && !slot_is_sealed(&record->slots[i]))
			return recovery_contradiction(recovery, "session", number, "has a slot with a wrong checksum");
		if (phase != SLOT_FILLING && phase != SLOT_DECIDED)
			continue;
		if (recovery->open)
			return recovery_contradiction(recovery, "session", number, "has an open slot, and so has session %u",
			                              (unsigned)recovery->open_session);
		recovery->open = &record->slots[i];
		recovery->open_session = number;
		recovery->decided = phase == SLOT_DECIDED;
	}
	return 0;
}

static int adopt(struct recovery *recovery, uint32_t number)
{
	struct pool *pool = recovery->pool;
	const struct session_record *record = &pool->sessions.records[number];
	uint64_t word = atomic_load_explicit(&record->word, memory_order_relaxed);
	/* The serial too: it says which lock tells that its process lives. */
	if (record->checksum != session_record_checksum(record, word >> 8))
		return recovery_contradiction(recovery, "session", number, "has a wrong checksum");
	if (!session_record_is_sound(record))
		return recovery_contradiction(recovery, "session", number, "was adopted, and by whom has a wrong checksum");
	if (record->access > (SESSION_READ_ONLY | SESSION_CLONE) || !memchr(record->program, 0, sizeof record->program))
		return recovery_contradiction(recovery, "session", number, "says what no session says");
	int result = look_at_slots(recovery, number);
	if (result == 0)
		result = session_adopt(pool, number);
	return result;
}

int recovery_sessions(struct recovery *recovery)
{
	struct sessions *sessions = &recovery->pool->sessions;
	uint32_t used;
	int result = recovery_count_records(&sessions->table, &used);

	if (result < 0)
		return result;
	if (used > sessions->table.used)
		sessions->table.used = used;
	table_adopt(&sessions->table);
	for (uint32_t number = sessions->table.used; number-- > 1 && result == 0;) {
		uint64_t word = atomic_load_explicit(&sessions->records[number].word, memory_order_relaxed);
		if (word >> 8 > sessions->serial)
			sessions->serial = word >> 8;
		switch ((enum session_state)(word & 0xff)) {
		case SESSION_FREE: table_give(&sessions->table, number); break;
		case SESSION_LIVE:
		case SESSION_ASKED:
		case SESSION_CLONING:
		case SESSION_CLONED:
		case SESSION_ADOPTED:
		case SESSION_DEAD: result = adopt(recovery, number); break;
		default: return recovery_contradiction(recovery, "session", number, "is in a state that does not exist");
		}
	}
	return result;
}

/* One slot's last request, where that was a batch: the ids that it was given follow one another, and no other batch has any of them. */
struct batch {
	uint64_t first, end;
	uint32_t *kept; /* the session's, by slot */
};

static int compare_batches(const void *left, const void *right)
{
	const struct batch *a = left, *b = right;

	return (a->first > b->first) - (a->first < b->first);
}

/* All of a slot's blocks are gone until they are found. */
static int expect_batch(struct session *session, uint32_t slot, struct batch *out_batch)
{
	const struct slot_record *record = &session->record->slots[slot];
	uint32_t *kept = session->batches[slot] = malloc(record->count * sizeof *kept);

	if (!kept)
		return -ENOMEM;
	for (uint32_t k = 0; k < record->count; k++)
		kept[k] = REPLY_NO_BLOCK;
	*out_batch = (struct batch){record->id, record->id + record->count, kept};
	return 0;
}

/* The blocks of the last batch of each slot, for the request that may come again. In one walk: there may be millions. */
static int find_batches(struct session *session)
{
	const struct blocks *blocks = &session->pool->blocks;
	struct batch batches[SESSION_SLOTS];
	size_t count = 0;

	for (uint32_t i = 0; i < SESSION_SLOTS; i++) {
		const struct slot_record *record = &session->record->slots[i];
		enum slot_phase phase = SLOT_PHASE(atomic_load_explicit(&record->word, memory_order_relaxed));
		if (phase != SLOT_DONE || record->operation != SLOT_ALLOCATE_BATCH || record->status || record->count == 0)
			continue;
		int result = expect_batch(session, i, &batches[count++]);
		if (result < 0)
			return result;
	}
	qsort(batches, count, sizeof *batches, compare_batches);
	for (uint32_t link = count ? session->blocks : 0; link; link = blocks->owned[link - 1].next) {
		uint64_t id = record_id(blocks_word(blocks, link - 1));
		size_t from = 0, end = count;
		while (from < end) {
			size_t middle = (from + end) / 2;
			if (batches[middle].end <= id)
				from = middle + 1;
			else
				end = middle;
		}
		if (from < count && batches[from].first <= id)
			batches[from].kept[id - batches[from].first] = link - 1;
	}
	return 0;
}

int recovery_liveness(struct recovery *recovery)
{
	struct pool *pool = recovery->pool;
	struct session *session;
	int result = 0;

	for (uint32_t number = 1; result == 0 && (session = sessions_from(&pool->sessions, number)); number++) {
		number = session->number;
		result = find_batches(session);
		session_wake(session);
	}
	return result;
}
