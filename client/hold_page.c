/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting a hold page: see hold_page.h. It is asked for on a socket of its own, since a descriptor can only come with the first byte of a
 * message. Nothing here says why it failed: everything works without a page, only slower.
 */
#include "hold_page.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deadline.h"
#include "frame.h"
#include "session.h"

/* Acquisitions by request before a page is asked for: a program that looks one thing up needs none. And after that was in vain. */
#define MISSES_UNTIL_ASKED 4
#define MISSES_UNTIL_ASKED_AGAIN 4096

/* How long to wait for the answer, at most: the daemon is there, for it has just answered. */
#define ANSWER_MS 1000

void hold_page_init(struct holds *holds)
{
	memset(holds, 0, sizeof *holds);
	holds->fd = -1;
}

static void close_socket(struct shmb_session *session)
{
	pthread_mutex_lock(&session->exchange.mutex);
	if (session->holds.fd >= 0)
		close(session->holds.fd);
	session->holds.fd = -1;
	pthread_mutex_unlock(&session->exchange.mutex);
}

/* Connects and asks. What does not go at once is not waited for. */
static bool ask(struct shmb_session *session)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__OpenHolds body = SHMBUDDY__V1__OPEN_HOLDS__INIT;
	uint8_t frame[FRAME_HEADER + 64];
	int fd;

	body.token = (ProtobufCBinaryData){sizeof session->token, session->token};
	request.sequence = 1;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_OPEN_HOLDS;
	request.open_holds = &body;
	size_t size = shmbuddy__v1__request__get_packed_size(&request);
	if (size > sizeof frame - FRAME_HEADER)
		return false;
	frame_put_header((uint32_t)size, frame);
	shmbuddy__v1__request__pack(&request, frame + FRAME_HEADER);

	pthread_mutex_lock(&session->exchange.mutex);
	fd = session->holds.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	pthread_mutex_unlock(&session->exchange.mutex);
	return fd >= 0 && connect(fd, (const struct sockaddr *)&session->address, sizeof session->address) == 0 &&
	       send(fd, frame, FRAME_HEADER + size, MSG_NOSIGNAL) == (ssize_t)(FRAME_HEADER + size);
}

/* Under the mutex: maps what came, and closes it. */
static bool map(struct holds *holds, int fd)
{
	struct stat status;
	void *page = MAP_FAILED;

	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == HOLD_PAGE_SIZE)
		page = mmap(NULL, HOLD_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		return false;
	if (madvise(page, HOLD_PAGE_SIZE, MADV_DONTFORK) < 0) {
		munmap(page, HOLD_PAGE_SIZE);
		return false;
	}
	holds->mapped = page;
	return true;
}

/* Is this the answer, whole, and does it say that all is well? */
static bool is_granted(const uint8_t *bytes, size_t length)
{
	const uint8_t *payload;
	uint32_t size;

	if (frame_peek(bytes, length, FRAME_MAX_BEFORE_HELLO, &payload, &size) != 1)
		return false;
	Shmbuddy__V1__Reply *reply = shmbuddy__v1__reply__unpack(NULL, size, payload);
	bool granted = reply && reply->status == SHMBUDDY__V1__STATUS__OK &&
	               reply->result_case == SHMBUDDY__V1__REPLY__RESULT_HOLD_PAGE && reply->hold_page->slots == HOLD_SLOTS;
	if (reply)
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return granted;
}

/* Under the mutex: the answer and its descriptor, in one message. */
static bool receive(struct holds *holds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	uint8_t bytes[256];
	struct iovec room = {bytes, sizeof bytes};
	struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t got = recvmsg(holds->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	int fd;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return false;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	if (!is_granted(bytes, (size_t)got)) {
		close(fd);
		return false;
	}
	return map(holds, fd);
}

static void open_page(struct shmb_session *session, int64_t until)
{
	struct holds *holds = &session->holds;

	if (ask(session)) {
		struct pollfd poll_fd = {.fd = holds->fd, .events = POLLIN};
		int64_t patience = deadline_in(ANSWER_MS), deadline = until < patience ? until : patience, left;
		int ready = 0;
		while (ready <= 0 && (left = deadline_left(deadline)) > 0)
			ready = poll(&poll_fd, 1, (int)(left / DEADLINE_MS) + 1); /* a signal is not the end of it */
		pthread_mutex_lock(&session->exchange.mutex);
		if (ready > 0 && receive(holds) && !session->exchange.connection.over)
			atomic_store_explicit(&holds->page, holds->mapped, memory_order_release);
		pthread_mutex_unlock(&session->exchange.mutex);
	}
	close_socket(session);
}

void hold_page_missed(struct shmb_session *session, int64_t until)
{
	uint32_t misses = atomic_fetch_add_explicit(&session->holds.misses, 1, memory_order_relaxed) + 1;

	/* One thread counts to exactly that, and asks. */
	if (misses == MISSES_UNTIL_ASKED && !session->holds.mapped && deadline_passed(until))
		atomic_store_explicit(&session->holds.misses, MISSES_UNTIL_ASKED - 1, memory_order_relaxed);
	else if (misses == MISSES_UNTIL_ASKED && !session->holds.mapped)
		open_page(session, until);
	else if (misses == MISSES_UNTIL_ASKED_AGAIN)
		atomic_store_explicit(&session->holds.misses, 0, memory_order_relaxed);
}

void hold_page_retire(struct holds *holds)
{
	atomic_store_explicit(&holds->page, NULL, memory_order_release);
}

void hold_page_close(struct holds *holds)
{
	hold_page_retire(holds);
	if (holds->mapped)
		munmap(holds->mapped, HOLD_PAGE_SIZE);
	holds->mapped = NULL;
	if (holds->fd >= 0)
		close(holds->fd);
	holds->fd = -1;
}

void hold_page_in_child(struct holds *holds)
{
	holds->mapped = NULL; /* a hole, which may be somebody else's by now */
	atomic_store_explicit(&holds->misses, 0, memory_order_relaxed);
	atomic_store_explicit(&holds->lines, 0, memory_order_relaxed);
	hold_page_close(holds);
}
