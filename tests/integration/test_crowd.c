/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thousand sessions at once, in four processes. All of them work; half of them say goodbye, half die by kill -9; nothing is
 * left. What an idle client costs the daemon is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(16) << 20)
#define PROCESSES 4
#define SESSIONS 250 /* of each; an even number */
#define BLOCK 4096

/* A socket, a lock's description and a pidfd for each client, and some to spare. */
#define DESCRIPTORS (PROCESSES * SESSIONS * 3 + 200)

static struct daemon_fixture fixture;
static struct client_process processes[PROCESSES];

/* Bytes of memory that the daemon uses by itself. */
static long daemon_memory(void)
{
	char path[64], line[256];
	long kilobytes = 0;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)fixture.pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		sscanf(line, "RssAnon: %ld kB", &kilobytes);
	fclose(file);
	return kilobytes * 1024;
}

/* Bytes of memory behind the pool's objects. */
static long shared_memory(void)
{
	char prefix[64];
	long bytes = 0;
	struct stat status;
	DIR *directory = opendir("/dev/shm");

	assert_non_null(directory);
	snprintf(prefix, sizeof prefix, "shmbuddy.%s", fixture.pool);
	for (struct dirent *entry; (entry = readdir(directory));)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && fstatat(dirfd(directory), entry->d_name, &status, 0) == 0)
			bytes += status.st_blocks * 512;
	closedir(directory);
	return bytes;
}

/* Opens the sessions; on a word uses them all; on another closes them. */
static void be_many(int control, const void *argument)
{
	static shmb_session *sessions[SESSIONS];
	static shmb_block blocks[SESSIONS];
	shmb_connect_options options = {.socket_path = fixture.socket_path};
	shmb_block found;
	char byte = 'c';

	(void)argument;
	for (int i = 0; i < SESSIONS; i++)
		CLIENT_CHECK(shmb_connect(&options, &sessions[i]) == 0);
	client_process_say(control, &byte, 1);
	client_process_hear(control, &byte, 1);
	for (int i = 0; i < SESSIONS; i++) {
		CLIENT_CHECK(shmb_alloc(sessions[i], BLOCK, NULL, &blocks[i]) == 0);
		pattern_write(blocks[i].data, BLOCK, blocks[i].handle.id);
		CLIENT_CHECK(shmb_lookup(sessions[i], "crowd", &found) == 0);
	}
	for (int i = 0; i < SESSIONS; i++) {
		/* what one session wrote, another one of the same process sees */
		const void *seen = shmb_pointer(sessions[SESSIONS - 1 - i], blocks[i].offset);
		CLIENT_CHECK(pattern_matches(seen, BLOCK, blocks[i].handle.id));
		CLIENT_CHECK(shmb_free(sessions[SESSIONS - 1 - i], blocks[i].handle) == -SHMB_E_NOT_HELD);
	}
	client_process_say(control, &byte, 1);
	client_process_hear(control, &byte, 1);
	for (int i = 0; i < SESSIONS; i++)
		shmb_close(sessions[i]);
}

static void hear_from_all(void)
{
	char byte;

	for (int i = 0; i < PROCESSES; i++)
		client_process_receive(&processes[i], &byte, 1);
}

static void tell(int from, int to)
{
	for (int i = from; i < to; i++)
		client_process_send(&processes[i], "g", 1);
}

static void test_a_thousand_sessions(void **state)
{
	const int crowd = PROCESSES * SESSIONS;
	shmb_client_info *clients;
	shmb_session *session;
	shmb_block block;
	size_t count, descriptors;
	long memory, shared;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	session = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, BLOCK, &(shmb_alloc_options){.name = "crowd"}, &block));
	memory = daemon_memory();
	shared = shared_memory();
	descriptors = descriptor_leaks_count(fixture.pid);

	for (int i = 0; i < PROCESSES; i++)
		client_process_start(&processes[i], be_many, NULL);
	hear_from_all();
	assert_int_equal(pool_session_status(session).clients, crowd + 1);
	print_message("an idle client costs the daemon %ld bytes of its own and %ld of shared memory\n",
	              (daemon_memory() - memory) / crowd, (shared_memory() - shared) / crowd);

	tell(0, PROCESSES);
	hear_from_all();
	assert_int_equal(pool_session_status(session).blocks, crowd + 1);
	pool_session_recount(session);
	assert_ok(shmb_list_clients(session, &clients, &count));
	assert_int_equal(count, crowd + 1);
	for (size_t i = 1; i < count; i++)
		assert_true(clients[i].connected && clients[i].blocks == 2 && clients[i].session > clients[i - 1].session);
	free(clients);
	shmb_holder_info *holders;
	assert_ok(shmb_list_holders(session, block.handle.id, &holders, &count));
	assert_int_equal(count, crowd + 1);
	free(holders);

	for (int i = 0; i < PROCESSES / 2; i++)
		client_process_kill(&processes[i]);
	tell(PROCESSES / 2, PROCESSES);
	for (int i = PROCESSES / 2; i < PROCESSES; i++)
		assert_int_equal(client_process_reap(&processes[i]), 0);
	pool_session_await_clients(session, 1);
	descriptor_leaks_assert(fixture.pid, descriptors);
	assert_ok(shmb_unpublish(session, "crowd"));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
	shmb_close(session);
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < PROCESSES; i++)
		client_process_end(&processes[i]);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_thousand_sessions, tear_down),
	};
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < DESCRIPTORS) {
		fprintf(stderr, "skipped: %d descriptors are needed, the hard limit is %ld\n", DESCRIPTORS, (long)limit.rlim_max);
		return 77;
	}
	if (limit.rlim_cur < DESCRIPTORS)
		limit.rlim_cur = DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
	return cmocka_run_group_tests_name("crowd", tests, NULL, NULL);
}
