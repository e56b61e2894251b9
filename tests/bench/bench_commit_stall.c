/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_commit_stall [ROUNDS]: how long others wait while the daemon commits 1 GiB for one client, and while it cleans up after
 * a client that was killed with 100,000 blocks. Both are to cost nobody more than 10 ms.
 *
 * Each round has a daemon of its own, since memory is committed only once. A client in a process of its own allocates 1 GiB, and
 * again; meanwhile this process takes turns with a ping, a pair of allocate and free of 4 KiB that are committed, and an
 * allocation of 4 KiB that are not. Before, it does the same while nothing else happens; after, while 16 clients allocate
 * 32 MiB each at the same time. The line "echo" is the machine's own part: 64 bytes over a socket to a third process and back,
 * in the same turns. What a bare echo waits for (a processor, the hypervisor), the daemon's clients wait for too. Judges nothing.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/daemon_fixture.h"

#define ROUNDS 3
#define BIG (UINT64_C(1) << 30)
#define QUIET_TURNS 1500
#define FRESH_MAX 7000 /* in a round: each takes 64 KiB of its own, and half a GiB is there for them */
#define FRESH_ALIGNMENT 65536
#define CROWD 16
#define BLOCKS 100000
#define BATCH 4000
#define ECHO_BYTES 64

enum kind { KIND_PING, KIND_PAIR, KIND_FRESH, KIND_ECHO, KINDS };
enum phase { PHASE_QUIET, PHASE_COMMIT, PHASE_CROWD, PHASE_CLEANUP, PHASES };

static const char *const kind_names[KINDS] = {"ping", "4 KiB pair", "4 KiB fresh", "echo"};
static const char *const phase_names[PHASES] = {"quiet", "1 GiB", "16 at once", "cleanup"};

struct bench {
	struct daemon_fixture daemon;
	shmb_session *session;
	struct samples waits[PHASES][KINDS];
	struct samples committing, cleaning, calibration;
	uint64_t big;
	unsigned fresh;       /* taken in this round */
	int echo;             /* socket to the process that echoes */
	atomic_int *finished; /* shared with the other client: requests for `big` that were answered */
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_commit_stall: %s: %s\n", what, errno ? strerror(errno) : shmb_last_error());
	exit(1);
}

static void must(int result, const char *what)
{
	errno = 0;
	if (result < 0)
		fail(what);
}

static void connect_to(struct bench *bench)
{
	must(shmb_connect(&(shmb_connect_options){.socket_path = bench->daemon.socket_path}, &bench->session), "connect");
}

/* ---- Those who wait --------------------------------------------------------------------------------------------- */

/* A process that sends back what it gets, until the returned socket is closed. */
static int start_echo(void)
{
	char bytes[ECHO_BYTES];
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		fail("socketpair");
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(ends[0]);
		while (recv(ends[1], bytes, sizeof bytes, MSG_WAITALL) == ECHO_BYTES &&
		       send(ends[1], bytes, sizeof bytes, MSG_NOSIGNAL) == ECHO_BYTES)
			continue;
		_exit(0);
	}
	close(ends[1]);
	return ends[0];
}

static void ask_echo(struct bench *bench)
{
	char bytes[ECHO_BYTES] = {0};

	if (send(bench->echo, bytes, sizeof bytes, MSG_NOSIGNAL) != ECHO_BYTES ||
	    recv(bench->echo, bytes, sizeof bytes, MSG_WAITALL) != ECHO_BYTES)
		fail("echo");
}

static void ask_ping(struct bench *bench)
{
	must(shmb_ping(bench->session), "ping");
}

static void ask_pair(struct bench *bench)
{
	shmb_block block;

	must(shmb_alloc(bench->session, 4096, NULL, &block), "allocate");
	must(shmb_free(bench->session, block.handle), "free");
}

/* Aligned, so that no window that the daemon committed around an earlier one covers it. It stays: committed is not fresh. */
static void ask_fresh(struct bench *bench)
{
	shmb_block block;

	must(shmb_alloc(bench->session, 4096, &(shmb_alloc_options){.alignment = FRESH_ALIGNMENT}, &block), "allocate fresh");
	bench->fresh++;
}

static void time_request(struct bench *bench, enum phase phase, enum kind kind, void (*ask)(struct bench *))
{
	double start = clock_ns();

	ask(bench);
	samples_add(&bench->waits[phase][kind], clock_ns() - start);
}

static void take_turn(struct bench *bench, enum phase phase)
{
	time_request(bench, phase, KIND_PING, ask_ping);
	time_request(bench, phase, KIND_PAIR, ask_pair);
	time_request(bench, phase, KIND_ECHO, ask_echo);
	if (bench->fresh < FRESH_MAX)
		time_request(bench, phase, KIND_FRESH, ask_fresh);
}

/* ---- Those who make them wait ----------------------------------------------------------------------------------- */

/* Starts a process that runs `act` with a session of its own for each byte in the returned pipe, until that is closed. */
static int start_other(struct bench *bench, void (*act)(struct bench *), pid_t *out_pid)
{
	int ends[2];
	char byte;

	if (pipe(ends) < 0)
		fail("pipe");
	*out_pid = fork();
	if (*out_pid < 0)
		fail("fork");
	if (*out_pid == 0) {
		close(ends[1]);
		connect_to(bench); /* beside the inherited session, which is never used here */
		while (read(ends[0], &byte, 1) == 1)
			act(bench);
		_exit(0);
	}
	close(ends[0]);
	return ends[1];
}

static void allocate_big(struct bench *bench)
{
	shmb_block block;

	must(shmb_alloc(bench->session, bench->big, NULL, &block), "allocate 1 GiB");
	atomic_fetch_add(bench->finished, 1);
}

static void allocate_share(struct bench *bench)
{
	shmb_block block;

	must(shmb_alloc(bench->session, bench->big / 2 / CROWD, NULL, &block), "allocate 32 MiB");
	atomic_fetch_add(bench->finished, 1);
}

static void allocate_many(struct bench *bench)
{
	static uint64_t sizes[BATCH];
	static shmb_block blocks[BATCH];

	for (size_t i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (unsigned i = 0; i < BLOCKS / BATCH; i++)
		must(shmb_alloc_batch(bench->session, sizes, BATCH, NULL, blocks), "allocate 100,000 blocks");
	atomic_fetch_add(bench->finished, 1);
}

static void order(int pipe)
{
	if (write(pipe, "", 1) != 1)
		fail("the other client");
}

static void measure_commit(struct bench *bench)
{
	pid_t pid;
	int pipe = start_other(bench, allocate_big, &pid);

	atomic_store(bench->finished, 0);
	for (int n = 1; n <= 2; n++) {
		double start = clock_ns();
		order(pipe);
		while (atomic_load(bench->finished) < n)
			take_turn(bench, PHASE_COMMIT);
		samples_add(&bench->committing, clock_ns() - start);
	}
	close(pipe);
	waitpid(pid, NULL, 0);
}

static void measure_crowd(struct bench *bench)
{
	pid_t pids[CROWD];
	int pipes[CROWD];

	for (int i = 0; i < CROWD; i++)
		pipes[i] = start_other(bench, allocate_share, &pids[i]);
	atomic_store(bench->finished, 0);
	for (int i = 0; i < CROWD; i++)
		order(pipes[i]);
	while (atomic_load(bench->finished) < CROWD)
		take_turn(bench, PHASE_CROWD);
	/* All ends first: each client has inherited those of the clients before it. */
	for (int i = 0; i < CROWD; i++)
		close(pipes[i]);
	for (int i = 0; i < CROWD; i++)
		waitpid(pids[i], NULL, 0);
}

static uint64_t live_blocks(struct bench *bench)
{
	shmb_status status;

	must(shmb_get_status(bench->session, &status), "status");
	return status.blocks;
}

static void measure_cleanup(struct bench *bench)
{
	pid_t pid;
	int pipe = start_other(bench, allocate_many, &pid);

	atomic_store(bench->finished, 0);
	order(pipe);
	while (atomic_load(bench->finished) == 0)
		usleep(1000);
	bench->fresh = FRESH_MAX; /* so that the count of blocks is theirs alone */
	uint64_t ours = live_blocks(bench) - BLOCKS;
	double start = clock_ns();
	kill(pid, SIGKILL);
	while (live_blocks(bench) > ours)
		take_turn(bench, PHASE_CLEANUP);
	samples_add(&bench->cleaning, clock_ns() - start);
	waitpid(pid, NULL, 0);
	close(pipe);
}

/* ---- The whole -------------------------------------------------------------------------------------------------- */

static void run_round(struct bench *bench)
{
	char size[32];

	snprintf(size, sizeof size, "%lluM", (unsigned long long)(3 * bench->big >> 20));
	daemon_fixture_start(&bench->daemon, "--log-level", "warning", "--size", size, NULL);
	connect_to(bench);
	bench->fresh = 0;
	/* Leaves a hole of 4 KiB behind it, committed with it: there the pairs will be. */
	ask_fresh(bench);
	for (int i = 0; i < QUIET_TURNS; i++)
		take_turn(bench, PHASE_QUIET);
	for (int i = 0; i < 100; i++)
		samples_add(&bench->calibration, calibrate());
	measure_commit(bench);
	measure_crowd(bench);
	measure_cleanup(bench);
	shmb_close(bench->session);
	daemon_fixture_stop(&bench->daemon);
}

/* 1 GiB, or the largest power of two that this machine can hold twice with something to spare. */
static uint64_t choose_big(void)
{
	struct statvfs status;
	struct sysinfo info;

	if (statvfs("/dev/shm", &status) < 0 || sysinfo(&info) < 0)
		fail("/dev/shm");
	uint64_t room = (uint64_t)status.f_bavail * status.f_frsize;
	uint64_t memory = (uint64_t)info.freeram * info.mem_unit;
	uint64_t big = BIG;
	while (big * 7 / 2 > (room < memory ? room : memory))
		big /= 2;
	return big;
}

static void print_results(struct bench *bench)
{
	printf("waits in microseconds\n%-10s %-12s %8s %9s %9s %9s %9s\n", "meanwhile", "who waits", "samples", "p50", "p99",
	       "p99.9", "worst");
	for (int phase = 0; phase < PHASES; phase++) {
		for (int kind = 0; kind < KINDS; kind++) {
			struct samples *waits = &bench->waits[phase][kind];
			if (waits->count)
				printf("%-10s %-12s %8zu %9.1f %9.1f %9.1f %9.1f\n", phase_names[phase], kind_names[kind], waits->count,
				       samples_quantile(waits, 0.5) / 1e3, samples_quantile(waits, 0.99) / 1e3,
				       samples_quantile(waits, 0.999) / 1e3, samples_quantile(waits, 1) / 1e3);
			samples_free(waits);
		}
	}
	printf("committing %llu MiB: median %.0f ms; cleaning up 100,000 blocks: median %.1f ms; calibration %.1f us\n",
	       (unsigned long long)(bench->big >> 20), samples_median(&bench->committing) / 1e6,
	       samples_median(&bench->cleaning) / 1e6, samples_median(&bench->calibration) / 1e3);
	samples_free(&bench->committing);
	samples_free(&bench->cleaning);
	samples_free(&bench->calibration);
}

int main(int argc, char **argv)
{
	struct bench bench = {.big = choose_big()};
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : ROUNDS;

	bench.finished = mmap(NULL, sizeof *bench.finished, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bench.finished == MAP_FAILED)
		fail("mmap");
	bench.echo = start_echo();
	for (unsigned i = 0; i < rounds; i++)
		run_round(&bench);
	close(bench.echo);
	wait(NULL);
	munmap(bench.finished, sizeof *bench.finished);
	print_results(&bench);
	return 0;
}
