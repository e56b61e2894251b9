/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When memory is taken from the kernel, cleaned, and given back, as a user of the daemon sees it: by the segment's use of /dev/shm and by
 * the bytes in blocks. With daemons that are killed in the middle of it, and in a /dev/shm that somebody else fills at any moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/unit/draw.h"
#include "view_layout.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define OUT_OF_MEMORY SHMBUDDY__V1__STATUS__OUT_OF_MEMORY
#define READ_WRITE SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE
#define PATIENCE_MS 20000
#define MIB (UINT64_C(1) << 20)
#define BATCH 20

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED, another = RAW_SESSION_CLOSED;
static uint8_t *base; /* of the segment; NULL: not mapped */
static const struct view_counters *counters;

struct block {
	Shmbuddy__V1__Handle handle;
	uint64_t offset, granted;
};

static void unmap(void)
{
	if (!base)
		return;
	munmap(base, session.size);
	munmap((void *)(uintptr_t)counters, VIEW_COUNTERS_SIZE);
	base = NULL;
}

static void open_session(void)
{
	unmap();
	raw_session_close(&session);
	raw_session_open(&session, fixture.socket_path, READ_WRITE);
	base = mmap(NULL, session.size, PROT_READ | PROT_WRITE, MAP_SHARED, session.segment, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	counters = mmap(NULL, VIEW_COUNTERS_SIZE, PROT_READ, MAP_SHARED, session.view, VIEW_COUNTERS_AT);
	assert_ptr_not_equal(counters, MAP_FAILED);
}

/* ---- What is asked for, and what is there ------------------------------------------------------------------------ */

static Shmbuddy__V1__Status allocate(uint64_t size, const char *name, struct block *out_block)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, raw_request_allocate(size, name));
	Shmbuddy__V1__Status status = reply->status;

	*out_block = (struct block){0};
	if (status == OK)
		*out_block = (struct block){*reply->block->handle, reply->block->offset, reply->block->granted};
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return status;
}

static void give_back(const struct block *block)
{
	assert_int_equal(raw_session_free(&session, &block->handle), OK);
}

static uint64_t backed(void)
{
	struct stat status;

	assert_int_equal(fstat(session.segment, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* Until the segment has so many bytes of memory, and the view says the same. */
static void await_backed(uint64_t bytes)
{
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		if (backed() == bytes && atomic_load(&counters->committed) == bytes)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("backed %llu, committed %llu, expected %llu", (unsigned long long)backed(),
	         (unsigned long long)atomic_load(&counters->committed), (unsigned long long)bytes);
}

static void assert_zero(const struct block *block)
{
	const uint8_t *bytes = base + block->offset;

	for (uint64_t i = 0; i < block->granted; i++) {
		if (bytes[i])
			fail_msg("byte %llu of a block of %llu at %llu was another's: %02x", (unsigned long long)i,
			         (unsigned long long)block->granted, (unsigned long long)block->offset, bytes[i]);
	}
}

static void write_secret(const struct block *block)
{
	memset(base + block->offset, 0xa5, block->granted);
}

static void assert_secret(const struct block *block)
{
	for (uint64_t i = 0; i < block->granted; i++)
		assert_int_equal(base[block->offset + i], 0xa5);
}

static int filler = -1;

/* Somebody else takes all that is left of /dev/shm but `spare` bytes, if it can: others take some at the same time. */
static void fill(uint64_t spare)
{
	struct statvfs status;

	if (filler < 0)
		filler = open("/dev/shm/somebody-else", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(filler >= 0);
	assert_int_equal(statvfs("/dev/shm", &status), 0);
	uint64_t left = (uint64_t)status.f_bavail * status.f_frsize;
	if (left > spare && fallocate(filler, 0, lseek(filler, 0, SEEK_END), (off_t)(left - spare)) < 0)
		assert_int_equal(errno, ENOSPC);
}

static void empty(void)
{
	if (filler >= 0)
		close(filler);
	filler = -1;
	unlink("/dev/shm/somebody-else");
}

static int setup(void **state)
{
	(void)state;
	return mount("none", "/dev/shm", "tmpfs", 0, "size=256M");
}

static int teardown(void **state)
{
	(void)state;
	unsetenv("SHMB_COMMIT_TRAP");
	empty();
	unmap();
	raw_session_close(&session);
	raw_session_close(&another);
	daemon_fixture_stop(&fixture);
	umount2("/dev/shm", MNT_DETACH);
	return 0;
}

/* ---- Given back -------------------------------------------------------------------------------------------------- */

static void test_comes_back(void **state)
{
	struct block blocks[64];
	size_t count = 0;

	(void)state;
	memset(blocks, 0, sizeof blocks);
	daemon_fixture_start(&fixture, "--size", "64M", "--return-after", "20ms", NULL);
	open_session();
	for (uint64_t size = 64; size <= 16 * MIB; size *= 2) {
		assert_int_equal(allocate(size, NULL, &blocks[count]), OK);
		write_secret(&blocks[count++]);
	}
	struct block kept = {0};
	assert_int_equal(allocate(MIB, NULL, &kept), OK);
	write_secret(&kept);
	while (count)
		give_back(&blocks[--count]);
	await_backed(MIB);
	assert_secret(&kept);
	give_back(&kept);
	await_backed(0);
	assert_int_equal(atomic_load(&counters->used), 0);
	/* What went back is committed again, and reads as zeros then. */
	assert_int_equal(allocate(64 * MIB, NULL, &kept), OK);
	assert_zero(&kept);
	write_secret(&kept);
}

/* A client dies: what it held goes the same way. */
static void test_comes_back_from_the_dead(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, "--size", "64M", "--return-after", "20ms", NULL);
	open_session();
	raw_session_open(&another, fixture.socket_path, READ_WRITE);
	assert_int_equal(raw_session_allocate(&another, 32 * MIB, NULL, NULL), OK);
	assert_int_equal(backed(), 32 * MIB);
	raw_session_close(&another);
	await_backed(0);
}

/* Killed while memory goes back: the next daemon finds what was unmarked and not yet punched, and touches nothing else. */
static void test_killed_while_giving_back(void **state)
{
	struct block kept = {0}, gone = {0};
	char delay[] = "1ms";

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "64M", "--return-after", delay, NULL);
	open_session();
	assert_int_equal(allocate(MIB, "kept", &kept), OK);
	write_secret(&kept);
	for (int round = 0; round < 14; round++) {
		assert_int_equal(allocate(32 * MIB, NULL, &gone), OK);
		write_secret(&gone);
		give_back(&gone);
		uint64_t enough = draw(33) * MIB; /* until about so much has gone */
		for (int waited = 0; backed() > MIB + enough && waited < PATIENCE_MS; waited++)
			sched_yield();
		daemon_fixture_kill(&fixture);
		daemon_fixture_restart(&fixture, "--size", "64M", "--return-after", round % 2 ? delay : "never", NULL);
		open_session();
		if (round % 2)
			await_backed(MIB);
		else /* it keeps what is marked, and no stray */
			await_backed(atomic_load(&counters->committed));
		assert_secret(&kept);
	}
	assert_int_equal(raw_session_unpublish(&session, "kept"), OK);
}

/* ---- Up front ---------------------------------------------------------------------------------------------------- */

static void test_up_front(void **state)
{
	struct block block = {0};

	(void)state;
	daemon_fixture_start(&fixture, "--size", "64M", "--commit", "up-front", "--return-after", "1ms", NULL);
	open_session();
	await_backed(64 * MIB);
	assert_int_equal(allocate(1, NULL, &block), OK); /* a page of records */
	give_back(&block);
	fill(0);
	/* Not a byte is left for anybody, and the pool has all of its own. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(allocate(64 * MIB, NULL, &block), OK);
		write_secret(&block);
		give_back(&block);
		assert_int_equal(allocate(MIB, NULL, &block), OK);
		give_back(&block);
		assert_int_equal(backed(), 64 * MIB);
	}
	empty();
}

/* A pool that is there: what is missing is committed, what is in it stays. */
static void test_up_front_later(void **state)
{
	struct block kept = {0};

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "64M", NULL);
	open_session();
	assert_int_equal(allocate(5 * MIB, "kept", &kept), OK);
	write_secret(&kept);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_restart(&fixture, "--size", "64M", "--commit", "up-front", NULL);
	open_session();
	await_backed(64 * MIB);
	assert_secret(&kept);
	daemon_fixture_terminate(&fixture);
	daemon_fixture_restart(&fixture, "--size", "64M", "--return-after", "1ms", NULL);
	open_session();
	await_backed(8 * MIB);
	assert_secret(&kept);
}

static void test_up_front_refused(void **state)
{
	struct block kept = {0};

	(void)state;
	fill(30 * MIB);
	daemon_fixture_spawn(&fixture, "--size", "64M", "--commit", "up-front", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 1);
	assert_true(
		daemon_fixture_logged(&fixture, "cannot commit its 64M up front: 64M of it are missing, and /dev/shm has 29"));
	assert_true(daemon_fixture_logged(&fixture, "choose a smaller --size, or start it with --commit on-alloc"));
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 0);
	daemon_fixture_stop(&fixture);

	/* One that is there is left as it is. */
	empty();
	daemon_fixture_start_lasting(&fixture, "--size", "64M", NULL);
	open_session();
	assert_int_equal(allocate(5 * MIB, "kept", &kept), OK);
	write_secret(&kept);
	daemon_fixture_terminate(&fixture);
	fill(30 * MIB);
	daemon_fixture_respawn(&fixture, "--size", "64M", "--commit", "up-front", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 1);
	assert_true(
		daemon_fixture_logged(&fixture, "cannot commit its 64M up front: 56M of it are missing, and /dev/shm has 30M left"));
	empty();
	daemon_fixture_restart(&fixture, "--size", "64M", "--commit", "up-front", NULL);
	open_session();
	await_backed(64 * MIB);
	assert_secret(&kept);
}

/* Somebody fills /dev/shm at any moment of the start: it serves, or says why not. */
static void test_filled_during_the_start(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		bool lasting = round % 2;
		if (lasting) {
			daemon_fixture_start_lasting(&fixture, "--size", "192M", NULL);
			daemon_fixture_kill(&fixture);
			daemon_fixture_respawn(&fixture, "--size", "192M", "--commit", "up-front", "--zero", "on-free", NULL);
		} else {
			daemon_fixture_spawn(&fixture, "--size", "192M", "--commit", "up-front", NULL);
		}
		for (uint64_t turns = draw(3000); turns; turns--)
			sched_yield();
		fill(0);
		int status = daemon_fixture_comes_up(&fixture);
		if (fixture.pid) {
			struct block block = {0};
			empty(); /* so that there is room for a session */
			open_session();
			assert_int_equal(backed(), 192 * MIB);
			assert_int_equal(allocate(64 * MIB, NULL, &block), OK);
			write_secret(&block);
		} else {
			assert_int_equal(status, 1);
			assert_true(daemon_fixture_logged(&fixture, "/dev/shm has") ||
			            daemon_fixture_logged(&fixture, "No space left on device"));
		}
		empty();
		unmap();
		raw_session_close(&session);
		daemon_fixture_stop(&fixture);
	}
}

static void test_ended_during_the_start(void **state)
{
	(void)state;
	umount2("/dev/shm", MNT_DETACH);
	assert_int_equal(mount("none", "/dev/shm", "tmpfs", 0, "size=4G"), 0);
	daemon_fixture_spawn(&fixture, "--size", "2G", "--commit", "up-front", NULL);
	assert_true(daemon_fixture_logged(&fixture, "committing 2G up front"));
	daemon_fixture_terminate(&fixture);
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 0);
	daemon_fixture_stop(&fixture);
}

/* ---- Cleaned ----------------------------------------------------------------------------------------------------- */

static void allocate_batch(struct block *blocks, size_t count)
{
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	uint64_t sizes[BATCH];

	for (size_t i = 0; i < count; i++)
		sizes[i] = 1 + draw(draw(3) ? 3000 : 20000);
	batch.n_size = count;
	batch.size = sizes;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, &request);
	assert_int_equal(reply->status, OK);
	for (size_t i = 0; i < count; i++) {
		blocks[i] = (struct block){.offset = reply->block_batch->offset[i], .granted = reply->block_batch->granted[i]};
		blocks[i].handle = (Shmbuddy__V1__Handle)SHMBUDDY__V1__HANDLE__INIT;
		blocks[i].handle.id = reply->block_batch->first_id + i;
		blocks[i].handle.index = reply->block_batch->index[i];
		blocks[i].handle.incarnation = session.incarnation;
	}
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* Every block that is handed out is clean, and everything that is given back was written to. */
static void churn(int rounds)
{
	static struct block live[100];
	size_t count = 0;

	for (int round = 0; round < rounds; round++) {
		size_t before = count;
		if (draw(10) == 0 && count < 70) {
			allocate_batch(&live[count], BATCH);
			count += BATCH;
		} else if (draw(2) && count < 90) {
			uint64_t size = draw(20) ? 1 + draw(20000) : 1 + draw(4 * MIB);
			count += allocate(size, NULL, &live[count]) == OK;
		} else if (count) {
			size_t which = draw(count);
			give_back(&live[which]);
			live[which] = live[--count];
			before = count;
		}
		for (; before < count; before++) {
			assert_zero(&live[before]);
			write_secret(&live[before]);
		}
	}
	while (count)
		give_back(&live[--count]);
}

static void test_secrets(void **state)
{
	struct block block = {0};

	(void)state;
	daemon_fixture_start(&fixture, "--size", "64M", "--zero", "on-free", "--return-after", "10ms", NULL);
	open_session();
	for (uint64_t size = 64; size <= 64 * MIB; size *= 2) {
		for (int i = 0; i < 3; i++) {
			assert_int_equal(allocate(size, NULL, &block), OK);
			assert_zero(&block);
			write_secret(&block);
			give_back(&block);
		}
	}
	churn(3000);
	/* Of one that dies. */
	raw_session_open(&another, fixture.socket_path, READ_WRITE);
	for (int i = 0; i < 40; i++) {
		Shmbuddy__V1__Reply *reply =
			raw_session_send(&another, 0, ++another.sequence, raw_request_allocate(1 + draw(MIB), NULL));
		assert_int_equal(reply->status, OK);
		memset(base + reply->block->offset, 0xa5, (size_t)reply->block->granted);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	raw_session_close(&another);
	raw_session_wait_for_sessions(&session, 1);
	assert_int_equal(allocate(64 * MIB, NULL, &block), OK);
	assert_zero(&block);
	give_back(&block);
	await_backed(0);
}

/* Whatever the policy was before, whenever it was killed: all that is free is clean before anybody has it. */
static void test_secrets_after_a_kill(void **state)
{
	struct block kept = {0}, block = {0};

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "64M", NULL);
	open_session();
	assert_int_equal(allocate(5000, "kept", &kept), OK);
	write_secret(&kept);
	for (int round = 0; round < 20; round++) {
		bool up_front = round % 5 == 4;
		/* Whatever is there: small ones between others, large ones, freed or lost with their owner. */
		for (int i = 0; i < 50; i++) {
			if (allocate(1 + draw(draw(4) ? 9000 : MIB), NULL, &block) != OK)
				break;
			write_secret(&block);
			if (draw(2))
				give_back(&block);
		}
		if (allocate(16 * MIB, NULL, &block) == OK) {
			write_secret(&block);
			give_back(&block);
		}
		for (uint64_t turns = draw(2000); turns; turns--)
			sched_yield();
		unmap();
		daemon_fixture_kill(&fixture);
		raw_session_close(&session);
		daemon_fixture_restart(&fixture, "--size", "64M", "--zero", round % 3 ? "on-free" : "never", "--return-after", "1ms",
		                       "--commit", up_front ? "up-front" : "on-alloc", NULL);
		open_session();
		assert_secret(&kept);
		if (round % 3) {
			assert_int_equal(allocate(32 * MIB, NULL, &block), OK); /* it waits until so much is clean */
			assert_zero(&block);
			give_back(&block);
			churn(100);
		}
	}
	assert_int_equal(raw_session_unpublish(&session, "kept"), OK);
}

/* ---- Withheld ---------------------------------------------------------------------------------------------------- */

/* There is no room but in what is being cleaned: nobody is told that the pool is full. */
static void test_waits_for_what_is_cleaned(void **state)
{
	struct block block = {0};

	(void)state;
	daemon_fixture_start(&fixture, "--size", "128M", "--zero", "on-free", NULL);
	open_session();
	raw_session_open(&another, fixture.socket_path, READ_WRITE);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(allocate(128 * MIB, NULL, &block), OK);
		assert_int_equal(raw_session_allocate(&another, 1, NULL, NULL), OUT_OF_MEMORY); /* at once: nothing is withheld */
		give_back(&block);
		assert_int_equal(atomic_load(&counters->used), 0); /* withheld is not used */
	}
	/* Two wait at a time, and there is room for one. */
	assert_int_equal(allocate(128 * MIB, NULL, &block), OK);
	give_back(&block);
	Shmbuddy__V1__Request *request = raw_request_allocate(128 * MIB, NULL);
	Shmbuddy__V1__Reply *replies[2];
	request->slot = 1;
	request->sequence = 1;
	assert_int_equal(raw_client_send_request(&session.client, request), 0);
	assert_int_equal(raw_client_send_request(&another.client, request), 0);
	assert_int_equal(raw_client_receive_reply(&session.client, &replies[0]), 0);
	assert_int_equal(raw_client_receive_reply(&another.client, &replies[1]), 0);
	assert_int_equal((replies[0]->status == OK) + (replies[1]->status == OK), 1);
	assert_int_equal((replies[0]->status == OUT_OF_MEMORY) + (replies[1]->status == OUT_OF_MEMORY), 1);
	shmbuddy__v1__reply__free_unpacked(replies[0], NULL);
	shmbuddy__v1__reply__free_unpacked(replies[1], NULL);
}

/* Who waits dies, or the daemon ends. */
static void test_ends_while_waiting(void **state)
{
	struct block block = {0};
	Shmbuddy__V1__Request *request;

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "128M", "--zero", "on-free", NULL);
	open_session();
	for (int i = 0; i < 12; i++) {
		assert_int_equal(allocate(128 * MIB, NULL, &block), OK);
		raw_session_open(&another, fixture.socket_path, READ_WRITE);
		give_back(&block);
		request = raw_request_allocate(128 * MIB, NULL);
		request->slot = 1;
		for (request->sequence = 1; request->slot < 8; request->slot++)
			assert_int_equal(raw_client_send_request(&another.client, request), 0);
		if (i % 4 == 3) {
			daemon_fixture_terminate(&fixture);
			daemon_fixture_restart(&fixture, "--size", "128M", "--zero", "on-free", NULL);
			raw_session_close(&another);
			open_session();
		}
		raw_session_close(&another);
		raw_session_wait_for_sessions(&session, 1);
	}
	assert_int_equal(allocate(128 * MIB, NULL, &block), OK);
}

/* What goes back to the kernel is held for moments, and nobody is refused for it. */
static void test_waits_for_what_goes_back(void **state)
{
	struct block block = {0};

	(void)state;
	daemon_fixture_start(&fixture, "--size", "64M", "--return-after", "1ms", NULL);
	open_session();
	for (int i = 0; i < 60; i++) {
		assert_int_equal(allocate(64 * MIB, NULL, &block), OK);
		give_back(&block);
		uint64_t until = backed() - draw(64) * MIB;
		for (int waited = 0; backed() > until && waited < PATIENCE_MS * 10; waited++)
			sched_yield();
	}
}

/* ---- Filled by somebody else ------------------------------------------------------------------------------------- */

/* Every policy, with little or nothing left at any moment; and what is handed out can be written to. */
static void live_with_little(const char *zero)
{
	static struct block live[60];
	size_t count = 0, served = 0, refused = 0;

	daemon_fixture_start_lasting(&fixture, "--size", "192M", "--return-after", "1ms", "--zero", zero, NULL);
	open_session();
	for (int round = 0; round < 900; round++) {
		if (draw(30) == 0)
			fill(draw(2) ? 0 : draw(4 * MIB));
		if (draw(60) == 0)
			empty();
		if (draw(2) && count < 60) {
			Shmbuddy__V1__Status status = allocate(1 + draw(draw(3) ? 20000 : 4 * MIB), NULL, &live[count]);
			if (status == OK) {
				write_secret(&live[count++]);
				served++;
			} else {
				assert_int_equal(status, OUT_OF_MEMORY);
				refused++;
			}
		} else if (count) {
			size_t which = draw(count);
			assert_secret(&live[which]);
			give_back(&live[which]);
			live[which] = live[--count];
		}
		if (draw(300) == 0) {
			fill(0);
			daemon_fixture_kill(&fixture);
			daemon_fixture_respawn(&fixture, "--size", "192M", "--return-after", "1ms", "--zero", zero, NULL);
			int status = daemon_fixture_comes_up(&fixture);
			if (!fixture.pid) {
				assert_int_equal(status, 1);
				empty();
				daemon_fixture_restart(&fixture, "--size", "192M", "--return-after", "1ms", "--zero", zero, NULL);
			}
			uint64_t sequence = session.sequence;
			assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
			session.sequence = sequence;
		}
	}
	assert_true(served > 0);
	assert_true(refused > 0);
	while (count) {
		assert_secret(&live[--count]);
		give_back(&live[count]);
	}
	empty();
	await_backed(0);
}

static void test_little_left(void **state)
{
	(void)state;
	live_with_little("never");
}

static void test_little_left_and_cleaned(void **state)
{
	(void)state;
	live_with_little("on-free");
}

/* ---- Killed at each commit --------------------------------------------------------------------------------------- */

#ifdef SHMB_COMMIT_TRAP
/* A daemon that stops before its commit number `trap`, at the latest when `bytes` are left. True: it came so far. */
static bool dies_at(uint64_t trap, const char *commit, const char *zero, uint64_t bytes)
{
	char number[24];

	snprintf(number, sizeof number, "%llu", (unsigned long long)trap);
	setenv("SHMB_COMMIT_TRAP", number, 1);
	daemon_fixture_respawn(&fixture, "--size", "16M", "--return-after", "1ms", "--commit", commit, "--zero", zero, NULL);
	unsetenv("SHMB_COMMIT_TRAP");
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		int status;
		if (waitpid(fixture.pid, &status, WNOHANG) == fixture.pid) {
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
			fixture.pid = 0;
			fixture.killed = true;
			return false;
		}
		if (backed() == bytes)
			break;
		poll(NULL, 0, 1);
	}
	assert_int_equal(backed(), bytes);
	daemon_fixture_kill(&fixture);
	return true;
}

/* 4 MiB of dirt, some of it between live blocks, and a block that stays. */
static void leave_dirt(struct block *out_kept)
{
	struct block blocks[64], block = {0};

	daemon_fixture_start_lasting(&fixture, "--size", "16M", "--return-after", "never", NULL);
	open_session();
	assert_int_equal(allocate(100, "kept", out_kept), OK);
	write_secret(out_kept);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(allocate(1000, NULL, &blocks[i]), OK);
		write_secret(&blocks[i]);
	}
	assert_int_equal(allocate(4 * MIB, NULL, &block), OK);
	write_secret(&block);
	give_back(&block);
	for (int i = 0; i < 64; i++)
		give_back(&blocks[i]);
	daemon_fixture_terminate(&fixture);
}

static void kill_at_each(const char *commit, const char *zero)
{
	uint64_t bytes = strcmp(commit, "up-front") == 0 ? 16 * MIB : 4096;
	struct block kept = {0}, block = {0};
	uint64_t trap = 0;
	bool whole = false;

	for (trap = 1; !whole; trap += trap < 20 ? 1 : 7) {
		assert_true(trap < 2000);
		leave_dirt(&kept);
		whole = dies_at(trap, commit, zero, bytes);
		daemon_fixture_restart(&fixture, "--size", "16M", "--return-after", "1ms", "--commit", commit, "--zero", zero, NULL);
		open_session();
		assert_secret(&kept);
		if (strcmp(zero, "on-free") == 0) {
			for (int i = 0; i < 100; i++) {
				assert_int_equal(allocate(1 + draw(60000), NULL, &block), OK);
				assert_zero(&block);
			}
			unmap();
			raw_session_close(&session);
			open_session();
		}
		await_backed(bytes);
		assert_secret(&kept);
		unmap();
		raw_session_close(&session);
		daemon_fixture_stop(&fixture);
	}
	print_message("%s, %s: killed at commits up to %llu\n", commit, zero, (unsigned long long)trap);
	assert_true(trap > 10);
}

static void test_killed_at_each_return(void **state)
{
	(void)state;
	kill_at_each("on-alloc", "never");
}

static void test_killed_at_each_cleaning(void **state)
{
	(void)state;
	kill_at_each("on-alloc", "on-free");
}

static void test_killed_at_each_piece_up_front(void **state)
{
	(void)state;
	kill_at_each("up-front", "never");
}
#endif

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_comes_back),
		TEST(test_comes_back_from_the_dead),
		TEST(test_killed_while_giving_back),
		TEST(test_up_front),
		TEST(test_up_front_later),
		TEST(test_up_front_refused),
		TEST(test_filled_during_the_start),
		TEST(test_ended_during_the_start),
		TEST(test_secrets),
		TEST(test_secrets_after_a_kill),
		TEST(test_waits_for_what_is_cleaned),
		TEST(test_ends_while_waiting),
		TEST(test_waits_for_what_goes_back),
		TEST(test_little_left),
		TEST(test_little_left_and_cleaned),
#ifdef SHMB_COMMIT_TRAP
		TEST(test_killed_at_each_return),
		TEST(test_killed_at_each_cleaning),
		TEST(test_killed_at_each_piece_up_front),
#endif
	};

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		fprintf(stderr, "skipped: no mount namespace of one's own here: %s\n", strerror(errno));
		return 77;
	}
	draw_seed();
	return cmocka_run_group_tests_name("memory_policies", tests, NULL, NULL);
}
