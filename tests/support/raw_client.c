/* SPDX-License-Identifier: Apache-2.0 */
/* A client without manners: see raw_client.h. */
#include "tests/support/raw_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"

#define RECEIVE_SIZE 65536

union descriptor_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(RAW_CLIENT_DESCRIPTORS_MAX * sizeof(int))];
};

int raw_client_open(struct raw_client *client, const char *socket_path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = RAW_CLIENT_PATIENCE_MS / 1000};
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	memset(client, 0, sizeof(*client));
	byte_queue_init(&client->input);
	client->fd = take_fd(&fd);
	return 0;
}

void raw_client_close(struct raw_client *client)
{
	/* The lock among the descriptors first: the daemon then knows at the socket's end that the session is over. */
	while (client->descriptor_count > 0)
		close(client->descriptors[--client->descriptor_count]);
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	byte_queue_deinit(&client->input);
}

int raw_client_send_bytes(struct raw_client *client, const void *bytes, size_t size)
{
	return raw_client_send_descriptors(client, bytes, size, NULL, 0);
}

int raw_client_send_descriptors(struct raw_client *client, const void *bytes, size_t size, const int *descriptors,
                                size_t count)
{
	const uint8_t *at = bytes;
	union descriptor_control control = {0};

	if (count > RAW_CLIENT_DESCRIPTORS_MAX)
		return -EINVAL;
	while (size > 0) {
		struct iovec piece = {.iov_base = (void *)(uintptr_t)at, .iov_len = size}; /* sendmsg does not write there */
		struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

		if (count > 0) {
			message.msg_control = control.bytes;
			message.msg_controllen = CMSG_SPACE(count * sizeof(int));
			struct cmsghdr *header = CMSG_FIRSTHDR(&message);
			header->cmsg_level = SOL_SOCKET;
			header->cmsg_type = SCM_RIGHTS;
			header->cmsg_len = CMSG_LEN(count * sizeof(int));
			memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
		}
		ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		at += sent;
		size -= (size_t)sent;
		count = 0; /* they went with the first byte */
	}
	return 0;
}

int raw_client_send_frame(struct raw_client *client, const void *payload, size_t size)
{
	CLEANUP_FREE uint8_t *frame = malloc(FRAME_HEADER + size);

	if (!frame)
		return -ENOMEM;
	frame_put_header((uint32_t)size, frame);
	memcpy(frame + FRAME_HEADER, payload, size);
	return raw_client_send_bytes(client, frame, FRAME_HEADER + size);
}

int raw_client_send_request(struct raw_client *client, const Shmbuddy__V1__Request *request)
{
	size_t size = shmbuddy__v1__request__get_packed_size(request);
	CLEANUP_FREE uint8_t *payload = malloc(size + 1); /* an empty message is legal, malloc(0) may be NULL */

	if (!payload)
		return -ENOMEM;
	shmbuddy__v1__request__pack(request, payload);
	return raw_client_send_frame(client, payload, size);
}

/* ---- Receiving -------------------------------------------------------------------------------------------------- */

static void keep_descriptors(struct raw_client *client, struct msghdr *message)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
			if (client->descriptor_count < RAW_CLIENT_DESCRIPTORS_MAX)
				client->descriptors[client->descriptor_count++] = fd;
			else
				close(fd);
		}
	}
}

/* Receives what there is, waiting for the first of it. -ENODATA: the connection has ended. */
static int receive_some(struct raw_client *client)
{
	struct pollfd wait = {.fd = client->fd, .events = POLLIN};
	union descriptor_control control = {0};
	uint8_t *room;
	int ready, result = byte_queue_reserve(&client->input, RECEIVE_SIZE, &room);

	if (result < 0)
		return result;
	do
		ready = poll(&wait, 1, RAW_CLIENT_PATIENCE_MS);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return ready < 0 ? -errno : -ETIMEDOUT;
	struct iovec piece = {.iov_base = room, .iov_len = RECEIVE_SIZE};
	struct msghdr message = {
		.msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t received = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
	if (received < 0)
		return -errno;
	keep_descriptors(client, &message);
	byte_queue_commit(&client->input, (size_t)received);
	return received == 0 ? -ENODATA : 0;
}

int raw_client_receive_frame(struct raw_client *client, uint8_t **out_payload, uint32_t *out_size)
{
	const uint8_t *payload;
	uint32_t size;
	int found;

	while ((found = frame_peek(byte_queue_bytes(&client->input), byte_queue_length(&client->input), UINT32_MAX, &payload,
	                           &size)) == 0) {
		int result = receive_some(client);
		if (result < 0)
			return result;
	}
	if (found < 0)
		return found;
	uint8_t *copy = malloc(size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, payload, size);
	byte_queue_consume(&client->input, FRAME_HEADER + size);
	*out_payload = copy;
	*out_size = size;
	return 0;
}

int raw_client_receive_reply(struct raw_client *client, Shmbuddy__V1__Reply **out_reply)
{
	CLEANUP_FREE uint8_t *payload = NULL;
	uint32_t size = 0;
	int result = raw_client_receive_frame(client, &payload, &size);

	if (result < 0)
		return result;
	Shmbuddy__V1__Reply *reply = shmbuddy__v1__reply__unpack(NULL, size, payload);
	if (!reply)
		return -EBADMSG;
	*out_reply = reply;
	return 0;
}

int raw_client_call(struct raw_client *client, const Shmbuddy__V1__Request *request, Shmbuddy__V1__Reply **out_reply)
{
	int result = raw_client_send_request(client, request);

	return result < 0 ? result : raw_client_receive_reply(client, out_reply);
}

int raw_client_hello(struct raw_client *client, Shmbuddy__V1__Reply **out_reply)
{
	char program[] = "raw_client";
	Shmbuddy__V1__Hello hello = SHMBUDDY__V1__HELLO__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	hello.protocol_version = 1;
	hello.program = program;
	request.sequence = 1;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_HELLO;
	request.hello = &hello;
	return raw_client_call(client, &request, out_reply);
}

int raw_client_take_descriptor(struct raw_client *client, int *out_fd)
{
	if (client->descriptor_count == 0)
		return -ENOENT;
	*out_fd = client->descriptors[0];
	client->descriptor_count--;
	memmove(client->descriptors, client->descriptors + 1, client->descriptor_count * sizeof(int));
	return 0;
}

int raw_client_wait_for_end(struct raw_client *client)
{
	int result;

	do {
		byte_queue_consume(&client->input, byte_queue_length(&client->input));
		result = receive_some(client);
	} while (result == 0);
	return result == -ENODATA || result == -ECONNRESET ? 0 : result;
}
