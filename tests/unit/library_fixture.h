/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library_fixture: a fake daemon, and sessions of the library with it, for the one program that includes it. Needs cmocka's headers before it.
 */
#ifndef TESTS_LIBRARY_FIXTURE_H
#define TESTS_LIBRARY_FIXTURE_H

#include <string.h>

#include "client/session.h"
#include "shmbuddy.h"
#include "tests/support/fake_daemon.h"

static struct fake_daemon fake;

static inline int set_up(void **state)
{
	(void)state;
	fake_daemon_start(&fake);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	fake_daemon_stop(&fake);
	return 0;
}

static inline int try_connect(uint32_t timeout_ms, shmb_session **out_session)
{
	/* A daemon that is gone is looked for once: those that come back have tests of their own. */
	const shmb_connect_options options = {.socket_path = fake.path, .timeout_ms = timeout_ms, .reconnect_ms = 1};

	return shmb_connect(&options, out_session);
}

static inline shmb_session *connected(uint32_t timeout_ms)
{
	shmb_session *session = NULL;

	if (try_connect(timeout_ms, &session) != 0)
		fail_msg("%s", shmb_last_error());
	return session;
}

/* Connected without haste; only what follows is impatient. */
static inline shmb_session *impatient(uint32_t timeout_ms)
{
	shmb_session *session = connected(0);

	session->timeout_ms = timeout_ms;
	return session;
}

#define assert_says(text) assert_non_null(strstr(shmb_last_error(), text))

#endif
