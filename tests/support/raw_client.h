/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_client: speaks to the daemon byte by byte, so that a test can say what no library would. It blocks, bounded by
 * RAW_CLIENT_PATIENCE_MS, and judges nothing: results are 0 or a negative errno, and a test expects some of the errors.
 * Owned by the test; one thread.
 */
#ifndef TESTS_SUPPORT_RAW_CLIENT_H
#define TESTS_SUPPORT_RAW_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "byte_queue.h"
#include "shmbuddy.pb-c.h"

/* A net under what hangs, in milliseconds; no measure of speed. */
#define RAW_CLIENT_PATIENCE_MS 20000
#define RAW_CLIENT_DESCRIPTORS_MAX 16

struct raw_client {
	int fd;                                      /* -1: closed */
	struct byte_queue input;                     /* received and not yet taken */
	int descriptors[RAW_CLIENT_DESCRIPTORS_MAX]; /* received and not yet taken */
	size_t descriptor_count;
};

int raw_client_open(struct raw_client *client, const char *socket_path);

/* Closes the socket and every descriptor that was not taken. May be called twice. */
void raw_client_close(struct raw_client *client);

/* Sends all the bytes, whatever they are. -EPIPE or -ECONNRESET: the daemon has ended the connection. */
int raw_client_send_bytes(struct raw_client *client, const void *bytes, size_t size);

/* The same, with descriptors on the first byte. */
int raw_client_send_descriptors(struct raw_client *client, const void *bytes, size_t size, const int *descriptors,
                                size_t count);

/* Sends a payload with its length in front; nothing is checked. */
int raw_client_send_frame(struct raw_client *client, const void *payload, size_t size);
int raw_client_send_request(struct raw_client *client, const Shmbuddy__V1__Request *request);

/*
 * The next frame, of any length; the caller frees the payload with free(). -ENODATA: the connection ended instead;
 * -ECONNRESET: the same, with bytes of ours unread; -ETIMEDOUT: nothing came in RAW_CLIENT_PATIENCE_MS.
 */
int raw_client_receive_frame(struct raw_client *client, uint8_t **out_payload, uint32_t *out_size);

/* The next frame as a reply, for shmbuddy__v1__reply__free_unpacked(). -EBADMSG: it is none. Else as receive_frame. */
int raw_client_receive_reply(struct raw_client *client, Shmbuddy__V1__Reply **out_reply);

/* Sends a request and receives a reply. */
int raw_client_call(struct raw_client *client, const Shmbuddy__V1__Request *request, Shmbuddy__V1__Reply **out_reply);

/* Hello as slot 0, sequence 1, for read-write access to the daemon's first pool. */
int raw_client_hello(struct raw_client *client, Shmbuddy__V1__Reply **out_reply);

/* Takes the oldest descriptor received, which is the caller's from then on; -ENOENT: there is none. */
int raw_client_take_descriptor(struct raw_client *client, int *out_fd);

/* Reads on until the connection ends, dropping what comes: 0, or -ETIMEDOUT. A reset is an end too. */
int raw_client_wait_for_end(struct raw_client *client);

#endif
