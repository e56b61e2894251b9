/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground that the other integration tests stand on: a daemon starts and ends as asked, leaves nothing behind, answers a
 * client that speaks bytes, and is there again after a kill.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/raw_client.h"

static struct daemon_fixture fixture;
static struct raw_client client = {.fd = -1};

static int teardown(void **state)
{
	(void)state;
	raw_client_close(&client);
	daemon_fixture_stop(&fixture);
	return 0;
}

/* Opens a connection and says hello; the welcome is checked for what every test relies on. */
static void say_hello(void)
{
	Shmbuddy__V1__Reply *reply;

	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
	assert_int_equal(raw_client_hello(&client, &reply), 0);
	assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__OK);
	assert_int_equal(reply->sequence, 1);
	assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_WELCOME);
	assert_string_equal(reply->welcome->pool, fixture.pool);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static void test_start_and_stop(void **state)
{
	char directory[sizeof(fixture.directory)], pool[sizeof(fixture.pool)];
	struct daemon_fixture gone;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	assert_true(daemon_fixture_shared_objects(&fixture) > 0);
	memcpy(directory, fixture.directory, sizeof(directory));
	memcpy(pool, fixture.pool, sizeof(pool));
	daemon_fixture_stop(&fixture);
	assert_int_equal(access(directory, F_OK), -1);
	memset(&gone, 0, sizeof(gone));
	memcpy(gone.pool, pool, sizeof(pool));
	assert_int_equal(daemon_fixture_shared_objects(&gone), 0);
	daemon_fixture_stop(&fixture); /* twice is fine */
}

static void test_hello_brings_three_descriptors(void **state)
{
	struct stat status;
	int segment, view, lock, more;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "1M", NULL);
	say_hello();
	assert_int_equal(raw_client_take_descriptor(&client, &segment), 0);
	assert_int_equal(raw_client_take_descriptor(&client, &view), 0);
	assert_int_equal(raw_client_take_descriptor(&client, &lock), 0);
	assert_int_equal(raw_client_take_descriptor(&client, &more), -ENOENT);
	assert_int_equal(fstat(segment, &status), 0);
	assert_int_equal(status.st_size, 1 << 20);
	assert_int_equal(fcntl(segment, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(fcntl(view, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(segment);
	close(view);
	close(lock);
}

static void test_daemon_comes_back_after_kill(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, NULL);
	say_hello();
	daemon_fixture_kill(&fixture);
	assert_int_equal(raw_client_wait_for_end(&client), 0);
	raw_client_close(&client);
	assert_true(daemon_fixture_shared_objects(&fixture) > 0);
	daemon_fixture_restart(&fixture, NULL);
	say_hello();
}

static void test_wrong_usage_ends_with_2(void **state)
{
	(void)state;
	daemon_fixture_spawn(&fixture, "--no-such-option", NULL);
	assert_int_equal(daemon_fixture_wait(&fixture), 2);
	assert_true(daemon_fixture_logged(&fixture, "no-such-option"));
}

/* What a client cost the daemon in descriptors comes back when it goes, and our own are closed as well. */
static void test_descriptors_come_back(void **state)
{
	size_t ours = descriptor_leaks_count(0), theirs;

	(void)state;
	daemon_fixture_start(&fixture, NULL);
	say_hello(); /* what the first client of all may open for good */
	raw_client_close(&client);
	say_hello();
	theirs = descriptor_leaks_count(fixture.pid); /* perhaps with a former connection that is just being closed */
	for (int i = 0; i < 20; i++) {
		raw_client_close(&client);
		say_hello();
	}
	descriptor_leaks_assert(fixture.pid, theirs);
	raw_client_close(&client);
	daemon_fixture_stop(&fixture);
	descriptor_leaks_assert(0, ours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_start_and_stop, teardown),
		cmocka_unit_test_teardown(test_hello_brings_three_descriptors, teardown),
		cmocka_unit_test_teardown(test_daemon_comes_back_after_kill, teardown),
		cmocka_unit_test_teardown(test_wrong_usage_ends_with_2, teardown),
		cmocka_unit_test_teardown(test_descriptors_come_back, teardown),
	};

	return cmocka_run_group_tests_name("daemon_fixture", tests, NULL, NULL);
}
