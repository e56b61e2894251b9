/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a pool without asking its daemon: beside one that is hard at work, stopped, killed in the middle, ended or started
 * again; a view that is damaged; a /dev/shm that is full. A block's tag says its size, and so does a name, so that half of one
 * record and half of another would be noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"
#include "tests/unit/draw.h"
#include "view_layout.h"

#define CHURNERS 3
#define HELD 96        /* blocks that a churner holds at most, singles and batches alike */
#define STAYING 40     /* blocks that live all the while: half of them by a name, half held by `online` */
#define SNAPSHOTS 3000 /* beside a daemon at work */
#define STARTS 20      /* of a daemon, watched */
#define DEATHS 8       /* of the daemon, at work */
#define DAMAGES 2000   /* of the view, a byte each */

/* Whole block records in the first piece of their table that the daemon commits. */
#define RECORDS_OF_64K ((int)(65536 / sizeof(struct block_record)))

/* Named blocks at most that churners have not taken the name from: one each, and one each at every death of the daemon. */
#define NAMED (CHURNERS * (DEATHS + 1))

static struct daemon_fixture fixture;
static struct client_process churners[CHURNERS];
static shmb_session *online, *offline;
static shmb_block_info staying[STAYING];

static shmb_session *open_offline(const struct daemon_fixture *daemon)
{
	const shmb_connect_options options = {.pool = daemon->pool, .access = SHMB_OFFLINE};
	shmb_session *session;

	assert_ok(shmb_connect(&options, &session));
	return session;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < CHURNERS; i++)
		client_process_end(&churners[i]);
	shmb_close(offline);
	offline = NULL;
	if (fixture.pid)
		kill(fixture.pid, SIGCONT);
	shmb_close(online);
	online = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

/* ---- A pool at work --------------------------------------------------------------------------------------------- */

/* Whatever the daemon refuses is as good; when it is gone, so are we. */
static bool gone(int result)
{
	return result == -SHMB_E_DISCONNECTED || result == -SHMB_E_NO_DAEMON;
}

struct churner {
	shmb_session *session;
	shmb_block held[HELD];
	size_t count;
	uint64_t names;
};

static int allocate_one(struct churner *churner)
{
	uint64_t size = 1 + draw(draw(4) ? 300 : 60000);
	char tag[SHMB_TAG_MAX + 1], name[64];
	const shmb_alloc_options options = {.tag = tag, .name = draw(3) ? NULL : name};
	int result;

	snprintf(tag, sizeof tag, "%" PRIu64, size);
	snprintf(name, sizeof name, "%" PRIu64 " of %ld", size, (long)getpid());
	result = shmb_alloc(churner->session, size, &options, &churner->held[churner->count]);
	churner->count += result == 0;
	if (result == 0 && options.name)
		result = shmb_unpublish(churner->session, name);
	return result;
}

/* Sizes from the one in the tag on. */
static int allocate_batch(struct churner *churner)
{
	uint64_t sizes[HELD], first = 1 + draw(2000);
	size_t count = 1 + draw(HELD - churner->count);
	char tag[SHMB_TAG_MAX + 1];
	const shmb_alloc_options options = {.tag = tag};
	int result;

	snprintf(tag, sizeof tag, "%" PRIu64 "+", first);
	for (size_t i = 0; i < count; i++)
		sizes[i] = first + i;
	result = shmb_alloc_batch(churner->session, sizes, count, &options, &churner->held[churner->count]);
	churner->count += result == 0 ? count : 0;
	return result;
}

static int free_some(struct churner *churner)
{
	size_t count = 1 + draw(churner->count);
	shmb_handle handles[HELD];
	int result;

	for (size_t i = 0; i < count; i++) {
		size_t which = draw(churner->count);

		handles[i] = churner->held[which].handle;
		churner->held[which] = churner->held[--churner->count];
	}
	result = count == 1 ? shmb_free(churner->session, handles[0]) : shmb_free_batch(churner->session, handles, count);
	CLIENT_CHECK(result == 0 || gone(result));
	return result;
}

static void churn(int control, const void *argument)
{
	const struct daemon_fixture *daemon = argument;
	const shmb_connect_options options = {.socket_path = daemon->socket_path, .pool = daemon->pool, .reconnect_ms = 1};
	struct churner churner = {0};
	int result = 0;

	draw_state ^= (uint64_t)getpid() * UINT64_C(0x9e3779b97f4a7c15);
	CLIENT_CHECK(shmb_connect(&options, &churner.session) == 0);
	CLIENT_CHECK(client_process_say(control, "r", 1));
	while (!gone(result)) {
		if (churner.count == HELD || (churner.count && draw(2)))
			result = free_some(&churner);
		else
			result = draw(2) ? allocate_one(&churner) : allocate_batch(&churner);
	}
}

static void start_churners(void)
{
	char ready;

	for (int i = 0; i < CHURNERS; i++)
		client_process_start(&churners[i], churn, &fixture);
	for (int i = 0; i < CHURNERS; i++)
		client_process_receive(&churners[i], &ready, 1);
}

static void make_staying(void)
{
	for (int i = 0; i < STAYING; i++) {
		char tag[SHMB_TAG_MAX + 1], name[32];
		uint64_t size = 100 + (uint64_t)i * 50;
		const shmb_alloc_options options = {.tag = tag, .name = i % 2 ? name : NULL};
		shmb_block block;

		snprintf(tag, sizeof tag, "%" PRIu64, size);
		snprintf(name, sizeof name, "%" PRIu64 " stays", size);
		assert_ok(shmb_alloc(online, size, &options, &block));
		if (i % 2)
			assert_ok(shmb_free(online, block.handle));
		assert_ok(shmb_find_block(online, block.handle.id, &staying[i]));
	}
}

/* ---- What a picture must be like -------------------------------------------------------------------------------- */

static int by_offset(const void *left, const void *right)
{
	uint64_t a = ((const shmb_block_info *)left)->offset, b = ((const shmb_block_info *)right)->offset;

	return (a > b) - (a < b);
}

static void check_blocks(shmb_session *session)
{
	CLEANUP_FREE shmb_block_info *blocks = NULL;
	shmb_status status;
	uint64_t used = 0, end = 0;
	size_t count, found = 0;

	assert_ok(shmb_list_blocks(session, &blocks, &count));
	assert_ok(shmb_get_status(session, &status));
	assert_true(count >= STAYING && count <= STAYING + CHURNERS * HELD + NAMED);
	for (size_t i = 0; i < count; i++) {
		const shmb_block_info *block = &blocks[i];
		char *more;
		uint64_t size = strtoull(block->tag, &more, 10);

		if (*more == '+' ? block->size < size || block->size >= size + HELD : block->size != size)
			fail_msg("block %" PRIu64 ", tag %s, has %" PRIu64 " bytes", block->handle.id, block->tag, block->size);
		assert_true(block->granted >= block->size && block->granted % status.unit == 0);
		assert_int_equal(block->uid, geteuid());
		used += block->granted;
		for (int n = 0; n < STAYING; n++)
			if (staying[n].handle.id == block->handle.id) {
				assert_memory_equal(block, &staying[n], offsetof(shmb_block_info, owner));
				found++;
			}
	}
	assert_int_equal(found, STAYING);
	assert_true(used <= status.size);
	qsort(blocks, count, sizeof *blocks, by_offset);
	for (size_t i = 0; i < count; i++) {
		if (blocks[i].offset < end)
			fail_msg("block %" PRIu64 " overlaps block %" PRIu64, blocks[i].handle.id, blocks[i - 1].handle.id);
		end = blocks[i].offset + blocks[i].granted;
	}
	assert_true(end <= status.size);
}

static int by_name(const void *left, const void *right)
{
	return strcmp(((const shmb_name_info *)left)->name, ((const shmb_name_info *)right)->name);
}

static void check_names(shmb_session *session)
{
	CLEANUP_FREE shmb_name_info *names = NULL;
	size_t count, found = 0;

	assert_ok(shmb_list_names(session, &names, &count));
	assert_true(count >= STAYING / 2 && count <= STAYING / 2 + NAMED);
	qsort(names, count, sizeof *names, by_name);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(strtoull(names[i].name, NULL, 10), names[i].length);
		if (i)
			assert_string_not_equal(names[i].name, names[i - 1].name);
		for (int n = 1; n < STAYING; n += 2)
			found += names[i].block == staying[n].handle.id;
	}
	assert_int_equal(found, STAYING / 2);
}

static void check(shmb_session *session)
{
	shmb_block_info block;

	check_blocks(session);
	check_names(session);
	assert_ok(shmb_find_block(session, staying[1].handle.id, &block));
	assert_memory_equal(&block, &staying[1], offsetof(shmb_block_info, owner));
}

/* ---- Daemons ---------------------------------------------------------------------------------------------------- */

static void test_at_work(void **state)
{
	shmb_status before, after;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	online = pool_session_open(&fixture);
	make_staying();
	offline = open_offline(&fixture);
	start_churners();
	before = pool_session_status(offline);
	assert_int_equal(before.daemon_pid, fixture.pid);
	assert_int_equal(before.clients, 1 + CHURNERS); /* we are none */
	for (int i = 0; i < SNAPSHOTS; i++)
		check(i % 8 ? offline : online);
	after = pool_session_status(offline);
	assert_true(after.allocations > before.allocations);
	for (int i = 0; i < CHURNERS; i++)
		client_process_kill(&churners[i]);
	pool_session_await_clients(online, 1);
	check(offline);
	pool_session_recount(offline);
}

static void test_stopped(void **state)
{
	siginfo_t info;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	online = pool_session_open(&fixture);
	make_staying();
	start_churners();
	assert_int_equal(kill(fixture.pid, SIGSTOP), 0);
	assert_int_equal(waitid(P_PID, (id_t)fixture.pid, &info, WSTOPPED), 0);
	offline = open_offline(&fixture);
	for (int i = 0; i < 100; i++)
		check(offline);
	assert_int_equal(pool_session_status(offline).daemon_pid, fixture.pid);
	assert_int_equal(kill(fixture.pid, SIGCONT), 0);
}

/* A pool that is being made is none yet; as soon as it is one, it is whole. */
static void test_starting(void **state)
{
	int not_yet = 0;

	(void)state;
	for (int round = 0; round < STARTS; round++) {
		shmb_connect_options options = {.access = SHMB_OFFLINE};
		int result;

		daemon_fixture_spawn(&fixture, NULL);
		options.pool = fixture.pool;
		while ((result = shmb_connect(&options, &offline)) < 0) {
			assert_int_equal(result, -SHMB_E_NO_SUCH_POOL);
			not_yet++;
		}
		assert_int_equal(pool_session_status(offline).blocks, 0);
		pool_session_recount(offline);
		assert_int_equal(daemon_fixture_comes_up(&fixture), 0);
		shmb_close(offline);
		offline = NULL;
		daemon_fixture_stop(&fixture);
	}
	assert_true(not_yet > 0);
}

/* Killed at any instruction, and read before and after the next one has taken over, by one session all the time. */
static void test_killed(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, NULL);
	for (int death = 0; death < DEATHS; death++) {
		shmb_session *fresh;

		online = pool_session_open(&fixture);
		if (death == 0)
			make_staying();
		else
			for (int i = 0; i < STAYING; i += 2) { /* their holder's session ended with it: they are made anew */
				shmb_block block;
				char tag[SHMB_TAG_MAX + 1];
				const shmb_alloc_options options = {.tag = tag};

				snprintf(tag, sizeof tag, "%" PRIu64, staying[i].size);
				assert_ok(shmb_alloc(online, staying[i].size, &options, &block));
				assert_ok(shmb_find_block(online, block.handle.id, &staying[i]));
			}
		if (!offline)
			offline = open_offline(&fixture);
		start_churners();
		for (uint64_t i = 0, rounds = 1 + draw(40); i < rounds; i++)
			check(offline);
		daemon_fixture_kill(&fixture);
		check(offline);
		fresh = open_offline(&fixture);
		check(fresh);
		shmb_close(fresh);
		for (int i = 0; i < CHURNERS; i++)
			assert_int_equal(client_process_reap(&churners[i]), 0);
		shmb_close(online);
		online = NULL;
		daemon_fixture_restart(&fixture, NULL);
	}
}

/*
 * A daemon that takes over finds the end of a table by its last page that was written. Where a record begins at the end of that
 * page, the counter speaks of one whose other half has no memory.
 */
static void test_taken_over(void **state)
{
	uint64_t sizes[RECORDS_OF_64K];
	shmb_block blocks[RECORDS_OF_64K];
	shmb_block_info *listed;
	size_t count;

	(void)state;
	daemon_fixture_start_lasting(&fixture, NULL);
	online = pool_session_open(&fixture);
	for (int i = 0; i < RECORDS_OF_64K; i++)
		sizes[i] = 64;
	assert_ok(shmb_alloc_batch(online, sizes, RECORDS_OF_64K, NULL, blocks));
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, NULL);
	offline = open_offline(&fixture);
	assert_ok(shmb_list_blocks(offline, &listed, &count));
	assert_int_equal(count, RECORDS_OF_64K);
	free(listed);
	pool_session_recount(offline);
}

static void test_ended(void **state)
{
	shmb_status before, after;

	(void)state;
	daemon_fixture_start_lasting(&fixture, NULL);
	online = pool_session_open(&fixture);
	make_staying();
	before = pool_session_status(online);
	daemon_fixture_terminate(&fixture);
	offline = open_offline(&fixture);
	check(offline);
	after = pool_session_status(offline);
	assert_memory_equal(&before, &after, sizeof before);
	pool_session_recount(offline);
}

/* ---- Damage ----------------------------------------------------------------------------------------------------- */

static uint8_t *map_view(size_t *out_size)
{
	struct stat status;

	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&fixture, ".view");
	assert_int_equal(fstat(fd, &status), 0);
	uint8_t *base = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	*out_size = (size_t)status.st_size;
	return base;
}

/* Somewhere in the header, the counters, the first names or the first blocks. */
static uint64_t draw_place(const struct view_header *header)
{
	switch (draw(4)) {
	case 0: return draw(sizeof *header);
	case 1: return VIEW_COUNTERS_AT + draw(sizeof(struct view_counters));
	case 2: return header->names_at + draw(4 * sizeof(struct name_record));
	default: return header->blocks_at + draw((STAYING + 2) * sizeof(struct block_record));
	}
}

/*
 * Every record that is believed is right, but for its owner: which of its two bodies counts is a bit that no checksum covers, and
 * the other one has the former owner. Which records are there, the damage may have changed.
 */
static void look_at_damage(void)
{
	const shmb_connect_options options = {.pool = fixture.pool, .access = SHMB_OFFLINE};
	shmb_block_info *blocks = NULL, block;
	shmb_name_info *names = NULL;
	shmb_session *session;
	shmb_status status;
	size_t count;
	int result = shmb_connect(&options, &session);

	if (result < 0) {
		assert_true(result == -SHMB_E_CORRUPT || result == -SHMB_E_VERSION);
		return;
	}
	assert_ok(shmb_get_status(session, &status));
	result = shmb_list_blocks(session, &blocks, &count);
	if (result == 0)
		for (size_t i = 0; i < count; i++) {
			int n = 0;

			while (n < STAYING && staying[n].handle.id != blocks[i].handle.id)
				n++;
			assert_true(n < STAYING);
			assert_memory_equal(&blocks[i], &staying[n], offsetof(shmb_block_info, owner));
			assert_string_equal(blocks[i].tag, staying[n].tag);
		}
	else
		assert_int_equal(result, -SHMB_E_CORRUPT);
	result = shmb_list_names(session, &names, &count);
	if (result == 0)
		for (size_t i = 0; i < count; i++)
			assert_int_equal(strtoull(names[i].name, NULL, 10), names[i].length);
	else
		assert_int_equal(result, -SHMB_E_CORRUPT);
	result = shmb_find_block(session, staying[0].handle.id, &block);
	assert_true(result == 0 || result == -SHMB_E_CORRUPT || result == -SHMB_E_NO_SUCH_BLOCK);
	free(blocks);
	free(names);
	shmb_close(session);
}

static void test_damaged(void **state)
{
	size_t size;
	uint8_t *base;

	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "256K", "--max-names", "64", "--max-sessions", "8", NULL);
	online = pool_session_open(&fixture);
	make_staying();
	daemon_fixture_terminate(&fixture);
	base = map_view(&size);
	look_at_damage(); /* there is none yet */
	for (int i = 0; i < DAMAGES; i++) {
		uint64_t at = draw_place((const struct view_header *)base);
		uint8_t was = base[at];

		assert_true(at < size);
		base[at] = (uint8_t)(draw(2) ? was ^ 1u << draw(8) : draw(256));
		look_at_damage();
		base[at] = was;
	}
	munmap(base, size);
}

/* ---- A full /dev/shm -------------------------------------------------------------------------------------------- */

static uint64_t backed(void)
{
	struct stat status;
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.view", fixture.pool);
	assert_int_equal(stat(path, &status), 0);
	return (uint64_t)status.st_blocks;
}

static void fill_shared_memory(void)
{
	struct statvfs status;
	CLEANUP_CLOSE int fd = open("/dev/shm/somebody-else", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(statvfs("/dev/shm", &status), 0);
	assert_int_equal(fallocate(fd, 0, 0, (off_t)(status.f_bavail * status.f_frsize)), 0);
}

static int leave_full(void **state)
{
	int result = teardown(state);

	umount2("/dev/shm", MNT_DETACH);
	return result;
}

/* Every page that reading would add is one too many, and the kernel would say so with SIGBUS. */
static void test_full(void **state)
{
	shmb_session *other;
	shmb_connect_options options = {.access = SHMB_OFFLINE, .pool = "nobody"};
	uint64_t before;

	(void)state;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", "/dev/shm", "tmpfs", 0, "size=32M") != 0)
		skip();
	assert_int_equal(shmb_connect(&options, &other), -SHMB_E_NO_SUCH_POOL);
	assert_non_null(strstr(shmb_last_error(), "nor that of any other"));
	daemon_fixture_start(&fixture, NULL);
	before = backed();
	offline = open_offline(&fixture); /* before a record was used */
	assert_int_equal(pool_session_status(offline).blocks, 0);
	pool_session_recount(offline);
	assert_int_equal(backed(), before);

	online = pool_session_open(&fixture);
	make_staying();
	fill_shared_memory();
	before = backed();
	check(offline);
	other = open_offline(&fixture);
	check(other);
	shmb_close(other);
	daemon_fixture_kill(&fixture);
	other = open_offline(&fixture);
	check(other);
	pool_session_recount(other);
	shmb_close(other);
	assert_int_equal(backed(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_starting, teardown),   cmocka_unit_test_teardown(test_at_work, teardown),
		cmocka_unit_test_teardown(test_stopped, teardown),    cmocka_unit_test_teardown(test_killed, teardown),
		cmocka_unit_test_teardown(test_taken_over, teardown), cmocka_unit_test_teardown(test_ended, teardown),
		cmocka_unit_test_teardown(test_damaged, teardown),    cmocka_unit_test_teardown(test_full, leave_full),
	};

	draw_seed();
	return cmocka_run_group_tests_name("without_daemon", tests, NULL, NULL);
}
