/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library is a polite guest in its process: it starts no thread, touches no signal, prints nothing, keeps its descriptors
 * to itself, and leaves when it is asked to, whether or not the daemon is still there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

static struct daemon_fixture fixture;
static shmb_session *session;

static int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

/* What a guest could change. */
struct house {
	struct sigaction actions[65];
	sigset_t mask;
	size_t threads;
	size_t descriptors;
};

static size_t count_threads(void)
{
	DIR *directory = opendir("/proc/self/task");
	size_t count = 0;

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void look(struct house *out_house)
{
	memset(out_house, 0, sizeof *out_house);
	for (int number = 1; number <= 64; number++)
		sigaction(number, NULL, &out_house->actions[number]); /* 32 and 33 are glibc's own */
	sigprocmask(SIG_SETMASK, NULL, &out_house->mask);
	out_house->threads = count_threads();
	out_house->descriptors = descriptor_leaks_count(0);
}

static void assert_as_before(const struct house *before)
{
	struct house now;

	look(&now);
	for (int number = 1; number <= 64; number++) {
		assert_true(now.actions[number].sa_handler == before->actions[number].sa_handler);
		assert_int_equal(now.actions[number].sa_flags, before->actions[number].sa_flags);
		assert_int_equal(sigismember(&now.mask, number), sigismember(&before->mask, number));
	}
	assert_int_equal(now.threads, before->threads);
}

/* All of ours beyond the standard streams. */
static void assert_all_close_on_exec(void)
{
	DIR *directory = opendir("/proc/self/fd");

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));) {
		char path[300], target[300] = "";
		int fd = atoi(entry->d_name);

		snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
		if (fd <= STDERR_FILENO || readlink(path, target, sizeof target - 1) < 0)
			continue;
		if (strncmp(target, "socket:", 7) == 0 || strstr(target, "shmbuddy") || strstr(target, "/dev/shm"))
			if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
				fail_msg("descriptor %d, %s, would be inherited by other programs", fd, target);
	}
	closedir(directory);
}

static bool maps_a_pool(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[1000];
	bool found = false;

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps))
		found = found || strstr(line, "/shmbuddy.");
	fclose(maps);
	return found;
}

/* Everything once, with what goes wrong too. */
static void use_everything(void)
{
	shmb_client_info *clients;
	shmb_block block, found;
	shmb_block_info info;
	uint32_t cursor = 0;
	size_t count;

	assert_ok(shmb_alloc(session, 10000, &(shmb_alloc_options){.name = "guest", .tag = "t"}, &block));
	pattern_write(block.data, block.size, 1);
	assert_ok(shmb_lookup(session, "guest", &found));
	assert_refused(shmb_lookup(session, "host", &found), NO_SUCH_NAME);
	assert_refused(shmb_alloc(session, UINT64_C(1) << 40, NULL, &found), OUT_OF_MEMORY);
	assert_ok(shmb_list_clients(session, &clients, &count));
	free(clients);
	while (shmb_next_block(session, &cursor, &info) == 1)
		;
	assert_ok(shmb_unpublish(session, "guest"));
	assert_ok(shmb_free_batch(session, (shmb_handle[]){block.handle, block.handle}, 2));
	assert_refused(shmb_free(session, block.handle), STALE_HANDLE);
}

static void test_leaves_no_trace(void **state)
{
	struct house before;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	look(&before);
	for (int i = 0; i < 5; i++) {
		session = pool_session_open(&fixture);
		use_everything();
		assert_as_before(&before);
		assert_all_close_on_exec();
		assert_true(maps_a_pool());
		shmb_close(session);
		session = NULL;
		assert_as_before(&before);
		assert_int_equal(descriptor_leaks_count(0), before.descriptors);
		assert_false(maps_a_pool());
	}
}

/* A connection that cannot be made leaves nothing either. */
/* One that looks once for a daemon that is gone. */
static shmb_session *open_impatient(void)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path, .reconnect_ms = 1};
	shmb_session *opened = NULL;

	assert_ok(shmb_connect(&options, &opened));
	return opened;
}

static void test_failed_connections_leave_no_trace(void **state)
{
	shmb_connect_options nobody = {.socket_path = "/nonexistent/socket"};
	shmb_connect_options wrong_pool = {.pool = "no-such-pool"};
	struct house before;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	wrong_pool.socket_path = fixture.socket_path;
	look(&before);
	for (int i = 0; i < 20; i++) {
		assert_refused(shmb_connect(&nobody, &session), NO_DAEMON);
		assert_refused(shmb_connect(&wrong_pool, &session), NO_SUCH_POOL);
		assert_null(session);
	}
	assert_as_before(&before);
	assert_int_equal(descriptor_leaks_count(0), before.descriptors);
}

/* Standard output and error go to a file, which must stay empty. */
static void test_prints_nothing(void **state)
{
	struct stat status;
	int file, out, err;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	fflush(NULL);
	out = dup(STDOUT_FILENO);
	err = dup(STDERR_FILENO);
	dup2(file, STDOUT_FILENO);
	dup2(file, STDERR_FILENO);
	session = pool_session_open(&fixture);
	use_everything();
	shmb_close(session);
	session = open_impatient();
	daemon_fixture_kill(&fixture);
	int ping = shmb_ping(session);
	shmb_close(session);
	session = NULL;
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	assert_int_equal(fstat(file, &status), 0);
	close(file);
	assert_int_equal(status.st_size, 0);
	assert_int_equal(ping, -SHMB_E_DISCONNECTED);
}

/*
 * The daemon is killed: calls say so, without a SIGPIPE; memory stays good, and so do listings. The next one of an ephemeral pool
 * makes it anew: the session is over, and what it has mapped is nobody else's.
 */
static void test_daemon_dies(void **state)
{
	shmb_session *fresh;
	shmb_block_info info;
	shmb_block block, none;
	uint32_t cursor = 0;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	session = open_impatient();
	assert_ok(shmb_alloc(session, 100000, NULL, &block));
	pattern_write(block.data, block.size, 5);
	daemon_fixture_kill(&fixture);
	for (int i = 0; i < 3; i++) {
		assert_refused(shmb_ping(session), DISCONNECTED);
		assert_refused(shmb_alloc(session, 64, NULL, &none), DISCONNECTED);
		assert_refused(shmb_free(session, block.handle), DISCONNECTED);
		assert_refused(shmb_lookup(session, "x", &none), DISCONNECTED);
	}
	assert_true(pattern_matches(block.data, block.size, 5));
	assert_int_equal(pool_session_status(session).blocks, 1);
	assert_int_equal(shmb_next_block(session, &cursor, &info), 1);
	assert_int_equal(info.handle.id, block.handle.id);

	daemon_fixture_restart(&fixture, NULL);
	fresh = pool_session_open(&fixture);
	assert_int_equal(pool_session_status(fresh).blocks, 0);
	assert_refused(shmb_free(fresh, block.handle), OTHER_POOL);
	assert_ok(shmb_alloc(fresh, 100000, NULL, &none));
	memset(none.data, 0, none.size);
	assert_true(pattern_matches(block.data, block.size, 5)); /* the old pool's memory is not the new one's */
	assert_refused(shmb_ping(session), SESSION_ENDED);
	assert_refused(shmb_free(session, block.handle), SESSION_ENDED);
	memset(block.data, 1, block.size); /* and stays where it is, until shmb_close */
	shmb_close(fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_leaves_no_trace, tear_down),
		cmocka_unit_test_teardown(test_failed_connections_leave_no_trace, tear_down),
		cmocka_unit_test_teardown(test_prints_nothing, tear_down),
		cmocka_unit_test_teardown(test_daemon_dies, tear_down),
	};

	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
