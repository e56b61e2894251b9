/* SPDX-License-Identifier: Apache-2.0 */
/*
 * However a client dies, its memory follows: whatever ended it, and whoever of its children lives on with copies of its
 * descriptors. Only what a name holds stays. Times are printed, and judged by nothing but a net of five seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(16) << 20)
#define HALF (POOL / 2)

extern char **environ;

static struct daemon_fixture fixture;
static shmb_session *watcher; /* who sees the others die */
static struct client_process client = {.control = -1};
static struct client_process offspring = {.control = -1}; /* the client's child; only its control is ours */

enum ending { ENDING_EXIT, ENDING_UNDERSCORE_EXIT, ENDING_ABORT, ENDING_EXEC, ENDING_KILL, ENDING_KILL_STOPPED, ENDINGS };
enum child { CHILD_NONE, CHILD_FORKED, CHILD_CLONED, CHILD_SPAWNED, CHILDREN };

static const char *const ending_names[] = {"exit", "_exit", "abort", "exec", "kill -9", "kill -9 while stopped"};
static const char *const child_names[] = {"no child", "a forked child", "a cloned child", "a spawned child"};

struct plan {
	enum ending ending;
	enum child child;
	int offspring; /* the child's end of its socket */
};

static int set_up(void **state)
{
	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* the dead clients' children come to us */
	daemon_fixture_start(&fixture, NULL);
	watcher = pool_session_open(&fixture);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_process_end(&client);
	if (offspring.control >= 0)
		close(offspring.control); /* its child reads the end of file, and ends */
	offspring.control = -1;
	shmb_close(watcher);
	watcher = NULL;
	daemon_fixture_stop(&fixture);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}

static shmb_session *connect_in_child(void)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path};
	shmb_session *session = NULL;

	CLIENT_CHECK(shmb_connect(&options, &session) == 0);
	return session;
}

/* Answers what it hears until nobody speaks to it any more. */
static void echo(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
		;
	_exit(0);
}

/* The same as another program, which keeps none of our descriptors but this one. */
__attribute__((noreturn)) static void exec_echo(int fd)
{
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	execlp("cat", "cat", "-u", (char *)NULL);
	_exit(127);
}

static void spawn_echo(int fd)
{
	char *const arguments[] = {(char[]){"cat"}, (char[]){"-u"}, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
	CLIENT_CHECK(posix_spawnp(&pid, "cat", &actions, NULL, arguments, environ) == 0);
	posix_spawn_file_actions_destroy(&actions);
}

static void have_child(enum child child, int fd)
{
	if (child == CHILD_FORKED && fork() == 0)
		echo(fd);
	if (child == CHILD_CLONED && syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
		echo(fd);
	if (child == CHILD_SPAWNED)
		spawn_echo(fd);
	close(fd);
}

/* Holds half of the pool, has a child, says so, and dies as planned when it is told to. */
static void holder(int control, const void *argument)
{
	const struct plan *plan = argument;
	shmb_session *session = connect_in_child();
	shmb_block block;
	char byte = 'h';

	close(offspring.control);
	CLIENT_CHECK(shmb_alloc(session, HALF, NULL, &block) == 0);
	memset(block.data, 0x5a, block.size);
	have_child(plan->child, plan->offspring);
	client_process_say(control, &byte, 1);
	if (!client_process_hear(control, &byte, 1))
		_exit(1);
	switch (plan->ending) {
	case ENDING_EXIT: exit(7);
	case ENDING_UNDERSCORE_EXIT: _exit(7);
	case ENDING_ABORT: signal(SIGABRT, SIG_DFL); abort();
	case ENDING_EXEC: exec_echo(control);
	default: _exit(1); /* it is killed before */
	}
}

static void start_holder(enum ending ending, enum child child)
{
	struct plan plan = {.ending = ending, .child = child};
	int ends[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	offspring.control = ends[0];
	plan.offspring = ends[1];
	client_process_start(&client, holder, &plan);
	close(ends[1]);
	client_process_receive(&client, &byte, 1);
	assert_int_equal(pool_session_status(watcher).used, HALF);
}

static void stop_client(void)
{
	int status;

	assert_int_equal(kill(client.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(client.pid, &status, WUNTRACED), client.pid);
	assert_true(WIFSTOPPED(status));
}

/* Makes the client die, and leaves it a zombie, except after exec. */
static void end_client(enum ending ending)
{
	if (ending == ENDING_KILL_STOPPED)
		stop_client();
	if (ending == ENDING_KILL || ending == ENDING_KILL_STOPPED)
		assert_int_equal(kill(client.pid, SIGKILL), 0);
	else
		client_process_send(&client, "d", 1);
	if (ending != ENDING_EXEC)
		client_process_await_zombie(&client);
}

static int outcome_of(enum ending ending)
{
	if (ending == ENDING_ABORT)
		return -SIGABRT;
	return ending == ENDING_EXIT || ending == ENDING_UNDERSCORE_EXIT ? 7 : -SIGKILL;
}

static void die(enum ending ending, enum child child)
{
	start_holder(ending, child);
	end_client(ending);
	/* The descriptions that a cloned child keeps cannot be told from the client's own while that process lives. */
	if (ending == ENDING_EXEC && child == CHILD_CLONED) {
		client_process_echo(&client);
		client_process_echo(&offspring);
		assert_int_equal(pool_session_status(watcher).used, HALF);
		close(offspring.control);
		offspring.control = -1;
	}
	pool_session_await_used(watcher, 0);
	pool_session_await_clients(watcher, 1);
	pool_session_assert_empty(watcher, POOL);
	if (offspring.control >= 0 && child != CHILD_NONE)
		client_process_echo(&offspring); /* it has lived all the time */
	if (ending == ENDING_EXEC) {
		client_process_echo(&client); /* so has the process itself */
		kill(client.pid, SIGKILL);
	}
	assert_int_equal(client_process_reap(&client), outcome_of(ending));
	if (offspring.control >= 0)
		close(offspring.control);
	offspring.control = -1;
	assert_ok(shmb_ping(watcher));
}

static void test_every_death_with_every_child(void **state)
{
	(void)state;
	for (int ending = 0; ending < ENDINGS; ending++)
		for (int child = 0; child < CHILDREN; child++) {
			print_message("%s, %s\n", ending_names[ending], child_names[child]);
			die((enum ending)ending, (enum child)child);
		}
}

/* What tells that the stopped one was not forgotten: another client has died meanwhile, and its memory has come back. */
static void test_stopped_client_is_alive(void **state)
{
	struct client_process stopped;
	shmb_client_info *clients;
	size_t count;

	(void)state;
	start_holder(ENDING_EXIT, CHILD_NONE);
	stop_client();
	stopped = client;
	close(offspring.control);

	client.pid = 0;
	shmb_session *other = pool_session_open(&fixture);
	shmb_block block;
	assert_ok(shmb_alloc(other, 4096, NULL, &block));
	shmb_close(other);
	for (int i = 0; i < 200; i++)
		assert_ok(shmb_ping(watcher));
	pool_session_await_used(watcher, HALF);
	assert_ok(shmb_list_clients(watcher, &clients, &count));
	assert_int_equal(count, 2);
	for (size_t i = 0; i < count; i++)
		assert_true(clients[i].connected);
	free(clients);

	client = stopped;
	assert_int_equal(kill(client.pid, SIGCONT), 0);
	assert_int_equal(pool_session_status(watcher).used, HALF);
	end_client(ENDING_EXIT);
	assert_int_equal(client_process_reap(&client), 7);
	pool_session_await_used(watcher, 0);
}

static void publisher(int control, const void *argument)
{
	shmb_session *session = connect_in_child();
	shmb_alloc_options options = {.name = "testament"};
	shmb_block named, unnamed;

	(void)argument;
	CLIENT_CHECK(shmb_alloc(session, 10000, &options, &named) == 0);
	CLIENT_CHECK(shmb_publish(session, named.handle, "codicil") == 0);
	CLIENT_CHECK(shmb_alloc(session, 5000, NULL, &unnamed) == 0);
	pattern_write(named.data, named.size, named.handle.id);
	client_process_say(control, &named.handle.id, sizeof named.handle.id);
	pause();
}

static void test_named_block_stays(void **state)
{
	shmb_block_info info;
	shmb_block block;
	uint64_t id;

	(void)state;
	client_process_start(&client, publisher, NULL);
	client_process_receive(&client, &id, sizeof id);
	client_process_kill(&client);
	pool_session_await_clients(watcher, 1);
	pool_session_await_used(watcher, 16384);
	assert_ok(shmb_find_block(watcher, id, &info));
	assert_int_equal(info.owner, 0);

	assert_ok(shmb_lookup(watcher, "testament", &block));
	assert_int_equal(block.handle.id, id);
	assert_true(pattern_matches(block.data, block.size, id));
	assert_ok(shmb_unpublish(watcher, "testament"));
	assert_ok(shmb_free(watcher, block.handle));
	assert_int_equal(pool_session_status(watcher).used, 16384); /* the codicil holds it */
	assert_ok(shmb_unpublish(watcher, "codicil"));
	pool_session_assert_empty(watcher, POOL);
}

static void borrower(int control, const void *argument)
{
	shmb_session *session = connect_in_child();
	shmb_block block;

	(void)argument;
	for (int i = 0; i < 3; i++)
		CLIENT_CHECK(shmb_lookup(session, "lent", &block) == 0);
	client_process_say(control, "l", 1);
	pause();
}

/* A dead client's references go as well, and what the living hold does not. */
static void test_references_of_the_dead(void **state)
{
	shmb_alloc_options options = {.name = "lent"};
	shmb_holder_info *holders;
	shmb_block block;
	size_t count;
	char byte;

	(void)state;
	assert_ok(shmb_alloc(watcher, 4096, &options, &block));
	client_process_start(&client, borrower, NULL);
	client_process_receive(&client, &byte, 1);
	assert_ok(shmb_list_holders(watcher, block.handle.id, &holders, &count));
	assert_int_equal(count, 2);
	assert_int_equal(holders[1].references, 3);
	free(holders);

	client_process_kill(&client);
	pool_session_await_clients(watcher, 1);
	assert_ok(shmb_list_holders(watcher, block.handle.id, &holders, &count));
	assert_int_equal(count, 1);
	assert_true(holders[0].allocated);
	free(holders);
	assert_ok(shmb_unpublish(watcher, "lent"));
	assert_ok(shmb_free(watcher, block.handle));
	pool_session_assert_empty(watcher, POOL);
}

/* Works without a pause, and tells now and then how far it is, so that it is killed in the middle of whatever it does. */
static void worker(int control, const void *argument)
{
	shmb_session *session = connect_in_child();
	uint64_t state = *(const uint64_t *)argument, sizes[16];
	shmb_block blocks[16], found;
	char name[32];

	for (unsigned turn = 0;; turn++) {
		shmb_handle handles[16] = {{0}};
		size_t count = 1 + pattern_below(&state, 16);

		for (size_t i = 0; i < count; i++)
			sizes[i] = 1 + pattern_below(&state, 20000);
		CLIENT_CHECK(shmb_alloc_batch(session, sizes, count, NULL, blocks) == 0);
		for (size_t i = 0; i < count; i++)
			handles[i] = blocks[i].handle;
		snprintf(name, sizeof name, "mid-call/%u", turn % 4);
		CLIENT_CHECK(shmb_publish(session, handles[0], name) == 0);
		CLIENT_CHECK(shmb_lookup(session, name, &found) == 0);
		client_process_say(control, "t", 1);
		CLIENT_CHECK(shmb_unpublish(session, name) == 0);
		CLIENT_CHECK(shmb_free(session, found.handle) == 0);
		CLIENT_CHECK(shmb_free_batch(session, handles, count) == 0);
	}
}

static void take_names_away(void)
{
	shmb_name_info name;
	uint32_t cursor = 0;

	while (shmb_next_name(watcher, &cursor, &name) == 1)
		assert_ok(shmb_unpublish(watcher, name.name));
}

static void test_killed_in_mid_call(void **state)
{
	uint64_t random_state = pattern_seed(UINT64_C(0xdead));

	(void)state;
	for (int i = 0; i < 60; i++) {
		uint64_t seed = pattern_random(&random_state);
		char bytes[64];

		client_process_start(&client, worker, &seed);
		client_process_receive(&client, bytes, 1 + pattern_below(&random_state, sizeof bytes));
		for (uint64_t spin = pattern_below(&random_state, 20000); spin; spin--)
			__asm__ volatile(""); /* so that it is not always at the same place */
		client_process_kill(&client);
		pool_session_await_clients(watcher, 1);
		take_names_away();
		pool_session_assert_empty(watcher, POOL);
	}
}

/* ---- Times ------------------------------------------------------------------------------------------------------ */

#define KILLS 50

static int by_value(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static void print_times(const char *what, uint64_t *times, size_t count)
{
	size_t middle = count / 2;

	qsort(times, count, sizeof *times, by_value);
	print_message("%s: min %.3f ms, median %.3f ms, max %.3f ms of %zu\n", what, (double)times[0] / 1e6,
	              (double)times[middle] / 1e6, (double)times[count - 1] / 1e6, count);
}

static void test_how_soon(void **state)
{
	uint64_t since_kill[KILLS], since_end[KILLS];

	(void)state;
	for (int i = 0; i < KILLS; i++) {
		start_holder(ENDING_KILL, CHILD_NONE);
		uint64_t killed = pool_session_now_ns();
		end_client(ENDING_KILL);
		since_end[i] = pool_session_await_used(watcher, 0);
		since_kill[i] = pool_session_now_ns() - killed;
		assert_int_equal(client_process_reap(&client), -SIGKILL);
		close(offspring.control);
		offspring.control = -1;
	}
	print_times("from kill -9 to half the pool being free", since_kill, KILLS);
	print_times("from the kernel's word to half the pool being free", since_end, KILLS);
}

/* 100,000 blocks in batches. */
#define HOARD 100000

static void hoarder(int control, const void *argument)
{
	shmb_session *session = connect_in_child();
	static uint64_t sizes[SHMB_BATCH_MAX];
	static shmb_block blocks[SHMB_BATCH_MAX];

	(void)argument;
	for (size_t i = 0; i < SHMB_BATCH_MAX; i++)
		sizes[i] = 64;
	for (size_t left = HOARD, count; left; left -= count) {
		count = left < SHMB_BATCH_MAX ? left : SHMB_BATCH_MAX;
		CLIENT_CHECK(shmb_alloc_batch(session, sizes, count, NULL, blocks) == 0);
	}
	client_process_say(control, "h", 1);
	pause();
}

/* The slowest ping while at least `least` are sent, and until the pool uses `used` bytes. */
static uint64_t slowest_ping(int least, uint64_t used, int *out_count)
{
	uint64_t slowest = 0, started = pool_session_now_ns();
	int count = 0;

	do {
		uint64_t sent = pool_session_now_ns(), took;

		assert_ok(shmb_ping(watcher));
		took = pool_session_now_ns() - sent;
		slowest = took > slowest ? took : slowest;
		count++;
		if (sent - started > UINT64_C(20000000000))
			fail_msg("%" PRIu64 " bytes are still in use", pool_session_status(watcher).used);
	} while (count < least || pool_session_status(watcher).used != used);
	*out_count = count;
	return slowest;
}

static void test_death_of_a_hoarder(void **state)
{
	uint64_t idle, busy;
	int count;
	char byte;

	(void)state;
	client_process_start(&client, hoarder, NULL);
	client_process_receive(&client, &byte, 1);
	assert_int_equal(pool_session_status(watcher).blocks, HOARD);
	idle = slowest_ping(2000, HOARD * 64, &count);
	print_message("slowest ping of %d beside a client with %d blocks: %.3f ms\n", count, HOARD, (double)idle / 1e6);
	assert_int_equal(kill(client.pid, SIGKILL), 0);
	busy = slowest_ping(1, 0, &count);
	print_message("slowest ping of %d while it dies: %.3f ms\n", count, (double)busy / 1e6);
	assert_int_equal(client_process_reap(&client), -SIGKILL);
	pool_session_await_clients(watcher, 1);
	pool_session_assert_empty(watcher, POOL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_death_with_every_child, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stopped_client_is_alive, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_named_block_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_references_of_the_dead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_killed_in_mid_call, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_how_soon, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_death_of_a_hoarder, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("deaths", tests, NULL, NULL);
}
