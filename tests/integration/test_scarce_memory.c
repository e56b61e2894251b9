/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A /dev/shm that is missing, too small, or full: what does not fit is refused at the start, with the figure and the remedy;
 * with --overcommit it is refused when it is asked for; and nobody gets SIGBUS. In a mount namespace of the test's own.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define OUT_OF_MEMORY SHMBUDDY__V1__STATUS__OUT_OF_MEMORY
#define KERNEL SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED;

static void mount_shared_memory(const char *options)
{
	assert_int_equal(mount("none", "/dev/shm", "tmpfs", 0, options), 0);
}

static int teardown(void **state)
{
	(void)state;
	raw_session_close(&session);
	daemon_fixture_stop(&fixture);
	umount2("/dev/shm", MNT_DETACH);
	return 0;
}

static uint64_t room(void)
{
	struct statvfs status;

	assert_int_equal(statvfs("/dev/shm", &status), 0);
	return (uint64_t)status.f_bavail * status.f_frsize;
}

static int filler = -1;

/* Somebody else takes all that is left but `spare` bytes. */
static void fill(uint64_t spare)
{
	uint64_t left = room();

	if (filler < 0)
		filler = open("/dev/shm/somebody-else", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(filler >= 0);
	off_t size = lseek(filler, 0, SEEK_END);
	if (left > spare)
		assert_int_equal(fallocate(filler, 0, size, (off_t)(left - spare)), 0);
}

static void empty(void)
{
	close(filler);
	filler = -1;
	unlink("/dev/shm/somebody-else");
}

static void expect_refused_start(const char *figure, const char *remedy)
{
	assert_int_equal(daemon_fixture_wait(&fixture), 1);
	assert_true(daemon_fixture_logged(&fixture, figure));
	assert_true(daemon_fixture_logged(&fixture, remedy));
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 0);
}

/* The allocation is refused by the kernel, with what it had left. */
static void expect_refused(uint64_t size)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, raw_request_allocate(size, NULL));

	assert_int_equal(reply->status, OUT_OF_MEMORY);
	assert_non_null(reply->out_of_memory);
	assert_int_equal(reply->out_of_memory->limit, KERNEL);
	assert_int_equal(reply->out_of_memory->requested, size);
	assert_true(reply->out_of_memory->granted >= size);
	assert_true(reply->out_of_memory->longest_free >= size); /* the segment would have had it */
	assert_true(reply->out_of_memory->kernel_free < size + 8192);
	assert_non_null(strstr(reply->text, "/dev/shm has"));
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* What was handed out can be written to: to the last byte, without a signal. */
static void write_all(const Shmbuddy__V1__Block *block)
{
	uint8_t *base = mmap(NULL, session.size, PROT_READ | PROT_WRITE, MAP_SHARED, session.segment, 0);

	assert_ptr_not_equal(base, MAP_FAILED);
	memset(base + block->offset, 0x5a, block->granted);
	munmap(base, session.size);
}

static void allocate_and_write(uint64_t size, Shmbuddy__V1__Handle *out_handle)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, raw_request_allocate(size, NULL));

	assert_int_equal(reply->status, OK);
	write_all(reply->block);
	*out_handle = *reply->block->handle;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* ---- Growing ---------------------------------------------------------------------------------------------------- */

/* A pool that is there, and has no room for what it is to grow to, stays as it is; and is there for a size that fits. */
static void test_no_room_to_grow(void **state)
{
	(void)state;
	mount_shared_memory("size=4M");
	daemon_fixture_start_lasting(&fixture, "--size", "1M", "--max-size", "64M", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&session, 4096, "kept", NULL), OK);
	raw_session_close(&session);
	daemon_fixture_kill(&fixture);
	daemon_fixture_respawn(&fixture, "--size", "16M", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 1);
	assert_true(daemon_fixture_logged(&fixture, "a segment of 16M does not fit into /dev/shm, which holds 4M"));
	assert_int_equal(daemon_fixture_shared_objects(&fixture), 3);
	static const char *const sizes[] = {"1M", "2M", "4M"};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		daemon_fixture_restart(&fixture, "--size", sizes[i], NULL);
		raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		assert_int_equal(session.size, UINT64_C(1) << (20 + i));
		assert_int_equal(raw_session_lookup(&session, "kept", NULL), OK);
		raw_session_close(&session);
		daemon_fixture_kill(&fixture);
	}
	daemon_fixture_restart(&fixture, "--size", "16M", "--overcommit", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_lookup(&session, "kept", NULL), OK);
	expect_refused(8 << 20);
}

/* ---- At the start ----------------------------------------------------------------------------------------------- */

static void test_too_small(void **state)
{
	(void)state;
	mount_shared_memory("size=1M");
	daemon_fixture_spawn(&fixture, NULL);
	expect_refused_start("a segment of 16M does not fit into /dev/shm, which holds 1M",
	                     "choose a smaller --size, enlarge it");
}

/* Large enough for the segment by its size, but not for the tables with what others have put there. */
static void test_full_at_the_start(void **state)
{
	(void)state;
	unsigned refused = 0, served = 0;
	for (uint64_t spare = 0; spare <= 256 << 10; spare += 8192) {
		mount_shared_memory("size=32M");
		fill(spare);
		daemon_fixture_spawn(&fixture, NULL);
		int status, ended = 0;
		while (!ended && raw_client_open(&session.client, fixture.socket_path) != 0) {
			ended = waitpid(fixture.pid, &status, WNOHANG);
			poll(NULL, 0, 1);
		}
		if (ended) {
			fixture.pid = 0;
			refused++;
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 1);
			assert_true(daemon_fixture_logged(&fixture, "No space left on device"));
		} else {
			/* It has room for itself; perhaps not for a session. */
			Shmbuddy__V1__Reply *reply;
			served++;
			assert_int_equal(raw_client_hello(&session.client, &reply), 0);
			assert_true(reply->status == OK || reply->status == SHMBUDDY__V1__STATUS__SYSTEM);
			shmbuddy__v1__reply__free_unpacked(reply, NULL);
		}
		raw_client_close(&session.client);
		empty();
		daemon_fixture_stop(&fixture);
		umount2("/dev/shm", MNT_DETACH);
	}
	assert_true(refused > 0);
	assert_true(served > 0);
}

static void test_read_only(void **state)
{
	(void)state;
	mount_shared_memory("size=1M,ro");
	daemon_fixture_spawn(&fixture, NULL);
	expect_refused_start("cannot make shared memory", "Read-only file system");
}

static void test_missing(void **state)
{
	(void)state;
	assert_int_equal(mount("none", "/dev", "tmpfs", 0, NULL), 0);
	daemon_fixture_spawn(&fixture, NULL);
	int status = daemon_fixture_wait(&fixture);
	assert_int_equal(umount2("/dev", MNT_DETACH), 0);
	mount_shared_memory("size=1M");
	assert_int_equal(status, 1);
	assert_true(daemon_fixture_logged(&fixture, "there is no POSIX shared memory here: mount a tmpfs on /dev/shm"));
}

/* ---- Overcommitted ---------------------------------------------------------------------------------------------- */

static void test_overcommit(void **state)
{
	Shmbuddy__V1__Handle block, small;

	(void)state;
	mount_shared_memory("size=4M");
	daemon_fixture_start(&fixture, "--overcommit", "--size", "64M", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	expect_refused(16 << 20);
	expect_refused(64 << 20);
	/* After that a smaller one succeeds, and all of it can be written to. */
	allocate_and_write(2 << 20, &block);
	expect_refused(3 << 20);
	allocate_and_write(4096, &small);
	assert_int_equal(raw_session_free(&session, &block), OK);
	allocate_and_write(2 << 20, &block);
}

/* A batch that does not fit as a whole takes nothing. */
static void test_overcommitted_batch(void **state)
{
	uint64_t sizes[64];
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Handle block;

	(void)state;
	mount_shared_memory("size=4M");
	daemon_fixture_start(&fixture, "--overcommit", "--size", "64M", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	for (size_t i = 0; i < 64; i++)
		sizes[i] = 256 << 10;
	batch.n_size = 64;
	batch.size = sizes;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, &request);
	assert_int_equal(reply->status, OUT_OF_MEMORY);
	assert_int_equal(reply->out_of_memory->limit, KERNEL);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	allocate_and_write(2 << 20, &block);
}

/* Who is subscribed to memory pressure hears of the kernel's refusals, behind the answer. */
static void test_a_refusal_is_told_to_subscribers(void **state)
{
	Shmbuddy__V1__Reply *reply;

	(void)state;
	mount_shared_memory("size=4M");
	daemon_fixture_start(&fixture, "--overcommit", "--size", "64M", NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_subscribe(&session, 1u << SHMBUDDY__V1__EVENT_KIND__EVENT_PRESSURE, ""), OK);
	expect_refused(8 << 20);
	assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
	assert_int_equal(reply->sequence, 0);
	assert_non_null(reply->event);
	assert_int_equal(reply->event->kind, SHMBUDDY__V1__EVENT_KIND__EVENT_PRESSURE);
	assert_int_equal(reply->event->pressure, SHMBUDDY__V1__PRESSURE__PRESSURE_KERNEL);
	assert_int_equal(reply->event->bytes, 8 << 20);
	assert_int_equal(reply->event->session, session.number);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* ---- Filled by somebody else ------------------------------------------------------------------------------------ */

/* Not a byte is left: whatever is asked for is answered, nothing that is given back fails, and later all is well again. */
static void test_filled_meanwhile(void **state)
{
	Shmbuddy__V1__Handle block, found, another;
	char name[32];

	(void)state;
	mount_shared_memory("size=32M");
	daemon_fixture_start(&fixture, NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	allocate_and_write(1 << 20, &block);
	assert_int_equal(raw_session_publish(&session, &block, "there"), OK);
	fill(0);
	expect_refused(8 << 20);
	expect_refused(2 << 20);

	/* Names that fall on every page of the index, most of which nobody has touched. */
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof name, "nobody-%d", i);
		assert_int_equal(raw_session_lookup(&session, name, NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
		assert_int_equal(raw_session_unpublish(&session, name), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	}
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "new-%d", i);
		Shmbuddy__V1__Status status = raw_session_publish(&session, &block, name);
		assert_true(status == OK || status == SHMBUDDY__V1__STATUS__LIMIT || status == OUT_OF_MEMORY);
	}
	/* Small blocks, until the table of blocks or the segment's committed pages end. */
	Shmbuddy__V1__Status status = OK;
	for (int i = 0; i < 20000 && status == OK; i++)
		status = raw_session_allocate(&session, 64, NULL, NULL);
	assert_int_equal(status, OUT_OF_MEMORY);
	status = raw_session_lookup(&session, "there", &found);
	assert_true(status == OK || status == SHMBUDDY__V1__STATUS__LIMIT || status == OUT_OF_MEMORY);

	/* More sessions than the table has pages for: some are refused, the others served. */
	struct raw_client clients[40];
	size_t greeted = 0;
	for (size_t i = 0; i < 40; i++) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_open(&clients[i], fixture.socket_path), 0);
		assert_int_equal(raw_client_hello(&clients[i], &reply), 0);
		assert_true(reply->status == OK || reply->status == SHMBUDDY__V1__STATUS__SYSTEM);
		greeted += reply->status == OK;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	assert_true(greeted < 40);
	for (size_t i = 0; i < 40; i++)
		raw_client_close(&clients[i]);
	raw_session_wait_for_sessions(&session, 1);

	/* Giving back always works; and when the other has gone, so does the rest. */
	if (status == OK)
		assert_int_equal(raw_session_free(&session, &found), OK);
	assert_int_equal(raw_session_free(&session, &block), OK);
	assert_int_equal(raw_session_unpublish(&session, "there"), OK);
	empty();
	allocate_and_write(8 << 20, &another);
	assert_int_equal(raw_session_free(&session, &another), OK);
	assert_int_equal(raw_session_ping(&session), OK);
}

/* Taken away between two allocations of one client, again and again, with little left each time. */
static void test_little_left(void **state)
{
	Shmbuddy__V1__Handle block;

	(void)state;
	mount_shared_memory("size=32M");
	daemon_fixture_start(&fixture, NULL);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	for (uint64_t spare = 0; spare <= 128 << 10; spare += 4096) {
		fill(spare);
		Shmbuddy__V1__Reply *reply = raw_session_send(&session, 0, ++session.sequence, raw_request_allocate(64 << 10, NULL));
		assert_true(reply->status == OK || reply->status == OUT_OF_MEMORY);
		if (reply->status == OK)
			write_all(reply->block);
		else
			assert_int_equal(reply->out_of_memory->limit, KERNEL);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		empty();
	}
	allocate_and_write(4 << 20, &block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_too_small, teardown),
		cmocka_unit_test_teardown(test_read_only, teardown),
		cmocka_unit_test_teardown(test_missing, teardown),
		cmocka_unit_test_teardown(test_full_at_the_start, teardown),
		cmocka_unit_test_teardown(test_overcommit, teardown),
		cmocka_unit_test_teardown(test_overcommitted_batch, teardown),
		cmocka_unit_test_teardown(test_a_refusal_is_told_to_subscribers, teardown),
		cmocka_unit_test_teardown(test_filled_meanwhile, teardown),
		cmocka_unit_test_teardown(test_little_left, teardown),
		cmocka_unit_test_teardown(test_no_room_to_grow, teardown),
	};

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		fprintf(stderr, "skipped: no mount namespace of one's own here: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests_name("scarce_memory", tests, NULL, NULL);
}
