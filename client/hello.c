/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hello goes out in slot 0 of a connection that has no other, like any call. Its reply is received apart, because descriptors may come with
 * its first byte; they are kept under the mutex the moment they arrive, so that a fork in another thread finds them in the
 * mapping and closes them. Welcome is believed only as far as the descriptors bear it out, and, where a session is taken up again, as
 * far as it says what the first one said.
 */
#include "hello.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "duration.h"
#include "frame.h"
#include "process.h"

/* Room for the descriptors of one message, some to spare: what does not fit shows as cut off. */
#define HELLO_DESCRIPTORS_ROOM 8

struct hello_call {
	struct call call;
	struct hello *hello;
	struct connection *connection;
	int descriptors; /* that came */
	bool cut_off;    /* there were more than the kernel could hand over */
	int result;      /* of mapping the pool */
};

static int refuse(struct hello_call *hello_call, const char *why)
{
	hello_call->result =
		last_error_set(ERROR_PROTOCOL, "the daemon on %s sent a welcome that cannot be: %s", hello_call->hello->path, why);
	return 0;
}

/* A session of our own, with all that belongs to it. */
static int take_new(struct hello_call *hello_call, const Shmbuddy__V1__Welcome *welcome)
{
	struct hello *hello = hello_call->hello;
	int r;

	if (hello_call->cut_off && hello_call->descriptors < MAPPING_DESCRIPTORS)
		return last_error_set(ERROR_SYSTEM, "this program may open no more descriptors (see ulimit -n)");
	if (hello_call->descriptors != MAPPING_DESCRIPTORS || hello_call->cut_off) {
		refuse(hello_call, "it needs three descriptors");
		return hello_call->result;
	}
	if (hello->adopt && (welcome->incarnation != hello->incarnation ||
	                     memcmp(welcome->token.data, hello->token, sizeof hello->token) != 0)) {
		refuse(hello_call, "it is another session's");
		return hello_call->result;
	}
	r = mapping_open(hello->mapping, welcome, hello->access != SHMB_READ_ONLY);
	if (r < 0)
		return r;
	hello->session = welcome->session;
	hello->incarnation = welcome->incarnation;
	hello->max_batch = welcome->max_batch;
	memcpy(hello->token, welcome->token.data, sizeof hello->token);
	return 0;
}

/* The session that it was: nothing that has been relied on may have changed. */
static int take_again(struct hello_call *hello_call, const Shmbuddy__V1__Welcome *welcome)
{
	struct hello *hello = hello_call->hello;

	hello->subscribed = welcome->subscribed;

	if (welcome->session == hello->session && welcome->incarnation == hello->incarnation &&
	    welcome->max_batch >= hello->max_batch && hello_call->descriptors == 0 &&
	    memcmp(welcome->token.data, hello->token, sizeof hello->token) == 0)
		return 0;
	refuse(hello_call, "it is another session's");
	return hello_call->result;
}

/* The reply's status is OK. Failures are told by `result`, since the sentences are for the thread that connects: this one. */
static int take_welcome(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	struct hello_call *hello_call = (struct hello_call *)call;
	struct hello *hello = hello_call->hello;
	const Shmbuddy__V1__Welcome *welcome = reply->welcome;
	bool read_only = hello->access == SHMB_READ_ONLY;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_WELCOME)
		return refuse(hello_call, "no welcome at all");
	if (welcome->protocol_version != HELLO_PROTOCOL_VERSION) {
		hello_call->result = last_error_set(
			ERROR_VERSION, "the daemon on %s speaks version %u of the protocol, this library %d: install matching versions",
			hello->path, welcome->protocol_version, HELLO_PROTOCOL_VERSION);
		return 0;
	}
	if (welcome->token.len != sizeof hello->token || welcome->session == 0 || welcome->slots == 0 ||
	    welcome->max_batch == 0 || welcome->max_frame < FRAME_MAX_BEFORE_HELLO)
		return refuse(hello_call, "a field is missing");
	if (welcome->access != (read_only ? SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY : SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE))
		return refuse(hello_call, "other access than asked for");
	hello_call->result = hello->mapping ? take_new(hello_call, welcome) : take_again(hello_call, welcome);
	if (hello_call->result == 0)
		connection_admit(hello_call->connection, welcome->slots, welcome->max_frame);
	return 0;
}

/* Keeps the first three of a new session; the rest is closed and counted. */
static void keep_descriptors(struct hello_call *hello_call, const struct cmsghdr *header)
{
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
		if (hello_call->hello->mapping && hello_call->descriptors < MAPPING_DESCRIPTORS)
			hello_call->hello->mapping->fds[hello_call->descriptors] = fd;
		else
			close(fd);
		hello_call->descriptors++;
	}
}

/* One recvmsg that does not block, under the mutex. As connection_read. */
static ssize_t receive(struct hello_call *hello_call)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(HELLO_DESCRIPTORS_ROOM * sizeof(int))];
	} control;
	struct connection *connection = hello_call->connection;
	struct iovec room;
	struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int r = connection_prepare(connection);
	ssize_t got;

	if (r < 0)
		return r;
	room.iov_base = connection->in.data + connection->in.end;
	room.iov_len = byte_queue_room(&connection->in);
	got = recvmsg(connection->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
		if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
			keep_descriptors(hello_call, header);
	if (message.msg_flags & MSG_CTRUNC)
		hello_call->cut_off = true;
	return got;
}

/* Under the mutex, but for the waiting. -ETIMEDOUT. */
static int converse(struct hello_call *hello_call, struct exchange *exchange, int64_t deadline)
{
	struct connection *connection = &exchange->joining;

	for (;;) {
		int64_t left = deadline_left(deadline);
		bool output;

		connection_flush(connection);
		output = connection_has_output(connection);
		if (left == 0)
			return -ETIMEDOUT;
		pthread_mutex_unlock(&exchange->mutex);
		connection_poll(connection, (short)(output ? POLLIN | POLLOUT : POLLIN), left);
		pthread_mutex_lock(&exchange->mutex);
		connection_dispatch(connection, receive(hello_call));
		if (hello_call->call.state == CALL_DONE)
			return 0;
	}
}

/* The kernel has taken the connection in; the program that listens has not said a word. */
static int silent(const struct hello *hello)
{
	char time[DURATION_TEXT_MAX];

	duration_format(hello->timeout_ms, time);
	return last_error_set(ERROR_TIMEOUT,
	                      "the daemon on %s did not answer within %s: it hangs, is stopped, or has too much to do",
	                      hello->path, time);
}

/* What became of it. The connection's own words do not know yet that nobody has proved to be a daemon. */
static int conclude(const struct hello_call *hello_call, int conversed)
{
	const struct hello *hello = hello_call->hello;
	const struct call *call = &hello_call->call;

	if (conversed == -ETIMEDOUT)
		return silent(hello);
	if (hello_call->connection->lost && call->result == -ERROR_PROTOCOL)
		return last_error_set(ERROR_PROTOCOL, "what listens on %s is not shmbuddyd: %s", hello->path, call->text);
	if (hello_call->connection->lost && call->result == -ERROR_DISCONNECTED)
		return last_error_set(ERROR_DISCONNECTED, "the daemon on %s closed the connection without an answer", hello->path);
	if (call->result < 0)
		return call_report(call);
	return hello_call->result;
}

int hello_exchange(struct hello *hello, struct exchange *exchange, int64_t deadline)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Hello body = SHMBUDDY__V1__HELLO__INIT;
	Shmbuddy__V1__Subscribe subscription = SHMBUDDY__V1__SUBSCRIBE__INIT;
	struct hello_call hello_call = {.hello = hello, .connection = &exchange->joining};
	uint64_t start_time = 0;
	int r = 0;

	body.protocol_version = HELLO_PROTOCOL_VERSION;
	body.pool = (char *)(uintptr_t)hello->pool;
	body.program = (char *)(uintptr_t)hello->program;
	body.access =
		hello->access == SHMB_READ_ONLY ? SHMBUDDY__V1__ACCESS__ACCESS_READ_ONLY : SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE;
	body.adopt = hello->adopt;
	if (hello->kinds) {
		subscription.kinds = hello->kinds;
		subscription.prefix = (char *)(uintptr_t)hello->prefix;
		body.subscribe = &subscription;
	}
	if (!hello->mapping || hello->adopt)
		body.token = (ProtobufCBinaryData){sizeof hello->token, hello->token};
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_HELLO;
	request.hello = &body;

	call_init(&hello_call.call, take_welcome);
	hello_call.call.once = true;
	pthread_mutex_lock(&exchange->mutex);
	process_start_time(0, &start_time); /* 0, not known, where /proc is not mounted */
	body.start_time = start_time;
	connection_claim(hello_call.connection, &hello_call.call);
	if (hello_call.call.state == CALL_GRANTED)
		connection_submit(hello_call.connection, &hello_call.call, &request);
	if (hello_call.call.state == CALL_SENT)
		r = converse(&hello_call, exchange, deadline);
	if (hello_call.call.state != CALL_DONE)
		connection_abandon(hello_call.connection, &hello_call.call);
	pthread_mutex_unlock(&exchange->mutex);
	hello->pool_incarnation = hello_call.call.incarnation;
	return conclude(&hello_call, r);
}
