/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may put on the wire: garbage, frames of every wrong length, requests out of order, strings that are none,
 * descriptors. Each costs that client alone: beside every one of them a witness is served, and the daemon ends as it should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define PROTOCOL SHMBUDDY__V1__STATUS__PROTOCOL

/* Field 15 of Request's messages is taken, field 99 is not: an unknown field, or an unknown operation. */
#define UNKNOWN_FIELD_TAG "\x9a\x06"

static struct daemon_fixture fixture;
static struct raw_session witness = RAW_SESSION_CLOSED, session = RAW_SESSION_CLOSED;
static struct raw_client client = {.fd = -1};

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start(&fixture, NULL);
	raw_session_open(&witness, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_client_close(&client);
	raw_session_close(&session);
	raw_session_close(&witness);
	daemon_fixture_stop(&fixture);
	return 0;
}

static void open_client(void)
{
	raw_client_close(&client);
	assert_int_equal(raw_client_open(&client, fixture.socket_path), 0);
}

static void open_session(void)
{
	raw_session_close(&session);
	raw_session_open(&session, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

/* A session that is over with its connection: a process may leave only a few behind that are not. */
static void open_fleeting_session(void)
{
	open_session();
	close(session.lock);
	session.lock = -1;
}

/* The other client is served as before. */
static void check_witness(void)
{
	Shmbuddy__V1__Handle handle;

	assert_int_equal(raw_session_allocate(&witness, 100, NULL, &handle), OK);
	assert_int_equal(raw_session_free(&witness, &handle), OK);
}

/* The next reply has this status, and its text contains `text`. */
static void expect_reply(struct raw_client *from, Shmbuddy__V1__Status status, const char *text)
{
	Shmbuddy__V1__Reply *reply;

	assert_int_equal(raw_client_receive_reply(from, &reply), 0);
	assert_int_equal(reply->status, status);
	if (!strstr(reply->text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, reply->text);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static void expect_end(struct raw_client *of)
{
	assert_int_equal(raw_client_wait_for_end(of), 0);
	check_witness();
}

static Shmbuddy__V1__Request *hello_request(Shmbuddy__V1__Hello *out_hello)
{
	static Shmbuddy__V1__Request request;

	*out_hello = (Shmbuddy__V1__Hello)SHMBUDDY__V1__HELLO__INIT;
	out_hello->protocol_version = 1;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.sequence = 1;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_HELLO;
	request.hello = out_hello;
	return &request;
}

/* A packed request with an unknown field that makes the payload exactly `size` bytes long; the caller frees it. */
static uint8_t *padded(const Shmbuddy__V1__Request *request, size_t size)
{
	uint8_t *payload = calloc(1, size + 8);
	size_t length, rest;

	assert_non_null(payload);
	length = shmbuddy__v1__request__pack(request, payload);
	/* Tag, and a length that takes four bytes however small it is. */
	memcpy(payload + length, UNKNOWN_FIELD_TAG, 2);
	rest = size - length - 6;
	for (int i = 0; i < 4; i++)
		payload[length + 2 + (size_t)i] = (uint8_t)((rest >> 7 * i & 0x7f) | (i < 3 ? 0x80 : 0));
	return payload;
}

/* ---- Lengths ---------------------------------------------------------------------------------------------------- */

static void test_zero_length(void **state)
{
	(void)state;
	open_client();
	assert_int_equal(raw_client_send_bytes(&client, "\0\0\0\0", 4), 0);
	expect_reply(&client, PROTOCOL, "empty");
	expect_end(&client);
	open_session();
	assert_int_equal(raw_client_send_bytes(&session.client, "\0\0\0\0", 4), 0);
	expect_reply(&session.client, PROTOCOL, "empty");
	expect_end(&session.client);
}

static void test_longest_frame_before_hello(void **state)
{
	static Shmbuddy__V1__Hello hello; /* the request that is made of it outlives this call */
	uint8_t header[FRAME_HEADER];

	(void)state;
	open_client();
	CLEANUP_FREE uint8_t *payload = padded(hello_request(&hello), FRAME_MAX_BEFORE_HELLO);
	assert_int_equal(raw_client_send_frame(&client, payload, FRAME_MAX_BEFORE_HELLO), 0);
	expect_reply(&client, OK, "");
	open_client();
	frame_put_header(FRAME_MAX_BEFORE_HELLO + 1, header);
	assert_int_equal(raw_client_send_bytes(&client, header, sizeof header), 0);
	expect_reply(&client, PROTOCOL, "4 KiB before hello");
	expect_end(&client);
}

static void test_longest_frame_after_hello(void **state)
{
	static const uint32_t too_long[] = {FRAME_MAX + 1, 1u << 31, UINT32_MAX};
	Shmbuddy__V1__Request *ping = raw_request_ping();
	uint8_t header[FRAME_HEADER];

	(void)state;
	open_session();
	ping->sequence = 1;
	CLEANUP_FREE uint8_t *payload = padded(ping, FRAME_MAX);
	assert_int_equal(raw_client_send_frame(&session.client, payload, FRAME_MAX), 0);
	expect_reply(&session.client, OK, "");
	for (size_t i = 0; i < sizeof too_long / sizeof too_long[0]; i++) {
		open_session();
		frame_put_header(too_long[i], header);
		assert_int_equal(raw_client_send_bytes(&session.client, header, sizeof header), 0);
		expect_reply(&session.client, PROTOCOL, "longer than 1 MiB");
		expect_end(&session.client);
	}
}

static void test_truncated(void **state)
{
	static const uint8_t bytes[] = {10, 0, 0, 0, 1, 2, 3};

	(void)state;
	for (size_t length = 0; length <= sizeof bytes; length++) {
		open_client();
		assert_int_equal(raw_client_send_bytes(&client, bytes, length), 0);
		assert_int_equal(shutdown(client.fd, SHUT_WR), 0);
		expect_end(&client);
		open_fleeting_session();
		assert_int_equal(raw_client_send_bytes(&session.client, bytes, length), 0);
		assert_int_equal(shutdown(session.client.fd, SHUT_WR), 0);
		expect_end(&session.client);
	}
}

/* A frame of a mebibyte that decodes to as much as can be: refused in a sentence, or answered, but not swallowed whole. */
static void test_swollen_frames(void **state)
{
	CLEANUP_FREE uint8_t *payload = malloc(FRAME_MAX);

	(void)state;
	assert_non_null(payload);
	/* Field 99 as a number, a third of a million times: unknown, and kept one by one. */
	for (size_t i = 0; i < FRAME_MAX; i++)
		payload[i] = (uint8_t) "\x98\x06\x01"[i % 3];
	open_session();
	assert_int_equal(raw_client_send_frame(&session.client, payload, FRAME_MAX / 3 * 3), 0);
	expect_reply(&session.client, PROTOCOL, "the frame is not a request");
	expect_end(&session.client);

	/* A batch of a million sizes. */
	Shmbuddy__V1__AllocateBatch batch = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	CLEANUP_FREE uint64_t *sizes = malloc(1000000 * sizeof *sizes);
	assert_non_null(sizes);
	for (size_t i = 0; i < 1000000; i++)
		sizes[i] = 1;
	batch.n_size = 1000000;
	batch.size = sizes;
	request.sequence = 1;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	open_session();
	assert_int_equal(raw_client_send_request(&session.client, &request), 0);
	expect_reply(&session.client, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "4096");
	assert_int_equal(raw_session_call(&session, raw_request_ping()), PROTOCOL); /* sequence 1 again: recorded */
	expect_end(&session.client);
}

/* ---- Pace ------------------------------------------------------------------------------------------------------- */

/* Hello and `count` pings, as they lie on the wire. The caller frees them. */
static uint8_t *conversation(uint64_t count, size_t *out_size)
{
	static Shmbuddy__V1__Hello hello; /* the request that is made of it outlives this call */
	uint8_t *bytes = malloc(64 * (count + 1));
	size_t size = 0;

	assert_non_null(bytes);
	for (uint64_t i = 0; i <= count; i++) {
		Shmbuddy__V1__Request *request = i ? raw_request_ping() : hello_request(&hello);
		request->sequence = i ? i : 1;
		size_t length = shmbuddy__v1__request__pack(request, bytes + size + FRAME_HEADER);
		frame_put_header((uint32_t)length, bytes + size);
		size += FRAME_HEADER + length;
	}
	*out_size = size;
	return bytes;
}

static void expect_answers(uint64_t count)
{
	expect_reply(&client, OK, "");
	for (uint64_t i = 1; i <= count; i++) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_receive_reply(&client, &reply), 0);
		assert_int_equal(reply->status, OK);
		assert_int_equal(reply->sequence, i);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
}

static void test_byte_at_a_time(void **state)
{
	size_t size;
	CLEANUP_FREE uint8_t *bytes = conversation(20, &size);

	(void)state;
	open_client();
	for (size_t i = 0; i < size; i++) {
		assert_int_equal(raw_client_send_bytes(&client, bytes + i, 1), 0);
		if (i % 16 == 0)
			check_witness(); /* and so the daemon has read what came before */
	}
	expect_answers(20);
}

static void test_split_at_random(void **state)
{
	unsigned seed = (unsigned)time(NULL);

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 30; round++) {
		size_t size, sent = 0;
		CLEANUP_FREE uint8_t *bytes = conversation(50, &size);
		open_client();
		while (sent < size) {
			size_t piece = 1 + (size_t)rand() % 40;
			if (piece > size - sent)
				piece = size - sent;
			assert_int_equal(raw_client_send_bytes(&client, bytes + sent, piece), 0);
			sent += piece;
			if (rand() % 4 == 0)
				check_witness();
		}
		expect_answers(50);
	}
}

/* ---- Garbage ---------------------------------------------------------------------------------------------------- */

static void test_garbage(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	uint8_t bytes[8192];

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 100; round++) {
		size_t length = 1 + (size_t)rand() % sizeof bytes;
		for (size_t i = 0; i < length; i++)
			bytes[i] = (uint8_t)rand();
		open_client();
		raw_client_send_bytes(&client, bytes, length); /* the daemon may have hung up already */
		shutdown(client.fd, SHUT_WR);
		expect_end(&client);
		open_fleeting_session();
		raw_client_send_frame(&session.client, bytes, length);
		shutdown(session.client.fd, SHUT_WR);
		expect_end(&session.client);
	}
}

/* Requests with a few bytes changed: some are still requests. They are small and without a name, so that what they get goes with them. */
static void test_mutations(void **state)
{
	static char tag[] = "label";
	unsigned seed = (unsigned)time(NULL);

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 200; round++) {
		Shmbuddy__V1__Request *request = raw_request_allocate(1 + (uint64_t)rand() % 1000, NULL);
		uint8_t payload[64];

		request->sequence = 1;
		request->allocate->tag = tag;
		size_t length = shmbuddy__v1__request__pack(request, payload);
		for (int i = rand() % 3; i >= 0; i--)
			payload[(size_t)rand() % length] = (uint8_t)rand();
		open_fleeting_session();
		assert_int_equal(raw_client_send_frame(&session.client, payload, length), 0);
		shutdown(session.client.fd, SHUT_WR);
		expect_end(&session.client);
	}
}

/* ---- Order and meaning ------------------------------------------------------------------------------------------ */

static void test_unknown_operation(void **state)
{
	/* Slot 3, sequence 7, and field 99 with three bytes; then no operation at all. */
	static const uint8_t newer[] = "\x08\x03\x10\x07" UNKNOWN_FIELD_TAG "\x03"
								   "abc";
	Shmbuddy__V1__Reply *reply;

	(void)state;
	open_session();
	for (size_t length = 4; length < sizeof newer; length += sizeof newer - 5) {
		assert_int_equal(raw_client_send_frame(&session.client, newer, length), 0);
		assert_int_equal(raw_client_receive_reply(&session.client, &reply), 0);
		assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__UNKNOWN_OPERATION);
		assert_int_equal(reply->slot, 3);
		assert_int_equal(reply->sequence, 7);
		assert_non_null(strstr(reply->text, "protocol version 1"));
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		assert_int_equal(raw_session_ping(&session), OK); /* the connection stays */
	}
	check_witness();
}

static void test_hello_twice(void **state)
{
	static Shmbuddy__V1__Hello hello; /* the request that is made of it outlives this call */

	(void)state;
	open_session();
	assert_int_equal(raw_client_send_request(&session.client, hello_request(&hello)), 0);
	expect_reply(&session.client, PROTOCOL, "hello comes first and once");
	expect_end(&session.client);
}

static void test_first_request_is_not_hello(void **state)
{
	(void)state;
	open_client();
	assert_int_equal(raw_client_send_request(&client, raw_request_allocate(64, NULL)), 0);
	expect_reply(&client, PROTOCOL, "the first request must be hello");
	expect_end(&client);
}

static void test_after_goodbye(void **state)
{
	Shmbuddy__V1__Goodbye goodbye = SHMBUDDY__V1__GOODBYE__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	(void)state;
	open_session();
	request.sequence = 1;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_GOODBYE;
	request.goodbye = &goodbye;
	assert_int_equal(raw_session_call(&session, &request), OK);
	expect_end(&session.client);
}

static void test_hello_that_is_refused(void **state)
{
	static const struct {
		uint32_t version;
		const char *pool, *program;
		int access;
		size_t token;
		Shmbuddy__V1__Status status;
		const char *text;
	} cases[] = {
		{2, "", "", 0, 0, SHMBUDDY__V1__STATUS__VERSION, "version 2, this daemon version 1"},
		{0, "", "", 0, 0, SHMBUDDY__V1__STATUS__VERSION, "version 0, this daemon version 1"},
		{1, "no-such-pool", "", 0, 0, SHMBUDDY__V1__STATUS__NO_SUCH_POOL, "this daemon serves the pool"},
		{1, "\xff\xfe", "", 0, 0, SHMBUDDY__V1__STATUS__NO_SUCH_POOL, "this daemon serves the pool"},
		{1, "", "prog\xc3ram", 0, 0, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "not UTF-8"},
		{1, "", "two\nlines", 0, 0, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "control characters"},
		{1, "", "0123456789012345678901234567890123456789012345678901234567890123", 0, 0,
	     SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "over 63 bytes"},
		{1, "", "", 2, 0, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "kind of access"},
		{1, "", "", -1, 0, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "kind of access"},
		{1, "", "", 0, 16, SHMBUDDY__V1__STATUS__SESSION_ENDED, "token"},
		{1, "", "", 0, 1, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "token"},
		{1, "", "", 0, 1000, SHMBUDDY__V1__STATUS__INVALID_ARGUMENT, "token"},
	};
	uint8_t token[1000] = {0};
	static Shmbuddy__V1__Hello hello; /* the request that is made of it outlives this call */

	(void)state;
	raw_session_close(&session);
	raw_session_wait_for_sessions(&witness, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		Shmbuddy__V1__Request *request = hello_request(&hello);
		hello.protocol_version = cases[i].version;
		hello.pool = (char *)(uintptr_t)cases[i].pool;
		hello.program = (char *)(uintptr_t)cases[i].program;
		hello.access = (Shmbuddy__V1__Access)cases[i].access;
		hello.token = (ProtobufCBinaryData){cases[i].token, token};
		open_client();
		assert_int_equal(raw_client_send_request(&client, request), 0);
		expect_reply(&client, cases[i].status, cases[i].text);
		assert_int_equal(client.descriptor_count, 0);
		expect_end(&client);
	}
	raw_session_wait_for_sessions(&witness, 1);
}

/* ---- Strings ---------------------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
	static const char *const bad[] = {
		"\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "two\nlines", "esc\x1b[2J", "del\x7f", "c1\xc2\x85", "//host/name",
	};
	char longest[257];
	Shmbuddy__V1__Handle block, other;

	(void)state;
	memset(longest, 'n', sizeof longest);
	longest[256] = 0;
	assert_int_equal(raw_session_allocate(&witness, 64, NULL, &block), OK);
	assert_int_equal(raw_session_allocate(&witness, 64, longest, &other), SHMBUDDY__V1__STATUS__BAD_NAME);
	assert_int_equal(raw_session_publish(&witness, &block, longest), SHMBUDDY__V1__STATUS__BAD_NAME);
	assert_int_equal(raw_session_lookup(&witness, longest, &other), SHMBUDDY__V1__STATUS__BAD_NAME);
	assert_int_equal(raw_session_unpublish(&witness, longest), SHMBUDDY__V1__STATUS__BAD_NAME);
	longest[255] = 0;
	assert_int_equal(raw_session_publish(&witness, &block, longest), OK);
	assert_int_equal(raw_session_allocate(&witness, 64, longest, &other), SHMBUDDY__V1__STATUS__NAME_TAKEN);
	assert_int_equal(raw_session_publish(&witness, &block, longest), SHMBUDDY__V1__STATUS__NAME_TAKEN);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(raw_session_allocate(&witness, 64, bad[i], &other), SHMBUDDY__V1__STATUS__BAD_NAME);
		assert_int_equal(raw_session_publish(&witness, &block, bad[i]), SHMBUDDY__V1__STATUS__BAD_NAME);
		assert_int_equal(raw_session_lookup(&witness, bad[i], &other), SHMBUDDY__V1__STATUS__BAD_NAME);
		assert_int_equal(raw_session_unpublish(&witness, bad[i]), SHMBUDDY__V1__STATUS__BAD_NAME);
	}
	assert_int_equal(raw_session_publish(&witness, &block, ""), SHMBUDDY__V1__STATUS__BAD_NAME);
	assert_int_equal(raw_session_lookup(&witness, "nobody", &other), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
	assert_int_equal(raw_session_unpublish(&witness, "nobody"), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
}

static void test_tags(void **state)
{
	static const struct {
		const char *tag;
		Shmbuddy__V1__Status status;
	} cases[] = {
		{"fifteen bytes ok", SHMBUDDY__V1__STATUS__INVALID_ARGUMENT},
		{"fifteen bytes o", OK},
		{"not\xffutf8", SHMBUDDY__V1__STATUS__INVALID_ARGUMENT},
		{"tab\t", SHMBUDDY__V1__STATUS__INVALID_ARGUMENT},
		{"\xc3\xa4\xe2\x82\xac", OK},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		Shmbuddy__V1__Request *request = raw_request_allocate(64, NULL);
		request->allocate->tag = (char *)(uintptr_t)cases[i].tag;
		assert_int_equal(raw_session_call(&witness, request), cases[i].status);
	}
}

/* ---- Descriptors that nobody asked for -------------------------------------------------------------------------- */

/* A kernel that can (Linux 6.16) refuses them at the sender; where they arrive, they are dropped. */
static void send_ping_with(struct raw_session *from, const int *descriptors, size_t count)
{
	Shmbuddy__V1__Request *ping = raw_request_ping();
	uint8_t frame[64];

	ping->sequence = ++from->sequence;
	size_t size = shmbuddy__v1__request__pack(ping, frame + FRAME_HEADER);
	frame_put_header((uint32_t)size, frame);
	int result = raw_client_send_descriptors(&from->client, frame, FRAME_HEADER + size, descriptors, count);
	if (result == -EPERM)
		result = raw_client_send_bytes(&from->client, frame, FRAME_HEADER + size);
	assert_int_equal(result, 0);
	expect_reply(&from->client, OK, "");
}

static void test_descriptors(void **state)
{
	int descriptors[RAW_CLIENT_DESCRIPTORS_MAX];

	(void)state;
	open_session();
	size_t before = descriptor_leaks_count(fixture.pid);
	for (size_t i = 0; i < RAW_CLIENT_DESCRIPTORS_MAX; i++)
		descriptors[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (int round = 0; round < 100; round++)
		send_ping_with(&session, descriptors, RAW_CLIENT_DESCRIPTORS_MAX);
	for (size_t i = 0; i < RAW_CLIENT_DESCRIPTORS_MAX; i++)
		close(descriptors[i]);
	check_witness();
	descriptor_leaks_assert(fixture.pid, before);
}

/* A TCP socket whose close waits a minute for a peer that never reads: the daemon must not be the one who waits. */
static void test_lingering_socket(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	CLEANUP_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CLEANUP_CLOSE int sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct linger linger = {.l_onoff = 1, .l_linger = 60};
	char bytes[65536] = {0};

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(connect(sender, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(setsockopt(sender, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
	while (send(sender, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		continue;

	open_session();
	Shmbuddy__V1__Request *ping = raw_request_ping();
	uint8_t frame[64];
	ping->sequence = ++session.sequence;
	size_t size = shmbuddy__v1__request__pack(ping, frame + FRAME_HEADER);
	frame_put_header((uint32_t)size, frame);
	int result = raw_client_send_descriptors(&session.client, frame, FRAME_HEADER + size, &sender, 1);
	if (result != -EPERM) {
		/* The last one who has it open is the daemon now. */
		assert_int_equal(result, 0);
		close(sender);
		sender = -1;
	}
	check_witness(); /* its patience is shorter than the linger */
	if (result == -EPERM) {
		linger.l_onoff = 0;
		setsockopt(sender, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zero_length),
		cmocka_unit_test(test_longest_frame_before_hello),
		cmocka_unit_test(test_longest_frame_after_hello),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_swollen_frames),
		cmocka_unit_test(test_byte_at_a_time),
		cmocka_unit_test(test_split_at_random),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_unknown_operation),
		cmocka_unit_test(test_hello_twice),
		cmocka_unit_test(test_first_request_is_not_hello),
		cmocka_unit_test(test_after_goodbye),
		cmocka_unit_test(test_hello_that_is_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_lingering_socket),
	};

	return cmocka_run_group_tests_name("hostile_frames", tests, setup, teardown);
}
