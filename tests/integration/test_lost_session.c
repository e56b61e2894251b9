/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that is lost while its process lives, and who may take the session up again; and the end of a session whose
 * process has let go of its lock. The other ways in which a process dies are the library's tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define DENIED SHMBUDDY__V1__STATUS__DENIED
#define ENDED SHMBUDDY__V1__STATUS__SESSION_ENDED
#define NOBODY 65534

/* As server/request_hello.c says: lost sessions of one process. */
#define LOST_MAX 16

static struct daemon_fixture fixture;
static struct raw_session session = RAW_SESSION_CLOSED, witness = RAW_SESSION_CLOSED;

static int start(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	daemon_fixture_stop(&fixture);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	raw_session_open(&witness, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_session_close(&session);
	raw_session_wait_for_sessions(&witness, 1);
	raw_session_close(&witness);
	return 0;
}

/* Lists the witness's view of the other session: is it still there, and connected? */
static void wait_until_lost(uint32_t number)
{
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited += 2) {
		Shmbuddy__V1__ListClients list = SHMBUDDY__V1__LIST_CLIENTS__INIT;
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		bool there = false, connected = false;

		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_CLIENTS;
		request.list_clients = &list;
		Shmbuddy__V1__Reply *reply = raw_session_send(&witness, 0, ++witness.sequence, &request);
		for (size_t i = 0; i < reply->client_page->n_client; i++) {
			if (reply->client_page->client[i]->session != number)
				continue;
			there = true;
			connected = reply->client_page->client[i]->connected;
		}
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		assert_true(there);
		if (!connected)
			return;
		poll(NULL, 0, 2);
	}
	fail_msg("session %u is still connected", (unsigned)number);
}

/* ---- Kept, and taken up again ----------------------------------------------------------------------------------- */

static void test_taken_up_again(void **state)
{
	Shmbuddy__V1__Handle block;
	struct raw_session_holdings holdings;
	uint32_t number = session.number;
	struct stat before, after;

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 1 << 20, NULL, &block), OK);
	assert_int_equal(fstat(session.segment, &before), 0);
	uint64_t sequence = session.sequence;
	assert_int_equal(shutdown(session.client.fd, SHUT_RDWR), 0);
	wait_until_lost(number);
	/* Its memory is not given to others, however long the queue. */
	assert_int_equal(raw_session_allocate(&witness, 16 << 20, NULL, NULL), SHMBUDDY__V1__STATUS__OUT_OF_MEMORY);
	for (int i = 0; i < 50; i++)
		assert_int_equal(raw_session_ping(&witness), OK);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	session.sequence = sequence;
	assert_int_equal(session.number, number);
	assert_int_equal(fstat(session.segment, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	raw_session_holdings(&session, &holdings);
	assert_int_equal(holdings.blocks, 1);
	assert_int_equal(holdings.sessions, 2);
	assert_int_equal(raw_session_free(&session, &block), OK);
}

/* A hello with the token closes the old connection, which may be one that only this side thinks dead. */
static void test_taken_over(void **state)
{
	struct raw_client old;
	uint32_t number = session.number;
	size_t descriptors = descriptor_leaks_count(fixture.pid);

	(void)state;
	for (int i = 0; i < 20; i++) {
		old = session.client;
		session.client = (struct raw_client){.fd = -1};
		assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
		assert_int_equal(session.number, number);
		assert_int_equal(raw_client_wait_for_end(&old), 0);
		raw_client_close(&old);
		assert_int_equal(raw_session_ping(&session), OK);
	}
	descriptor_leaks_assert(fixture.pid, descriptors);
}

/* Who takes a session up again gets no second lock: the first one is what keeps it, now as before. */
static void test_old_lock_counts(void **state)
{
	(void)state;
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	raw_session_disconnect(&session);
	wait_until_lost(session.number);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	close(session.lock);
	session.lock = -1;
	raw_session_disconnect(&session);
	raw_session_wait_for_sessions(&witness, 1);
}

/* ---- By nobody else --------------------------------------------------------------------------------------------- */

static void test_wrong_token(void **state)
{
	(void)state;
	raw_session_disconnect(&session);
	wait_until_lost(session.number);
	for (size_t i = 0; i < RAW_SESSION_TOKEN_SIZE; i++) {
		session.token[i] ^= 1;
		assert_int_equal(raw_session_resume(&session, fixture.socket_path), ENDED);
		session.token[i] ^= 1;
	}
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
}

static void test_token_of_an_ended_session(void **state)
{
	(void)state;
	close(session.lock);
	session.lock = -1;
	raw_session_disconnect(&session);
	raw_session_wait_for_sessions(&witness, 1);
	uint32_t incarnation = session.incarnation;
	session.incarnation = 0;
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), ENDED);
	assert_int_equal(session.incarnation, incarnation); /* in the same pool: its memory is others' now */
}

/* The same process, the right token, another uid. */
static void test_other_uid(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	daemon_fixture_let_all_in(&fixture);
	raw_session_disconnect(&session);
	wait_until_lost(session.number);
	assert_int_equal(seteuid(NOBODY), 0);
	Shmbuddy__V1__Status status = raw_session_resume(&session, fixture.socket_path);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(status, DENIED);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	chmod(fixture.socket_path, 0660);
}

/* The same uid, the right token, another process: a forked child cannot take its parent's session. */
static void test_other_process(void **state)
{
	int status;

	(void)state;
	raw_session_disconnect(&session);
	wait_until_lost(session.number);
	pid_t child = fork();
	if (child == 0)
		_exit(raw_session_resume(&session, fixture.socket_path) == DENIED ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The time is printed, not judged; that it ends within RAW_CLIENT_PATIENCE_MS is. */
static void test_ends_with_its_lock(void **state)
{
	Shmbuddy__V1__Handle block;

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 9 << 20, NULL, &block), OK);
	raw_session_disconnect(&session);
	wait_until_lost(session.number);
	close(session.lock);
	session.lock = -1;
	double closed = now_ms();
	for (int waited = 0; raw_session_allocate(&witness, 9 << 20, NULL, &block) != OK; waited++) {
		assert_true(waited < RAW_CLIENT_PATIENCE_MS);
		poll(NULL, 0, 1);
	}
	print_message("its memory was another's %.1f ms after the lock was let go\n", now_ms() - closed);
	assert_int_equal(raw_session_free(&witness, &block), OK);
}

/* The order of one that exits: all its descriptors close, the socket somewhere among them. */
static void test_ends_with_its_process(void **state)
{
	Shmbuddy__V1__Handle block;
	int status;

	(void)state;
	pid_t child = fork();
	if (child == 0) {
		struct raw_session mine;
		raw_session_open(&mine, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		_exit(raw_session_allocate(&mine, 16 << 20, NULL, NULL) == OK ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	double ended = now_ms();
	for (int waited = 0; raw_session_allocate(&witness, 16 << 20, NULL, &block) != OK; waited++) {
		assert_true(waited < RAW_CLIENT_PATIENCE_MS);
		poll(NULL, 0, 1);
	}
	print_message("its memory was another's %.1f ms after it was reaped\n", now_ms() - ended);
	assert_int_equal(raw_session_free(&witness, &block), OK);
}

/* A process that collects lost sessions gets no more of them, and all the more when it has let go of some. */
static void test_too_many_lost(void **state)
{
	struct raw_session lost[LOST_MAX];
	struct raw_client client;
	Shmbuddy__V1__Reply *reply;

	(void)state;
	for (size_t i = 0; i < LOST_MAX; i++) {
		raw_session_open(&lost[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		raw_session_disconnect(&lost[i]);
		wait_until_lost(lost[i].number);
	}
	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
	assert_int_equal(raw_client_hello(&client, &reply), 0);
	assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__LIMIT);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_wait_for_end(&client), 0);
	raw_client_close(&client);
	assert_int_equal(raw_session_ping(&witness), OK);
	/* One that is taken up again makes room. */
	assert_int_equal(raw_session_resume(&lost[0], fixture.socket_path), OK);
	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
	assert_int_equal(raw_client_hello(&client, &reply), 0);
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	raw_client_close(&client);
	for (size_t i = 0; i < LOST_MAX; i++)
		raw_session_close(&lost[i]);
	raw_session_wait_for_sessions(&witness, 2);
}

/*
 * It says hello with its token and is gone before the answer can be sent: the daemon finds hello and end together. The process
 * lives and writes on, so its block must not be given to another.
 */
static void test_hangs_up_on_its_welcome(void **state)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Hello hello = SHMBUDDY__V1__HELLO__INIT;
	struct raw_session_holdings holdings;
	struct raw_client client;

	(void)state;
	assert_int_equal(raw_session_allocate(&session, 9 << 20, NULL, NULL), OK);
	raw_session_disconnect(&session);
	wait_until_lost(session.number);

	assert_int_equal(kill(fixture.pid, SIGSTOP), 0);
	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
	hello.protocol_version = 1;
	hello.token.data = session.token;
	hello.token.len = sizeof session.token;
	request.sequence = 1;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_HELLO;
	request.hello = &hello;
	assert_int_equal(raw_client_send_request(&client, &request), 0);
	raw_client_close(&client);
	assert_int_equal(kill(fixture.pid, SIGCONT), 0);

	wait_until_lost(session.number);
	assert_int_equal(raw_session_ping(&witness), OK);
	assert_int_equal(raw_session_resume(&session, fixture.socket_path), OK);
	raw_session_holdings(&session, &holdings);
	assert_int_equal(holdings.blocks, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_taken_up_again),
		TEST(test_taken_over),
		TEST(test_old_lock_counts),
		TEST(test_wrong_token),
		TEST(test_token_of_an_ended_session),
		TEST(test_other_uid),
		TEST(test_other_process),
		TEST(test_hangs_up_on_its_welcome),
		TEST(test_ends_with_its_lock),
		TEST(test_ends_with_its_process),
		TEST(test_too_many_lost),
	};

	return cmocka_run_group_tests_name("lost_session", tests, start, stop);
}
