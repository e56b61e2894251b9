/* SPDX-License-Identifier: Apache-2.0 */
/* When a client asks for its hold page, and how long it waits for that: a daemon that takes connections and never answers, and a poll(2) that tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/deadline.h"
#include "client/hold_page.h"
#include "client/session.h"

#define MISSES 4 /* until it is asked for */

static struct shmb_session session;
static int listener;
static char folder[32];
static int longest; /* that was waited for, in milliseconds; -1: nothing was */

/* In place of the C library's, in this program. Nothing comes; to wait for that would take time. */
int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	(void)fds;
	(void)count;
	longest = timeout > longest ? timeout : longest;
	return 0;
}

static int setup(void **state)
{
	struct sockaddr_un *address = &session.address;

	(void)state;
	memset(&session, 0, sizeof session);
	address->sun_family = AF_UNIX;
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	strcpy(folder, "/tmp/shmbuddy-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(address->sun_path, sizeof address->sun_path, "%s/socket", folder);
	assert_int_equal(bind(listener, (struct sockaddr *)address, sizeof *address), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(exchange_init(&session.exchange), 0);
	hold_page_init(&session.holds);
	longest = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hold_page_close(&session.holds);
	exchange_deinit(&session.exchange);
	close(listener);
	unlink(session.address.sun_path);
	return rmdir(folder);
}

static bool was_asked(void)
{
	int fd = accept(listener, NULL, NULL);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void miss(unsigned times, int64_t until)
{
	while (times--)
		hold_page_missed(&session, until);
}

/* No longer than the call that missed may take. */
static void test_until(void **state)
{
	(void)state;
	miss(MISSES - 1, DEADLINE_NEVER);
	assert_false(was_asked());
	miss(1, deadline_in(30));
	assert_true(was_asked());
	assert_in_range(longest, 1, 31);
	assert_int_equal(session.holds.fd, -1);
	/* Not again for a long time. */
	miss(1000, DEADLINE_NEVER);
	assert_false(was_asked());
}

/* The call's time is over: the next one asks. */
static void test_too_late(void **state)
{
	(void)state;
	miss(MISSES + 5, deadline_in(0));
	assert_false(was_asked());
	assert_int_equal(longest, -1);
	miss(1, deadline_in(20));
	assert_true(was_asked());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_until, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_late, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
