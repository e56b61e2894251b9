/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what users and sessions have: see charges.h. The state is read by pread, never mapped, as in recount.c. */
#include "tests/support/charges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_layout.h"
#include "tests/support/recount.h"
#include "view.h"

#define RECORDS 8192

/* Everything that is read, once. */
static struct view view;
static struct state_header header;
static struct session_record sessions[CHARGES_SESSIONS_MAX];
static struct reference_record references[RECORDS];
static struct ticket_record tickets[RECORDS];
static struct link_record links[RECORDS];
static struct lease_record leases[RECORDS];
static unsigned used; /* of the longest table */

static int open_object(const char *pool, const char *suffix)
{
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", pool, suffix);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Records behind the last one that was ever written are zero. */
static void read_table(int fd, uint64_t at, uint32_t most, uint32_t room, size_t stride, void *out_records)
{
	memset(out_records, 0, room * stride);
	assert_true(pread(fd, out_records, (most < room ? most : room) * stride, (off_t)at) >= 0);
	for (size_t i = room * stride; i > used * stride; i--) {
		if (((const uint8_t *)out_records)[i - 1]) {
			used = (unsigned)((i + stride - 1) / stride);
			break;
		}
	}
}

static struct charges_user *user(struct charges *charges, uint32_t uid)
{
	for (unsigned i = 0; i < charges->user_count; i++) {
		if (charges->users[i].uid == uid)
			return &charges->users[i];
	}
	assert_true(charges->user_count < CHARGES_USERS_MAX);
	charges->users[charges->user_count].uid = uid;
	return &charges->users[charges->user_count++];
}

/* The session that has this key now; 0: none. */
static uint32_t session_of(uint64_t key)
{
	uint32_t number = SESSION_KEY_NUMBER(key);
	uint64_t word = number < CHARGES_SESSIONS_MAX ? atomic_load(&sessions[number].word) : 0;

	return (word & 0xff) != SESSION_FREE && SESSION_KEY(number, word >> 8) == key ? number : 0;
}

static void count(struct charges *charges, enum quota_kind kind, uint32_t uid, uint64_t key)
{
	user(charges, uid)->used[kind]++;
	charges->sessions[session_of(key)][kind]++;
}

static bool is_live_block(uint32_t index)
{
	return index < view.header->max_blocks && record_is_live(atomic_load(&view.blocks[index].word));
}

static const struct name_body *body_of(const struct name_record *record)
{
	return &record->body[record_body(atomic_load(&record->word))];
}

/* Who holds a block, but for its owner and its time to live, one after the other. */
struct holders {
	uint32_t uid, allocator;
	bool found, allocator_holds;
};

static void holds(struct holders *holders, uint32_t uid)
{
	holders->allocator_holds |= uid == holders->allocator;
	/* Root comes last. */
	if (!holders->found || (uid && (holders->uid == 0 || uid < holders->uid)))
		holders->uid = uid;
	holders->found = true;
}

static void find_holders(uint32_t block, struct holders *holders)
{
	uint64_t names = atomic_load(&view.counters->name_records);

	for (unsigned i = 0; i < used; i++) {
		if (REFERENCE_STATE(atomic_load(&references[i].word)) == RECORD_LIVE && references[i].block == block)
			holds(holders, sessions[references[i].session].uid);
		if (record_state(atomic_load(&tickets[i].word)) == RECORD_LIVE && tickets[i].block == block)
			holds(holders, tickets[i].uid);
		if (atomic_load(&links[i].word) == RECORD_LIVE && links[i].to == block)
			holds(holders, links[i].uid);
		if (LEASE_STATE(atomic_load(&leases[i].word)) == RECORD_LIVE && leases[i].block == block)
			holds(holders, holders->allocator);
	}
	const struct block_record *it = &view.blocks[block];
	if (it->body[record_body(atomic_load(&it->word))].flags & BLOCK_CACHED)
		holds(holders, holders->allocator);
	for (uint64_t i = 0; i < names; i++) {
		const struct name_record *record = &view.names[i];
		if (record_state(atomic_load(&record->word)) == RECORD_LIVE && body_of(record)->block == block)
			holds(holders, body_of(record)->uid);
	}
}

/* An orphan: whoever has it in a page. Several users: it may be any of them. False: so it is, and all are told. */
static bool find_in_pages(const char *pool, uint64_t id, uint64_t granted, struct holders *holders, struct charges *charges)
{
	uint64_t slots[HOLD_SLOTS];
	bool several = false;

	for (int pass = 0; pass < (several ? 2 : 1); pass++) {
		for (uint32_t number = 1; number < header.max_sessions && number < CHARGES_SESSIONS_MAX; number++) {
			bool has = false;
			if (!recount_hold_page(pool, number, slots))
				continue;
			for (unsigned k = 0; k < HOLD_SLOTS; k++)
				has |= slots[k] == id;
			if (!has)
				continue;
			several |= holders->found && holders->uid != sessions[number].uid;
			if (pass)
				user(charges, sessions[number].uid)->doubtful += granted;
			holds(holders, sessions[number].uid);
		}
	}
	return !several;
}

static void count_block(const char *pool, uint32_t index, struct charges *charges)
{
	const struct block_record *record = &view.blocks[index];
	uint64_t word = atomic_load(&record->word);
	const struct block_body *body = &record->body[record_body(word)];
	struct holders holders = {.allocator = record->uid};

	find_holders(index, &holders);
	if (body->owner) {
		charges->sessions[body->owner][QUOTA_BLOCKS]++;
		charges->sessions[body->owner][QUOTA_BYTES] += body->granted;
		holders.allocator_holds = true;
	}
	if (!holders.found && !holders.allocator_holds && record_state(word) != RECORD_DYING &&
	    !find_in_pages(pool, record_id(word), body->granted, &holders, charges))
		return;
	struct charges_user *payer = user(charges, holders.allocator_holds || !holders.found ? record->uid : holders.uid);
	payer->used[QUOTA_BLOCKS]++;
	payer->used[QUOTA_BYTES] += body->granted;
}

static void count_records(struct charges *charges)
{
	uint64_t names = atomic_load(&view.counters->name_records);

	for (unsigned i = 1; i < CHARGES_SESSIONS_MAX && i < header.max_sessions; i++) {
		if ((atomic_load(&sessions[i].word) & 0xff) != SESSION_FREE)
			user(charges, sessions[i].uid)->used[QUOTA_SESSIONS]++;
	}
	for (unsigned i = 0; i < used; i++) {
		if (record_state(atomic_load(&tickets[i].word)) == RECORD_LIVE)
			count(charges, QUOTA_TICKETS, tickets[i].uid, tickets[i].session);
		if (atomic_load(&links[i].word) == RECORD_LIVE)
			count(charges, QUOTA_LINKS, links[i].uid, links[i].session);
	}
	for (uint64_t i = 0; i < names; i++) {
		if (record_state(atomic_load(&view.names[i].word)) == RECORD_LIVE)
			count(charges, QUOTA_NAMES, body_of(&view.names[i])->uid, body_of(&view.names[i])->session);
	}
}

void charges_count(const char *pool, struct charges *out_charges)
{
	CLEANUP_CLOSE int view_fd = open_object(pool, ".view");
	CLEANUP_CLOSE int state = open_object(pool, ".state");
	struct stat status;

	memset(out_charges, 0, sizeof *out_charges);
	used = 0;
	assert_int_equal(fstat(view_fd, &status), 0);
	void *base = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, view_fd, 0);
	assert_true(base != MAP_FAILED);
	assert_int_equal(view_open(base, (uint64_t)status.st_size, &view), 0);
	assert_int_equal(pread(state, &header, sizeof header, 0), sizeof header);
	read_table(state, header.references_at, header.max_references, RECORDS, sizeof references[0], references);
	read_table(state, header.tickets_at, header.max_tickets, RECORDS, sizeof tickets[0], tickets);
	read_table(state, header.links_at, header.max_links, RECORDS, sizeof links[0], links);
	read_table(state, header.leases_at, header.max_leases, RECORDS, sizeof leases[0], leases);
	read_table(state, header.sessions_at, header.max_sessions, CHARGES_SESSIONS_MAX, sizeof sessions[0], sessions);

	count_records(out_charges);
	uint64_t blocks = atomic_load(&view.counters->block_records);
	for (uint32_t i = 0; i < blocks; i++) {
		if (is_live_block(i))
			count_block(pool, i, out_charges);
	}
	memset(out_charges->sessions[0], 0, sizeof out_charges->sessions[0]); /* of those that have ended */
	munmap(base, (size_t)status.st_size);
}

struct charges_user charges_of(const struct charges *charges, uint32_t uid)
{
	for (unsigned i = 0; i < charges->user_count; i++) {
		if (charges->users[i].uid == uid)
			return charges->users[i];
	}
	return (struct charges_user){.uid = uid};
}
