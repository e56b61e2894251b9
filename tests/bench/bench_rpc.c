/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_rpc: what one blocking request costs, beside the least that a request could cost on this machine today.
 * bench_rpc SOCKET COUNT: COUNT times allocate and free of 4 KiB with a daemon that runs already; for a profiler.
 *
 * The floors are 64 bytes sent to and fro over a Unix socket, and an echo: a libuv loop that unpacks a request and packs a
 * reply by protobuf-c, the very bytes of an allocation, and does nothing else. All kinds take turns in each round, so that
 * whatever disturbs the machine disturbs them all. All of it twice: with client and servers on one processor, and with the servers
 * on another one; left alone, the kernel would place each pair of processes now thus and now thus. A figure is the median over the rounds of the round's median; a ratio is the
 * median of the rounds' ratios. Judges nothing.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "frame.h"
#include "shmbuddy.h"
#include "shmbuddy.pb-c.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"

#define ROUNDS 41
#define REQUESTS 400 /* of each kind in a round */
#define BATCHES 20   /* in a round */
#define BATCH 256
#define RAW_BYTES 64
#define BLOCK_BYTES 4096

enum kind {
	KIND_RAW,
	KIND_ECHO,
	KIND_PING,
	KIND_ALLOCATE,
	KIND_FREE,
	KIND_LOOKUP,
	KIND_LOOKUP_FREE,
	KIND_BATCH_PAIR,
	KIND_CALIBRATION,
	KINDS
};

static const char *const kind_names[KINDS] = {
	[KIND_RAW] = "64 B over a Unix socket",
	[KIND_ECHO] = "libuv + protobuf-c echo of an allocation",
	[KIND_PING] = "shmb_ping",
	[KIND_ALLOCATE] = "shmb_alloc, 4 KiB, committed",
	[KIND_FREE] = "shmb_free of it",
	[KIND_LOOKUP] = "shmb_lookup",
	[KIND_LOOKUP_FREE] = "shmb_free of it",
	[KIND_BATCH_PAIR] = "a pair in batches of 256, 64 B",
	[KIND_CALIBRATION] = "calibration: 10,000 multiplications",
};

struct bench {
	struct samples round[KINDS];   /* of this round, each request */
	struct samples medians[KINDS]; /* of each round */
	struct samples ratios[KINDS];  /* to the echo, of each round */
	int raw, echo;                 /* sockets */
	pid_t servers[3];              /* of both, and the daemon */
	uint64_t sequence;             /* of the echo */
	shmb_session *session;
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_rpc: %s: %s\n", what, errno ? strerror(errno) : shmb_last_error());
	exit(1);
}

static void must(int result, const char *what)
{
	errno = 0;
	if (result < 0)
		fail(what);
}

/* ---- The floors: processes of their own ------------------------------------------------------------------------- */

static void serve_raw(int fd)
{
	char bytes[RAW_BYTES];

	while (recv(fd, bytes, sizeof bytes, MSG_WAITALL) == RAW_BYTES && write(fd, bytes, sizeof bytes) == RAW_BYTES)
		continue;
}

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buffer)
{
	static char bytes[65536];

	(void)handle;
	(void)suggested;
	*out_buffer = uv_buf_init(bytes, sizeof bytes);
}

static size_t pack_echo(uint64_t sequence, uint8_t *out_frame)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Block block = SHMBUDDY__V1__BLOCK__INIT;
	Shmbuddy__V1__Handle handle = SHMBUDDY__V1__HANDLE__INIT;

	handle.id = sequence;
	handle.index = 7;
	handle.incarnation = 1234567;
	block.handle = &handle;
	block.offset = BLOCK_BYTES;
	block.size = block.granted = BLOCK_BYTES;
	reply.sequence = sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_BLOCK;
	reply.block = &block;
	size_t size = shmbuddy__v1__reply__pack(&reply, out_frame + FRAME_HEADER);
	frame_put_header((uint32_t)size, out_frame);
	return FRAME_HEADER + size;
}

/* One frame a read: the other side waits for the answer. */
static void have_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	uint8_t frame[256];
	const uint8_t *payload;
	uint32_t size;

	if (count < 0) {
		uv_close((uv_handle_t *)stream, NULL);
		return;
	}
	if (frame_peek((const uint8_t *)buffer->base, (size_t)count, FRAME_MAX, &payload, &size) <= 0)
		return;
	Shmbuddy__V1__Request *request = shmbuddy__v1__request__unpack(NULL, size, payload);
	if (!request)
		return;
	uv_buf_t out = uv_buf_init((char *)frame, (unsigned)pack_echo(request->sequence, frame));
	uv_try_write(stream, &out, 1);
	shmbuddy__v1__request__free_unpacked(request, NULL);
}

static void serve_echo(int fd)
{
	uv_loop_t loop;
	uv_pipe_t pipe;

	if (uv_loop_init(&loop) < 0 || uv_pipe_init(&loop, &pipe, 0) < 0 || uv_pipe_open(&pipe, fd) < 0 ||
	    uv_read_start((uv_stream_t *)&pipe, lend_buffer, have_read) < 0)
		return;
	uv_run(&loop, UV_RUN_DEFAULT);
}

/* A process that serves the other end of the returned socket until this end is closed. */
static int start_floor(void (*serve)(int fd), int other, pid_t *out_pid)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		fail("socketpair");
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(ends[0]);
		close(other);
		serve(ends[1]);
		_exit(0);
	}
	close(ends[1]);
	*out_pid = pid;
	return ends[0];
}

/* ---- One request of each kind ----------------------------------------------------------------------------------- */

static void ask_raw(struct bench *bench)
{
	char bytes[RAW_BYTES] = {0};

	if (write(bench->raw, bytes, sizeof bytes) != RAW_BYTES ||
	    recv(bench->raw, bytes, sizeof bytes, MSG_WAITALL) != RAW_BYTES)
		fail("the bare socket");
}

static void ask_echo(struct bench *bench)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Allocate allocate = SHMBUDDY__V1__ALLOCATE__INIT;
	uint8_t frame[256];
	const uint8_t *payload;
	uint32_t size;

	allocate.size = BLOCK_BYTES;
	request.sequence = ++bench->sequence;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE;
	request.allocate = &allocate;
	size = (uint32_t)shmbuddy__v1__request__pack(&request, frame + FRAME_HEADER);
	frame_put_header(size, frame);
	if (send(bench->echo, frame, FRAME_HEADER + size, MSG_NOSIGNAL) < 0)
		fail("the echo");
	ssize_t got = recv(bench->echo, frame, sizeof frame, 0);
	if (got <= 0 || frame_peek(frame, (size_t)got, FRAME_MAX, &payload, &size) <= 0)
		fail("the echo");
	Shmbuddy__V1__Reply *reply = shmbuddy__v1__reply__unpack(NULL, size, payload);
	if (!reply || reply->sequence != bench->sequence)
		fail("the echo");
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static void time_one(struct bench *bench, enum kind kind, void (*ask)(struct bench *))
{
	for (int i = 0; i < REQUESTS; i++) {
		double start = clock_ns();
		ask(bench);
		samples_add(&bench->round[kind], clock_ns() - start);
	}
}

static void ask_ping(struct bench *bench)
{
	must(shmb_ping(bench->session), "ping");
}

static void time_pairs(struct bench *bench)
{
	for (int i = 0; i < REQUESTS; i++) {
		shmb_block block;
		double start = clock_ns();
		must(shmb_alloc(bench->session, BLOCK_BYTES, NULL, &block), "allocate");
		double middle = clock_ns();
		must(shmb_free(bench->session, block.handle), "free");
		samples_add(&bench->round[KIND_ALLOCATE], middle - start);
		samples_add(&bench->round[KIND_FREE], clock_ns() - middle);
	}
}

static void time_lookups(struct bench *bench)
{
	for (int i = 0; i < REQUESTS; i++) {
		shmb_block block;
		double start = clock_ns();
		must(shmb_lookup(bench->session, "bench", &block), "look up");
		double middle = clock_ns();
		must(shmb_free(bench->session, block.handle), "free");
		samples_add(&bench->round[KIND_LOOKUP], middle - start);
		samples_add(&bench->round[KIND_LOOKUP_FREE], clock_ns() - middle);
	}
}

static void time_batches(struct bench *bench)
{
	static uint64_t sizes[BATCH];
	static shmb_block blocks[BATCH];
	static shmb_handle handles[BATCH];

	for (size_t i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (int n = 0; n < BATCHES; n++) {
		double start = clock_ns();
		must(shmb_alloc_batch(bench->session, sizes, BATCH, NULL, blocks), "allocate a batch");
		for (size_t i = 0; i < BATCH; i++)
			handles[i] = blocks[i].handle;
		must(shmb_free_batch(bench->session, handles, BATCH), "free a batch");
		samples_add(&bench->round[KIND_BATCH_PAIR], (clock_ns() - start) / BATCH);
	}
}

/* ---- The whole -------------------------------------------------------------------------------------------------- */

static void run_round(struct bench *bench)
{
	time_one(bench, KIND_RAW, ask_raw);
	time_one(bench, KIND_ECHO, ask_echo);
	time_one(bench, KIND_PING, ask_ping);
	time_pairs(bench);
	time_lookups(bench);
	time_batches(bench);
	for (int i = 0; i < BATCHES; i++)
		samples_add(&bench->round[KIND_CALIBRATION], calibrate());
	double echo = samples_median(&bench->round[KIND_ECHO]);
	for (int kind = 0; kind < KINDS; kind++) {
		double median = samples_median(&bench->round[kind]);
		samples_add(&bench->medians[kind], median);
		samples_add(&bench->ratios[kind], median / echo);
		samples_clear(&bench->round[kind]);
	}
}

static void print_results(struct bench *bench)
{
	printf("%-44s %12s %10s\n", "", "ns, median", "to echo");
	for (int kind = 0; kind < KINDS; kind++) {
		printf("%-44s %12.0f %10.2f", kind_names[kind], samples_median(&bench->medians[kind]),
		       samples_median(&bench->ratios[kind]));
		if (kind == KIND_BATCH_PAIR)
			printf("   %.2f M pairs/s", 1e3 / samples_median(&bench->medians[kind]));
		printf("\n");
		samples_free(&bench->medians[kind]);
		samples_free(&bench->ratios[kind]);
		samples_free(&bench->round[kind]);
	}
}

/* The n-th processor that this process could use when it started. False: there is no n-th. */
static bool find_processor(unsigned n, cpu_set_t *out_set)
{
	static cpu_set_t usable;

	if (CPU_COUNT(&usable) == 0 && sched_getaffinity(0, sizeof usable, &usable) < 0)
		fail("sched_getaffinity");
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &usable))
			continue;
		if (n-- == 0) {
			CPU_ZERO(out_set);
			CPU_SET(cpu, out_set);
			return true;
		}
	}
	return false;
}

static void measure(struct bench *bench, unsigned server_processor)
{
	cpu_set_t mine, theirs;

	if (!find_processor(0, &mine) || !find_processor(server_processor, &theirs))
		return; /* a machine with one processor */
	if (sched_setaffinity(0, sizeof mine, &mine) < 0)
		fail("sched_setaffinity");
	for (size_t i = 0; i < sizeof bench->servers / sizeof bench->servers[0]; i++)
		if (sched_setaffinity(bench->servers[i], sizeof theirs, &theirs) < 0)
			fail("sched_setaffinity");
	run_round(bench); /* to warm up */
	for (int kind = 0; kind < KINDS; kind++) {
		samples_clear(&bench->medians[kind]);
		samples_clear(&bench->ratios[kind]);
	}
	for (int i = 0; i < ROUNDS; i++)
		run_round(bench);
	printf("\nclient and servers on %s\n", server_processor ? "two processors" : "one processor");
	print_results(bench);
}

static void connect_to(struct bench *bench, const char *path)
{
	must(shmb_connect(&(shmb_connect_options){.socket_path = path}, &bench->session), "connect");
}

static int run_for_profiler(const char *path, unsigned long count)
{
	struct bench bench = {0};
	shmb_block block;

	connect_to(&bench, path);
	for (unsigned long i = 0; i < count; i++) {
		must(shmb_alloc(bench.session, BLOCK_BYTES, NULL, &block), "allocate");
		must(shmb_free(bench.session, block.handle), "free");
	}
	shmb_close(bench.session);
	return 0;
}

int main(int argc, char **argv)
{
	struct daemon_fixture daemon;
	struct bench bench = {0};
	shmb_block block;

	if (argc == 3)
		return run_for_profiler(argv[1], strtoul(argv[2], NULL, 10));
	if (argc != 1) {
		fprintf(stderr, "usage: bench_rpc [SOCKET COUNT]\n");
		return 2;
	}
	bench.raw = start_floor(serve_raw, -1, &bench.servers[0]);
	bench.echo = start_floor(serve_echo, bench.raw, &bench.servers[1]);
	daemon_fixture_start(&daemon, "--log-level", "warning", NULL);
	connect_to(&bench, daemon.socket_path);
	must(shmb_alloc(bench.session, BLOCK_BYTES, &(shmb_alloc_options){.name = "bench"}, &block), "publish");
	must(shmb_free(bench.session, block.handle), "free");
	bench.servers[2] = daemon.pid;
	measure(&bench, 0);
	measure(&bench, 1);
	shmb_close(bench.session);
	daemon_fixture_stop(&daemon);
	close(bench.raw);
	close(bench.echo);
	while (wait(NULL) > 0)
		continue;
	return 0;
}
