/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's socket: see connection.h.
 *
 * All that one read brought is looked at frame by frame, straight from the read buffer; the replies gather in `out` and leave
 * by one write at the end. What the socket does not take goes to uv_write. A client that does not read its replies is not read
 * itself beyond CONNECTION_QUEUE_MAX: the rest of what it sent waits in `in`, and its next words in its own socket.
 *
 * The pipe is opened without descriptor passing (ipc = 0), so libuv reads by read(2), and the kernel discards descriptors
 * that a client sends.
 */
#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame.h"

static void free_connection(uv_handle_t *handle)
{
	struct connection *connection = handle->data;

	byte_queue_deinit(&connection->in);
	byte_queue_deinit(&connection->out);
	byte_queue_deinit(&connection->sending);
	peer_deinit(&connection->peer);
	free(connection);
}

int connection_accept(const struct connection_host *host, uv_stream_t *server, struct connection **out_connection)
{
	struct connection *connection = calloc(1, sizeof *connection);

	if (!connection)
		return -ENOMEM;
	connection->host = host;
	connection->peer.pidfd = -1;
	connection->opened_at = uv_now(server->loop);
	connection->write.data = connection;
	int result = uv_pipe_init(server->loop, &connection->pipe, 0);
	if (result < 0) {
		free(connection);
		return result;
	}
	connection->pipe.data = connection;
	result = uv_accept(server, (uv_stream_t *)&connection->pipe);
	if (result == 0)
		result = peer_credentials(connection_descriptor(connection), &connection->peer);
	if (result < 0) {
		connection->closing = true;
		uv_close((uv_handle_t *)&connection->pipe, free_connection);
		return result;
	}
	*out_connection = connection;
	return 0;
}

int connection_descriptor(const struct connection *connection)
{
	uv_os_fd_t fd = -1;

	uv_fileno((const uv_handle_t *)&connection->pipe, &fd);
	return fd;
}

void connection_close(struct connection *connection)
{
	if (connection->closing)
		return;
	connection->closing = true;
	if (connection->guest)
		connection->guest->closed(connection->guest);
	connection->host->closed(connection);
	uv_close((uv_handle_t *)&connection->pipe, free_connection);
}

uint8_t *connection_reserve(struct connection *connection, size_t size)
{
	uint8_t *bytes;

	if (byte_queue_reserve(&connection->out, size, &bytes) < 0) {
		connection_close(connection);
		return NULL;
	}
	return bytes;
}

void connection_commit(struct connection *connection, size_t size)
{
	byte_queue_commit(&connection->out, size);
}

void connection_discard(struct connection *connection)
{
	byte_queue_consume(&connection->out, byte_queue_length(&connection->out));
}

static void read_more(struct connection *connection);

static void written(uv_write_t *write, int status)
{
	struct connection *connection = write->data;

	connection->writing = false;
	if (connection->closing)
		return;
	byte_queue_consume(&connection->sending, byte_queue_length(&connection->sending));
	if (status < 0) {
		connection_close(connection);
		return;
	}
	connection_flush(connection);
	if (!connection->closing && connection->paused)
		read_more(connection);
	if (!connection->closing && !connection->writing && connection->guest)
		connection->guest->drained(connection->guest);
}

void connection_flush(struct connection *connection)
{
	if (connection->closing || connection->writing)
		return;
	size_t length = byte_queue_length(&connection->out);
	if (length) {
		uv_buf_t buffer = uv_buf_init((char *)byte_queue_bytes(&connection->out), (unsigned)length);
		int sent = uv_try_write((uv_stream_t *)&connection->pipe, &buffer, 1);
		if (sent < 0 && sent != UV_EAGAIN) {
			connection_close(connection);
			return;
		}
		if (sent > 0)
			byte_queue_consume(&connection->out, (size_t)sent);
	}
	if (byte_queue_length(&connection->out)) {
		struct byte_queue empty = connection->sending;
		connection->sending = connection->out;
		connection->out = empty;
		uv_buf_t rest =
			uv_buf_init((char *)byte_queue_bytes(&connection->sending), (unsigned)byte_queue_length(&connection->sending));
		if (uv_write(&connection->write, (uv_stream_t *)&connection->pipe, &rest, 1, written) < 0)
			connection_close(connection);
		else
			connection->writing = true;
		return;
	}
	if (connection->ending)
		connection_close(connection);
}

int connection_flush_with(struct connection *connection, const int *descriptors, size_t count)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec vector = {byte_queue_bytes(&connection->out), byte_queue_length(&connection->out)};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	ssize_t sent;

	assert(count <= 4 && !connection->writing);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
	do
		sent = sendmsg(connection_descriptor(connection), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	byte_queue_consume(&connection->out, (size_t)sent);
	return 0;
}

void connection_end(struct connection *connection)
{
	if (connection->closing)
		return;
	connection->ending = true;
	uv_read_stop((uv_stream_t *)&connection->pipe);
	connection_flush(connection);
}

static size_t queued(const struct connection *connection)
{
	return byte_queue_length(&connection->out) + byte_queue_length(&connection->sending);
}

/* Looks at the frames in `bytes`; returns how many bytes were used up. Stops when the connection pauses or ends. */
static size_t take_frames(struct connection *connection, const uint8_t *bytes, size_t length)
{
	size_t used = 0;

	while (!connection->closing && !connection->ending) {
		const uint8_t *payload;
		uint32_t size;

		if (queued(connection) > CONNECTION_QUEUE_MAX) {
			connection_flush(connection);
			if (connection->closing)
				break;
			if (queued(connection) > CONNECTION_QUEUE_MAX) {
				connection->paused = true;
				uv_read_stop((uv_stream_t *)&connection->pipe);
				break;
			}
		}
		int result = frame_peek(bytes + used, length - used, connection->greeted ? FRAME_MAX : FRAME_MAX_BEFORE_HELLO,
		                        &payload, &size);
		if (result == 0)
			break;
		if (result < 0) {
			connection->host->malformed(connection, result);
			break;
		}
		used += FRAME_HEADER + size;
		connection->host->frame(connection, payload, size);
	}
	return used;
}

/* What is left in `in`, after a pause. */
static void take_queued(struct connection *connection)
{
	size_t used = take_frames(connection, byte_queue_bytes(&connection->in), byte_queue_length(&connection->in));

	byte_queue_consume(&connection->in, used);
}

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buffer)
{
	struct connection *connection = handle->data;

	(void)suggested;
	/* libuv reads on where more has come, 32 times in a turn; without a buffer it leaves that for the next turn (UV_ENOBUFS). */
	*out_buffer = uv_buf_init((char *)connection->host->read_buffer, connection->sated ? 0 : CONNECTION_READ_SIZE);
	connection->sated = false;
}

static void have_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct connection *connection = stream->data;

	if (count == 0 || count == UV_ENOBUFS || connection->closing)
		return;
	if (count < 0) {
		connection_close(connection);
		return;
	}
	const uint8_t *bytes = (const uint8_t *)buffer->base;
	size_t used = 0;
	connection->sated = count == CONNECTION_READ_SIZE;
	if (byte_queue_length(&connection->in) == 0)
		used = take_frames(connection, bytes, (size_t)count);
	if (!connection->closing && !connection->ending && used < (size_t)count) {
		if (byte_queue_append(&connection->in, bytes + used, (size_t)count - used) < 0) {
			connection_close(connection);
			return;
		}
		if (used == 0 && !connection->paused)
			take_queued(connection);
	}
	connection_flush(connection);
}

static void read_more(struct connection *connection)
{
	if (queued(connection) > CONNECTION_QUEUE_MAX / 2)
		return;
	connection->paused = false;
	take_queued(connection);
	connection_flush(connection);
	if (!connection->closing && !connection->paused && !connection->ending &&
	    uv_read_start((uv_stream_t *)&connection->pipe, lend_buffer, have_read) < 0)
		connection_close(connection);
}

int connection_start(struct connection *connection)
{
	return uv_read_start((uv_stream_t *)&connection->pipe, lend_buffer, have_read);
}

void connection_read_now(struct connection *connection)
{
	uv_buf_t buffer = uv_buf_init((char *)connection->host->read_buffer, CONNECTION_READ_SIZE);
	ssize_t count;

	if (connection->closing || connection->ending || connection->paused)
		return;
	do
		count = read(connection_descriptor(connection), buffer.base, buffer.len);
	while (count < 0 && errno == EINTR);
	if (count > 0)
		have_read((uv_stream_t *)&connection->pipe, count, &buffer);
}
