/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block_fixture: a daemon that outlives its death, two sessions, and a block of the first one's, for the one program that includes it: the tests of
 * what may change of a block. Needs cmocka's headers before it.
 */
#ifndef TESTS_BLOCK_FIXTURE_H
#define TESTS_BLOCK_FIXTURE_H

#include "shmbuddy.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/recount.h"

#define POOL (UINT64_C(16) << 20)

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static shmb_block block;

static inline void start(void)
{
	daemon_fixture_start_lasting(&fixture, NULL);
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
}

static inline int tear_down(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static inline void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, NULL);
}

static inline void recount(void)
{
	static struct recount counted;

	recount_pool(fixture.pool, &counted);
}

static inline void allocate(uint64_t size, const char *name)
{
	assert_ok(shmb_alloc(session, size, &(shmb_alloc_options){.name = name, .tag = "changes"}, &block));
	pattern_write(block.data, block.size, block.handle.id);
}

#endif
