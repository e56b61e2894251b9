/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end: this process, a child that ends, one that is gone, on kernels new and old. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "server/peer.h"

#define PEERPIDFD 77

static int refusal; /* where set, what SO_PEERPIDFD is refused with, as on an older kernel */

/* Stands before libc's. */
int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict length)
{
	if (level == SOL_SOCKET && option == PEERPIDFD && refusal) {
		errno = refusal;
		return -1;
	}
	return (int)syscall(SYS_getsockopt, fd, level, option, value, length);
}

/* A listening socket without a path, and whoever connects to it. */
struct fixture {
	struct sockaddr_un address;
	socklen_t length;
	int listener, accepted;
	pid_t child;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){.address.sun_family = AF_UNIX, .length = sizeof fixture.address, .accepted = -1};
	fixture.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* An address that the kernel chooses, unix(7): autobind. */
	if (bind(fixture.listener, (struct sockaddr *)&fixture.address, sizeof(sa_family_t)) < 0 ||
	    getsockname(fixture.listener, (struct sockaddr *)&fixture.address, &fixture.length) < 0 ||
	    listen(fixture.listener, 4) < 0)
		return -1;
	refusal = 0;
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->child > 0) {
		kill(fixture->child, SIGKILL);
		waitpid(fixture->child, NULL, 0);
	}
	close(fixture->accepted);
	close(fixture->listener);
	return 0;
}

/* A child that connects and then waits to be killed. */
static void connect_child(struct fixture *fixture)
{
	fixture->child = fork();
	if (fixture->child == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&fixture->address, fixture->length) == 0)
			pause();
		_exit(1);
	}
	assert_true(fixture->child > 0);
	fixture->accepted = accept(fixture->listener, NULL, NULL);
	assert_true(fixture->accepted >= 0);
}

/* Ends the child, but leaves it to be waited for. */
static void end_child(const struct fixture *fixture)
{
	siginfo_t info;

	assert_int_equal(kill(fixture->child, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)fixture->child, &info, WEXITED | WNOWAIT), 0);
}

static void reap_child(struct fixture *fixture)
{
	assert_int_equal(waitpid(fixture->child, NULL, 0), fixture->child);
	fixture->child = 0;
}

static void test_credentials(void **state)
{
	struct fixture *fixture = *state;
	struct peer peer;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(peer_credentials(pair[0], &peer), 0);
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(peer.gid, getegid());
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.pidfd, -1);
	assert_int_equal(peer.start_time, 0);
	peer_deinit(&peer); /* of none */
	close(pair[0]);
	close(pair[1]);
	connect_child(fixture);
	assert_int_equal(peer_credentials(fixture->accepted, &peer), 0);
	assert_int_equal(peer.pid, fixture->child);
	assert_int_equal(peer_credentials(-1, &peer), -EBADF);
	assert_int_equal(peer_credentials(STDIN_FILENO, &peer), -ENOTSOCK);
}

/* With SO_PEERPIDFD and without. */
static const int kernels[] = {0, ENOPROTOOPT};

static void test_living(void **state)
{
	struct fixture *fixture = *state;
	char program[PROCESS_NAME_MAX];
	struct peer peer;
	uint64_t start;

	connect_child(fixture);
	assert_int_equal(process_start_time(fixture->child, &start), 0);
	for (size_t i = 0; i < 2; i++) {
		for (int claims = 0; claims < 2; claims++) {
			refusal = kernels[i];
			assert_int_equal(peer_credentials(fixture->accepted, &peer), 0);
			assert_int_equal(peer_open_pidfd(fixture->accepted, claims ? start : 0, &peer), 0);
			assert_true(peer.pidfd >= 0);
			assert_int_equal(fcntl(peer.pidfd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
			assert_int_equal(peer.start_time, start);
			peer_program(&peer, program);
			assert_string_equal(program, "test_peer");
			assert_false(peer_has_ended(peer.pidfd));
			int pidfd = peer.pidfd;
			peer_deinit(&peer);
			assert_int_equal(peer.pidfd, -1);
			assert_int_equal(fcntl(pidfd, F_GETFD), -1);
			peer_deinit(&peer);
		}
	}
}

static void test_end_is_seen(void **state)
{
	struct fixture *fixture = *state;
	struct peer peers[2];

	connect_child(fixture);
	for (size_t i = 0; i < 2; i++) {
		refusal = kernels[i];
		assert_int_equal(peer_credentials(fixture->accepted, &peers[i]), 0);
		assert_int_equal(peer_open_pidfd(fixture->accepted, 0, &peers[i]), 0);
	}
	end_child(fixture);
	for (size_t i = 0; i < 2; i++)
		assert_true(peer_has_ended(peers[i].pidfd)); /* though nobody has waited for it */
	reap_child(fixture);
	for (size_t i = 0; i < 2; i++) {
		assert_true(peer_has_ended(peers[i].pidfd));
		peer_deinit(&peers[i]);
	}
}

/* It ended before anybody asked; reaped or not. */
static void test_gone_already(void **state)
{
	struct fixture *fixture = *state;
	struct peer peer;

	connect_child(fixture);
	end_child(fixture);
	for (int reaped = 0; reaped < 2; reaped++) {
		for (size_t i = 0; i < 2; i++) {
			refusal = kernels[i];
			assert_int_equal(peer_credentials(fixture->accepted, &peer), 0);
			assert_int_equal(peer_open_pidfd(fixture->accepted, 0, &peer), -ESRCH);
			peer_deinit(&peer);
		}
		if (!reaped)
			reap_child(fixture);
	}
	refusal = ESRCH; /* how some kernels say it */
	assert_int_equal(peer_open_pidfd(fixture->accepted, 0, &peer), -ESRCH);
	assert_int_equal(peer.pidfd, -1);
}

/* The process with that pid is another one than the one that speaks. */
static void test_start_time_mismatch(void **state)
{
	struct fixture *fixture = *state;
	struct peer peer;
	uint64_t start;

	connect_child(fixture);
	assert_int_equal(process_start_time(fixture->child, &start), 0);
	for (size_t i = 0; i < 2; i++) {
		refusal = kernels[i];
		assert_int_equal(peer_credentials(fixture->accepted, &peer), 0);
		assert_int_equal(peer_open_pidfd(fixture->accepted, start + 1, &peer), -ESRCH);
		peer_deinit(&peer);
	}
}

static void test_not_visible(void **state)
{
	struct fixture *fixture = *state;
	struct peer peer = {.pid = 0, .pidfd = -1};
	char program[PROCESS_NAME_MAX] = "somebody";

	refusal = ENOPROTOOPT;
	connect_child(fixture);
	assert_int_equal(peer_open_pidfd(fixture->accepted, 0, &peer), -EOPNOTSUPP);
	assert_int_equal(peer.pidfd, -1);
	peer_program(&peer, program);
	assert_string_equal(program, "");
}

/* No call that fails leaves a descriptor open. */
static void test_leaves_no_descriptor(void **state)
{
	struct fixture *fixture = *state;
	struct peer peer;

	refusal = ENOPROTOOPT;
	connect_child(fixture);
	int before = dup(STDERR_FILENO);
	close(before);
	assert_int_equal(peer_credentials(fixture->accepted, &peer), 0);
	assert_int_equal(peer_open_pidfd(fixture->accepted, 1, &peer), -ESRCH);
	assert_int_equal(peer.pidfd, -1);
	int after = dup(STDERR_FILENO);
	close(after);
	assert_int_equal(after, before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_credentials),         TEST(test_living),      TEST(test_end_is_seen),          TEST(test_gone_already),
		TEST(test_start_time_mismatch), TEST(test_not_visible), TEST(test_leaves_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
