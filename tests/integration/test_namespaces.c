/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients and daemons that see each other's processes and users under other numbers, or not at all: what is promised of sessions holds in
 * every one of these places. A client lives there, dies there in every way, or is ended; the daemon is killed and restarted meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pid_namespace.h"
#include "tests/support/pool_session.h"
#include "tests/support/resident.h"

/* Where the client is, and the daemon. */
static const struct place {
	const char *name;
	enum resident_user user;
	bool client_inside;                         /* in a pid namespace */
	enum { OUTSIDE, ELSEWHERE, BESIDE } daemon; /* ELSEWHERE: in another pid namespace each time; BESIDE: in the client's */
	bool own_proc;
} places[] = {
	{.name = "all in one"},
	{.name = "client in a pid namespace", .client_inside = true},
	{.name = "client root of a user namespace", .user = RESIDENT_OWN_ROOT},
	{.name = "client without a uid", .user = RESIDENT_UNMAPPED},
	{.name = "client in both", .client_inside = true, .user = RESIDENT_OWN_ROOT},
	{.name = "client in both, without a uid", .client_inside = true, .user = RESIDENT_UNMAPPED},
	{.name = "daemon in a pid namespace", .daemon = ELSEWHERE},
	{.name = "daemon in a pid namespace with a /proc", .daemon = ELSEWHERE, .own_proc = true},
	{.name = "each in one", .daemon = ELSEWHERE, .own_proc = true, .client_inside = true, .user = RESIDENT_OWN_ROOT},
	{.name = "both in the same, with the /proc of another", .daemon = BESIDE, .client_inside = true},
	{.name = "both in the same, with its /proc", .daemon = BESIDE, .client_inside = true, .own_proc = true},
};
#define PLACES (sizeof places / sizeof places[0])

/* What happens there. */
struct scene {
	const struct place *place;
	void (*story)(void);
};

static const struct place *place;
static struct pid_namespace clients, daemons;
static struct daemon_fixture fixture;
static shmb_session *session;
static struct resident resident;

/* ---- Around each story ------------------------------------------------------------------------------------------- */

static void daemon_goes(void)
{
	daemon_fixture_kill(&fixture);
	pid_namespace_close(&daemons);
}

static void daemon_comes(void)
{
	fixture.own_proc = place->own_proc;
	if (place->daemon == ELSEWHERE)
		assert_int_equal(pid_namespace_open(&daemons), 0);
	fixture.pid_namespace = place->daemon == BESIDE ? clients.fd : daemons.fd;
	daemon_fixture_restart(&fixture, NULL);
	daemon_fixture_let_all_in(&fixture);
}

static void start_resident(void)
{
	resident_start(&resident, &fixture, place->client_inside ? clients.fd : 0, place->user);
}

static void test_scene(void **state)
{
	const struct scene *scene = *state;

	place = scene->place;
	int result = resident_may_be(place->user);
	if (result == 0 && (place->client_inside || place->daemon != OUTSIDE))
		result = pid_namespace_open(&clients);
	if (result < 0) {
		print_message("skipped: this user may not make the namespaces: %s\n", strerror(-result));
		skip();
	}
	daemon_fixture_start_lasting(&fixture, NULL);
	assert_int_equal(chmod(fixture.directory, 0711), 0);
	daemon_goes();
	daemon_comes();
	session = pool_session_open(&fixture);
	start_resident();
	scene->story();
}

static int teardown(void **state)
{
	(void)state;
	client_process_end(&resident.process);
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	pid_namespace_close(&daemons);
	pid_namespace_close(&clients);
	return 0;
}

/* All of it, in the one piece that it was. */
static void assert_all_free(void)
{
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, pool_session_status(session).size);
}

/* ---- It lives --------------------------------------------------------------------------------------------------- */

static uint32_t expected_pid(void)
{
	if (place->daemon == BESIDE)
		return (uint32_t)resident.own_pid;
	return place->daemon == OUTSIDE ? (uint32_t)resident.process.pid : 0;
}

static void assert_listed(bool connected)
{
	bool other = place->user == RESIDENT_OWN_ROOT && geteuid() == 0;
	shmb_client_info client;

	assert_true(resident_find(&resident, session, &client));
	assert_int_equal(client.pid, expected_pid());
	assert_int_equal(client.uid, other ? RESIDENT_UID : geteuid());
	assert_int_equal(client.blocks, 1);
	assert_int_equal(client.connected, connected);
}

static void lives_on(void)
{
	shmb_block own, found;

	assert_ok(shmb_alloc(session, 5000, NULL, &own));
	pattern_write(own.data, own.size, 1);
	assert_ok(shmb_publish(session, own.handle, "of the test"));
	resident_tell(&resident, RESIDENT_SHARE);
	assert_ok(shmb_lookup(session, "of the resident", &found));
	assert_true(pattern_matches(found.data, found.size, resident.seed));
	assert_ok(shmb_free(session, found.handle));
	assert_ok(shmb_unpublish(session, "of the resident"));
	assert_listed(true);
	for (int i = 0; i < 3; i++) {
		/* Stopped is not dead: neither while there is a daemon nor while there is none, nor to the next one. */
		assert_int_equal(kill(resident.process.pid, SIGSTOP), 0);
		daemon_goes();
		daemon_comes();
		assert_ok(shmb_ping(session));
		assert_listed(false);
		assert_int_equal(kill(resident.process.pid, SIGCONT), 0);
		resident_tell(&resident, RESIDENT_LOOK);
		assert_listed(true);
	}
	assert_ok(shmb_unpublish(session, "of the test"));
	assert_ok(shmb_free(session, own.handle));
	resident_tell(&resident, RESIDENT_LOOK);
	assert_int_equal(pool_session_status(session).used, RESIDENT_GRANTED);
}

/* ---- It dies ---------------------------------------------------------------------------------------------------- */

static void dies_while_there_is_a_daemon(void)
{
	resident_tell(&resident, RESIDENT_EXIT);
	assert_int_equal(client_process_reap(&resident.process), 0);
	assert_all_free();

	start_resident();
	client_process_kill(&resident.process);
	assert_all_free();

	start_resident();
	assert_int_equal(kill(resident.process.pid, SIGSTOP), 0);
	client_process_kill(&resident.process);
	assert_all_free();

	/* One that a former daemon knew, before and after it has been heard of again. */
	for (int heard = 0; heard < 2; heard++) {
		start_resident();
		daemon_goes();
		daemon_comes();
		if (heard)
			resident_tell(&resident, RESIDENT_LOOK);
		client_process_kill(&resident.process);
		assert_all_free();
	}
}

static void dies_while_there_is_none(void)
{
	daemon_goes();
	resident_tell(&resident, RESIDENT_EXIT);
	assert_int_equal(client_process_reap(&resident.process), 0);
	daemon_comes();
	assert_all_free();

	start_resident();
	assert_int_equal(kill(resident.process.pid, SIGSTOP), 0);
	daemon_goes();
	client_process_kill(&resident.process);
	daemon_comes();
	assert_all_free();

	/* Dead, and nobody has waited for it. */
	start_resident();
	daemon_goes();
	assert_int_equal(kill(resident.process.pid, SIGKILL), 0);
	client_process_await_zombie(&resident.process);
	daemon_comes();
	assert_all_free();
	client_process_reap(&resident.process);
}

/* ---- It is ended ------------------------------------------------------------------------------------------------ */

static void says_goodbye(void)
{
	resident_tell(&resident, RESIDENT_GOODBYE);
	assert_all_free();
	client_process_kill(&resident.process);

	start_resident();
	daemon_goes();
	daemon_comes();
	resident_tell(&resident, RESIDENT_GOODBYE);
	assert_all_free();
}

static uint32_t number(void)
{
	shmb_client_info client;

	assert_true(resident_find(&resident, session, &client));
	return client.session;
}

/* It writes on until it hears of it. The daemon may be killed at any time in between. */
static void is_asked_to_end(void)
{
	for (int kills = 0; kills < 4; kills++) {
		if (kills)
			start_resident();
		if (kills & 1) {
			assert_int_equal(kill(resident.process.pid, SIGSTOP), 0); /* it cannot be heard of before it is asked */
			daemon_goes();
			daemon_comes();
		}
		assert_ok(shmb_end_session(session, number(), false));
		if (kills & 2) {
			daemon_goes();
			daemon_comes();
		}
		assert_ok(shmb_ping(session));
		assert_int_equal(pool_session_status(session).used, RESIDENT_GRANTED);
		assert_int_equal(kill(resident.process.pid, SIGCONT), 0);
		resident_tell(&resident, RESIDENT_END);
		assert_all_free();
		resident_tell(&resident, RESIDENT_TOUCH);
		assert_int_equal(client_process_reap(&resident.process), -SIGSEGV);
	}
}

/* Where the daemon cannot see the process it cannot kill it, says so, and nothing is lost. */
static void is_killed(void)
{
	for (int restarted = 0; restarted < 3; restarted++) {
		if (restarted) {
			daemon_goes();
			daemon_comes();
		}
		if (restarted == 2)
			resident_tell(&resident, RESIDENT_LOOK);
		if (place->daemon == ELSEWHERE) {
			assert_refused(shmb_end_session(session, number(), true), SYSTEM);
			assert_non_null(strstr(shmb_last_error(), restarted == 1 ? "does not know its process until that connects again"
			                                                         : "in a pid namespace that the daemon does not see"));
			resident_tell(&resident, RESIDENT_LOOK);
			continue;
		}
		assert_ok(shmb_end_session(session, number(), true));
		assert_int_equal(client_process_reap(&resident.process), -SIGKILL);
		assert_all_free();
		start_resident();
	}
}

/* ---- All of that, everywhere ------------------------------------------------------------------------------------ */

int main(void)
{
	static const struct {
		const char *name;
		void (*story)(void);
	} stories[] = {
		{"lives on", lives_on},
		{"dies while there is a daemon", dies_while_there_is_a_daemon},
		{"dies while there is none", dies_while_there_is_none},
		{"says goodbye", says_goodbye},
		{"is asked to end", is_asked_to_end},
		{"is killed", is_killed},
	};
	enum { STORIES = sizeof stories / sizeof stories[0] };
	struct CMUnitTest tests[PLACES * STORIES];
	struct scene scenes[PLACES * STORIES];
	char names[PLACES * STORIES][96];

	for (size_t i = 0; i < PLACES * STORIES; i++) {
		snprintf(names[i], sizeof names[i], "%s: it %s", places[i / STORIES].name, stories[i % STORIES].name);
		scenes[i] = (struct scene){.place = &places[i / STORIES], .story = stories[i % STORIES].story};
		tests[i] = (struct CMUnitTest){
			.name = names[i],
			.test_func = test_scene,
			.teardown_func = teardown,
			.initial_state = &scenes[i],
		};
	}
	return cmocka_run_group_tests_name("namespaces", tests, NULL, NULL);
}
