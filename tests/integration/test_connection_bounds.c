/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounds of a connection, each reached: the time to say hello, strangers of one uid, replies that nobody reads, half a
 * frame. Whoever reaches one pays for it alone: a witness is served meanwhile.
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK

/* As server/listener.h says: strangers of one uid. */
#define STRANGERS_MAX 64

#define CROWD 1000

static struct daemon_fixture fixture;
static struct raw_session witness = RAW_SESSION_CLOSED, session = RAW_SESSION_CLOSED;
static struct raw_client crowd[CROWD];
static size_t crowd_size;

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, "--max-blocks", "100000", NULL);
	raw_session_open(&witness, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	return 0;
}

static void dismiss_crowd(void)
{
	while (crowd_size > 0)
		raw_client_close(&crowd[--crowd_size]);
}

static int teardown(void **state)
{
	(void)state;
	dismiss_crowd();
	raw_session_close(&session);
	raw_session_close(&witness);
	daemon_fixture_stop(&fixture);
	return 0;
}

static void check_witness(void)
{
	Shmbuddy__V1__Handle handle;

	assert_int_equal(raw_session_allocate(&witness, 100, NULL, &handle), OK);
	assert_int_equal(raw_session_free(&witness, &handle), OK);
}

static void gather_crowd(size_t size)
{
	for (; crowd_size < size; crowd_size++)
		assert_int_equal(raw_client_open(&crowd[crowd_size], fixture.socket_path), 0);
}

/* Has the daemon ended this connection? Without waiting. */
static bool has_ended(const struct raw_client *client)
{
	char byte;
	ssize_t received = recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return received == 0 || (received < 0 && errno != EAGAIN);
}

static long resident_kib(void)
{
	char path[64], line[256];
	long kib = -1;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)fixture.pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	fclose(file);
	assert_true(kib > 0);
	return kib;
}

/* ---- Saying nothing --------------------------------------------------------------------------------------------- */

static void test_silent_crowd(void **state)
{
	size_t before = descriptor_leaks_count(fixture.pid);

	(void)state;
	gather_crowd(CROWD);
	/* The same uid's next client is greeted and served as if they were not there. */
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_ping(&session), OK);
	check_witness();
	raw_session_close(&session);
	/* The oldest gave way, and were told why. */
	Shmbuddy__V1__Reply *reply;
	assert_int_equal(raw_client_receive_reply(&crowd[0], &reply), 0);
	assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__LIMIT);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	assert_int_equal(raw_client_wait_for_end(&crowd[0]), 0);
	descriptor_leaks_assert(fixture.pid, before + STRANGERS_MAX);
	dismiss_crowd();
	descriptor_leaks_assert(fixture.pid, before);
}

/* Whoever has said hello is no stranger, however many come at once while the daemon cannot look. */
static void test_polite_crowd(void **state)
{
	enum { POLITE = 4 * STRANGERS_MAX };
	pid_t children[POLITE];

	(void)state;
	assert_int_equal(kill(fixture.pid, SIGSTOP), 0);
	for (size_t i = 0; i < POLITE; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0) {
			Shmbuddy__V1__Reply *reply;
			alarm(60);
			_exit(raw_client_open(&crowd[0], fixture.socket_path) == 0 && raw_client_hello(&crowd[0], &reply) == 0 &&
			              reply->status == OK
			          ? 0
			          : 1);
		}
	}
	/* All have said it once the backlog holds them; each then sleeps in poll. */
	for (size_t i = 0; i < POLITE; i++) {
		char path[64], state_letter = 0;
		snprintf(path, sizeof path, "/proc/%ld/stat", (long)children[i]);
		for (int waited = 0; waited < 5000 && state_letter != 'S'; waited++) {
			FILE *file = fopen(path, "re");
			assert_non_null(file);
			assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state_letter), 1);
			fclose(file);
			poll(NULL, 0, 1);
		}
	}
	assert_int_equal(kill(fixture.pid, SIGCONT), 0);
	size_t refused = 0;
	for (size_t i = 0; i < POLITE; i++) {
		int status;
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		refused += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	}
	assert_int_equal(refused, 0);
	raw_session_wait_for_sessions(&witness, 1);
}

static void test_no_hello(void **state)
{
	Shmbuddy__V1__Reply *reply;

	(void)state;
	/* One says nothing, one only a part: a byte now and then buys no time. */
	gather_crowd(2);
	for (int i = 0; i < 200 && !has_ended(&crowd[1]); i++) {
		raw_client_send_bytes(&crowd[1], i ? "\0" : "\xff", 1);
		if (recv(crowd[1].fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
			break;
		check_witness();
		poll(NULL, 0, 50);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(raw_client_receive_reply(&crowd[i], &reply), 0);
		assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__LIMIT);
		assert_non_null(strstr(reply->text, "no hello within 5 seconds"));
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		assert_int_equal(raw_client_wait_for_end(&crowd[i]), 0);
	}
	dismiss_crowd();
	check_witness();
}

/* Once greeted, a client may say nothing, or half a frame, for as long as it likes. */
static void test_half_a_frame(void **state)
{
	(void)state;
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	Shmbuddy__V1__Request *ping = raw_request_ping();
	uint8_t frame[64];
	ping->sequence = 1;
	size_t size = FRAME_HEADER + shmbuddy__v1__request__pack(ping, frame + FRAME_HEADER);
	frame_put_header((uint32_t)(size - FRAME_HEADER), frame);
	assert_int_equal(raw_client_send_bytes(&session.client, frame, size / 2), 0);
	for (int i = 0; i < 100; i++)
		check_witness();
	assert_false(has_ended(&session.client));
	assert_int_equal(raw_client_send_bytes(&session.client, frame + size / 2, size - size / 2), 0);
	Shmbuddy__V1__Reply *reply;
	assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
	assert_int_equal(reply->sequence, 1);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	raw_session_close(&session);
}

/* ---- Not reading ------------------------------------------------------------------------------------------------ */

/* A batch of 4096 in slot 1; asked for again, each of a few bytes brings its 80 KB. */
static size_t make_amplifier(uint8_t *out_frame)
{
	static uint64_t sizes[4096];
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	for (size_t i = 0; i < 4096; i++)
		sizes[i] = 64;
	batch.n_size = 4096;
	batch.size = sizes;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	Shmbuddy__V1__Reply *reply = raw_session_send(&session, 1, 1, &request);
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	batch.n_size = 0;
	size_t size = shmbuddy__v1__request__pack(&request, out_frame + FRAME_HEADER);
	frame_put_header((uint32_t)size, out_frame);
	return FRAME_HEADER + size;
}

/* Sends the frame over and over until the socket takes no more, also after the daemon has had its turn. Frames sent. */
static size_t send_until_stuck(const uint8_t *frame, size_t size, size_t limit)
{
	uint8_t many[65536];
	size_t per_round = sizeof many / size * size, sent = 0;

	for (size_t at = 0; at < per_round; at += size)
		memcpy(many + at, frame, size);
	for (int idle = 0; idle < 20;) {
		ssize_t result = send(session.client.fd, many + sent % size, per_round - sent % size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (result > 0) {
			sent += (size_t)result;
			idle = 0;
			assert_true(sent < limit);
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		check_witness();
		idle++;
	}
	/* The one that was cut goes out when there is room again. */
	return sent;
}

static void receive_all(const uint8_t *frame, size_t size, size_t sent)
{
	size_t rest = sent % size ? size - sent % size : 0;

	for (size_t i = 0; i < sent / size; i++) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
		assert_int_equal(reply->status, OK);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	if (rest) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_send_bytes(&session.client, frame + size - rest, rest), 0);
		assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
		assert_int_equal(reply->status, OK);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
}

static void test_client_that_never_reads(void **state)
{
	const char *sanitizer = getenv("SHMB_SANITIZE");
	bool plain = !sanitizer || strcmp(sanitizer, "none") == 0;
	uint8_t frame[64];

	(void)state;
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	size_t size = make_amplifier(frame);
	check_witness();
	long before = resident_kib();
	/* What fits the two sockets and the daemon's buffer is far below this. */
	size_t sent = send_until_stuck(frame, size, 8u << 20);
	long grown = resident_kib() - before;
	print_message("sent %zu requests (%zu bytes), the daemon grew by %ld KiB\n", sent / size, sent, grown);
	/* A queue of 1 MiB and one reply, kept in memories at most 4 times that; sanitizers have shadows and quarantines. */
	if (plain)
		assert_true(grown < 10 * 1024);
	raw_session_close(&session);
	raw_session_wait_for_sessions(&witness, 1);
	check_witness();
	long after = resident_kib() - before;
	print_message("after it has gone: %ld KiB\n", after);
	if (plain)
		assert_true(after < 4 * 1024);
}

/* A client that reads at last gets every reply, in order. */
static void test_slow_reader(void **state)
{
	(void)state;
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	uint8_t frame[64];
	Shmbuddy__V1__Request *ping = raw_request_ping();
	ping->sequence = 1;
	size_t size = FRAME_HEADER + shmbuddy__v1__request__pack(ping, frame + FRAME_HEADER);
	frame_put_header((uint32_t)(size - FRAME_HEADER), frame);
	size_t sent = send_until_stuck(frame, size, 64u << 20);
	print_message("sent %zu requests\n", sent / size);
	receive_all(frame, size, sent);
	assert_int_equal(raw_session_ping(&session), OK);
	raw_session_close(&session);
}

/* One that hangs up with replies unread, and requests as well. */
static void test_hangs_up_unread(void **state)
{
	size_t before = descriptor_leaks_count(fixture.pid);
	uint8_t frame[64];

	(void)state;
	for (int i = 0; i < 5; i++) {
		raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		size_t size = make_amplifier(frame);
		send_until_stuck(frame, size, 8u << 20);
		raw_session_close(&session);
	}
	raw_session_wait_for_sessions(&witness, 1);
	descriptor_leaks_assert(fixture.pid, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_crowd),
		cmocka_unit_test(test_polite_crowd),
		cmocka_unit_test(test_no_hello),
		cmocka_unit_test(test_half_a_frame),
		cmocka_unit_test(test_client_that_never_reads),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_hangs_up_unread),
	};

	return cmocka_run_group_tests_name("connection_bounds", tests, setup, teardown);
}
