/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that is killed and comes back in other pid namespaces, with the /proc of its own or of another, while clients inside and
 * outside live, die and are made anew. The pids in the pool's records were each true of one of its daemons. Nothing is freed of a
 * process that lives, and all of one that does not. And whose token is good where pids say nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pid_namespace.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_session.h"
#include "tests/support/resident.h"

#define PLACES 3 /* place 0 is the test's own pid namespace, the others are children of it and see nothing of each other */
#define RESIDENTS_MAX 24
#define MOVES 40

static struct daemon_fixture fixture;
static shmb_session *session;
static struct pid_namespace namespaces[PLACES];
static unsigned daemon_place;
static int own_clock = -1; /* the test's time namespace, while its children go to another */

static struct inhabitant {
	struct resident resident; /* .process.pid is 0 where there is none */
	unsigned place;
} inhabitants[RESIDENTS_MAX];

/* From here on children are forked into a time namespace where the machine booted earlier; until clock_back. False: not permitted. */
static bool clock_away(void)
{
	static const char offset[] = "boottime 1000 0";

	own_clock = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
	if (own_clock < 0 || unshare(CLONE_NEWTIME) < 0)
		return false;
	CLEANUP_CLOSE int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, offset, strlen(offset)), strlen(offset));
	return true;
}

static void clock_back(void)
{
	if (own_clock < 0)
		return;
	setns(own_clock, CLONE_NEWTIME);
	close(own_clock);
	own_clock = -1;
}

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 1; i < PLACES; i++) {
		if (pid_namespace_open(&namespaces[i]) == 0)
			continue;
		print_message("skipped: this user may not make pid namespaces\n");
		return 0;
	}
	daemon_place = 0;
	daemon_fixture_start_lasting(&fixture, NULL);
	daemon_fixture_let_all_in(&fixture);
	session = pool_session_open(&fixture);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	clock_back();
	for (unsigned i = 0; i < RESIDENTS_MAX; i++)
		client_process_end(&inhabitants[i].resident.process);
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	for (unsigned i = 1; i < PLACES; i++)
		pid_namespace_close(&namespaces[i]);
	return 0;
}

static void skip_without_namespaces(void)
{
	if (!session)
		skip();
}

/* ---- Moves ------------------------------------------------------------------------------------------------------ */

static void daemon_comes(unsigned place, bool own_proc)
{
	daemon_place = place;
	fixture.pid_namespace = namespaces[place].fd;
	fixture.own_proc = own_proc && geteuid() == 0;
	daemon_fixture_restart(&fixture, NULL);
	daemon_fixture_let_all_in(&fixture);
	print_message("the daemon is in place %u, %s\n", place, own_proc ? "with a /proc of its own" : "with the test's /proc");
}

static bool lives(const struct inhabitant *inhabitant)
{
	return inhabitant->resident.process.pid > 0;
}

static void settle(unsigned place, enum resident_user user)
{
	for (unsigned i = 0; i < RESIDENTS_MAX; i++) {
		if (lives(&inhabitants[i]))
			continue;
		inhabitants[i].place = place;
		resident_start(&inhabitants[i].resident, &fixture, namespaces[place].fd, user);
		return;
	}
}

static void die(struct inhabitant *inhabitant)
{
	if (lives(inhabitant))
		client_process_kill(&inhabitant->resident.process);
}

static pid_t visible_pid(const struct inhabitant *inhabitant)
{
	if (daemon_place == 0)
		return inhabitant->resident.process.pid;
	return inhabitant->place == daemon_place ? inhabitant->resident.own_pid : 0;
}

/* Everybody's block, and nobody else's, before anybody has spoken to the new daemon. No pid is shown that is another's. */
static void assert_census(void)
{
	shmb_client_info client;
	unsigned living = 0;

	for (unsigned i = 0; i < RESIDENTS_MAX; i++)
		living += lives(&inhabitants[i]);
	pool_session_await_clients(session, living + 1);
	pool_session_await_used(session, (uint64_t)living * RESIDENT_GRANTED);
	for (unsigned i = 0; i < RESIDENTS_MAX; i++) {
		if (!lives(&inhabitants[i]))
			continue;
		assert_true(resident_find(&inhabitants[i].resident, session, &client));
		assert_int_equal(client.blocks, 1);
		if (client.pid || client.connected)
			assert_int_equal(client.pid, visible_pid(&inhabitants[i]));
	}
}

/* In every place a client of each stage, with its pid from that stage; from each stage one dies with, and one without a daemon. */
static void test_in_and_out(void **state)
{
	static const struct {
		unsigned place;
		bool own_proc;
	} stages[] = {{0, false}, {1, true}, {0, false}, {1, false}, {2, true}, {2, false}, {0, true}};

	(void)state;
	skip_without_namespaces();
	for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
		struct inhabitant *eldest = &inhabitants[i * PLACES];
		for (unsigned place = 0; place < PLACES; place++)
			settle(place, RESIDENT_SAME);
		die(&eldest[i % PLACES]);
		assert_census();
		daemon_fixture_kill(&fixture);
		die(&eldest[(i + 1) % PLACES]);
		daemon_comes(stages[i].place, stages[i].own_proc);
		assert_census();
		for (unsigned k = 0; k < RESIDENTS_MAX; k += 2) {
			if (lives(&inhabitants[k]))
				resident_tell(&inhabitants[k].resident, RESIDENT_LOOK); /* the others stay lost */
		}
		assert_census();
	}
	for (unsigned i = 0; i < RESIDENTS_MAX; i++) {
		if (lives(&inhabitants[i]))
			resident_tell(&inhabitants[i].resident, RESIDENT_LOOK);
	}
}

/* The namespace that comes after it gets its inode number, perhaps, and pids that were there before. */
static void replace_place(unsigned place)
{
	for (unsigned i = 0; i < RESIDENTS_MAX; i++) {
		if (inhabitants[i].place == place)
			die(&inhabitants[i]);
	}
	pid_namespace_close(&namespaces[place]);
	assert_int_equal(pid_namespace_open(&namespaces[place]), 0);
}

static void some_die(uint64_t *seed)
{
	for (uint64_t deaths = pattern_below(seed, 3); deaths > 0; deaths--)
		die(&inhabitants[pattern_below(seed, RESIDENTS_MAX)]);
}

static void test_at_random(void **state)
{
	uint64_t seed = pattern_seed(5);

	(void)state;
	skip_without_namespaces();
	for (unsigned move = 0; move < MOVES; move++) {
		for (uint64_t births = pattern_below(&seed, 4); births > 0; births--) {
			unsigned place = (unsigned)pattern_below(&seed, PLACES);
			settle(place, pattern_below(&seed, 3) ? RESIDENT_SAME : RESIDENT_UNMAPPED);
		}
		some_die(&seed);
		daemon_fixture_kill(&fixture);
		some_die(&seed);
		if (pattern_below(&seed, 4) == 0)
			replace_place(1 + (unsigned)pattern_below(&seed, PLACES - 1));
		daemon_comes((unsigned)pattern_below(&seed, PLACES), pattern_below(&seed, 2));
		assert_census();
		for (unsigned i = 0; i < RESIDENTS_MAX; i++) {
			if (lives(&inhabitants[i]) && (pattern_below(&seed, 2) || move == MOVES - 1))
				resident_tell(&inhabitants[i].resident, RESIDENT_LOOK);
		}
		assert_census();
	}
}

/* ---- Other clocks ----------------------------------------------------------------------------------------------- */

/* Times since boot tell processes of one pid apart, and say something else there. */
static void test_another_time(void **state)
{
	(void)state;
	skip_without_namespaces();
	if (!clock_away()) {
		print_message("skipped: this user, or this kernel, makes no time namespaces\n");
		skip();
	}
	settle(0, RESIDENT_SAME);
	clock_back();
	settle(0, RESIDENT_SAME);
	for (unsigned i = 0; i < 4; i++) {
		daemon_fixture_kill(&fixture);
		if (i % 2 == 0)
			assert_true(clock_away());
		daemon_comes(0, false);
		if (i % 2 == 0)
			clock_back();
		assert_census();
		settle(0, RESIDENT_SAME);
		for (unsigned k = i; k < i + 2; k++)
			resident_tell(&inhabitants[k].resident, RESIDENT_LOOK);
		assert_census();
	}
}

#define FAR_MS 900000 /* less than the clocks differ by */

/* What is to live is not over because the daemon's clock is ahead, and what is over does not live until it is not. */
static void test_times_to_live_in_another_time(void **state)
{
	shmb_block lasting, brief;
	shmb_lifetime lifetime;

	(void)state;
	skip_without_namespaces();
	assert_ok(shmb_alloc(session, 100, &(shmb_alloc_options){.ttl_ms = FAR_MS}, &lasting));
	assert_ok(shmb_free(session, lasting.handle));
	daemon_fixture_kill(&fixture);
	if (!clock_away()) {
		print_message("skipped: this user, or this kernel, makes no time namespaces\n");
		skip();
	}
	daemon_comes(0, false);
	clock_back();
	assert_ok(shmb_get_lifetime(session, lasting.handle.id, &lifetime));
	assert_true(lifetime.expires_ms > FAR_MS / 2 && lifetime.expires_ms <= FAR_MS);
	/* With the daemon there, something that expires later than it should not. */
	assert_ok(shmb_alloc(session, 100, &(shmb_alloc_options){.ttl_ms = 1}, &brief));
	assert_ok(shmb_free(session, brief.handle));
	pool_session_await_used(session, lasting.granted);
	assert_ok(shmb_get_lifetime(session, lasting.handle.id, &lifetime));
	/* Made there, and left to one that is here. */
	assert_ok(shmb_alloc(session, 100, &(shmb_alloc_options){.ttl_ms = 50}, &brief));
	assert_ok(shmb_free(session, brief.handle));
	daemon_fixture_kill(&fixture);
	daemon_comes(0, false);
	pool_session_await_used(session, lasting.granted);
	assert_ok(shmb_get_lifetime(session, lasting.handle.id, &lifetime));
	assert_true(lifetime.expires_ms > FAR_MS / 2 && lifetime.expires_ms <= FAR_MS);
}

/* ---- Tokens ----------------------------------------------------------------------------------------------------- */

#define DENIED SHMBUDDY__V1__STATUS__DENIED

/* From another process, which is that user. */
static void assert_denied_to(struct raw_session *lost, enum resident_user user)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(resident_become(user) == 0 && raw_session_resume(lost, fixture.socket_path) == DENIED ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* The daemon sees no pid, so the token and the uid decide: root of a user namespace is who he is outside. */
static void test_token_of_another_user(void **state)
{
	struct raw_session lost = RAW_SESSION_CLOSED;

	(void)state;
	skip_without_namespaces();
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	raw_session_open(&lost, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	raw_session_disconnect(&lost);
	for (unsigned place = 0; place < PLACES; place++) {
		daemon_fixture_kill(&fixture);
		daemon_comes(place, true);
		assert_denied_to(&lost, RESIDENT_OWN_ROOT);
		assert_int_equal(raw_session_resume(&lost, fixture.socket_path), SHMBUDDY__V1__STATUS__OK);
		raw_session_disconnect(&lost);
		/* Where its pid is known, not even another process of the same user. */
		if (place == 0)
			assert_denied_to(&lost, RESIDENT_SAME);
	}
	raw_session_close(&lost);
	pool_session_await_clients(session, 1);
}

/* ---- Main ------------------------------------------------------------------------------------------------------- */

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_in_and_out),
		TEST(test_at_random),
		TEST(test_another_time),
		TEST(test_times_to_live_in_another_time),
		TEST(test_token_of_another_user),
	};

	return cmocka_run_group_tests_name("daemon_moves", tests, NULL, NULL);
}
