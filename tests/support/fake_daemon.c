/* SPDX-License-Identifier: Apache-2.0 */
/* One process, one poll loop, blocking writes: see fake_daemon.h. Where something fails it aborts, and the test sees that. */
#include "tests/support/fake_daemon.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "byte_queue.h"
#include "frame.h"
#include "shmbuddy.pb-c.h"
#include "view.h"

#define FAKE_CLIENTS 32
#define FAKE_PENDING 128
#define FAKE_BLOCKS 64
#define FAKE_NAMES 16

#define must(condition)                                                                                                     \
	do {                                                                                                                    \
		if (!(condition)) {                                                                                                 \
			perror("fake daemon: " #condition);                                                                             \
			abort();                                                                                                        \
		}                                                                                                                   \
	} while (0)

struct client {
	int fd; /* -1: free */
	struct byte_queue in;
	Shmbuddy__V1__Request *pending[FAKE_PENDING];
	size_t count;
};

static struct fake_shared *shared;
static struct client clients[FAKE_CLIENTS];
static uint64_t next_id = 1;
static uint32_t next_session = 1;

/* ---- The pool --------------------------------------------------------------------------------------------------- */

static int object(uint64_t size)
{
	int fd = memfd_create("fake", MFD_CLOEXEC);

	must(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static int make_view(uint64_t *out_size)
{
	struct view_geometry geometry;

	view_geometry(FAKE_BLOCKS, FAKE_NAMES, &geometry);

	int fd = object(geometry.view_size);
	uint8_t *base = mmap(NULL, geometry.view_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct view_header *header = (struct view_header *)base;
	struct view_counters *counters = (struct view_counters *)(base + VIEW_COUNTERS_AT);
	struct block_record *block = (struct block_record *)(base + geometry.blocks_at);

	must(base != MAP_FAILED);
	memset(base + VIEW_INDEX_AT, 0xff, geometry.name_buckets * sizeof(uint32_t));
	header->layout_version = VIEW_LAYOUT_VERSION;
	header->incarnation = FAKE_INCARNATION;
	strcpy(header->pool, "fake");
	header->unit = 64;
	header->size = shared->size;
	header->max_size = shared->size;
	header->view_size = geometry.view_size;
	header->names_at = geometry.names_at;
	header->blocks_at = geometry.blocks_at;
	header->metadata_at = geometry.metadata_at;
	header->name_buckets = geometry.name_buckets;
	header->max_names = FAKE_NAMES;
	header->max_blocks = FAKE_BLOCKS;
	header->max_sessions = FAKE_CLIENTS;
	header->checksum = view_header_checksum(header);
	header->daemon_pid = (uint32_t)getpid();

	/* One block to be listed: id 99 in record 3. */
	counters->block_records = 4;
	counters->blocks = 1;
	counters->used = 128;
	counters->requested = 100;
	block[3].offset = 256;
	strcpy(block[3].tag, "listed");
	block[3].checksum = block_record_checksum(&block[3], 99);
	block[3].body[0] = (struct block_body){.size = 100, .granted = 128};
	block[3].body[0].checksum = block_body_checksum(&block[3].body[0], 99);
	block[3].word = record_word(99, 0, RECORD_LIVE);

	if (shared->strange == STRANGE_OTHER_VIEW)
		header->incarnation++, header->checksum = view_header_checksum(header);
	if (shared->strange == STRANGE_DAMAGED_VIEW)
		header->blocks_at += 4096;
	header->magic = VIEW_MAGIC;
	munmap(base, geometry.view_size);
	*out_size = geometry.view_size;
	return fd;
}

/* ---- Replies ---------------------------------------------------------------------------------------------------- */

static void send_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length) {
		size_t piece = shared->mode == FAKE_CRUMBS ? 1 : length;
		ssize_t sent = send(fd, bytes, piece, MSG_NOSIGNAL);

		if (sent < 0)
			return; /* the client has gone */
		bytes += sent;
		length -= (size_t)sent;
	}
}

static uint8_t *pack(const Shmbuddy__V1__Reply *reply, size_t *out_length)
{
	size_t size = shmbuddy__v1__reply__get_packed_size(reply);
	uint8_t *frame = malloc(FRAME_HEADER + size);

	must(frame);
	frame_put_header((uint32_t)size, frame);
	shmbuddy__v1__reply__pack(reply, frame + FRAME_HEADER);
	*out_length = FRAME_HEADER + size;
	return frame;
}

static void send_reply(int fd, const Shmbuddy__V1__Reply *reply)
{
	size_t length;
	uint8_t *frame = pack(reply, &length);

	send_all(fd, frame, length);
	free(frame);
}

/* How a session is taken up again, or not. False: the connection is to be closed. */
static bool resume(int fd, const Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Welcome welcome = SHMBUDDY__V1__WELCOME__INIT;
	Shmbuddy__V1__SessionOver over = SHMBUDDY__V1__SESSION_OVER__INIT;
	int how = shared->resume_times ? shared->resume : RESUME_SAME;
	char pool[] = "fake", text[] = "as the test wants it";

	shared->resumes++;
	if (shared->resume_times && shared->resume_times != UINT32_MAX)
		shared->resume_times--;
	if (how == RESUME_CUT)
		return false;
	must(strcmp(request->hello->pool, "fake") == 0); /* the real one, whatever was asked for at first */
	reply.slot = request->slot;
	reply.sequence = request->sequence;
	reply.text = text;
	switch (how) {
	case RESUME_ENDED:
	case RESUME_ANEW:
		over.incarnation = how == RESUME_ANEW ? FAKE_INCARNATION + 1 : FAKE_INCARNATION;
		reply.status = SHMBUDDY__V1__STATUS__SESSION_ENDED;
		reply.session_over = &over;
		break;
	case RESUME_FOREIGN: reply.status = SHMBUDDY__V1__STATUS__DENIED; break;
	case RESUME_VERSION: reply.status = SHMBUDDY__V1__STATUS__VERSION; break;
	case RESUME_FULL:
		reply.slot = 0;
		reply.sequence = 0;
		reply.status = SHMBUDDY__V1__STATUS__LIMIT;
		break;
	default:
		welcome.protocol_version = 1;
		welcome.session = request->hello->token.data[15] + (how == RESUME_OTHER ? 1u : 0u);
		welcome.token = request->hello->token;
		welcome.incarnation = FAKE_INCARNATION;
		welcome.access = request->hello->access;
		welcome.unit = 64;
		welcome.size = welcome.max_size = shared->size;
		welcome.view_size = 4096;
		welcome.slots = shared->slots;
		welcome.max_frame = FRAME_MAX;
		welcome.max_batch = shared->max_batch;
		welcome.pool = pool;
		reply.result_case = SHMBUDDY__V1__REPLY__RESULT_WELCOME;
		reply.welcome = &welcome;
	}
	send_reply(fd, &reply);
	return how == RESUME_SAME || how == RESUME_OTHER;
}

static void send_welcome(int fd, const Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Welcome welcome = SHMBUDDY__V1__WELCOME__INIT;
	uint8_t token[16] = "sixteen bytes...";
	int strange = shared->strange, fds[12], count = 3;
	char pool[] = "fake", text[] = "no pool of that name; the pools here are: fake";
	size_t length;
	int pipes[2];

	must(pipe(pipes) == 0);
	fds[0] = strange == STRANGE_PIPE ? dup(pipes[0]) : object(strange == STRANGE_SHORT_SEGMENT ? 4096 : shared->size);
	fds[1] = make_view(&welcome.view_size);
	for (int i = 2; i < 12; i++)
		fds[i] = dup(pipes[0]);
	welcome.protocol_version = strange == STRANGE_VERSION ? 2 : 1;
	welcome.session = next_session++;
	token[15] = (uint8_t)welcome.session; /* what resume() goes by */
	if (request->hello->adopt && request->hello->token.len == sizeof token)
		memcpy(token, request->hello->token.data, sizeof token);
	token[0] ^= strange == STRANGE_OTHER_TOKEN;
	welcome.token.data = token;
	welcome.token.len = strange == STRANGE_NO_TOKEN ? 0 : 16;
	welcome.incarnation = FAKE_INCARNATION + (strange == STRANGE_OTHER_LIFE);
	welcome.access = request->hello->access;
	welcome.unit = 64;
	welcome.size = welcome.max_size = strange == STRANGE_HUGE ? UINT64_MAX : shared->size;
	if (strange == STRANGE_SHORT_VIEW)
		welcome.view_size *= 2;
	welcome.slots = shared->slots;
	welcome.max_frame = FRAME_MAX;
	welcome.max_batch = shared->max_batch;
	welcome.pool = pool;
	reply.slot = request->slot;
	reply.sequence = request->sequence;
	if (strange == STRANGE_REFUSED) {
		reply.status = SHMBUDDY__V1__STATUS__NO_SUCH_POOL;
		reply.text = text;
		count = 0;
	} else if (strange != STRANGE_NO_RESULT) {
		reply.result_case = SHMBUDDY__V1__REPLY__RESULT_WELCOME;
		reply.welcome = &welcome;
	}
	count = strange == STRANGE_FEW_DESCRIPTORS        ? 2
	        : strange == STRANGE_MANY_DESCRIPTORS     ? 4
	        : strange == STRANGE_TOO_MANY_DESCRIPTORS ? 12
	                                                  : count;

	uint8_t *frame = pack(&reply, &length);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(12 * sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec bytes = {.iov_base = frame, .iov_len = shared->mode == FAKE_CRUMBS ? 1 : length};
	struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};

	if (count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, (size_t)count * sizeof(int));
	}

	ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);

	if (sent > 0)
		send_all(fd, frame + sent, length - (size_t)sent);
	free(frame);
	for (int i = 0; i < 12; i++)
		close(fds[i]);
	close(pipes[0]);
	close(pipes[1]);
}

static void allocate_batch(const Shmbuddy__V1__Request *request, Shmbuddy__V1__Reply *reply)
{
	size_t count = request->allocate_batch->n_size - (shared->strange == STRANGE_COUNT);
	Shmbuddy__V1__BlockBatch batch = SHMBUDDY__V1__BLOCK_BATCH__INIT;

	batch.n_index = batch.n_offset = batch.n_granted = count;
	batch.index = calloc(count + 1, sizeof *batch.index);
	batch.offset = calloc(count + 1, sizeof *batch.offset);
	batch.granted = calloc(count + 1, sizeof *batch.granted);
	must(batch.index && batch.offset && batch.granted);
	for (size_t i = 0; i < count; i++) {
		batch.index[i] = (uint32_t)i;
		batch.offset[i] = i * 64;
		batch.granted[i] = 64;
	}
	batch.first_id = next_id;
	batch.incarnation = FAKE_INCARNATION;
	next_id += count;
	shared->allocations += (uint32_t)count;
	*reply->block_batch = batch;
}

static void list(const Shmbuddy__V1__Request *request, int fd, Shmbuddy__V1__Reply *reply)
{
	Shmbuddy__V1__ClientPage page = SHMBUDDY__V1__CLIENT_PAGE__INIT;
	Shmbuddy__V1__Client client = SHMBUDDY__V1__CLIENT__INIT, *row = &client;
	char program[] = "lister";

	/* Five sessions, one a page. */
	client.session = shared->strange == STRANGE_SAME_PAGE ? 1 : request->list_clients->after + 1;
	client.program = program;
	client.pid = 1000 + client.session;
	page.n_client = 1;
	page.client = &row;
	page.more = client.session < 5;
	reply->result_case = SHMBUDDY__V1__REPLY__RESULT_CLIENT_PAGE;
	reply->client_page = &page;
	send_reply(fd, reply);
	reply->client_page = NULL; /* it lay on this stack */
}

/* The last answer of each slot of the one session that there is. */
static struct {
	uint64_t sequence;
	uint8_t *frame;
	size_t length;
} kept[64];

static void keep(const Shmbuddy__V1__Reply *reply)
{
	if (!shared->once || reply->slot >= 64)
		return;
	free(kept[reply->slot].frame);
	kept[reply->slot].frame = pack(reply, &kept[reply->slot].length);
	kept[reply->slot].sequence = reply->sequence;
}

/* Was it done before? Then its answer goes out again. */
static bool repeat(int fd, const Shmbuddy__V1__Request *request)
{
	if (!shared->once || request->slot >= 64 || !kept[request->slot].frame ||
	    kept[request->slot].sequence != request->sequence)
		return false;
	shared->repeats++;
	send_all(fd, kept[request->slot].frame, kept[request->slot].length);
	return true;
}

/* `fd` -1: it is done, and not answered. */
static void answer(int fd, const Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Handle handle = SHMBUDDY__V1__HANDLE__INIT;
	Shmbuddy__V1__Block block = SHMBUDDY__V1__BLOCK__INIT;
	Shmbuddy__V1__BlockBatch batch = SHMBUDDY__V1__BLOCK_BATCH__INIT;
	Shmbuddy__V1__OutOfMemory oom = SHMBUDDY__V1__OUT_OF_MEMORY__INIT;
	Shmbuddy__V1__CloneToken clone = SHMBUDDY__V1__CLONE_TOKEN__INIT;
	uint8_t token[16] = "a clone's token";
	Shmbuddy__V1__Usage usage = SHMBUDDY__V1__USAGE__INIT, *usages[8];
	char text[2000], program[] = "hog\x01";
	int strange = shared->mode == FAKE_STRANGE ? shared->strange : STRANGE_NOTHING;

	reply.slot = request->slot;
	reply.sequence = request->sequence;
	switch (request->operation_case) {
	case SHMBUDDY__V1__REQUEST__OPERATION_HELLO:
		shared->last_start_time = request->hello->start_time;
		shared->hellos++;
		send_welcome(fd, request);
		return;
	case SHMBUDDY__V1__REQUEST__OPERATION_LIST_CLIENTS: list(request, fd, &reply); return;
	case SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE:
	case SHMBUDDY__V1__REQUEST__OPERATION_LOOKUP:
		handle.id = next_id++;
		handle.index = (uint32_t)(handle.id % FAKE_BLOCKS);
		handle.incarnation = FAKE_INCARNATION + (strange == STRANGE_INCARNATION);
		block.handle = &handle;
		block.size = request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE ? request->allocate->size : 10;
		block.granted = strange == STRANGE_SMALL ? block.size - 1 : (block.size + 63) & ~UINT64_C(63);
		block.offset = strange == STRANGE_OUTSIDE ? shared->size - 32 : 0;
		reply.result_case = SHMBUDDY__V1__REPLY__RESULT_BLOCK;
		reply.block = &block;
		shared->last_allocated = handle.id;
		shared->allocations++;
		break;
	case SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH:
		reply.result_case = SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH;
		reply.block_batch = &batch;
		allocate_batch(request, &reply);
		break;
	case SHMBUDDY__V1__REQUEST__OPERATION_CLONE:
		clone.session = strange == STRANGE_NUMBER ? 0 : next_session++;
		clone.token.data = token;
		clone.token.len = sizeof token - (strange == STRANGE_SHORT_TOKEN);
		if (strange == STRANGE_NO_RESULT)
			break;
		reply.result_case = SHMBUDDY__V1__REPLY__RESULT_CLONE_TOKEN;
		reply.clone_token = &clone;
		break;
	case SHMBUDDY__V1__REQUEST__OPERATION_FREE:
		shared->last_freed = request->free->handle->id;
		shared->frees++;
		break;
	case SHMBUDDY__V1__REQUEST__OPERATION_REMOVE:
		must(request->remove->handle->incarnation == FAKE_INCARNATION);
		reply.status = (Shmbuddy__V1__Status)shared->remove_status;
		shared->last_removed = request->remove->handle->id;
		shared->frees_before_remove = shared->frees;
		shared->removes++;
		break;
	case SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH: shared->frees += (uint32_t)request->free_batch->n_id; break;
	case SHMBUDDY__V1__REQUEST__OPERATION_GOODBYE: shared->goodbyes++; break;
	default: break;
	}
	if (strange == STRANGE_STATUS)
		reply.status = (Shmbuddy__V1__Status)4242;
	if (strange == STRANGE_SLOT)
		reply.slot += 1;
	if (strange == STRANGE_SEQUENCE)
		reply.sequence += 1;
	if (strange == STRANGE_UNREADABLE)
		reply.slot = 0, reply.sequence = 0;
	if (strange == STRANGE_TEXT || strange == STRANGE_UNREADABLE) {
		reply.status = strange == STRANGE_TEXT ? SHMBUDDY__V1__STATUS__IN_USE : SHMBUDDY__V1__STATUS__PROTOCOL;
		memset(text, 'x', sizeof text);
		memcpy(text, "bad\xff\n", 5);
		text[sizeof text - 1] = '\0';
		reply.text = text;
	}
	if (strange == STRANGE_OOM) {
		reply.status = SHMBUDDY__V1__STATUS__OUT_OF_MEMORY;
		reply.result_case = SHMBUDDY__V1__REPLY__RESULT__NOT_SET;
		oom.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL;
		oom.requested = 1000;
		oom.free_bytes = 500;
		usage.session = 4;
		usage.bytes = 400;
		usage.program = program;
		for (int i = 0; i < 8; i++)
			usages[i] = &usage;
		oom.n_holder = 8; /* more than the library has room for */
		oom.holder = usages;
		reply.out_of_memory = &oom;
	}
	keep(&reply);
	if (fd >= 0)
		send_reply(fd, &reply);
	if (strange == STRANGE_TWICE)
		send_reply(fd, &reply);
	free(batch.index);
	free(batch.offset);
	free(batch.granted);
}

/* ---- The loop --------------------------------------------------------------------------------------------------- */

static void drop(struct client *client)
{
	close(client->fd);
	client->fd = -1;
	byte_queue_deinit(&client->in);
	while (client->count)
		shmbuddy__v1__request__free_unpacked(client->pending[--client->count], NULL);
	shared->ended++;
}

/* What the tests of lost connections want of this request. True: it is done with. */
static bool lose(struct client *client, const Shmbuddy__V1__Request *request)
{
	bool hello = request->operation_case == SHMBUDDY__V1__REQUEST__OPERATION_HELLO;

	if (hello && request->hello->token.len && !request->hello->adopt) {
		if (!resume(client->fd, request))
			drop(client);
		return true;
	}
	if (hello) {
		for (size_t i = 0; i < 64; i++)
			kept[i].sequence = 0; /* another session's */
		return false;
	}
	if (repeat(client->fd, request))
		return true;
	if (!shared->cuts || (shared->cut_spare && shared->cut_spare--))
		return false;
	shared->cuts--;
	if (shared->cut_done)
		answer(-1, request);
	drop(client);
	return true;
}

static void settle(struct client *client)
{
	while (client->fd >= 0 && client->count && shared->mode != FAKE_SILENT) {
		bool last = shared->mode == FAKE_REVERSE;
		size_t at = last ? client->count - 1 : 0;
		Shmbuddy__V1__Request *request = client->pending[at];

		client->count--;
		memmove(&client->pending[at], &client->pending[at + 1], (client->count - at) * sizeof *client->pending);
		if (shared->mode == FAKE_RAW) {
			send(client->fd, shared->raw, shared->raw_length, MSG_NOSIGNAL);
			shmbuddy__v1__request__free_unpacked(request, NULL);
			if (shared->raw_close)
				drop(client);
			continue;
		}
		if (!lose(client, request))
			answer(client->fd, request);
		shmbuddy__v1__request__free_unpacked(request, NULL);
	}
}

/* The event that ends sessions. */
static void tell_over(void)
{
	Shmbuddy__V1__Reply event = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__SessionOver over = SHMBUDDY__V1__SESSION_OVER__INIT;

	over.incarnation = shared->over;
	event.session_over = &over;
	for (size_t i = 0; i < FAKE_CLIENTS; i++)
		if (clients[i].fd >= 0)
			send_reply(clients[i].fd, &event);
	shared->over = 0;
}

static void receive(struct client *client)
{
	uint8_t *room;
	const uint8_t *payload;
	uint32_t size;
	ssize_t got;

	must(byte_queue_reserve(&client->in, 65536, &room) == 0);
	got = recv(client->fd, room, 65536, MSG_DONTWAIT);
	if (got <= 0) {
		drop(client);
		return;
	}
	byte_queue_commit(&client->in, (size_t)got);
	while (frame_peek(byte_queue_bytes(&client->in), byte_queue_length(&client->in), FRAME_MAX, &payload, &size) == 1) {
		must(client->count < FAKE_PENDING);
		client->pending[client->count] = shmbuddy__v1__request__unpack(NULL, size, payload);
		must(client->pending[client->count]);
		client->count++;
		shared->requests++;
		byte_queue_consume(&client->in, FRAME_HEADER + size);
	}
}

static void admit(int listener)
{
	for (size_t i = 0; i < FAKE_CLIENTS; i++)
		if (clients[i].fd < 0) {
			clients[i].fd = accept(listener, NULL, NULL);
			return;
		}
	abort();
}

static void serve(int listener)
{
	for (size_t i = 0; i < FAKE_CLIENTS; i++)
		clients[i].fd = -1;
	shared->ready = 1;
	for (;;) {
		struct pollfd fds[FAKE_CLIENTS + 1] = {{.fd = listener, .events = POLLIN}};

		for (size_t i = 0; i < FAKE_CLIENTS; i++)
			fds[i + 1] = (struct pollfd){.fd = shared->mode == FAKE_DEAF ? -1 : clients[i].fd, .events = POLLIN};
		poll(fds, FAKE_CLIENTS + 1, 2); /* short, since the mode may change at any time */
		for (size_t i = 0; i < FAKE_CLIENTS; i++)
			if (fds[i + 1].fd >= 0 && fds[i + 1].revents)
				receive(&clients[i]);
		for (size_t i = 0; i < FAKE_CLIENTS; i++)
			if (shared->mode != FAKE_DEAF)
				settle(&clients[i]);
		if (shared->over)
			tell_over();
		if (fds[0].revents)
			admit(listener);
	}
}

void fake_daemon_start(struct fake_daemon *daemon)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(daemon->directory, "/tmp/shmbuddy-fake-XXXXXX");
	must(mkdtemp(daemon->directory));
	snprintf(daemon->path, sizeof daemon->path, "%s/socket", daemon->directory);
	strcpy(address.sun_path, daemon->path);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	daemon->shared = shared;
	shared->slots = 16;
	shared->max_batch = 4096;
	shared->size = 1 << 20;
	must(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 64) == 0);
	daemon->pid = fork();
	must(daemon->pid >= 0);
	if (daemon->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nothing behind */
		signal(SIGPIPE, SIG_IGN);
		serve(listener);
	}
	close(listener);
	fake_daemon_await(&shared->ready, 1);
}

void fake_daemon_end_sessions(struct fake_daemon *daemon, uint32_t incarnation)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	daemon->shared->over = incarnation;
	while (daemon->shared->over)
		nanosleep(&pause, NULL);
}

void fake_daemon_stop(struct fake_daemon *daemon)
{
	int status;

	if (daemon->pid > 0) {
		kill(daemon->pid, SIGKILL);
		must(waitpid(daemon->pid, &status, 0) == daemon->pid);
		must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* or it had failed by itself */
	}
	daemon->pid = 0;
	unlink(daemon->path);
	rmdir(daemon->directory);
	munmap(daemon->shared, sizeof *daemon->shared);
}

void fake_daemon_await(_Atomic uint32_t *counter, uint32_t value)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	while (atomic_load(counter) < value)
		nanosleep(&pause, NULL);
}
