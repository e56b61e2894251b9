/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones against the real daemon: a child that adopts one has what its parent had, at the same addresses, whatever becomes of the parent; what
 * nobody adopts ends; it is adopted once; daemons may die at any time in between; and what the parent's other threads do meanwhile costs no
 * hold that was there all along.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define POOL (UINT64_C(16) << 20)

static struct daemon_fixture fixture;
static shmb_session *session; /* the parent's, which children inherit */
static shmb_block block;      /* the parent's too */
static struct client_process child = {.control = -1}, second = {.control = -1};

static int set_up(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, NULL);
	session = pool_session_open(&fixture);
	assert_ok(shmb_alloc(session, 100000, NULL, &block));
	pattern_write(block.data, block.size, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_process_end(&child);
	client_process_end(&second);
	shmb_close(session);
	session = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static void say(struct client_process *process)
{
	client_process_send(process, "g", 1);
}

static void await(struct client_process *process)
{
	char byte;

	client_process_receive(process, &byte, 1);
}

/* The same in the child. */
static void meet(int control)
{
	char byte = 'm';

	CLIENT_CHECK(client_process_say(control, &byte, 1) && client_process_hear(control, &byte, 1));
}

static uint64_t used_by(const shmb_block *what)
{
	return what->granted;
}

/* ---- What a child has ------------------------------------------------------------------------------------------- */

static void adopt_and_outlive(int control, const void *argument)
{
	const shmb_clone_token *clone = argument;
	uint32_t number;
	shmb_block own;

	CLIENT_CHECK(shmb_adopt(session, *clone) == 0);
	CLIENT_CHECK(shmb_session_number(session, &number) == 0 && number == clone->session);
	CLIENT_CHECK(pattern_matches(block.data, block.size, 1));
	CLIENT_CHECK(shmb_pointer(session, block.offset) == block.data);
	meet(control); /* the parent frees it meanwhile */
	CLIENT_CHECK(pattern_matches(block.data, block.size, 1));
	pattern_write(block.data, block.size, 2);
	CLIENT_CHECK(shmb_alloc(session, 5000, NULL, &own) == 0);
	meet(control);
	CLIENT_CHECK(shmb_free(session, block.handle) == 0);
	CLIENT_CHECK(shmb_free(session, block.handle) == -SHMB_E_STALE_HANDLE);
	CLIENT_CHECK(shmb_free(session, own.handle) == 0);
	meet(control);
	shmb_close(session);
}

static void test_child_has_what_its_parent_had(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, adopt_and_outlive, &clone);
	await(&child);
	assert_int_equal(pool_session_status(session).clients, 2);
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_free(session, block.handle), NOT_HELD);
	say(&child);
	await(&child);
	assert_true(pool_session_status(session).used >= used_by(&block));
	say(&child);
	await(&child);
	pool_session_assert_empty(session, POOL);
	say(&child);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 1);
}

static shmb_block sealed; /* as the parent got it: in its read-only mapping */

static void adopt_sealed(int control, const void *argument)
{
	int ends[2];
	shmb_block again;

	CLIENT_CHECK(pipe(ends) == 0);
	CLIENT_CHECK(write(ends[1], sealed.data, 1) == -1 && errno == EFAULT);
	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == 0);
	CLIENT_CHECK(pattern_matches(sealed.data, sealed.size, 1));
	CLIENT_CHECK(shmb_pointer_read_only(session, sealed.offset) == sealed.data);
	CLIENT_CHECK(shmb_pointer(session, sealed.offset) == block.data);
	CLIENT_CHECK(shmb_acquire(session, sealed.handle, &again) == 0 && again.sealed && again.data == sealed.data);
	CLIENT_CHECK(write(ends[1], "x", 1) == 1 && read(ends[0], sealed.data, 1) == -1 && errno == EFAULT); /* read-only */
	CLIENT_CHECK(read(ends[0], block.data, 1) == 1); /* the parent's first address was writable, and is */
	meet(control);
	shmb_close(session);
}

/* Addresses of sealed blocks are good in the child too, and fault when they are written to. */
static void test_sealed_blocks(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_seal(session, block.handle));
	assert_ok(shmb_acquire(session, block.handle, &sealed));
	assert_true(sealed.sealed && sealed.data != block.data);
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, adopt_sealed, &clone);
	await(&child);
	say(&child);
	assert_int_equal(client_process_reap(&child), 0);
	assert_memory_equal(sealed.data, "x", 1);
}

enum { OWNED, LOOKED_UP, BY_PAGE, ORPHAN, TWICE, KINDS };

static shmb_block kinds[KINDS];

static void give_back_one_of_each(int control, const void *argument)
{
	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == 0);
	meet(control);
	for (unsigned i = 0; i < KINDS; i++) {
		CLIENT_CHECK(pattern_matches(kinds[i].data, kinds[i].size, i));
		CLIENT_CHECK(shmb_free(session, kinds[i].handle) == 0);
		/* Held once, however often by the parent; and nobody else holds it by now. */
		CLIENT_CHECK(shmb_free(session, kinds[i].handle) < 0);
	}
	shmb_close(session);
}

/* Blocks that the parent holds in every way there is. */
static void test_all_kinds_of_holds(void **state)
{
	shmb_session *other = pool_session_open(&fixture);
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_alloc(session, 3000, NULL, &kinds[OWNED]));
	assert_ok(shmb_alloc(session, 3000, NULL, &kinds[TWICE]));
	assert_ok(shmb_alloc(other, 3000, &(shmb_alloc_options){.name = "theirs"}, &kinds[LOOKED_UP]));
	assert_ok(shmb_lookup(session, "theirs", &kinds[LOOKED_UP]));
	for (unsigned i = 0; i < POOL_SESSION_BEFORE_PAGE; i++)
		assert_ok(shmb_acquire(session, kinds[TWICE].handle, &kinds[TWICE]));
	for (unsigned i = BY_PAGE; i <= ORPHAN; i++) {
		assert_ok(shmb_alloc(other, 3000, &(shmb_alloc_options){.name = "page"}, &kinds[i]));
		assert_ok(shmb_acquire(session, kinds[i].handle, &kinds[i]));
		assert_ok(shmb_unpublish(other, "page"));
	}
	assert_ok(shmb_free(other, kinds[ORPHAN].handle));
	for (unsigned i = 0; i < KINDS; i++)
		pattern_write(kinds[i].data, kinds[i].size, i);
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, give_back_one_of_each, &clone);
	await(&child);
	shmb_close(other);
	assert_ok(shmb_unpublish(session, "theirs"));
	for (unsigned i = 0; i < KINDS; i++)
		assert_ok(shmb_free(session, kinds[i].handle));
	for (unsigned i = 0; i < POOL_SESSION_BEFORE_PAGE; i++)
		assert_ok(shmb_free(session, kinds[TWICE].handle));
	assert_ok(shmb_free(session, block.handle));
	say(&child);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, POOL);
}

/* Each generation clones what it has for the next, and ends before that has adopted it. */
static void hand_down(int generations, shmb_clone_token clone)
{
	shmb_clone_token next;
	int status;

	CLIENT_CHECK(shmb_adopt(session, clone) == 0);
	CLIENT_CHECK(pattern_matches(block.data, block.size, 1));
	if (generations > 0) {
		CLIENT_CHECK(shmb_clone(session, &next) == 0);
		pid_t pid = fork();
		if (pid == 0) {
			hand_down(generations - 1, next);
			_exit(0);
		}
		shmb_close(session);
		CLIENT_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	}
}

static void be_the_first(int control, const void *argument)
{
	(void)control;
	hand_down(4, *(const shmb_clone_token *)argument);
}

static void test_grandchildren(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, be_the_first, &clone);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* A server of its own, which dies when its worker has been forked; that adopts the clone afterwards. */
static void die_before_the_worker(int control, const void *argument)
{
	shmb_session *served = pool_session_open(&fixture);
	shmb_clone_token clone;
	shmb_block table;

	(void)argument;
	CLIENT_CHECK(shmb_alloc(served, 50000, NULL, &table) == 0);
	pattern_write(table.data, table.size, 7);
	CLIENT_CHECK(shmb_clone(served, &clone) == 0);
	if (fork() != 0)
		_exit(0);
	meet(control);
	CLIENT_CHECK(shmb_adopt(served, clone) == 0);
	CLIENT_CHECK(pattern_matches(table.data, table.size, 7));
	CLIENT_CHECK(shmb_free(served, table.handle) == 0);
	meet(control);
	shmb_close(served);
	_exit(0);
}

static void test_parent_dies_before_the_adoption(void **state)
{
	shmb_status status;

	(void)state;
	client_process_start(&child, die_before_the_worker, NULL);
	await(&child);
	client_process_await_zombie(&child);
	pool_session_await_clients(session, 2); /* ours, and the clone */
	status = pool_session_status(session);
	assert_int_equal(status.blocks, 2);
	say(&child);
	await(&child);
	assert_int_equal(pool_session_status(session).blocks, 1);
	say(&child);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 1);
}

/* ---- What nobody gets ------------------------------------------------------------------------------------------- */

static void test_nobody_adopts_it(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_clone(session, &clone));
	assert_ok(shmb_free(session, block.handle));
	assert_int_equal(pool_session_status(session).clients, 2);
	assert_int_equal(pool_session_status(session).blocks, 1);
	for (unsigned tries = 0; pool_session_status(session).clients > 1; tries++) {
		assert_true(tries < 60000);
		usleep(1000);
	}
	pool_session_assert_empty(session, POOL);
}

static void adopt_too_late(int control, const void *argument)
{
	shmb_clone_token clone = *(const shmb_clone_token *)argument;
	shmb_block own;

	meet(control);
	CLIENT_CHECK(shmb_adopt(session, clone) == -SHMB_E_SESSION_ENDED);
	clone.token[3] ^= 1;
	CLIENT_CHECK(shmb_adopt(session, clone) == -SHMB_E_SESSION_ENDED);
	/* It is a child as any other. */
	CLIENT_CHECK(shmb_free(session, block.handle) == -SHMB_E_NOT_HELD);
	CLIENT_CHECK(shmb_alloc(session, 5000, NULL, &own) == 0);
	CLIENT_CHECK(shmb_adopt(session, clone) == -SHMB_E_INVALID_ARGUMENT);
	shmb_close(session);
}

/* An administrator ends it, and it is gone at once. */
static void test_ended_before_it_is_adopted(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, adopt_too_late, &clone);
	await(&child);
	assert_ok(shmb_end_session(session, clone.session, false));
	pool_session_await_clients(session, 1);
	say(&child);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

static void adopt_and_tell(int control, const void *argument)
{
	int result;

	meet(control);
	result = shmb_adopt(session, *(const shmb_clone_token *)argument);
	CLIENT_CHECK(client_process_say(control, &result, sizeof result));
	if (result == 0)
		CLIENT_CHECK(pattern_matches(block.data, block.size, 1) && shmb_free(session, block.handle) == 0);
	else
		CLIENT_CHECK(shmb_free(session, block.handle) == -SHMB_E_NOT_HELD);
	meet(control);
	shmb_close(session);
}

static void test_two_adopt_it(void **state)
{
	struct client_process *children[] = {&child, &second};
	int results[2];
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_clone(session, &clone));
	for (unsigned i = 0; i < 2; i++) {
		client_process_start(children[i], adopt_and_tell, &clone);
		await(children[i]);
	}
	say(&child);
	say(&second);
	for (unsigned i = 0; i < 2; i++)
		client_process_receive(children[i], &results[i], sizeof results[i]);
	assert_true((results[0] == 0 && results[1] == -SHMB_E_DENIED) || (results[1] == 0 && results[0] == -SHMB_E_DENIED));
	for (unsigned i = 0; i < 2; i++) {
		await(children[i]);
		say(children[i]);
		assert_int_equal(client_process_reap(children[i]), 0);
	}
	pool_session_await_clients(session, 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

static void adopt_as_another_user(int control, const void *argument)
{
	(void)control;
	CLIENT_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == -SHMB_E_DENIED);
	CLIENT_CHECK(strstr(shmb_last_error(), "clone")); /* and not the socket */
}

static void test_another_user(void **state)
{
	shmb_clone_token clone;

	(void)state;
	if (geteuid() != 0)
		skip();
	daemon_fixture_let_all_in(&fixture);
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, adopt_as_another_user, &clone);
	assert_int_equal(client_process_reap(&child), 0);
	/* It is still there for whom it was made. */
	client_process_start(&child, adopt_and_tell, &clone);
	await(&child);
	say(&child);
	int result;
	client_process_receive(&child, &result, sizeof result);
	assert_int_equal(result, 0);
}

static void test_arguments(void **state)
{
	shmb_clone_token clone = {.session = 0}, good;
	shmb_session *offline;

	(void)state;
	assert_refused(shmb_clone(session, NULL), INVALID_ARGUMENT);
	assert_refused(shmb_clone(NULL, &clone), INVALID_ARGUMENT);
	assert_ok(shmb_clone(session, &good));
	assert_refused(shmb_adopt(session, clone), INVALID_ARGUMENT);
	assert_refused(shmb_adopt(NULL, good), INVALID_ARGUMENT);
	assert_refused(shmb_adopt(session, good), INVALID_ARGUMENT); /* no child */
	assert_ok(shmb_connect(&(shmb_connect_options){.pool = fixture.pool, .access = SHMB_OFFLINE}, &offline));
	assert_refused(shmb_clone(offline, &clone), NO_DAEMON);
	assert_refused(shmb_adopt(offline, good), NO_DAEMON);
	shmb_close(offline);
	assert_ok(shmb_end_session(session, good.session, false));
	pool_session_await_clients(session, 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

#define WAITING_MAX 64 /* server/clone.c */

static void test_limits(void **state)
{
	shmb_clone_token clones[WAITING_MAX], more;

	(void)state;
	for (unsigned i = 0; i < WAITING_MAX; i++)
		assert_ok(shmb_clone(session, &clones[i]));
	assert_refused(shmb_clone(session, &more), LIMIT);
	for (unsigned i = 0; i < WAITING_MAX; i++)
		assert_ok(shmb_end_session(session, clones[i].session, true));
	assert_ok(shmb_clone(session, &more));
	assert_ok(shmb_end_session(session, more.session, false));
	pool_session_await_clients(session, 1);
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
}

/* ---- Daemons that die ------------------------------------------------------------------------------------------- */

static void adopt_between_daemons(int control, const void *argument)
{
	meet(control);
	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == 0);
	meet(control);
	CLIENT_CHECK(pattern_matches(block.data, block.size, 1));
	CLIENT_CHECK(shmb_ping(session) == 0);
	meet(control);
	CLIENT_CHECK(shmb_free(session, block.handle) == 0);
	shmb_close(session);
}

static void replace_daemon(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, NULL);
}

static void test_daemons_die(void **state)
{
	shmb_clone_token clone;

	(void)state;
	assert_ok(shmb_clone(session, &clone));
	client_process_start(&child, adopt_between_daemons, &clone);
	await(&child);
	replace_daemon(); /* it was not adopted */
	say(&child);
	await(&child);
	replace_daemon(); /* it was, and has asked for nothing since */
	say(&child);
	await(&child);
	replace_daemon();
	assert_ok(shmb_free(session, block.handle));
	assert_int_equal(pool_session_status(session).blocks, 1);
	say(&child);
	assert_int_equal(client_process_reap(&child), 0);
	pool_session_await_clients(session, 1);
	pool_session_assert_empty(session, POOL);
}

/* ---- Word by word ----------------------------------------------------------------------------------------------- */

#define OK SHMBUDDY__V1__STATUS__OK

static struct raw_session raw_parent = RAW_SESSION_CLOSED, raw_child = RAW_SESSION_CLOSED;

static int tear_down_raw(void **state)
{
	raw_session_close(&raw_parent);
	raw_session_close(&raw_child);
	return tear_down(state);
}

static void clone_raw(uint64_t sequence)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(&raw_parent, 1, sequence, raw_request_clone(0, NULL, 0, NULL, 0));

	assert_int_equal(reply->status, OK);
	raw_child.number = reply->clone_token->session;
	memcpy(raw_child.token, reply->clone_token->token.data, sizeof raw_child.token);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

static Shmbuddy__V1__Status adopt_raw(void)
{
	Shmbuddy__V1__Status status;

	assert_int_equal(raw_session_adopt(&raw_child, fixture.socket_path, &status), 0);
	return status;
}

static Shmbuddy__V1__Status open_holds_raw(void)
{
	Shmbuddy__V1__Status status;

	assert_int_equal(raw_session_open_holds(&raw_child, fixture.socket_path, &status), 0);
	return status;
}

/* The process has adopted it, and what came with the answer has not got there: it says so again, to this daemon or the next. */
static void test_answer_is_lost(void **state)
{
	Shmbuddy__V1__Handle handle;

	(void)state;
	raw_session_open(&raw_parent, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&raw_parent, 1000, NULL, &handle), OK);
	clone_raw(1);
	assert_int_equal(adopt_raw(), OK);
	for (int i = 0; i < 3; i++) {
		raw_session_close(&raw_child); /* the lock too */
		if (i == 1)
			replace_daemon();
		assert_int_equal(adopt_raw(), OK);
	}
	raw_session_close(&raw_parent);
	pool_session_await_clients(session, 2);
	assert_int_equal(raw_session_free(&raw_child, &handle), OK);
	/* It has been heard of: no second time, and it ends with its lock. */
	struct raw_session again = raw_child;
	Shmbuddy__V1__Status status;
	again.client.fd = again.segment = again.view = again.lock = -1;
	assert_int_equal(raw_session_adopt(&again, fixture.socket_path, &status), 0);
	assert_int_equal(status, SHMBUDDY__V1__STATUS__DENIED);
	raw_session_close(&again);
	raw_session_close(&raw_child);
	pool_session_await_clients(session, 1);
}

/* A token that nobody has adopted opens no other door. */
static void test_tokens(void **state)
{
	(void)state;
	raw_session_open(&raw_parent, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	clone_raw(1);
	assert_int_equal(raw_session_resume(&raw_child, fixture.socket_path), SHMBUDDY__V1__STATUS__DENIED);
	assert_int_equal(open_holds_raw(), SHMBUDDY__V1__STATUS__DENIED);
	raw_child.token[0] ^= 1;
	assert_int_equal(adopt_raw(), SHMBUDDY__V1__STATUS__SESSION_ENDED);
	raw_child.token[0] ^= 1;
	assert_int_equal(adopt_raw(), OK);
	assert_int_equal(open_holds_raw(), OK);
	/* A session that is no clone is not to be adopted. */
	struct raw_session thief = RAW_SESSION_CLOSED;
	Shmbuddy__V1__Status status;
	memcpy(thief.token, raw_parent.token, sizeof thief.token);
	assert_int_equal(raw_session_adopt(&thief, fixture.socket_path, &status), 0);
	assert_int_equal(status, SHMBUDDY__V1__STATUS__DENIED);
	raw_session_close(&thief);
}

static void test_requests(void **state)
{
	uint64_t ids[505] = {0};
	uint32_t indexes[505] = {0};
	uint8_t token[sizeof raw_child.token];

	(void)state;
	raw_session_open(&raw_parent, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_call(&raw_parent, raw_request_clone(raw_parent.incarnation, ids, 2, indexes, 1)),
	                 SHMBUDDY__V1__STATUS__INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw_parent, raw_request_clone(raw_parent.incarnation, ids, 505, indexes, 505)),
	                 SHMBUDDY__V1__STATUS__INVALID_ARGUMENT);
	assert_int_equal(raw_session_call(&raw_parent, raw_request_clone(raw_parent.incarnation + 1, ids, 1, indexes, 1)),
	                 SHMBUDDY__V1__STATUS__OTHER_POOL);
	assert_int_equal(pool_session_status(session).clients, 2);
	/* Sent again it makes no other clone; and once that has ended it says so. */
	clone_raw(1);
	memcpy(token, raw_child.token, sizeof token);
	clone_raw(1);
	assert_memory_equal(token, raw_child.token, sizeof token);
	assert_int_equal(pool_session_status(session).clients, 3);
	replace_daemon();
	assert_int_equal(raw_session_resume(&raw_parent, fixture.socket_path), OK);
	clone_raw(1);
	assert_memory_equal(token, raw_child.token, sizeof token);
	assert_int_equal(raw_session_call(&raw_parent, raw_request_end_session(raw_child.number)), OK);
	Shmbuddy__V1__Reply *reply = raw_session_send(&raw_parent, 1, 1, raw_request_clone(0, NULL, 0, NULL, 0));
	assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__LIMIT);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	pool_session_await_clients(session, 2);
}

/* ---- Many blocks, and threads that come and go among them ------------------------------------------------------- */

#define MANY 20000
#define BATCH 4000
#define BUSY_THREADS 3
#define CLONES 12

static shmb_handle *many;
static atomic_bool over;
static _Atomic int failures;

static void *be_busy(void *argument)
{
	uint64_t random_state = (uint64_t)(uintptr_t)argument;

	while (!atomic_load(&over)) {
		shmb_block own[8], again;
		uint64_t sizes[8], at = pattern_below(&random_state, MANY);
		shmb_handle handles[8];

		for (unsigned i = 0; i < 8; i++)
			sizes[i] = 1 + pattern_below(&random_state, 100);
		if (shmb_alloc_batch(session, sizes, 8, NULL, own) != 0)
			atomic_fetch_add(&failures, 1);
		for (unsigned i = 0; i < 8; i++)
			handles[i] = own[i].handle;
		if (shmb_free_batch(session, handles, 8) != 0)
			atomic_fetch_add(&failures, 1);
		/* What is held all the time is held once more for a while. */
		if (shmb_acquire(session, many[at], &again) != 0 || shmb_free(session, many[at]) != 0)
			atomic_fetch_add(&failures, 1);
	}
	return NULL;
}

static void free_many(int control, const void *argument)
{
	(void)control;
	CLIENT_CHECK(shmb_adopt(session, *(const shmb_clone_token *)argument) == 0);
	for (size_t i = 0; i < MANY; i += BATCH)
		CLIENT_CHECK(shmb_free_batch(session, many + i, BATCH) == 0);
	shmb_close(session);
}

static void test_beside_busy_threads(void **state)
{
	static uint64_t sizes[BATCH];
	static shmb_block blocks[BATCH];
	pthread_t threads[BUSY_THREADS];
	shmb_clone_token clone;

	(void)state;
	many = calloc(MANY, sizeof *many);
	assert_non_null(many);
	for (size_t i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (size_t i = 0; i < MANY; i += BATCH) {
		assert_ok(shmb_alloc_batch(session, sizes, BATCH, NULL, blocks));
		for (size_t k = 0; k < BATCH; k++)
			many[i + k] = blocks[k].handle;
	}
	atomic_store(&over, false);
	atomic_store(&failures, 0);
	for (uintptr_t i = 0; i < BUSY_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, be_busy, (void *)(i + 1)), 0);
	for (int i = 0; i < CLONES; i++) {
		assert_ok(shmb_clone(session, &clone));
		client_process_start(&child, free_many, &clone);
		assert_int_equal(client_process_reap(&child), 0);
	}
	atomic_store(&over, true);
	for (int i = 0; i < BUSY_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&failures), 0);
	pool_session_await_clients(session, 1);
	for (size_t i = 0; i < MANY; i += BATCH)
		assert_ok(shmb_free_batch(session, many + i, BATCH));
	assert_ok(shmb_free(session, block.handle));
	pool_session_assert_empty(session, POOL);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_child_has_what_its_parent_had, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sealed_blocks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_kinds_of_holds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_grandchildren, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parent_dies_before_the_adoption, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nobody_adopts_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ended_before_it_is_adopted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_adopt_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_user, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_daemons_die, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answer_is_lost, set_up, tear_down_raw),
		cmocka_unit_test_setup_teardown(test_tokens, set_up, tear_down_raw),
		cmocka_unit_test_setup_teardown(test_requests, set_up, tear_down_raw),
		cmocka_unit_test_setup_teardown(test_beside_busy_threads, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("clones", tests, NULL, NULL);
}
