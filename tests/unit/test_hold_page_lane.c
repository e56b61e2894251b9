/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to hold pages on the thread pool, over a real pool under a name of this process, while the thread pool's one thread is made to wait:
 * the loop goes on, in the order in which it was asked for, and a session whose page is still to be removed keeps its number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/dying.h"
#include "server/hold_page.h"
#include "server/log.h"
#include "server/pool.h"
#include "server/reclaim.h"
#include "server/session.h"

struct fixture {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	uv_work_t work; /* keeps the thread, until: */
	uv_sem_t go_on;
};
static struct fixture fixture;

static void keep_thread(uv_work_t *work)
{
	(void)work;
	uv_sem_wait(&fixture.go_on);
}

static int setup(void **state)
{
	char name[32];
	struct pool_options options = {.name = name, .size = 1 << 20, .unit = 64, .max_sessions = 100, .ephemeral = true};

	(void)state;
	snprintf(name, sizeof name, "unit-lane-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	if (uv_sem_init(&fixture.go_on, 0) < 0 || uv_loop_init(&fixture.loop) < 0 ||
	    pool_open(&fixture.loop, &options, &fixture.pool) < 0 || reclaim_init(&fixture.reclaim, &fixture.pool) < 0)
		return -1;
	return uv_queue_work(&fixture.loop, &fixture.work, keep_thread, NULL);
}

static int teardown(void **state)
{
	struct session *session;

	(void)state;
	uv_sem_post(&fixture.go_on); /* where the test has not come to that */
	for (uint32_t n = 1; (session = sessions_from(&fixture.pool.sessions, n)); n++) {
		n = session->number;
		session_forget(session);
	}
	dying_stop(&fixture.pool.dying);
	reclaim_stop(&fixture.reclaim);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	uv_sem_destroy(&fixture.go_on);
	return uv_loop_close(&fixture.loop);
}

/* With a hold page, whose path this is. */
static struct session *open_session(char out_path[128])
{
	struct peer peer = {.uid = 7, .gid = 8, .pid = 1000, .pidfd = -1, .start_time = 9};
	struct session *session;

	assert_int_equal(session_open(&fixture.pool, &(struct session_request){.peer = &peer, .program = "client"}, &session),
	                 0);
	assert_int_equal(session_open_hold_page(session), 0);
	snprintf(out_path, 128, "/dev/shm/shmbuddy.%s.hold.%u", fixture.pool.name, (unsigned)session->number);
	return session;
}

static void turn_loop(void)
{
	for (unsigned i = 0; i < 100; i++)
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

static bool has_notice(const char *path)
{
	uint64_t notice = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &notice, sizeof notice, offsetof(struct hold_page, notice)), sizeof notice);
	close(fd);
	return notice;
}

static void test_end(void **state)
{
	char path[128], other_path[128];
	struct session *session = open_session(path), *other;
	uint32_t number = session->number;

	(void)state;
	session_end(session, "test");
	turn_loop();
	assert_int_equal(fixture.pool.page_holds.pages, 0); /* what its page says counts no more */
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(fixture.pool.sessions.count, 1);
	other = open_session(other_path);
	assert_int_not_equal(other->number, number);
	session_end(other, "test");
	assert_int_equal(access(other_path, F_OK), 0);
	uv_sem_post(&fixture.go_on);
	while (fixture.pool.sessions.count)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(other_path, F_OK), -1);
}

/* It is told first, and its page goes then. */
static void test_ask(void **state)
{
	char path[128], other_path[128];
	struct session *session = open_session(path), *other = open_session(other_path);

	(void)state;
	session_ask(session);
	session_ask(other);
	turn_loop();
	assert_false(has_notice(path));
	session_end(session, "test");
	turn_loop();
	assert_int_equal(fixture.pool.sessions.count, 2);
	uv_sem_post(&fixture.go_on);
	while (fixture.pool.sessions.count > 1)
		uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(has_notice(other_path));
}

/* The daemon stops, or does not start, while something is still to be done. */
static void test_stop(void **state)
{
	char path[128], other_path[128];
	struct session *session = open_session(path), *other = open_session(other_path);

	(void)state;
	session_ask(session);
	session_forget(session);
	session_end(other, "test");
	assert_int_equal(fixture.pool.sessions.count, 2);
	uv_sem_post(&fixture.go_on);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
	};

	setenv("UV_THREADPOOL_SIZE", "1", 1);
	return cmocka_run_group_tests_name("hold_page_lane", tests, NULL, NULL);
}
