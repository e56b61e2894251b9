/* SPDX-License-Identifier: Apache-2.0 */
/* A client's socket, with a real loop and a listener whose address the kernel chose: frames in, replies out, within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "frame.h"
#include "server/connection.h"

#define SEEN_MAX 4096

struct fixture {
	uv_loop_t loop;
	uv_pipe_t server;
	struct connection_host host;
	struct connection *connection; /* NULL: not there yet, or over */
	int client;                    /* the other end, non-blocking; -1: closed */
	/* What the host was told. */
	uint8_t seen[2 * FRAME_MAX];
	size_t seen_bytes, sizes[SEEN_MAX], count;
	int malformed, closed;
	/* What it does with a frame. */
	size_t reply; /* bytes of the answer; 0: none */
	enum { THEN_NOTHING, THEN_END, THEN_CLOSE, THEN_BE_CLOSED } then;
};
static struct fixture fixture;

static void frame(struct connection *connection, const uint8_t *payload, size_t size)
{
	assert_true(fixture.count < SEEN_MAX && fixture.seen_bytes + size <= sizeof fixture.seen);
	memcpy(fixture.seen + fixture.seen_bytes, payload, size);
	fixture.seen_bytes += size;
	fixture.sizes[fixture.count++] = size;
	if (fixture.reply) {
		uint8_t *bytes = connection_reserve(connection, fixture.reply);
		assert_non_null(bytes);
		memset(bytes, (int)fixture.count, fixture.reply);
		connection_commit(connection, fixture.reply);
	}
	if (fixture.then == THEN_END)
		connection_end(connection);
	else if (fixture.then == THEN_CLOSE)
		connection_close(connection);
	else if (fixture.then == THEN_BE_CLOSED)
		assert_null(connection_reserve(connection, SIZE_MAX));
}

static void malformed(struct connection *connection, int error)
{
	fixture.malformed = error;
	connection_end(connection);
}

static void closed(struct connection *connection)
{
	assert_ptr_equal(connection, fixture.connection);
	fixture.connection = NULL;
	fixture.closed++;
}

static void arrived(uv_stream_t *server, int status)
{
	assert_int_equal(status, 0);
	assert_null(fixture.connection);
	assert_int_equal(connection_accept(&fixture.host, server, &fixture.connection), 0);
	assert_int_equal(connection_start(fixture.connection), 0);
}

/* Whatever can happen without another word of the client happens. A local socket needs no time. */
static void turn(void)
{
	for (unsigned i = 0; i < FRAME_MAX / CONNECTION_READ_SIZE + 4; i++)
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

static int setup(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length = sizeof address;

	memset(&fixture, 0, sizeof fixture);
	fixture.host = (struct connection_host){.frame = frame, .malformed = malformed, .closed = closed};
	fixture.host.read_buffer = malloc(CONNECTION_READ_SIZE);
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* An address that the kernel chooses, unix(7): autobind. */
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(uv_loop_init(&fixture.loop), 0);
	assert_int_equal(uv_pipe_init(&fixture.loop, &fixture.server, 0), 0);
	assert_int_equal(uv_pipe_open(&fixture.server, listener), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&fixture.server, 8, arrived), 0);
	fixture.client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fixture.client, (struct sockaddr *)&address, length), 0);
	fcntl(fixture.client, F_SETFL, O_NONBLOCK);
	turn();
	assert_non_null(fixture.connection);
	*state = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fixture.client >= 0)
		close(fixture.client);
	if (fixture.connection)
		connection_close(fixture.connection);
	uv_close((uv_handle_t *)&fixture.server, NULL);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	free(fixture.host.read_buffer);
	return uv_loop_close(&fixture.loop); /* -EBUSY: a handle was left */
}

static void send_bytes(const uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t sent = write(fixture.client, bytes, size);
		if (sent < 0) {
			assert_int_equal(errno, EAGAIN);
			turn();
			continue;
		}
		bytes += sent;
		size -= (size_t)sent;
	}
}

static void send_frame(size_t size)
{
	uint8_t *bytes = malloc(FRAME_HEADER + size);

	frame_put_header((uint32_t)size, bytes);
	memset(bytes + FRAME_HEADER, 'f', size);
	send_bytes(bytes, FRAME_HEADER + size);
	free(bytes);
}

/* Reads all that is there. True: and then the end. `out_bytes` grows. */
static bool read_all(size_t *out_bytes)
{
	static uint8_t buffer[1 << 20];

	for (;;) {
		ssize_t count = read(fixture.client, buffer, sizeof buffer);
		if (count == 0 || (count < 0 && errno == ECONNRESET))
			return true;
		if (count < 0) {
			assert_int_equal(errno, EAGAIN);
			return false;
		}
		*out_bytes += (size_t)count;
		turn();
	}
}

/* ---- Frames ---- */

/* Three frames of different sizes, cut in two at each byte, and then into single bytes. */
static void test_split_anywhere(void **state)
{
	static const size_t sizes[] = {1, 5, 300};
	enum { TOTAL = 306 + 3 * FRAME_HEADER };
	uint8_t stream[TOTAL], payload[306];
	size_t at = 0, used = 0;

	(void)state;
	for (size_t i = 0; i < sizeof payload; i++)
		payload[i] = (uint8_t)(i * 7 + 1);
	for (size_t i = 0; i < 3; i++) {
		frame_put_header((uint32_t)sizes[i], stream + at);
		memcpy(stream + at + FRAME_HEADER, payload + used, sizes[i]);
		at += FRAME_HEADER + sizes[i];
		used += sizes[i];
	}
	for (size_t cut = 0; cut <= TOTAL; cut++) {
		fixture.seen_bytes = fixture.count = 0;
		if (cut < TOTAL) {
			send_bytes(stream, cut);
			turn();
			send_bytes(stream + cut, TOTAL - cut);
			turn();
		} else {
			for (size_t i = 0; i < TOTAL; i++) {
				send_bytes(stream + i, 1);
				turn();
			}
		}
		assert_int_equal(fixture.count, 3);
		assert_memory_equal(fixture.sizes, sizes, sizeof sizes);
		assert_memory_equal(fixture.seen, payload, sizeof payload);
		assert_int_equal(byte_queue_length(&fixture.connection->in), 0);
	}
}

static void test_longest(void **state)
{
	(void)state;
	send_frame(FRAME_MAX_BEFORE_HELLO);
	turn();
	assert_int_equal(fixture.count, 1);
	fixture.connection->greeted = true;
	send_frame(FRAME_MAX);
	turn();
	assert_int_equal(fixture.count, 2);
	assert_int_equal(fixture.sizes[1], FRAME_MAX);
	assert_int_equal(fixture.malformed, 0);
}

/* However much has come, others have their turn after one reading; and nothing more needs to come for the rest to be read. */
static void test_one_read_a_turn(void **state)
{
	unsigned sent = 0, turns = 0;
	size_t before;

	(void)state;
	fixture.connection->greeted = true;
	for (; sent < 6; sent++)
		send_frame(CONNECTION_READ_SIZE - FRAME_HEADER);
	do {
		before = fixture.count;
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
		assert_in_range(fixture.count - before, 0, 1);
		assert_in_range(++turns, 1, 10);
	} while (fixture.count < sent);
}

/* The frames before it are heard, those behind it are not. */
static void assert_malformed(uint32_t size, int error)
{
	uint8_t header[FRAME_HEADER] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24)};
	size_t bytes = 0;

	fixture.reply = 10;
	uint8_t stream[2 * (FRAME_HEADER + 2) + FRAME_HEADER];
	frame_put_header(2, stream);
	memset(stream + FRAME_HEADER, 'x', 2);
	memcpy(stream + FRAME_HEADER + 2, header, FRAME_HEADER);
	memcpy(stream + 2 * FRAME_HEADER + 2, stream, FRAME_HEADER + 2);
	send_bytes(stream, sizeof stream);
	turn();
	assert_int_equal(fixture.malformed, error);
	assert_int_equal(fixture.count, 1);
	assert_int_equal(fixture.closed, 1);
	assert_true(read_all(&bytes));
	assert_int_equal(bytes, 10); /* what was queued was written */
}

static void test_empty_frame(void **state)
{
	(void)state;
	assert_malformed(0, -EPROTO);
}

static void test_too_long_before_hello(void **state)
{
	(void)state;
	assert_malformed(FRAME_MAX_BEFORE_HELLO + 1, -EMSGSIZE);
}

static void test_too_long_after_hello(void **state)
{
	(void)state;
	fixture.connection->greeted = true;
	assert_malformed(FRAME_MAX + 1, -EMSGSIZE);
}

/* ---- Replies ---- */

/* Who does not read its replies is not read either; when it reads, everything goes on, and nothing is lost. */
static void test_pause(void **state)
{
	enum { FRAMES = 400, REPLY = 50000 };
	size_t bytes = 0;

	(void)state;
	fixture.reply = REPLY;
	for (int i = 0; i < FRAMES; i++)
		send_frame(100); /* all fit the socket's buffer and one read */
	turn();
	assert_true(fixture.connection->paused);
	size_t before = fixture.count;
	assert_true(before > CONNECTION_QUEUE_MAX / REPLY && before < FRAMES);
	assert_true(byte_queue_length(&fixture.connection->out) + byte_queue_length(&fixture.connection->sending) <=
	            CONNECTION_QUEUE_MAX + REPLY);
	assert_false(uv_is_readable((uv_stream_t *)&fixture.connection->pipe) &&
	             uv_is_active((uv_handle_t *)&fixture.connection->pipe) && !fixture.connection->writing);
	turn();
	assert_int_equal(fixture.count, before); /* it stays so */
	while (bytes < (size_t)FRAMES * REPLY) {
		size_t had = bytes;
		assert_false(read_all(&bytes));
		turn();
		assert_true(bytes > had || fixture.count < FRAMES || fixture.connection->writing);
	}
	assert_int_equal(fixture.count, FRAMES);
	assert_int_equal(bytes, (size_t)FRAMES * REPLY);
	assert_false(fixture.connection->paused);
	/* And it is read again. */
	send_frame(1);
	turn();
	assert_int_equal(fixture.count, FRAMES + 1);
}

/* What it sends meanwhile stays in its own socket: the daemon's memory has an end. */
static void test_pause_bounds_what_is_kept(void **state)
{
	uint8_t *bytes = calloc(1, 1 << 20);
	size_t sent = 0;

	(void)state;
	fixture.reply = 50000;
	for (size_t at = 0; at + 104 <= 1 << 20; at += 104)
		frame_put_header(100, bytes + at);
	for (ssize_t count; (count = write(fixture.client, bytes + sent, 104 * 10000 - sent)) > 0; turn())
		sent += (size_t)count;
	free(bytes);
	assert_int_equal(errno, EAGAIN);
	assert_true(fixture.connection->paused);
	assert_true(byte_queue_length(&fixture.connection->in) <= CONNECTION_READ_SIZE);
	close(fixture.client); /* and goes, without reading: seen by the write that fails */
	fixture.client = -1;
	turn();
	assert_int_equal(fixture.closed, 1);
}

static void end_with(size_t reply)
{
	size_t bytes = 0;

	fixture.reply = reply;
	fixture.then = THEN_END;
	send_frame(1);
	send_frame(2); /* is not heard */
	turn();
	assert_int_equal(fixture.count, 1);
	assert_int_equal(fixture.closed, 0);
	send_frame(3);
	turn();
	while (!read_all(&bytes))
		turn();
	assert_int_equal(bytes, reply);
	assert_int_equal(fixture.count, 1);
	assert_int_equal(fixture.closed, 1);
}

/* More than the socket takes at once; with and without a pause. */
static void test_end_waits_for_the_queue(void **state)
{
	(void)state;
	end_with(CONNECTION_QUEUE_MAX - 1000);
}

static void test_end_waits_for_a_long_queue(void **state)
{
	(void)state;
	end_with(CONNECTION_QUEUE_MAX * 3);
}

static void test_end_with_nothing_queued(void **state)
{
	size_t bytes = 0;
	struct connection *connection = fixture.connection;

	(void)state;
	connection_end(connection);
	assert_int_equal(fixture.closed, 1);
	connection_end(connection); /* until the loop has closed it, it may be said again */
	connection_close(connection);
	connection_flush(connection);
	assert_int_equal(fixture.closed, 1);
	turn();
	assert_true(read_all(&bytes));
}

static void test_close_within_a_frame(void **state)
{
	size_t bytes = 0;

	(void)state;
	fixture.reply = 7;
	fixture.then = THEN_CLOSE;
	for (int i = 0; i < 3; i++)
		send_frame(10);
	turn();
	assert_int_equal(fixture.count, 1);
	assert_int_equal(fixture.closed, 1);
	assert_true(read_all(&bytes));
	assert_int_equal(bytes, 0); /* at once: the reply is lost */
}

static void test_no_memory_for_a_reply(void **state)
{
	(void)state;
	fixture.then = THEN_BE_CLOSED;
	send_frame(10);
	send_frame(10);
	turn();
	assert_int_equal(fixture.count, 1);
	assert_int_equal(fixture.closed, 1);
}

/* ---- The end of the client ---- */

static void test_client_goes(void **state)
{
	(void)state;
	send_frame(10);
	close(fixture.client);
	fixture.client = -1;
	turn();
	assert_int_equal(fixture.count, 1); /* its last words are heard */
	assert_int_equal(fixture.closed, 1);
	assert_int_equal(fixture.malformed, 0);
}

static void test_client_goes_within_a_frame(void **state)
{
	uint8_t header[FRAME_HEADER];

	(void)state;
	frame_put_header(100, header);
	send_bytes(header, sizeof header);
	turn();
	close(fixture.client);
	fixture.client = -1;
	turn();
	assert_int_equal(fixture.count, 0);
	assert_int_equal(fixture.closed, 1);
}

/* ---- Descriptors ---- */

static void test_descriptors_go_with_the_first_byte(void **state)
{
	int pipes[2][2], received[2];
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char first, rest[16];
	struct iovec vector = {&first, 1};
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};

	(void)state;
	assert_int_equal(pipe(pipes[0]), 0);
	assert_int_equal(pipe(pipes[1]), 0);
	uint8_t *bytes = connection_reserve(fixture.connection, 11);
	memcpy(bytes, "descriptors", 11);
	connection_commit(fixture.connection, 11);
	int given[2] = {pipes[0][1], pipes[1][1]};
	assert_int_equal(connection_flush_with(fixture.connection, given, 2), 0);
	assert_int_equal(byte_queue_length(&fixture.connection->out), 0);
	assert_int_equal(recvmsg(fixture.client, &message, MSG_CMSG_CLOEXEC), 1);
	assert_int_equal(first, 'd');
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	assert_non_null(header);
	assert_int_equal(header->cmsg_len, CMSG_LEN(2 * sizeof(int)));
	memcpy(received, CMSG_DATA(header), sizeof received);
	assert_int_equal(read(fixture.client, rest, sizeof rest), 10);
	for (int i = 0; i < 2; i++) { /* in this order */
		char byte = (char)('a' + i), back;
		assert_int_equal(write(received[i], &byte, 1), 1);
		assert_int_equal(read(pipes[i][0], &back, 1), 1);
		assert_int_equal(back, byte);
		close(received[i]);
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static void test_descriptors_cannot_be_sent(void **state)
{
	int given = fixture.client;

	(void)state;
	connection_commit(fixture.connection, (memset(connection_reserve(fixture.connection, 1), 0, 1), 1));
	shutdown(fixture.client, SHUT_RD);
	assert_int_equal(connection_flush_with(fixture.connection, &given, 1), -EPIPE);
}

/* A client's descriptors are not taken: they are closed, and its bytes are heard. */
static void test_clients_descriptors_are_dropped(void **state)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	uint8_t bytes[FRAME_HEADER + 1] = {1, 0, 0, 0, 'x'};
	struct iovec vector = {bytes, sizeof bytes};
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &ends[1], sizeof(int));
	assert_int_equal(sendmsg(fixture.client, &message, 0), sizeof bytes);
	close(ends[1]);
	turn();
	assert_int_equal(fixture.count, 1);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody has the other end any more */
	close(ends[0]);
}

static void test_who_it_is(void **state)
{
	(void)state;
	assert_int_equal(fixture.connection->peer.pid, getpid());
	assert_int_equal(fixture.connection->peer.uid, geteuid());
	assert_int_equal(fixture.connection->peer.pidfd, -1);
	assert_true(connection_descriptor(fixture.connection) >= 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_split_anywhere),
		TEST(test_longest),
		TEST(test_one_read_a_turn),
		TEST(test_empty_frame),
		TEST(test_too_long_before_hello),
		TEST(test_too_long_after_hello),
		TEST(test_pause),
		TEST(test_pause_bounds_what_is_kept),
		TEST(test_end_waits_for_the_queue),
		TEST(test_end_waits_for_a_long_queue),
		TEST(test_end_with_nothing_queued),
		TEST(test_close_within_a_frame),
		TEST(test_no_memory_for_a_reply),
		TEST(test_client_goes),
		TEST(test_client_goes_within_a_frame),
		TEST(test_descriptors_go_with_the_first_byte),
		TEST(test_descriptors_cannot_be_sent),
		TEST(test_clients_descriptors_are_dropped),
		TEST(test_who_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
