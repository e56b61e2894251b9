/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon takes over what a former one left: blocks, names, bytes and the sessions of living processes; cleans up after dead ones;
 * and refuses, by name and with exit status 3, what contradicts itself, without changing it. Every byte of one record of each kind
 * is flipped in turn. test_commit_points.c has the deaths in the middle of an operation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_header.h"
#include "server/state_layout.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"
#include "view.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define CANNOT_BE_SERVED 3
#define PAGE 4096
#define OBJECT_MAX (512 * 1024)
#define LISTED_MAX 32
#define DAMAGE_ROUNDS 500
#define SMALL "--size", "64K", "--max-size", "128K", "--max-names", "16", "--max-sessions", "4"

static struct daemon_fixture fixture;
static struct raw_session mine = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;
static char beside[160]; /* an object put aside, in /dev/shm */

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
	if (beside[0])
		unlink(beside);
	beside[0] = 0;
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

static const char *path_of(const char *suffix)
{
	static char path[160];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", fixture.pool, suffix);
	return path;
}

static int open_object(const char *suffix)
{
	int fd = open(path_of(suffix), O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* The daemon does not start, says `text`, and ends with 3. */
static void expect_refusal(const char *text, const char *option, const char *value)
{
	assert_int_equal(truncate(fixture.log_path, 0), 0);
	daemon_fixture_respawn(&fixture, SMALL, option, value, NULL);
	int status = daemon_fixture_wait(&fixture);
	fixture.killed = true; /* what it left is left on purpose */
	assert_true(daemon_fixture_logged(&fixture, text));
	assert_int_equal(status, CANNOT_BE_SERVED);
}

/* ---- Whole objects, kept and put back --------------------------------------------------------------------------- */

struct copy {
	uint8_t bytes[OBJECT_MAX];
	uint64_t size;
};

/* Holes are read as zeros, and put back as holes: what was never written must stay so. */
static void keep(const char *suffix, struct copy *out_copy)
{
	CLEANUP_CLOSE int fd = open_object(suffix);
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	assert_true(status.st_size <= OBJECT_MAX);
	out_copy->size = (uint64_t)status.st_size;
	assert_int_equal(pread(fd, out_copy->bytes, out_copy->size, 0), (ssize_t)out_copy->size);
}

static void put_back(const char *suffix, const struct copy *copy)
{
	static const uint8_t zeros[PAGE];
	CLEANUP_CLOSE int fd = open_object(suffix);

	assert_int_equal(ftruncate(fd, (off_t)copy->size), 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)copy->size), 0);
	for (uint64_t at = 0; at < copy->size; at += PAGE) {
		size_t length = copy->size - at < PAGE ? copy->size - at : PAGE;
		if (memcmp(copy->bytes + at, zeros, length) != 0)
			assert_int_equal(pwrite(fd, copy->bytes + at, length, (off_t)at), (ssize_t)length);
	}
}

static struct copy segment_before, view_before, state_before, now;

static void keep_all(void)
{
	keep("", &segment_before);
	keep(".view", &view_before);
	keep(".state", &state_before);
}

static void put_all_back(void)
{
	put_back("", &segment_before);
	put_back(".view", &view_before);
	put_back(".state", &state_before);
}

/* All is as it was, but the number of the process that served last. */
static void expect_untouched(void)
{
	keep("", &now);
	assert_memory_equal(now.bytes, segment_before.bytes, segment_before.size);
	keep(".state", &now);
	assert_memory_equal(now.bytes, state_before.bytes, state_before.size);
	keep(".view", &now);
	memcpy(now.bytes + offsetof(struct view_header, daemon_pid),
	       view_before.bytes + offsetof(struct view_header, daemon_pid), 4);
	assert_memory_equal(now.bytes, view_before.bytes, view_before.size);
}

/* ---- What survives ---------------------------------------------------------------------------------------------- */

static void write_bytes(const struct raw_session *session, uint64_t offset, char byte)
{
	char bytes[1000];

	memset(bytes, byte, sizeof bytes);
	assert_int_equal(pwrite(session->segment, bytes, sizeof bytes, (off_t)offset), sizeof bytes);
}

static void expect_bytes(const struct raw_session *session, uint64_t offset, char byte)
{
	char bytes[1000], expected[1000];

	memset(expected, byte, sizeof expected);
	assert_int_equal(pread(session->segment, bytes, sizeof bytes, (off_t)offset), sizeof bytes);
	assert_memory_equal(bytes, expected, sizeof bytes);
}

/* A block of 1000 bytes with a name. */
static Shmbuddy__V1__Handle make_named(const char *name, char byte, uint64_t *out_offset)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&mine, 0, ++mine.sequence, raw_request_allocate(1000, name));

	assert_int_equal(reply->status, OK);
	Shmbuddy__V1__Handle handle = *reply->block->handle;
	*out_offset = reply->block->offset;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	write_bytes(&mine, *out_offset, byte);
	return handle;
}

static void survive(bool killed)
{
	Shmbuddy__V1__Handle handle, found, fresh;
	static struct recount recount;
	uint64_t offset;

	handle = make_named("kept", 'k', &offset);
	assert_int_equal(raw_session_free(&mine, &handle), OK);
	raw_session_close(&mine);
	if (killed)
		daemon_fixture_kill(&fixture);
	else
		daemon_fixture_terminate(&fixture);
	for (int i = 0; i < 3; i++) {
		restart();
		open_other();
		assert_int_equal(raw_session_lookup(&other, "kept", &found), OK);
		assert_int_equal(found.id, handle.id);
		assert_int_equal(found.index, handle.index);
		assert_int_equal(found.incarnation, handle.incarnation);
		expect_bytes(&other, offset, 'k');
		/* No id is given out twice, and no memory. */
		assert_int_equal(raw_session_allocate(&other, 1000, NULL, &fresh), OK);
		assert_true(fresh.id > handle.id);

		expect_bytes(&other, offset, 'k');
		raw_session_wait_for_sessions(&other, 1);
		recount_pool(fixture.pool, &recount);
		assert_int_equal(recount.blocks, 2);
		daemon_fixture_kill(&fixture);
		raw_session_close(&other);
	}
	restart();
}

static void test_survives_kill(void **state)
{
	(void)state;
	survive(true);
}

static void test_survives_the_end(void **state)
{
	(void)state;
	survive(false);
}

/* An id of a block that is gone is not used again. */
static void test_ids_rise(void **state)
{
	Shmbuddy__V1__Handle handle;
	uint64_t highest = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 3; k++) {
			assert_int_equal(raw_session_allocate(&mine, 64, NULL, &handle), OK);
			assert_true(handle.id > highest);
			highest = handle.id;
			assert_int_equal(raw_session_free(&mine, &handle), OK);
		}
		daemon_fixture_kill(&fixture);
		restart();
		take_up(&mine);
		assert_int_equal(raw_session_free(&mine, &handle), SHMBUDDY__V1__STATUS__STALE_HANDLE);
	}
}

/* ---- Sessions --------------------------------------------------------------------------------------------------- */

static void test_living_client_keeps_its_blocks(void **state)
{
	Shmbuddy__V1__Handle handle;
	struct raw_session_holdings holdings;
	static struct recount recount;

	(void)state;
	assert_int_equal(raw_session_allocate(&mine, 5000, NULL, &handle), OK);
	for (int i = 0; i < 3; i++) {
		daemon_fixture_kill(&fixture);
		restart();
	}
	open_other();
	assert_int_equal(raw_session_allocate(&other, 60000, NULL, NULL), SHMBUDDY__V1__STATUS__OUT_OF_MEMORY);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(raw_session_ping(&other), OK);
		poll(NULL, 0, 1);
	}
	raw_session_holdings(&other, &holdings);
	assert_int_equal(holdings.sessions, 2);
	take_up(&mine);
	raw_session_holdings(&mine, &holdings);
	assert_int_equal(holdings.blocks, 1);
	/* Lost, it is kept; with its lock it ends. */
	daemon_fixture_kill(&fixture);
	restart();
	take_up(&other);
	raw_session_holdings(&other, &holdings);
	assert_int_equal(holdings.sessions, 2);
	raw_session_close(&mine);
	raw_session_wait_for_sessions(&other, 1);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 0);
}

/* A client in a process of its own, with a block, and a reference to `shared`; it lives until it is killed. */
static pid_t start_client(void)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		close(ready[0]);
		raw_session_open(&other, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		bool well = raw_session_allocate(&other, 3000, NULL, NULL) == OK && raw_session_lookup(&other, "shared", NULL) == OK;
		if (well && write(ready[1], "", 1) == 1)
			poll(NULL, 0, RAW_CLIENT_PATIENCE_MS);
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void end_client(pid_t child)
{
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_client_that_died_without_a_daemon(void **state)
{
	Shmbuddy__V1__Handle handle;
	static struct recount recount;

	(void)state;
	assert_int_equal(raw_session_allocate(&mine, 1000, "shared", &handle), OK);
	pid_t child = start_client();
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 2);
	assert_int_equal(recount.references, 1);
	daemon_fixture_kill(&fixture);
	end_client(child);
	restart();
	take_up(&mine);
	raw_session_wait_for_sessions(&mine, 1);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 1);
	assert_int_equal(recount.references, 0);
	assert_int_equal(raw_session_free(&mine, &handle), OK);
}

/* Its pidfd is watched again: it ends like one that has always been connected. */
static void test_client_that_dies_after_the_restart(void **state)
{
	static struct recount recount;

	(void)state;
	assert_int_equal(raw_session_allocate(&mine, 1000, "shared", NULL), OK);
	pid_t child = start_client();
	daemon_fixture_kill(&fixture);
	restart();
	take_up(&mine);
	raw_session_wait_for_sessions(&mine, 2);
	end_client(child);
	raw_session_wait_for_sessions(&mine, 1);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.blocks, 1);
	assert_int_equal(recount.references, 0);
}

static void test_token_of_others(void **state)
{
	(void)state;
	daemon_fixture_kill(&fixture);
	restart();
	mine.token[5] ^= 1;
	assert_int_equal(raw_session_resume(&mine, fixture.socket_path), SHMBUDDY__V1__STATUS__SESSION_ENDED);
	mine.token[5] ^= 1;
	assert_int_equal(raw_session_resume(&mine, fixture.socket_path), OK);
}

/* ---- What is refused -------------------------------------------------------------------------------------------- */

static void test_other_geometry(void **state)
{
	uint64_t offset;

	(void)state;
	make_named("kept", 'k', &offset);
	daemon_fixture_kill(&fixture);
	keep_all();
	expect_refusal("does not shrink to 32K: start it with --size 64K", "--size", "32K");
	expect_untouched();
	expect_refusal("was made with --max-size 128K, which stays", "--max-size", "256K");
	expect_untouched();
	expect_refusal("start it with that", "--min-block", "128");
	expect_untouched();
	restart();
	take_up(&mine);
	assert_int_equal(raw_session_lookup(&mine, "kept", NULL), OK);
}

static void test_half_made(void **state)
{
	static const uint64_t no_magic;

	(void)state;
	for (int i = 0; i < 2; i++) {
		if (i)
			raw_session_open(&mine, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		assert_int_equal(raw_session_allocate(&mine, 1000, "gone", NULL), OK);
		raw_session_close(&mine);
		daemon_fixture_kill(&fixture);
		CLEANUP_CLOSE int fd = open_object(".state");
		if (i)
			assert_int_equal(ftruncate(fd, 0), 0);
		else
			assert_int_equal(pwrite(fd, &no_magic, sizeof no_magic, offsetof(struct state_header, magic)), sizeof no_magic);
		restart();
		open_other();
		assert_int_equal(raw_session_lookup(&other, "gone", NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
		raw_session_close(&other);
	}
}

/* A state header that is whole, and says something else. */
static void change_header(size_t at, size_t size)
{
	CLEANUP_CLOSE int fd = open_object(".state");
	struct state_header header;

	assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
	for (size_t i = 0; i < size; i++)
		((uint8_t *)&header)[at + i] ^= 0x55;
	header.checksum = state_header_checksum(&header);
	assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
}

static void test_other_header(void **state)
{
	const struct {
		const char *text;
		size_t at, size;
	} changes[] = {
		{"layout version", offsetof(struct state_header, layout_version), 4},
		{"another boot", offsetof(struct state_header, boot_id), 16},
		{"is damaged", offsetof(struct state_header, pool), 4},
		{"is damaged", offsetof(struct state_header, incarnation), 4},
		{"is not the one that belongs to it", offsetof(struct state_header, view_inode), 8},
		{"is not the one that belongs to it", offsetof(struct state_header, segment_inode), 8},
		{"no pool of this program", offsetof(struct state_header, magic), 8},
	};

	(void)state;
	daemon_fixture_kill(&fixture);
	keep_all();
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		change_header(changes[i].at, changes[i].size);
		keep(".state", &state_before);
		expect_refusal(changes[i].text, NULL, NULL);
		expect_untouched();
		change_header(changes[i].at, changes[i].size);
	}
	restart();
	take_up(&mine);
}

static void test_missing_and_foreign_objects(void **state)
{
	static const char *const suffixes[] = {"", ".view"};
	char path[160];

	(void)state;
	daemon_fixture_kill(&fixture);
	keep_all();
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s", path_of(suffixes[i]));
		snprintf(beside, sizeof beside, "/dev/shm/aside-%ld", (long)getpid());
		assert_int_equal(rename(path, beside), 0);
		expect_refusal("is gone", NULL, NULL);
		/* Another object with the same content. */
		const struct copy *copy = i ? &view_before : &segment_before;
		CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(pwrite(fd, copy->bytes, copy->size, 0), (ssize_t)copy->size);
		expect_refusal("is not the one that belongs to it", NULL, NULL);
		assert_int_equal(rename(beside, path), 0);
		beside[0] = 0;
		/* Cut, and grown beyond what a growth may have left. */
		assert_int_equal(truncate(path, (off_t)copy->size - PAGE), 0);
		expect_refusal("somebody has cut or grown it", NULL, NULL);
		assert_int_equal(truncate(path, (off_t)(i ? copy->size : 2 * copy->size) + PAGE), 0);
		expect_refusal("somebody has cut or grown it", NULL, NULL);
		put_back(suffixes[i], copy);
	}
	assert_int_equal(truncate(path_of(".state"), (off_t)state_before.size - PAGE), 0);
	expect_refusal("somebody has cut or grown it", NULL, NULL);
	put_back(".state", &state_before);
	restart();
	take_up(&mine);
}

static void test_discard(void **state)
{
	Shmbuddy__V1__Handle handle;

	(void)state;
	assert_int_equal(raw_session_allocate(&mine, 1000, "gone", &handle), OK);
	daemon_fixture_kill(&fixture);
	/* Also what cannot be served. */
	change_header(offsetof(struct state_header, boot_id), 16);
	daemon_fixture_restart(&fixture, SMALL, "--discard", "--size", "128K", NULL);
	assert_true(daemon_fixture_logged(&fixture, "discarded what a former daemon left of it: 1 blocks (1K), 1 names"));
	open_other();
	assert_int_equal(other.size, 128 << 10);
	assert_int_equal(raw_session_lookup(&other, "gone", NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	assert_int_equal(raw_session_free(&other, &handle), SHMBUDDY__V1__STATUS__OTHER_POOL);
	assert_int_equal(raw_session_resume(&mine, fixture.socket_path), SHMBUDDY__V1__STATUS__SESSION_ENDED);
}

/* An ephemeral pool that could not be removed is removed by the next start; one that is to last is made instead. */
static void test_ephemeral_leftover(void **state)
{
	(void)state;
	raw_session_close(&mine);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_restart(&fixture, SMALL, "--discard", "--ephemeral", NULL);
	open_other();
	assert_int_equal(raw_session_allocate(&other, 1000, "gone", NULL), OK);
	raw_session_close(&other);
	daemon_fixture_kill(&fixture);
	restart();
	assert_true(daemon_fixture_logged(&fixture, "it was ephemeral"));
	open_other();
	assert_int_equal(raw_session_lookup(&other, "gone", NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	assert_int_equal(raw_session_allocate(&other, 1000, "stays", NULL), OK);
	daemon_fixture_kill(&fixture);
	restart();
	take_up(&other);
	assert_int_equal(raw_session_lookup(&other, "stays", NULL), OK);
}

/* What is refused is left as it is, which includes that it lasts: the next start must not find an ephemeral pool, and discard it. */
static void test_refused_as_ephemeral(void **state)
{
	uint64_t offset;

	(void)state;
	make_named("kept", 'k', &offset);
	daemon_fixture_kill(&fixture);
	keep_all();
	view_before.bytes[((const struct view_header *)(const void *)view_before.bytes)->blocks_at + 8] ^= 1;
	put_all_back();
	expect_refusal("block record 0 ", "--ephemeral", NULL);
	expect_untouched();
	expect_refusal("block record 0 ", NULL, NULL);
	expect_untouched();
	view_before.bytes[((const struct view_header *)(const void *)view_before.bytes)->blocks_at + 8] ^= 1;
	put_all_back();
	restart();
	take_up(&mine);
	assert_int_equal(raw_session_lookup(&mine, "kept", NULL), OK);
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
	struct view view;

	memset(out_listing, 0, sizeof *out_listing);
	recount_pool(fixture.pool, &recount);
	out_listing->references = recount.references;
	out_listing->holds = recount.holds;
	out_listing->sessions = recount.sessions;
	out_listing->tickets = recount.tickets;
	out_listing->leases = recount.leases;
	keep(".view", &now);
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
	struct copy *copy = suffix[1] == 'v' ? &view_before : &state_before;

	put_all_back();
	copy->bytes[at] ^= mask;
	put_back(suffix, copy);
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
		keep("", &now);
		assert_memory_equal(now.bytes, segment_before.bytes, segment_before.size);
		daemon_fixture_kill(&fixture);
		tally->without_effect++;
	} else {
		if (status != CANNOT_BE_SERVED)
			fail_msg("%s: byte %llu of %s xor %02x: the daemon ended with %d", kind, (unsigned long long)at, suffix, mask,
			         status);
		assert_true(daemon_fixture_logged(&fixture, kind));
		expect_untouched();
		fixture.killed = true;
		tally->refused++;
	}
	copy->bytes[at] ^= mask;
}

static void flip_all(const char *suffix, uint64_t at, size_t size, const char *kind)
{
	static struct listing expected;
	struct tally tally = {0};

	put_all_back();
	restart();
	list(&expected);
	daemon_fixture_kill(&fixture);
	for (uint64_t i = at; i < at + size; i++) {
		flip(suffix, i, 0xff, kind, &expected, &tally);
		flip(suffix, i, 0x01, kind, &expected, &tally);
	}
	print_message("%s: %u flips refused, %u without effect\n", kind, tally.refused, tally.without_effect);
	assert_true(tally.refused > 0);
	put_all_back();
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
	uint64_t offset;

	handle = make_named("owned", 'o', &offset);
	share_and_renew(&handle);
	assert_int_equal(raw_session_call(&mine, raw_request_set_metadata(&handle, "a shape", 7)), OK);
	handle = make_named("shared", 's', &offset);
	assert_int_equal(raw_session_lookup(&mine, "shared", NULL), OK);
	assert_int_equal(raw_session_free(&mine, &handle), OK);
	assert_int_equal(raw_session_lookup(&mine, "shared", NULL), OK);
	daemon_fixture_kill(&fixture);
	keep_all();
}

static const struct view_header *view_header(void)
{
	return (const struct view_header *)(const void *)view_before.bytes;
}

static const struct state_header *state_header(void)
{
	return (const struct state_header *)(const void *)state_before.bytes;
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
		memcpy(state_before.bytes + offsetof(struct state_header, ids_reserved), i ? &high : &low, sizeof low);
		put_all_back();
		expect_refusal("header record 0 has handed out", NULL, NULL);
		expect_untouched();
	}
}

/*
 * Some bytes at once, anywhere that was ever written: whatever comes of it, the daemon serves or refuses, and does not crash. A round
 * is replayed by its seed, SHMB_TEST_SEED; SHMB_TEST_STEPS is how many.
 */
static void test_random_damage(void **state)
{
	static struct copy whole[2];
	const char *given = getenv("SHMB_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() << 16;
	const char *steps = getenv("SHMB_TEST_STEPS");
	const unsigned rounds = steps ? (unsigned)strtoul(steps, NULL, 0) : DAMAGE_ROUNDS;
	unsigned served = 0;

	(void)state;
	make_records();
	whole[0] = view_before;
	whole[1] = state_before;
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
		view_before = whole[0];
		state_before = whole[1];
		for (long count = nrand48(random) % 6 + 1; count; count--) {
			size_t place = (size_t)nrand48(random) % (sizeof places / sizeof places[0]);
			struct copy *copy = places[place].object ? &state_before : &view_before;
			uint64_t at = places[place].at + (uint64_t)nrand48(random) % places[place].size;
			copy->bytes[at] = (uint8_t)(nrand48(random) % 3 ? nrand48(random) : nrand48(random) % 4);
		}
		put_all_back();
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
	return (uint32_t *)(void *)(view_before.bytes + VIEW_INDEX_AT) + index;
}

static struct name_record *name_record(uint32_t index)
{
	return (struct name_record *)(void *)(view_before.bytes + view_header()->names_at) + index;
}

/* Starts on the damaged index and finds every name, by the daemon and without. */
static void expect_mended(unsigned names)
{
	static struct recount recount;
	char name[16];

	put_all_back();
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
	static struct copy whole;
	char name[16];
	uint64_t offset, sequence;

	(void)state;
	for (unsigned i = 0; i < names; i++) {
		snprintf(name, sizeof name, "name-%u", i);
		make_named(name, 'n', &offset);
	}
	assert_int_equal(raw_session_allocate(&mine, 64, "ended", NULL), OK);
	assert_int_equal(raw_session_unpublish(&mine, "ended"), OK); /* a record that was used and is free */
	daemon_fixture_kill(&fixture);
	keep_all();
	whole = view_before;
	sequence = mine.sequence;
	for (unsigned damage = 0; damage < 9; damage++) {
		mine.sequence = sequence;
		view_before = whole;
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
		TEST(test_survives_kill),
		TEST(test_survives_the_end),
		TEST(test_ids_rise),
		TEST(test_living_client_keeps_its_blocks),
		TEST(test_client_that_died_without_a_daemon),
		TEST(test_client_that_dies_after_the_restart),
		TEST(test_token_of_others),
		TEST(test_other_geometry),
		TEST(test_half_made),
		TEST(test_other_header),
		TEST(test_missing_and_foreign_objects),
		TEST(test_discard),
		TEST(test_ephemeral_leftover),
		TEST(test_refused_as_ephemeral),
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

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
