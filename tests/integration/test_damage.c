/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that finds damaged records refuses to serve them, by name and with exit status 3, without changing anything; or the damage is of no
 * consequence. Every byte of one record of each kind is flipped in turn, and some at random. The names' index is mended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/state_layout.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_copy.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"
#include "view.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define CANNOT_BE_SERVED 3
#define LISTED_MAX 32
#define DAMAGE_ROUNDS 500
#define SMALL "--size", "64K", "--max-size", "128K", "--max-names", "16", "--max-sessions", "4"

static struct daemon_fixture fixture;
static struct raw_session mine = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;
static struct pool_copy kept;

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, SMALL, NULL);
	raw_session_open(&mine, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_session_close(&mine);
	raw_session_close(&other);
	daemon_fixture_stop(&fixture);
	return 0;
}

static void restart(void)
{
	daemon_fixture_restart(&fixture, SMALL, NULL);
}

static void take_up(struct raw_session *session)
{
	uint64_t sequence = session->sequence;

	assert_int_equal(raw_session_resume(session, fixture.socket_path), OK);
	session->sequence = sequence;
}

static void open_other(void)
{
	raw_session_open(&other, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

/* A block of 1000 bytes with a name, that are all `byte`. */
static Shmbuddy__V1__Handle make_named(const char *name, char byte)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&mine, 0, ++mine.sequence, raw_request_allocate(1000, name));
	char bytes[1000];

	assert_int_equal(reply->status, OK);
	Shmbuddy__V1__Handle handle = *reply->block->handle;
	memset(bytes, byte, sizeof bytes);
	assert_int_equal(pwrite(mine.segment, bytes, sizeof bytes, (off_t)reply->block->offset), sizeof bytes);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return handle;
}

/* ---- Flipped bytes ---------------------------------------------------------------------------------------------- */

/* All that a client can see of a pool. */
struct listing {
	struct view_block blocks[LISTED_MAX];
	struct view_name names[LISTED_MAX];
	uint64_t references, holds, sessions, tickets, leases;
};

static void list(struct listing *out_listing)
{
	static struct recount recount;
	static struct object_copy now;
	struct view view;

	memset(out_listing, 0, sizeof *out_listing);
	recount_pool(fixture.pool, &recount);
	out_listing->references = recount.references;
	out_listing->holds = recount.holds;
	out_listing->sessions = recount.sessions;
	out_listing->tickets = recount.tickets;
	out_listing->leases = recount.leases;
	object_copy_keep(&now, &fixture, ".view");
	assert_int_equal(view_open(now.bytes, now.size, &view), 0);
	for (uint32_t i = 0; i < LISTED_MAX; i++)
		assert_true(view_read_block(&view, i, &out_listing->blocks[i]) >= 0);
	for (uint32_t i = 0; i < view.header->max_names; i++)
		assert_true(view_read_name(&view, i, &out_listing->names[i]) >= 0);
}

struct tally {
	unsigned refused, without_effect;
};

/* One byte is another, and a daemon starts: it refuses and names the record, or nothing has changed. */
static void flip(const char *suffix, uint64_t at, uint8_t mask, const char *kind, const struct listing *expected,
                 struct tally *tally)
{
	static struct listing listing;
	static struct object_copy now;
	struct object_copy *copy = suffix[1] == 'v' ? &kept.view : &kept.state;

	pool_copy_put_back(&kept, &fixture);
	copy->bytes[at] ^= mask;
	object_copy_put_back(copy, &fixture, suffix);
	assert_int_equal(truncate(fixture.log_path, 0), 0);
	daemon_fixture_respawn(&fixture, SMALL, NULL);
	int status = daemon_fixture_comes_up(&fixture);
	if (fixture.pid) {
		list(&listing);
		if (memcmp(&listing, expected, sizeof listing) != 0)
			fail_msg("%s: byte %llu of %s xor %02x goes unnoticed and changes the listing", kind, (unsigned long long)at,
			         suffix, mask);
		take_up(&mine);
		assert_int_equal(raw_session_ping(&mine), OK);
		object_copy_keep(&now, &fixture, "");
		assert_memory_equal(now.bytes, kept.segment.bytes, kept.segment.size);
		daemon_fixture_kill(&fixture);
		tally->without_effect++;
	} else {
		if (status != CANNOT_BE_SERVED)
			fail_msg("%s: byte %llu of %s xor %02x: the daemon ended with %d", kind, (unsigned long long)at, suffix, mask,
			         status);
		assert_true(daemon_fixture_logged(&fixture, kind));
		pool_copy_expect_same(&kept, &fixture);
		fixture.killed = true;
		tally->refused++;
	}
	copy->bytes[at] ^= mask;
}

static void flip_all(const char *suffix, uint64_t at, size_t size, const char *kind)
{
	static struct listing expected;
	struct tally tally = {0};

	pool_copy_put_back(&kept, &fixture);
	restart();
	list(&expected);
	daemon_fixture_kill(&fixture);
	for (uint64_t i = at; i < at + size; i++) {
		flip(suffix, i, 0xff, kind, &expected, &tally);
		flip(suffix, i, 0x01, kind, &expected, &tally);
	}
	print_message("%s: %u flips refused, %u without effect\n", kind, tally.refused, tally.without_effect);
	assert_true(tally.refused > 0);
	pool_copy_put_back(&kept, &fixture);
	restart();
}

/* The block lives for an hour, and there is a ticket for it. */
static void share_and_renew(Shmbuddy__V1__Handle *handle)
{
	assert_int_equal(raw_session_call(&mine, raw_request_share(handle, 3600000)), OK);
	assert_int_equal(raw_session_call(&mine, raw_request_renew(handle, 3600000)), OK);
}

/* A block that is owned, named, shared by a ticket and leased, and has metadata, one that is named and held by reference, and a slot with an outcome. */
static void make_records(void)
{
	Shmbuddy__V1__Handle handle;

	handle = make_named("owned", 'o');
	share_and_renew(&handle);
	assert_int_equal(raw_session_call(&mine, raw_request_set_metadata(&handle, "a shape", 7)), OK);
	handle = make_named("shared", 's');
	assert_int_equal(raw_session_lookup(&mine, "shared", NULL), OK);
	assert_int_equal(raw_session_free(&mine, &handle), OK);
	assert_int_equal(raw_session_lookup(&mine, "shared", NULL), OK);
	daemon_fixture_kill(&fixture);
	pool_copy_keep(&kept, &fixture);
}

static const struct view_header *view_header(void)
{
	return (const struct view_header *)(const void *)kept.view.bytes;
}

static const struct state_header *state_header(void)
{
	return (const struct state_header *)(const void *)kept.state.bytes;
}

static void test_flipped_block(void **state)
{
	(void)state;
	make_records();
	flip_all(".view", view_header()->blocks_at, sizeof(struct block_record), "block record 0 ");
}

static void test_flipped_name(void **state)
{
	(void)state;
	make_records();
	flip_all(".view", view_header()->names_at, sizeof(struct name_record), "name record 0 ");
}

static void test_flipped_metadata(void **state)
{
	(void)state;
	make_records();
	flip_all(".view", view_header()->metadata_at, sizeof(struct metadata_record), "metadata record 0 ");
}

static void test_flipped_reference(void **state)
{
	(void)state;
	make_records();
	flip_all(".state", state_header()->references_at, sizeof(struct reference_record), "reference record 0 ");
}

static void test_flipped_ticket(void **state)
{
	(void)state;
	make_records();
	flip_all(".state", state_header()->tickets_at, sizeof(struct ticket_record), "ticket record 0 ");
}

static void test_flipped_lease(void **state)
{
	(void)state;
	make_records();
	flip_all(".state", state_header()->leases_at, sizeof(struct lease_record), "lease record 0 ");
}

static uint64_t session_at(void)
{
	return state_header()->sessions_at + mine.number * sizeof(struct session_record);
}

static void test_flipped_session(void **state)
{
	(void)state;
	make_records();
	flip_all(".state", session_at(), offsetof(struct session_record, slots), " record ");
}

static void test_flipped_slot(void **state)
{
	(void)state;
	make_records();
	flip_all(".state", session_at() + offsetof(struct session_record, slots), sizeof(struct slot_record),
	         "session record 1 ");
}

/* Their checksums cover what never changes; what does must agree with the rest, or be of no consequence. */
static void test_flipped_state_header(void **state)
{
	(void)state;
	make_records();
	flip_all(".state", 0, sizeof(struct state_header), "--discard");
}

static void test_flipped_view_header(void **state)
{
	(void)state;
	make_records();
	flip_all(".view", 0, sizeof(struct view_header), "--discard");
}

/* Ids are handed out above those that were; a pool that says less would hand some out twice. */
static void test_ids_that_were_handed_out(void **state)
{
	static const uint64_t low = 1, high = UINT64_C(1) << 60;

	(void)state;
	make_records();
	for (int i = 0; i < 2; i++) {
		memcpy(kept.state.bytes + offsetof(struct state_header, ids_reserved), i ? &high : &low, sizeof low);
		pool_copy_put_back(&kept, &fixture);
		assert_int_equal(truncate(fixture.log_path, 0), 0);
		daemon_fixture_respawn(&fixture, SMALL, NULL);
		assert_int_equal(daemon_fixture_wait(&fixture), CANNOT_BE_SERVED);
		assert_true(daemon_fixture_logged(&fixture, "header record 0 has handed out"));
		fixture.killed = true;
		pool_copy_expect_same(&kept, &fixture);
	}
}

/*
 * Some bytes at once, anywhere that was ever written: whatever comes of it, the daemon serves or refuses, and does not crash. A round
 * is replayed by its seed, SHMB_TEST_SEED; SHMB_TEST_STEPS is how many.
 */
static void test_random_damage(void **state)
{
	static struct object_copy whole[2];
	const char *given = getenv("SHMB_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() << 16;
	const char *steps = getenv("SHMB_TEST_STEPS");
	const unsigned rounds = steps ? (unsigned)strtoul(steps, NULL, 0) : DAMAGE_ROUNDS;
	unsigned served = 0;

	(void)state;
	make_records();
	whole[0] = kept.view;
	whole[1] = kept.state;
	const uint64_t session = session_at();
	/* Where something is: in the view index, names and blocks; in the state references and one session. */
	const struct {
		unsigned object;
		uint64_t at, size;
	} places[] = {
		{0, VIEW_INDEX_AT, 64},
		{0, view_header()->names_at, 3 * sizeof(struct name_record)},
		{0, view_header()->blocks_at, 3 * sizeof(struct block_record)},
		{0, view_header()->metadata_at, sizeof(struct metadata_record)},
		{1, STATE_EXTENTS_AT, 64},
		{1, state_header()->references_at, 3 * sizeof(struct reference_record)},
		{1, session, 512},
	};
	for (unsigned round = 0; round < rounds; round++, seed++) {
		unsigned short random[3] = {(unsigned short)seed, (unsigned short)(seed >> 16), (unsigned short)(seed >> 32)};
		kept.view = whole[0];
		kept.state = whole[1];
		for (long count = nrand48(random) % 6 + 1; count; count--) {
			size_t place = (size_t)nrand48(random) % (sizeof places / sizeof places[0]);
			struct object_copy *copy = places[place].object ? &kept.state : &kept.view;
			uint64_t at = places[place].at + (uint64_t)nrand48(random) % places[place].size;
			copy->bytes[at] = (uint8_t)(nrand48(random) % 3 ? nrand48(random) : nrand48(random) % 4);
		}
		pool_copy_put_back(&kept, &fixture);
		daemon_fixture_respawn(&fixture, SMALL, NULL);
		int status = daemon_fixture_comes_up(&fixture);
		if (fixture.pid) {
			open_other();
			assert_int_equal(raw_session_ping(&other), OK);
			assert_int_equal(raw_session_allocate(&other, 64, NULL, NULL), OK);
			raw_session_close(&other);
			daemon_fixture_kill(&fixture);
			served++;
		} else if (status != CANNOT_BE_SERVED) {
			fail_msg("the daemon ended with %d: SHMB_TEST_SEED=%llu", status, (unsigned long long)seed);
		}
		assert_int_equal(truncate(fixture.log_path, 0), 0);
	}
	fixture.killed = true;
	print_message("%u rounds up to seed %llu: %u served\n", rounds, (unsigned long long)seed, served);
	assert_in_range(served, 1, rounds - 1);
}

/* ---- A damaged name index --------------------------------------------------------------------------------------- */

static uint32_t *bucket(uint32_t index)
{
	return (uint32_t *)(void *)(kept.view.bytes + VIEW_INDEX_AT) + index;
}

static struct name_record *name_record(uint32_t index)
{
	return (struct name_record *)(void *)(kept.view.bytes + view_header()->names_at) + index;
}

/* Starts on the damaged index and finds every name, by the daemon and without. */
static void expect_mended(unsigned names)
{
	static struct recount recount;
	char name[16];

	pool_copy_put_back(&kept, &fixture);
	restart();
	recount_pool(fixture.pool, &recount); /* looks up each name in the view */
	assert_int_equal(recount.names, names);
	take_up(&mine);
	for (unsigned i = 0; i < names; i++) {
		snprintf(name, sizeof name, "name-%u", i);
		assert_int_equal(raw_session_lookup(&mine, name, NULL), OK);
		assert_int_equal(raw_session_unpublish(&mine, name), OK);
		assert_int_equal(raw_session_lookup(&mine, name, NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	}
	assert_int_equal(raw_session_allocate(&mine, 64, "name-0", NULL), OK);
	assert_int_equal(raw_session_lookup(&mine, "name-0", NULL), OK);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.names, 1);
	daemon_fixture_kill(&fixture);
}

static void test_damaged_index(void **state)
{
	static const unsigned names = 12; /* of 16 records: some chains have several */
	static struct object_copy whole;
	char name[16];
	uint64_t sequence;

	(void)state;
	for (unsigned i = 0; i < names; i++) {
		snprintf(name, sizeof name, "name-%u", i);
		make_named(name, 'n');
	}
	assert_int_equal(raw_session_allocate(&mine, 64, "ended", NULL), OK);
	assert_int_equal(raw_session_unpublish(&mine, "ended"), OK); /* a record that was used and is free */
	daemon_fixture_kill(&fixture);
	pool_copy_keep(&kept, &fixture);
	whole = kept.view;
	sequence = mine.sequence;
	for (unsigned damage = 0; damage < 9; damage++) {
		mine.sequence = sequence;
		kept.view = whole;
		for (uint32_t i = 0; i < view_header()->name_buckets; i++) {
			switch (damage) {
			case 0: break;                                        /* whole */
			case 1: *bucket(i) = 0; break;                        /* all chains cut */
			case 2: *bucket(i) = UINT32_MAX; break;               /* to a record that cannot be */
			case 3: *bucket(i) = view_header()->max_names; break; /* to one that was never used */
			case 4: *bucket(i) = names + 1; break;                /* to one that is free */
			case 5: *bucket(i) = 1; break;                        /* all to one */
			case 6: *bucket(i) = i % names + 1; break;            /* to wrong ones */
			default: break;
			}
		}
		for (uint32_t i = 0; i < names; i++) {
			if (damage == 7)
				atomic_store(&name_record(i)->next, i + 1); /* circles of one */
			if (damage == 8)
				atomic_store(&name_record(i)->next, (i + 1) % names + 1); /* one circle through all */
		}
		expect_mended(names);
	}
	restart();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flipped_block),
		TEST(test_flipped_name),
		TEST(test_flipped_metadata),
		TEST(test_flipped_reference),
		TEST(test_flipped_ticket),
		TEST(test_flipped_lease),
		TEST(test_flipped_session),
		TEST(test_flipped_slot),
		TEST(test_flipped_state_header),
		TEST(test_flipped_view_header),
		TEST(test_ids_that_were_handed_out),
		TEST(test_random_damage),
		TEST(test_damaged_index),
	};

	return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
