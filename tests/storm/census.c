/* SPDX-License-Identifier: Apache-2.0 */
/* Ledger and pool side by side: see census.h. */
#include "tests/storm/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_layout.h"
#include "tests/support/accounting.h"
#include "tests/support/pattern.h"
#include "tests/support/recount.h"
#include "view.h"

#define PATIENCE_MS 60000
#define NOBODY CREW_MEMBERS

/* How often each client holds the block of each record. */
typedef unsigned hold_counts[CREW_MEMBERS][RECOUNT_RECORDS_MAX];

struct pool_objects {
	int state;
	size_t segment_size, view_size;
	const uint8_t *segment;
	const void *view_base;
	struct view view;
};

static const void *map_object(const char *pool, const char *suffix, size_t *out_size)
{
	char path[128];
	struct stat status;

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", pool, suffix);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	void *base = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(base != MAP_FAILED);
	*out_size = (size_t)status.st_size;
	return base;
}

static void open_pool(const char *pool, struct pool_objects *objects)
{
	char path[128];

	objects->segment = map_object(pool, "", &objects->segment_size);
	objects->view_base = map_object(pool, ".view", &objects->view_size);
	assert_int_equal(view_open(objects->view_base, objects->view_size, &objects->view), 0);
	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.state", pool);
	objects->state = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(objects->state >= 0);
}

static void close_pool(const struct pool_objects *objects)
{
	munmap((void *)(uintptr_t)objects->segment, objects->segment_size);
	munmap((void *)(uintptr_t)objects->view_base, objects->view_size);
	close(objects->state);
}

/* ---- What the pool says ----------------------------------------------------------------------------------------- */

/*
 * At rest when nobody is left but those who are to be, what a dead session held being gone before the session is; and when no ticket and no
 * time to live is left, which do not last long here.
 */
static void await_rest(const struct pool_objects *objects, uint64_t sessions)
{
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		const struct view_counters *counters = objects->view.counters;
		if (atomic_load(&counters->sessions) == sessions && !atomic_load(&counters->tickets) &&
		    !atomic_load(&counters->leases))
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("there are %" PRIu64 " sessions, and should be %" PRIu64 "; %" PRIu64 " tickets and %" PRIu64 " leases",
	         atomic_load(&objects->view.counters->sessions), sessions, atomic_load(&objects->view.counters->tickets),
	         atomic_load(&objects->view.counters->leases));
}

/*
 * What a client asked for and did not live to see adopted: ended, so that nobody waits for that. Everybody else is at rest, and no clone is
 * on its way to anybody. And circles of links that nobody holds are gone.
 */
static void tidy_up(const struct pool_objects *objects, const char *socket_path)
{
	shmb_session *session;
	shmb_client_info *clients;
	size_t count;

	assert_int_equal(shmb_connect(&(shmb_connect_options){.socket_path = socket_path}, &session), 0);
	assert_int_equal(shmb_list_clients(session, &clients, &count), 0);
	for (size_t i = 0; i < count; i++) {
		if (clients[i].pid == 0 && !clients[i].connected)
			shmb_end_session(session, clients[i].session, false); /* it may have ended by itself */
	}
	free(clients);
	await_rest(objects, CREW_MEMBERS + 1);
	assert_int_equal(shmb_collect(session, NULL), 0);
	shmb_close(session);
}

static unsigned member_of_process(const struct crew *crew, uint32_t pid)
{
	for (unsigned i = 0; i < CREW_MEMBERS; i++)
		if ((uint32_t)crew->members[i].process.pid == pid)
			return i;
	return NOBODY;
}

/* The client of each session number; NOBODY: a session that nobody here has opened fails the test. */
static unsigned *members_of_sessions(const struct pool_objects *objects, const struct state_header *header,
                                     const struct crew *crew)
{
	unsigned *members = malloc(header->max_sessions * sizeof *members);
	CLEANUP_FREE struct session_record *record = malloc(sizeof *record);

	assert_true(members && record);
	for (uint32_t number = 0; number < header->max_sessions; number++) {
		off_t at = (off_t)(header->sessions_at + number * sizeof *record);
		assert_int_equal(pread(objects->state, record, sizeof *record, at), sizeof *record);
		members[number] = NOBODY;
		if (number == 0 || (atomic_load(&record->word) & 0xff) != SESSION_LIVE)
			continue;
		members[number] = member_of_process(crew, record->pid);
		assert_in_range(members[number], 0, CREW_MEMBERS - 1);
	}
	return members;
}

static void count_found(const char *pool, const struct pool_objects *objects, const struct crew *crew, hold_counts found)
{
	struct state_header header;
	struct view_block block;

	assert_int_equal(pread(objects->state, &header, sizeof header, 0), sizeof header);
	CLEANUP_FREE unsigned *members = members_of_sessions(objects, &header, crew);
	assert_in_range(objects->view.header->max_blocks, 1, RECOUNT_RECORDS_MAX);
	for (uint32_t i = 0; i < objects->view.header->max_blocks; i++) {
		if (view_read_block(&objects->view, i, &block) == 0 || !block.owner)
			continue;
		assert_in_range(block.owner, 1, header.max_sessions - 1);
		assert_int_not_equal(members[block.owner], NOBODY);
		found[members[block.owner]][i]++;
	}
	for (uint32_t i = 0; i < header.max_references; i++) {
		struct reference_record record;
		off_t at = (off_t)(header.references_at + i * sizeof record);
		assert_int_equal(pread(objects->state, &record, sizeof record, at), sizeof record);
		uint64_t word = atomic_load(&record.word);
		if (REFERENCE_STATE(word) == RECORD_FREE)
			continue;
		assert_true(record.session < header.max_sessions && record.block < RECOUNT_RECORDS_MAX);
		assert_int_not_equal(members[record.session], NOBODY);
		found[members[record.session]][record.block] += REFERENCE_COUNT(word);
	}
	for (uint32_t number = 1; number < header.max_sessions; number++) {
		uint64_t slots[HOLD_SLOTS];
		if (members[number] == NOBODY || !recount_hold_page(pool, number, slots))
			continue;
		for (unsigned k = 0; k < HOLD_SLOTS; k++) {
			for (uint32_t i = 0; slots[k] && i < objects->view.header->max_blocks; i++)
				found[members[number]][i] += view_read_block(&objects->view, i, &block) == 1 && block.id == slots[k];
		}
	}
}

/* ---- What the ledger says --------------------------------------------------------------------------------------- */

static void expect_bytes(const struct pool_objects *objects, const struct view_block *block, uint64_t seed)
{
	assert_true(block->offset < objects->segment_size && block->size <= objects->segment_size - block->offset);
	if (!pattern_matches(objects->segment + block->offset, block->size, seed))
		fail_msg("block %" PRIu64 " at %" PRIu64 ", %" PRIu64 " bytes, does not have the bytes of seed %" PRIx64, block->id,
		         block->offset, block->size, seed);
}

static void expect_metadata(const struct pool_objects *objects, const struct ledger_hold *hold)
{
	uint8_t bytes[METADATA_MAX], expected[METADATA_MAX];
	uint32_t length;

	assert_int_equal(view_read_metadata(&objects->view, hold->handle.index, hold->handle.id, bytes, &length), 1);
	assert_int_equal(length, ledger_metadata(hold, expected));
	assert_true(length == 0 || memcmp(bytes, expected, length) == 0);
}

static void expect_holds(const struct pool_objects *objects, const struct seat *seat, unsigned *expected,
                         struct census *census)
{
	for (unsigned i = 0; i < LEDGER_HOLDS; i++) {
		const struct ledger_hold *hold = &seat->holds[i];
		struct view_block block;
		if (atomic_load(&hold->state) == HOLD_NONE)
			continue;
		assert_int_equal(atomic_load(&hold->state), HOLD_HELD);
		assert_in_range(hold->handle.index, 0, objects->view.header->max_blocks - 1);
		if (view_read_block(&objects->view, hold->handle.index, &block) != 1 || block.id != hold->handle.id)
			fail_msg("seat %u holds block %" PRIu64 ", which is gone", (unsigned)seat->number, hold->handle.id);
		assert_int_equal(block.offset, hold->offset);
		assert_int_equal(block.size, hold->size);
		if (hold->filled)
			expect_bytes(objects, &block, hold->seed);
		if (hold->sealed || hold->secret)
			assert_int_equal((block.flags & BLOCK_SEALED) != 0, hold->sealed);
		if (hold->secret)
			expect_metadata(objects, hold);
		expected[hold->handle.index]++;
		census->holds++;
	}
}

/* A published name is there, and one that was just being replaced. An open one, which a killed client has left to one that may only read, may be. */
static void expect_names(const struct pool_objects *objects, const struct seat *seat)
{
	for (unsigned i = 0; i < LEDGER_NAMES; i++) {
		const struct ledger_name *name = &seat->names[i];
		uint64_t word = atomic_load(&name->word);
		char text[LEDGER_NAME_TEXT];
		uint32_t index;
		ledger_name_text(seat, NAME_SERIAL(word), text);
		bool there = NAME_STATE(word) == NAME_PUBLISHED || NAME_STATE(word) == NAME_REPLACING;
		if (there && view_find_name(&objects->view, text, strlen(text), &index) != 1)
			fail_msg("%s is published, and is gone", text);
	}
}

static void check_names_found(const struct pool_objects *objects, struct ledger *ledger)
{
	for (uint32_t i = 0; i < objects->view.header->max_names; i++) {
		struct ledger_name *entry;
		struct view_block block;
		struct view_name name;
		if (view_read_name(&objects->view, i, &name) == 0)
			continue;
		if (!ledger_find_name(ledger, name.name, &entry))
			fail_msg("%s is there, and nobody has published it, or it was taken away", name.name);
		assert_int_equal(view_read_block(&objects->view, name.block, &block), 1);
		assert_int_equal(block.id, name.block_id);
		struct ledger_glimpse glimpse;
		ledger_examine(entry, &glimpse);
		const struct ledger_target *target = ledger_target(&glimpse, block.id);
		if (!target) {
			fail_msg("%s stands for block %" PRIu64 ", to which nobody gave it", name.name, block.id);
			return;
		}
		assert_int_equal(block.size, target->size);
		if (target->filled)
			expect_bytes(objects, &block, target->seed);
	}
}

/* ---- Side by side ----------------------------------------------------------------------------------------------- */

void census_take(const char *pool, const struct crew *crew, struct census *out_census)
{
	static hold_counts found, expected;
	static struct recount recount;
	struct pool_objects objects;
	struct census census = {0};

	memset(found, 0, sizeof found);
	memset(expected, 0, sizeof expected);
	open_pool(pool, &objects);
	tidy_up(&objects, crew->members[0].birth.socket_path);
	await_rest(&objects, CREW_MEMBERS);
	recount_pool(pool, &recount);
	accounting_agrees(pool, crew->members[0].birth.socket_path, 0, NULL);
	count_found(pool, &objects, crew, found);
	for (unsigned i = 0; i < CREW_MEMBERS; i++) {
		const struct client_birth *birth = &crew->members[i].birth;
		for (uint32_t k = 0; k < birth->seats; k++) {
			expect_holds(&objects, &crew->ledger->seats[birth->first_seat + k], expected[i], &census);
			expect_names(&objects, &crew->ledger->seats[birth->first_seat + k]);
		}
	}
	check_names_found(&objects, crew->ledger);
	for (unsigned member = 0; member < CREW_MEMBERS; member++)
		for (unsigned i = 0; i < RECOUNT_RECORDS_MAX; i++)
			if (found[member][i] != expected[member][i])
				fail_msg("client %u holds the block of record %u %u times, and was told %u", member, i, found[member][i],
				         expected[member][i]);
	close_pool(&objects);
	census.blocks = recount.blocks;
	census.names = recount.names;
	census.bytes = recount.requested;
	*out_census = census;
}

/* What the clients left to the pool's cache. */
static void drop_cache(const char *socket_path)
{
	shmb_session *session;
	shmb_block_info *blocks;
	size_t count;

	assert_int_equal(shmb_connect(&(shmb_connect_options){.socket_path = socket_path}, &session), 0);
	assert_int_equal(shmb_list_blocks(session, &blocks, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (blocks[i].cached)
			assert_int_equal(shmb_remove(session, blocks[i].handle.id), 0);
	free(blocks);
	shmb_close(session);
}

void census_take_empty(const char *pool, const char *socket_path)
{
	static struct recount recount;
	struct pool_objects objects;

	drop_cache(socket_path);
	open_pool(pool, &objects);
	await_rest(&objects, 0);
	/* Circles of links are left, and found by the daemon itself. */
	for (int waited = 0; waited < PATIENCE_MS && atomic_load(&objects.view.counters->blocks); waited++)
		poll(NULL, 0, 1);
	recount_pool(pool, &recount);
	assert_int_equal(recount.blocks, 0);
	assert_int_equal(recount.names, 0);
	assert_int_equal(recount.references, 0);
	close_pool(&objects);
}
