/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon takes over what a former one left: blocks, names, bytes and the sessions of living processes; cleans up after dead ones;
 * and refuses, by name and with exit status 3, what cannot be served, without changing it. test_damage.c has records that are damaged,
 * test_commit_points.c the deaths in the middle of an operation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "server/state_header.h"
#include "server/state_layout.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_copy.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"
#include "view.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define CANNOT_BE_SERVED 3
#define PAGE 4096
#define SMALL "--size", "64K", "--max-size", "128K", "--max-names", "16", "--max-sessions", "4"

static struct daemon_fixture fixture;
static struct raw_session mine = RAW_SESSION_CLOSED, other = RAW_SESSION_CLOSED;
static struct pool_copy kept;
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
	pool_copy_keep(&kept, &fixture);
	expect_refusal("does not shrink to 32K: start it with --size 64K", "--size", "32K");
	pool_copy_expect_same(&kept, &fixture);
	expect_refusal("was made with --max-size 128K, which stays", "--max-size", "256K");
	pool_copy_expect_same(&kept, &fixture);
	expect_refusal("start it with that", "--min-block", "128");
	pool_copy_expect_same(&kept, &fixture);
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
		CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, ".state");
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
	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, ".state");
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
	pool_copy_keep(&kept, &fixture);
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		change_header(changes[i].at, changes[i].size);
		object_copy_keep(&kept.state, &fixture, ".state");
		expect_refusal(changes[i].text, NULL, NULL);
		pool_copy_expect_same(&kept, &fixture);
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
	pool_copy_keep(&kept, &fixture);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s", path_of(suffixes[i]));
		snprintf(beside, sizeof beside, "/dev/shm/aside-%ld", (long)getpid());
		assert_int_equal(rename(path, beside), 0);
		expect_refusal("is gone", NULL, NULL);
		/* Another object with the same content. */
		const struct object_copy *copy = i ? &kept.view : &kept.segment;
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
		object_copy_put_back(copy, &fixture, suffixes[i]);
	}
	assert_int_equal(truncate(path_of(".state"), (off_t)kept.state.size - PAGE), 0);
	expect_refusal("somebody has cut or grown it", NULL, NULL);
	object_copy_put_back(&kept.state, &fixture, ".state");
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
	assert_true(daemon_fixture_logged(&fixture, "discarded what a former daemon left of it: 1 block (1K), 1 name\n"));
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
	pool_copy_keep(&kept, &fixture);
	kept.view.bytes[((const struct view_header *)(const void *)kept.view.bytes)->blocks_at + 8] ^= 1;
	pool_copy_put_back(&kept, &fixture);
	expect_refusal("block record 0 ", "--ephemeral", NULL);
	pool_copy_expect_same(&kept, &fixture);
	expect_refusal("block record 0 ", NULL, NULL);
	pool_copy_expect_same(&kept, &fixture);
	kept.view.bytes[((const struct view_header *)(const void *)kept.view.bytes)->blocks_at + 8] ^= 1;
	pool_copy_put_back(&kept, &fixture);
	restart();
	take_up(&mine);
	assert_int_equal(raw_session_lookup(&mine, "kept", NULL), OK);
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
	};

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
