/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_looks [SESSIONS]: what one client can do to the others by requests that have the daemon read all hold pages, of which there are as many
 * as sessions (1000): how long another's ping takes, alone and beside each kind. Prints, and judges nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "hold_layout.h"
#include "shmbuddy.h"
#include "tests/bench/samples.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define SESSIONS 1000
#define SESSIONS_MAX 10000
#define BATCH 200 /* requests under way */
#define MEASURED_NS 2e9
#define PART (UINT64_C(8) << 20) /* of the pool */

static struct daemon_fixture fixture;
static struct raw_session *crowd, owner = RAW_SESSION_CLOSED, busy = RAW_SESSION_CLOSED, victim = RAW_SESSION_CLOSED;
static unsigned sessions = SESSIONS;
static Shmbuddy__V1__Handle block; /* that only the last session's page holds */
static struct client_process attacker = {.control = -1};

static Shmbuddy__V1__Request *take_and_let_go(unsigned n)
{
	return n % 2 ? raw_request_free(&block) : raw_request_acquire(&block);
}

static Shmbuddy__V1__Request *list_holders(unsigned n)
{
	static Shmbuddy__V1__ListHolders message;
	static Shmbuddy__V1__Request request;

	(void)n;
	message = (Shmbuddy__V1__ListHolders)SHMBUDDY__V1__LIST_HOLDERS__INIT;
	message.handle = &block;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_HOLDERS;
	request.list_holders = &message;
	return &request;
}

static Shmbuddy__V1__Request *allocate_in_vain(unsigned n)
{
	(void)n;
	return raw_request_allocate(2 * PART, NULL); /* all of it */
}

static const struct attack {
	const char *what;
	Shmbuddy__V1__Request *(*request)(unsigned n);
	unsigned batch; /* a slot has one request at a time that waits */
} attacks[] = {
	{"acquire + free of what a page holds", take_and_let_go, BATCH},
	{"list its holders", list_holders, BATCH},
	{"allocate what there is no room for", allocate_in_vain, 1},
};
#define ATTACKS (sizeof attacks / sizeof attacks[0])

/* Until it is killed. */
static void attack(int control, const void *argument)
{
	const struct attack *attack = argument;
	char byte = 'a';

	CLIENT_CHECK(client_process_say(control, &byte, 1));
	for (;;) {
		for (unsigned n = 0; n < attack->batch; n++) {
			Shmbuddy__V1__Request *request = attack->request(n);
			request->sequence = ++busy.sequence;
			CLIENT_CHECK(raw_client_send_request(&busy.client, request) == 0);
		}
		for (unsigned n = 0; n < attack->batch; n++) {
			Shmbuddy__V1__Reply *reply;
			CLIENT_CHECK(raw_client_receive_reply(&busy.client, &reply) == 0);
			shmbuddy__v1__reply__free_unpacked(reply, NULL);
		}
	}
}

static void measure(const char *what)
{
	struct samples samples = {0};
	double start = clock_ns(), longest = 0;

	for (double now = start; now < start + MEASURED_NS;) {
		assert_int_equal(raw_session_ping(&victim), SHMBUDDY__V1__STATUS__OK);
		double taken = clock_ns() - now;
		now += taken;
		longest = taken > longest ? taken : longest;
		samples_add(&samples, taken);
	}
	printf("%-36s median %9.1f us, longest %7.1f ms\n", what, samples_median(&samples) / 1e3, longest / 1e6);
	fflush(stdout);
	samples_free(&samples);
}

static void open_all(void)
{
	struct rlimit limit;
	Shmbuddy__V1__Status status;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	daemon_fixture_start(&fixture, "--log-level", "warning", "--max-sessions", "16384", NULL);
	raw_session_open(&owner, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	raw_session_open(&victim, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	crowd = calloc(sessions, sizeof *crowd);
	assert_non_null(crowd);
	for (unsigned i = 0; i < sessions; i++)
		crowd[i] = RAW_SESSION_CLOSED;
	for (unsigned i = 0; i < sessions; i++) {
		raw_session_open(&crowd[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		assert_int_equal(raw_session_open_holds(&crowd[i], fixture.socket_path, &status), 0);
		assert_int_equal(status, SHMBUDDY__V1__STATUS__OK);
	}
}

/* The block is an orphan, which the last page that is read has. */
static void hold_in_the_last_page(void)
{
	const struct raw_session *last = &crowd[sessions - 1];
	char path[128];

	assert_int_equal(raw_session_allocate(&owner, PART, NULL, &block), SHMBUDDY__V1__STATUS__OK);
	assert_int_equal(raw_session_acquire(&owner, &block), SHMBUDDY__V1__STATUS__OK);
	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.hold.%u", fixture.pool, (unsigned)last->number);
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &block.id, sizeof block.id, offsetof(struct hold_page, slots)), sizeof block.id);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(raw_session_free(&owner, &block), SHMBUDDY__V1__STATUS__OK);
}

static void bench(void **unused)
{
	char byte;

	(void)unused;
	open_all();
	hold_in_the_last_page();
	printf("%u sessions with a hold page; a ping of another client:\n", sessions);
	measure("nobody else does anything");
	for (size_t i = 0; i < ATTACKS; i++) {
		raw_session_open(&busy, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		client_process_start(&attacker, attack, &attacks[i]);
		client_process_receive(&attacker, &byte, 1);
		measure(attacks[i].what);
		client_process_kill(&attacker);
		raw_session_close(&busy);
	}
}

static int stop(void **unused)
{
	(void)unused;
	client_process_end(&attacker);
	raw_session_close(&busy);
	for (unsigned i = 0; crowd && i < sessions; i++)
		raw_session_close(&crowd[i]);
	free(crowd);
	raw_session_close(&owner);
	raw_session_close(&victim);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(bench, stop)};

	if (argc > 1)
		sessions = (unsigned)strtoul(argv[1], NULL, 10);
	if (sessions < 1 || sessions > SESSIONS_MAX) {
		fprintf(stderr, "bench_looks: 1 to %d sessions\n", SESSIONS_MAX);
		return 2;
	}
	return cmocka_run_group_tests_name("looks", tests, NULL, NULL);
}
