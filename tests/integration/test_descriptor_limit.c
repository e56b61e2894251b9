/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that may open few files: it takes in as many clients as it can serve, and tells the others so; those who are in are
 * served as before, and where one leaves, another is taken in. This whole program runs under the daemon's limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK

#define FILES 128

/* As server/daemon.c says: 64 of its own, three a client. */
#define CLIENTS ((FILES - 64) / 3)
#define SURPLUS 30

static struct daemon_fixture fixture;
static struct raw_session sessions[CLIENTS];
static struct raw_client surplus[SURPLUS];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < CLIENTS; i++)
		sessions[i] = RAW_SESSION_CLOSED;
	for (size_t i = 0; i < SURPLUS; i++)
		surplus[i].fd = -1;
	daemon_fixture_start(&fixture, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < SURPLUS; i++)
		raw_client_close(&surplus[i]);
	for (size_t i = 0; i < CLIENTS; i++)
		raw_session_close(&sessions[i]);
	daemon_fixture_stop(&fixture);
	return 0;
}

/* Whoever connects now is told that there is no room. */
static void expect_sent_away(struct raw_client *client)
{
	Shmbuddy__V1__Reply *reply;

	assert_int_equal(raw_client_open(client, fixture.socket_path), 0);
	assert_int_equal(raw_client_receive_reply(client, &reply), 0);
	assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__LIMIT);
	assert_non_null(strstr(reply->text, "limit of open files"));
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_wait_for_end(client), 0);
}

static void expect_all_served(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		Shmbuddy__V1__Handle handle;
		assert_int_equal(raw_session_allocate(&sessions[i], 1000, NULL, &handle), OK);
		assert_int_equal(raw_session_free(&sessions[i], &handle), OK);
	}
}

static void test_surplus_is_sent_away(void **state)
{
	(void)state;
	size_t before = descriptor_leaks_count(fixture.pid);
	for (size_t i = 0; i < CLIENTS; i++)
		raw_session_open(&sessions[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	for (size_t i = 0; i < SURPLUS; i++) {
		expect_sent_away(&surplus[i]);
		raw_client_close(&surplus[i]);
	}
	expect_all_served(CLIENTS);
	/* One goes, one comes. */
	for (int i = 0; i < 50; i++) {
		raw_session_close(&sessions[CLIENTS - 1]);
		raw_session_wait_for_sessions(&sessions[0], CLIENTS - 1);
		raw_session_open(&sessions[CLIENTS - 1], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	}
	expect_all_served(CLIENTS);
	expect_sent_away(&surplus[0]);
	raw_client_close(&surplus[0]);
	for (size_t i = 0; i < CLIENTS; i++)
		raw_session_close(&sessions[i]);
	descriptor_leaks_assert(fixture.pid, before);
}

/* The same with clients that say nothing: those who are in stay in, and the silent ones take the surplus's place only. */
static void test_silent_surplus(void **state)
{
	(void)state;
	for (size_t i = 0; i < CLIENTS / 2; i++)
		raw_session_open(&sessions[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	for (size_t i = 0; i < SURPLUS; i++)
		assert_int_equal(raw_client_open(&surplus[i], fixture.socket_path), 0);
	expect_all_served(CLIENTS / 2);
	for (size_t i = 0; i < SURPLUS; i++)
		raw_client_close(&surplus[i]);
	for (size_t i = CLIENTS / 2; i < CLIENTS; i++) {
		/* The silent ones' places come free a moment after they have gone. */
		raw_session_wait_for_sessions(&sessions[0], i);
		raw_session_open(&sessions[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	}
	expect_all_served(CLIENTS);
}

int main(void)
{
	const struct rlimit limit = {.rlim_cur = FILES, .rlim_max = FILES};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_surplus_is_sent_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_surplus, setup, teardown),
	};

	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		fprintf(stderr, "skipped: the limit of open files cannot be %d: %s\n", FILES, strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests_name("descriptor_limit", tests, NULL, NULL);
}
