/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts a pool's records afresh: see recount.h. The state is read by pread, never mapped: a look at a hole of a mapped shared
 * object would fill it, and what was never written must stay so.
 */
#include "tests/support/recount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_layout.h"
#include "view.h"

static int open_object(const char *pool, const char *suffix)
{
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", pool, suffix);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void read_records(int fd, uint64_t at, uint32_t most, size_t stride, void *out_records)
{
	size_t wanted = (most < RECOUNT_RECORDS_MAX ? most : RECOUNT_RECORDS_MAX) * stride;

	memset(out_records, 0, RECOUNT_RECORDS_MAX * stride);
	assert_true(pread(fd, out_records, wanted, (off_t)at) >= 0);
}

static void count_blocks(const struct view *view, struct view_block *blocks, bool *held, struct recount *recount)
{
	uint64_t records = atomic_load(&view->counters->block_records);

	assert_true(records <= RECOUNT_RECORDS_MAX);
	for (uint32_t i = 0; i < records; i++) {
		int result = view_read_block(view, i, &blocks[i]);
		uint64_t word = atomic_load(&view->blocks[i].word);
		enum record_state state = record_state(word);
		assert_true(result >= 0);
		/* Orphans are looked at again now and then, and are dying for that moment: a page must hold them. So is a circle that a page holds, which
		 * is condemned and rescued. */
		assert_true(state == RECORD_FREE || state == RECORD_LIVE || state == RECORD_ORPHAN || state == RECORD_DYING);
		if (!result)
			continue;
		for (uint32_t k = 0; k < i; k++)
			assert_true(!blocks[k].granted || blocks[k].offset + blocks[k].granted <= blocks[i].offset ||
			            blocks[i].offset + blocks[i].granted <= blocks[k].offset);
		held[i] = blocks[i].owner != 0 || blocks[i].flags & BLOCK_CACHED;
		recount->owned += blocks[i].owner != 0;
		recount->blocks++;
		recount->used += blocks[i].granted;
		recount->requested += blocks[i].size;
		recount->sealed += (blocks[i].flags & BLOCK_SEALED) != 0;
		recount->cached += (blocks[i].flags & BLOCK_CACHED) != 0;
		uint8_t bytes[METADATA_MAX];
		uint32_t length;
		assert_int_equal(view_read_metadata(view, i, blocks[i].id, bytes, &length), 1);
		assert_int_equal(length > 0, blocks[i].metadata > 0);
		recount->metadata += length > 0;
		/* Nobody else has it. */
		for (uint32_t k = 0; k < i && length; k++)
			assert_true(!blocks[k].granted || blocks[k].metadata != blocks[i].metadata);
	}
}

static void count_names(const struct view *view, const struct view_block *blocks, bool *held, struct recount *recount)
{
	uint64_t records = atomic_load(&view->counters->name_records);

	assert_true(records <= RECOUNT_RECORDS_MAX);
	for (uint32_t i = 0; i < records; i++) {
		struct view_name name;
		enum record_state state = record_state(atomic_load(&view->names[i].word));
		uint32_t found;
		int result = view_read_name(view, i, &name);
		assert_true(result >= 0);
		assert_true(state == RECORD_FREE || state == RECORD_LIVE);
		if (!result)
			continue;
		assert_true(blocks[name.block].granted && blocks[name.block].id == name.block_id);
		assert_int_equal(view_find_name(view, name.name, strlen(name.name), &found), 1);
		assert_int_equal(found, i);
		held[name.block] = true;
		assert_true(name.offset < blocks[name.block].size && name.length <= blocks[name.block].size - name.offset);
		recount->named += name.length ? name.length : blocks[name.block].size - name.offset;
		snprintf(recount->name[recount->names++], sizeof recount->name[0], "%.63s", name.name);
	}
}

static void count_references(int state, const struct state_header *header, const struct view_block *blocks, bool *held,
                             struct recount *recount)
{
	static struct reference_record records[RECOUNT_RECORDS_MAX];

	read_records(state, header->references_at, header->max_references, sizeof records[0], records);
	for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++) {
		uint64_t word = atomic_load(&records[i].word);
		if (REFERENCE_STATE(word) == RECORD_FREE)
			continue;
		assert_int_equal(REFERENCE_STATE(word), RECORD_LIVE);
		assert_true(REFERENCE_COUNT(word) > 0);
		assert_int_equal(REFERENCE_COUNT(word), REFERENCE_NEXT(word));
		assert_true(records[i].block < RECOUNT_RECORDS_MAX);
		assert_true(blocks[records[i].block].granted && blocks[records[i].block].id == records[i].block_id);
		held[records[i].block] = true;
		recount->references++;
		recount->holds += REFERENCE_COUNT(word);
	}
}

static void count_links(int state, const struct state_header *header, const struct view_block *blocks,
                        struct link_record *records, struct recount *recount)
{
	read_records(state, header->links_at, header->max_links, sizeof *records, records);
	for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++) {
		const struct link_record *record = &records[i];
		uint64_t word = atomic_load(&record->word);
		assert_true(word == RECORD_FREE || word == RECORD_LIVE);
		if (word == RECORD_FREE)
			continue;
		assert_true(record->from < RECOUNT_RECORDS_MAX && record->to < RECOUNT_RECORDS_MAX);
		assert_true(blocks[record->from].granted && blocks[record->from].id == record->from_id);
		assert_true(blocks[record->to].granted && blocks[record->to].id == record->to_id);
		recount->links++;
	}
}

/* What is held holds others by links, and so on: a circle does not hold itself. */
static void follow_links(const struct link_record *records, bool *held)
{
	for (bool grows = true; grows;) {
		grows = false;
		for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++) {
			if (atomic_load(&records[i].word) != RECORD_LIVE || !held[records[i].from] || held[records[i].to])
				continue;
			held[records[i].to] = grows = true;
		}
	}
}

static void hold(const struct view_block *blocks, bool *held, uint32_t block, uint64_t id)
{
	assert_true(block < RECOUNT_RECORDS_MAX);
	assert_true(blocks[block].granted && blocks[block].id == id);
	held[block] = true;
}

static void count_tickets(int state, const struct state_header *header, const struct view_block *blocks, bool *held,
                          struct recount *recount)
{
	static struct ticket_record records[RECOUNT_RECORDS_MAX];

	read_records(state, header->tickets_at, header->max_tickets, sizeof records[0], records);
	for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++) {
		enum record_state found = record_state(atomic_load(&records[i].word));
		assert_true(found == RECORD_FREE || found == RECORD_LIVE);
		if (found == RECORD_FREE)
			continue;
		hold(blocks, held, records[i].block, records[i].block_id);
		recount->tickets++;
	}
}

static void count_leases(int state, const struct state_header *header, const struct view_block *blocks, bool *held,
                         struct recount *recount)
{
	static struct lease_record records[RECOUNT_RECORDS_MAX];
	static bool leased[RECOUNT_RECORDS_MAX];

	memset(leased, 0, sizeof leased);
	read_records(state, header->leases_at, header->max_leases, sizeof records[0], records);
	for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++) {
		uint64_t word = atomic_load(&records[i].word);
		if (LEASE_STATE(word) == RECORD_FREE)
			continue;
		assert_int_equal(LEASE_STATE(word), RECORD_LIVE);
		hold(blocks, held, records[i].block, records[i].block_id);
		assert_false(leased[records[i].block]);
		leased[records[i].block] = true;
		recount->leases++;
	}
}

static void count_sessions(int state, const struct state_header *header, struct recount *recount)
{
	struct session_record *record = malloc(sizeof *record);

	assert_non_null(record);
	for (uint32_t i = 1; i < header->max_sessions; i++) {
		assert_int_equal(pread(state, record, sizeof *record, (off_t)(header->sessions_at + i * sizeof *record)),
		                 sizeof *record);
		uint64_t word = atomic_load(&record->word) & 0xff;
		assert_true(word == SESSION_FREE || word == SESSION_LIVE || word == SESSION_CLONED || word == SESSION_ADOPTED);
		recount->sessions += word != SESSION_FREE;
		if (word == SESSION_FREE)
			continue;
		for (unsigned k = 0; k < SESSION_SLOTS; k++) {
			enum slot_phase phase = SLOT_PHASE(atomic_load(&record->slots[k].word));
			assert_true(phase == SLOT_EMPTY || phase == SLOT_DONE);
		}
	}
	free(record);
}

bool recount_hold_page(const char *pool, uint32_t session, uint64_t out_slots[HOLD_SLOTS])
{
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.hold.%u", pool, (unsigned)session);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	const size_t size = HOLD_SLOTS * sizeof *out_slots;
	return fd >= 0 && pread(fd, out_slots, size, offsetof(struct hold_page, slots)) == (ssize_t)size;
}

/* The blocks that hold pages have, by their records. */
static void count_hold_pages(const char *pool, const struct state_header *header, const struct view *view, bool *held,
                             struct recount *recount)
{
	uint64_t slots[HOLD_SLOTS], records = atomic_load(&view->counters->block_records);

	for (uint32_t session = 1; session < header->max_sessions; session++) {
		if (!recount_hold_page(pool, session, slots))
			continue;
		recount->pages++;
		for (unsigned k = 0; k < HOLD_SLOTS; k++) {
			for (uint32_t i = 0; slots[k] && i < records; i++) {
				uint64_t word = atomic_load(&view->blocks[i].word);
				if (record_id(word) != slots[k] || !record_is_live(word))
					continue;
				held[i] = true;
				recount->page_holds++;
			}
		}
	}
}

/* Links from blocks that are free, on their way to go. */
static bool has_loose_links(int state, const struct state_header *header, const struct view *view)
{
	static struct link_record records[RECOUNT_RECORDS_MAX];

	read_records(state, header->links_at, header->max_links, sizeof records[0], records);
	for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++) {
		if (atomic_load(&records[i].word) == RECORD_LIVE && records[i].from < view->header->max_blocks &&
		    record_id(atomic_load(&view->blocks[records[i].from].word)) == records[i].from_id &&
		    !record_is_live(atomic_load(&view->blocks[records[i].from].word)))
			return true;
	}
	return false;
}

/*
 * What only hold pages held is freed a moment after its last hold, and what only links held after what held it; or, where the daemon was killed before it was told, a second or two: waits for
 * that. What does not come to rest shows in what follows.
 */
static void await_rest(const char *pool, int state, const struct state_header *header, const struct view *view)
{
	static bool held[RECOUNT_RECORDS_MAX];
	static struct recount ignored;

	for (int waited = 0; waited < 10000; waited++) {
		uint64_t records = atomic_load(&view->counters->block_records);
		bool rests = true;
		memset(held, 0, sizeof held);
		count_hold_pages(pool, header, view, held, &ignored);
		for (uint32_t i = 0; i < records; i++) {
			enum record_state now = record_state(atomic_load(&view->blocks[i].word));
			rests = rests && now != RECORD_DYING && (now != RECORD_ORPHAN || held[i]);
		}
		if (rests && !has_loose_links(state, header, view))
			return;
		poll(NULL, 0, 1);
	}
}

void recount_pool(const char *pool, struct recount *out_recount)
{
	static struct view_block blocks[RECOUNT_RECORDS_MAX];
	static bool held[RECOUNT_RECORDS_MAX];
	static struct link_record links[RECOUNT_RECORDS_MAX];
	CLEANUP_CLOSE int view_fd = open_object(pool, ".view");
	CLEANUP_CLOSE int state = open_object(pool, ".state");
	struct state_header header;
	struct stat status;
	struct view view;

	memset(blocks, 0, sizeof blocks);
	memset(held, 0, sizeof held);
	memset(out_recount, 0, sizeof *out_recount);
	assert_int_equal(fstat(view_fd, &status), 0);
	void *base = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, view_fd, 0);
	assert_true(base != MAP_FAILED);
	assert_int_equal(view_open(base, (uint64_t)status.st_size, &view), 0);
	assert_int_equal(pread(state, &header, sizeof header, 0), sizeof header);

	await_rest(pool, state, &header, &view);
	count_blocks(&view, blocks, held, out_recount);
	count_hold_pages(pool, &header, &view, held, out_recount);
	count_names(&view, blocks, held, out_recount);
	count_references(state, &header, blocks, held, out_recount);
	count_links(state, &header, blocks, links, out_recount);
	count_tickets(state, &header, blocks, held, out_recount);
	count_leases(state, &header, blocks, held, out_recount);
	count_sessions(state, &header, out_recount);
	follow_links(links, held);
	for (uint32_t i = 0; i < RECOUNT_RECORDS_MAX; i++)
		assert_true(!blocks[i].granted || held[i]);
	assert_int_equal(atomic_load(&view.counters->blocks), out_recount->blocks);
	assert_int_equal(atomic_load(&view.counters->names), out_recount->names);
	assert_int_equal(atomic_load(&view.counters->links), out_recount->links);
	assert_int_equal(atomic_load(&view.counters->tickets), out_recount->tickets);
	assert_int_equal(atomic_load(&view.counters->leases), out_recount->leases);
	assert_int_equal(atomic_load(&view.counters->sessions), out_recount->sessions);
	assert_int_equal(atomic_load(&view.counters->used), out_recount->used);
	assert_int_equal(atomic_load(&view.counters->requested), out_recount->requested);
	/* What is being cleaned, or given back to the kernel, is withheld for a moment. */
	for (int waited = 0; !out_recount->blocks && waited < 10000; waited++) {
		if (atomic_load(&view.counters->longest_free) == atomic_load(&view.header->size))
			break;
		poll(NULL, 0, 1);
	}
	if (!out_recount->blocks)
		assert_int_equal(atomic_load(&view.counters->longest_free), atomic_load(&view.header->size));
	munmap(base, (size_t)status.st_size);
}
