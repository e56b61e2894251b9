/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: what each kind says, and in which order they come; that a subscriber who does not read costs the others nothing and is told how
 * much it has lost; that a subscription outlives its daemon and not its process; and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_session.h"

#define MEBIBYTE (UINT64_C(1) << 20)
#define PATIENCE_MS 20000 /* a net under what never comes */
#define NAMES (SHMB_EVENT_NAME_PUBLISHED | SHMB_EVENT_NAME_REMOVED)
#define SESSIONS (SHMB_EVENT_SESSION_OPENED | SHMB_EVENT_SESSION_ENDED)

static struct daemon_fixture fixture;
static shmb_session *session, *other; /* who listens, and who does something */
static shmb_event event;

static void open_both(void)
{
	session = pool_session_open(&fixture);
	other = pool_session_open(&fixture);
}

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, NULL);
	open_both();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static uint32_t number_of(shmb_session *of)
{
	uint32_t number;

	assert_ok(shmb_session_number(of, &number));
	return number;
}

/* The next event, which is of this kind. */
static void expect(enum shmb_event_kind kind)
{
	int result = shmb_next_event(session, PATIENCE_MS, &event);

	if (result != 1)
		fail_msg("no event, but %d: %s", result, shmb_last_error());
	assert_int_equal(event.kind, kind);
	assert_true(event.time_ns > 0);
}

static void expect_nothing(void)
{
	assert_ok(shmb_ping(session)); /* behind whatever the daemon has said by now */
	assert_int_equal(shmb_next_event(session, 0, &event), 0);
}

static shmb_block allocate(shmb_session *of, uint64_t size, const char *name)
{
	shmb_block block;

	assert_ok(shmb_alloc(of, size, &(shmb_alloc_options){.name = name}, &block));
	return block;
}

/* ---- What is said ----------------------------------------------------------------------------------------------- */

static void expect_name(enum shmb_event_kind kind, const char *name, const shmb_block *block)
{
	expect(kind);
	assert_string_equal(event.name, name);
	assert_memory_equal(&event.block, &block->handle, sizeof event.block);
	assert_int_equal(event.bytes, block->size);
	assert_int_equal(event.uid, getuid());
	assert_int_equal(event.session, number_of(other));
}

static void expect_freed(const shmb_block *block, uint32_t by)
{
	expect(SHMB_EVENT_BLOCK_FREED);
	assert_memory_equal(&event.block, &block->handle, sizeof event.block);
	assert_int_equal(event.bytes, block->granted);
	assert_int_equal(event.uid, getuid());
	assert_int_equal(event.session, by);
	assert_string_equal(event.name, "");
}

static void test_names_and_frees_in_order(void **state)
{
	(void)state;
	assert_ok(shmb_subscribe(session, NAMES | SHMB_EVENT_BLOCK_FREED, NULL));
	shmb_block first = allocate(other, 1000, "first"), second = allocate(other, 70000, NULL);
	assert_ok(shmb_publish(other, second.handle, "second"));
	assert_ok(shmb_publish(other, second.handle, "second again"));
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "first", &first);
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "second", &second);
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "second again", &second);

	assert_ok(shmb_free(other, second.handle));
	assert_ok(shmb_unpublish(other, "first"));
	expect_name(SHMB_EVENT_NAME_REMOVED, "first", &first); /* its block is held */
	assert_ok(shmb_remove(other, second.handle.id));
	expect(SHMB_EVENT_NAME_REMOVED);
	expect(SHMB_EVENT_NAME_REMOVED);
	expect_freed(&second, number_of(other));
	assert_ok(shmb_free(other, first.handle));
	expect_freed(&first, number_of(other));
	expect_nothing();
}

static void test_a_name_is_replaced(void **state)
{
	(void)state;
	assert_ok(shmb_subscribe(session, NAMES | SHMB_EVENT_BLOCK_FREED, NULL));
	shmb_block first = allocate(other, 1000, "name"), second = allocate(other, 70000, NULL);
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "name", &first);
	assert_ok(shmb_free(other, first.handle));
	assert_ok(shmb_publish_with(other, second.handle, "name", &(shmb_publish_options){.replace = true, .offset = 69000}));
	expect_name(SHMB_EVENT_NAME_REMOVED, "name", &first);
	second.size -= 69000;
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "name", &second);
	expect_freed(&first, number_of(other));
	assert_ok(shmb_publish_with(other, second.handle, "name", &(shmb_publish_options){.replace = true, .length = 5}));
	expect_name(SHMB_EVENT_NAME_REMOVED, "name", &second);
	second.size = 5;
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "name", &second);
	expect_nothing();
}

/* The name goes first, since the time to live ends it; the block is freed when nobody holds it. */
static void test_a_time_to_live_ends(void **state)
{
	(void)state;
	assert_ok(shmb_subscribe(session, NAMES | SHMB_EVENT_BLOCK_FREED | SHMB_EVENT_BLOCK_EXPIRED, NULL));
	shmb_block block;
	assert_ok(shmb_alloc(other, 1000, &(shmb_alloc_options){.name = "brief", .ttl_ms = 1}, &block));
	expect_name(SHMB_EVENT_NAME_PUBLISHED, "brief", &block);
	expect(SHMB_EVENT_NAME_REMOVED);
	assert_int_equal(event.session, 0);
	expect(SHMB_EVENT_BLOCK_EXPIRED);
	assert_memory_equal(&event.block, &block.handle, sizeof event.block);
	assert_int_equal(event.bytes, block.granted);
	assert_int_equal(event.session, 0);
	expect_nothing(); /* it is held */
	assert_ok(shmb_free(other, block.handle));
	expect_freed(&block, number_of(other));
}

static void test_what_a_subscriber_does_itself_is_told_too(void **state)
{
	(void)state;
	assert_ok(shmb_subscribe(session, NAMES, NULL));
	shmb_block block = allocate(session, 10, "own");
	expect(SHMB_EVENT_NAME_PUBLISHED);
	assert_int_equal(event.block.id, block.handle.id);
	assert_int_equal(event.session, number_of(session));
}

static void test_only_what_was_asked_for(void **state)
{
	(void)state;
	assert_ok(shmb_subscribe(session, NAMES | SHMB_EVENT_BLOCK_FREED, "camera/"));
	allocate(other, 10, "camera");
	allocate(other, 10, "camera/1");
	allocate(other, 10, "Camera/2");
	shmb_block unnamed = allocate(other, 10, NULL);
	assert_ok(shmb_free(other, unnamed.handle)); /* frees have no name to be chosen by */
	allocate(other, 10, "camera/3");
	expect(SHMB_EVENT_NAME_PUBLISHED);
	assert_string_equal(event.name, "camera/1");
	expect(SHMB_EVENT_BLOCK_FREED);
	expect(SHMB_EVENT_NAME_PUBLISHED);
	assert_string_equal(event.name, "camera/3");
	expect_nothing();

	/* Another subscription takes the place of the first. */
	assert_ok(shmb_subscribe(session, SHMB_EVENT_NAME_REMOVED, ""));
	allocate(other, 10, "camera/4");
	assert_ok(shmb_unpublish(other, "camera"));
	expect(SHMB_EVENT_NAME_REMOVED);
	assert_string_equal(event.name, "camera");
	assert_ok(shmb_subscribe(session, 0, NULL));
	assert_ok(shmb_unpublish(other, "camera/1"));
	assert_refused(shmb_next_event(session, 0, &event), INVALID_ARGUMENT);
}

static void live_and_die(int control, const void *argument)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path, .program = "short-lived"};
	shmb_session *own;
	shmb_block blocks[2];

	(void)argument;
	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_alloc_batch(own, (const uint64_t[]){4096, 4096}, 2, NULL, blocks) == 0);
	client_process_say(control, &blocks[0].handle.id, sizeof blocks[0].handle.id);
	client_process_hear(control, &blocks[0], 1);
}

static void test_sessions_come_and_go(void **state)
{
	struct client_process process;
	uint64_t id;

	(void)state;
	assert_ok(shmb_subscribe(session, SESSIONS | SHMB_EVENT_BLOCK_FREED, NULL));
	client_process_start(&process, live_and_die, NULL);
	client_process_receive(&process, &id, sizeof id);
	expect(SHMB_EVENT_SESSION_OPENED);
	assert_string_equal(event.name, "short-lived");
	assert_int_equal(event.uid, getuid());
	uint32_t number = event.session;
	assert_true(number > 0 && number != number_of(session));
	client_process_kill(&process);
	expect(SHMB_EVENT_SESSION_ENDED);
	assert_int_equal(event.session, number);
	assert_string_equal(event.name, "short-lived");
	assert_int_equal(event.bytes, 8192);
	for (unsigned i = 0; i < 2; i++) {
		expect(SHMB_EVENT_BLOCK_FREED);
		assert_true(event.block.id == id || event.block.id == id + 1);
		assert_int_equal(event.session, number);
	}
	expect_nothing();
}

static void expect_pressure(enum shmb_pressure pressure, uint64_t used)
{
	expect(SHMB_EVENT_PRESSURE);
	assert_int_equal(event.pressure, pressure);
	assert_int_equal(event.bytes, used);
}

static void test_pressure(void **state)
{
	shmb_block blocks[16];

	(void)state;
	/* Of 16 MiB: 12 MiB, and 15. */
	daemon_fixture_start(&fixture, "--pressure", "75,93", NULL);
	open_both();
	assert_ok(shmb_subscribe(session, SHMB_EVENT_PRESSURE, NULL));
	for (unsigned i = 0; i < 16; i++)
		blocks[i] = allocate(other, MEBIBYTE, NULL);
	expect_pressure(SHMB_PRESSURE_LOW, 12 * MEBIBYTE);
	expect_pressure(SHMB_PRESSURE_HIGH, 15 * MEBIBYTE);
	expect_nothing();
	/* Who comes now is told how it is. */
	assert_ok(shmb_subscribe(session, SHMB_EVENT_PRESSURE, NULL));
	expect_pressure(SHMB_PRESSURE_HIGH, 16 * MEBIBYTE);
	assert_ok(shmb_free(other, blocks[0].handle));
	expect_nothing(); /* below the mark, and not yet enough */
	assert_ok(shmb_free(other, blocks[1].handle));
	blocks[1] = allocate(other, MEBIBYTE, NULL);
	expect_pressure(SHMB_PRESSURE_LOW, 14 * MEBIBYTE);
	expect_pressure(SHMB_PRESSURE_HIGH, 15 * MEBIBYTE);
	for (unsigned i = 1; i < 16; i++)
		assert_ok(shmb_free(other, blocks[i].handle));
	expect_pressure(SHMB_PRESSURE_LOW, 14 * MEBIBYTE);
	expect_pressure(SHMB_PRESSURE_NONE, 11 * MEBIBYTE);
	expect_nothing();
}

/* ---- Waiting ---------------------------------------------------------------------------------------------------- */

static void test_waiting_ends_in_time(void **state)
{
	(void)state;
	assert_refused(shmb_next_event(session, 0, &event), INVALID_ARGUMENT);
	assert_ok(shmb_subscribe(session, NAMES, NULL));
	assert_int_equal(shmb_next_event(session, 0, &event), 0);
	assert_int_equal(shmb_next_event(session, 1, &event), 0);
	assert_int_equal(shmb_next_event(session, 300, &event), 0);
	assert_refused(shmb_next_event(session, 0, NULL), INVALID_ARGUMENT);
	assert_refused(shmb_next_event(NULL, 0, &event), INVALID_ARGUMENT);
	assert_refused(shmb_subscribe(NULL, NAMES, NULL), INVALID_ARGUMENT);
}

#define LISTENERS 3
#define CALLERS 3
#define ROUNDS 500u

static _Atomic unsigned heard, told_end;

static void *listen_on(void *argument)
{
	shmb_event own;

	(void)argument;
	while (atomic_load(&told_end) == 0) {
		if (shmb_next_event(session, UINT32_MAX, &own) != 1)
			return (void *)(uintptr_t) "waiting failed";
		if (own.kind == SHMB_EVENT_LOST)
			return (void *)(uintptr_t) "events were lost";
		if (strcmp(own.name, "the end") == 0)
			atomic_fetch_add(&told_end, 1);
		else
			atomic_fetch_add(&heard, 1);
	}
	return NULL;
}

static void *call_on(void *argument)
{
	char name[32];
	shmb_block block;

	snprintf(name, sizeof name, "name %d", *(const int *)argument);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (shmb_alloc(session, 100, &(shmb_alloc_options){.name = name}, &block) < 0 || shmb_unpublish(session, name) < 0 ||
		    shmb_free(session, block.handle) < 0)
			return (void *)(uintptr_t) "a call failed";
	}
	return NULL;
}

static void test_beside_calls_of_other_threads(void **state)
{
	pthread_t listeners[LISTENERS], callers[CALLERS];
	int numbers[CALLERS];
	void *failure;

	(void)state;
	atomic_store(&heard, 0);
	atomic_store(&told_end, 0);
	assert_ok(shmb_subscribe(session, NAMES, NULL));
	for (int i = 0; i < LISTENERS; i++)
		assert_int_equal(pthread_create(&listeners[i], NULL, listen_on, NULL), 0);
	for (int i = 0; i < CALLERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&callers[i], NULL, call_on, &numbers[i]), 0);
	}
	for (int i = 0; i < CALLERS; i++) {
		assert_int_equal(pthread_join(callers[i], &failure), 0);
		assert_null(failure);
	}
	for (uint64_t patience = 0; atomic_load(&heard) < 2 * CALLERS * ROUNDS; patience++) {
		if (patience == PATIENCE_MS)
			fail_msg("%u events of %u were heard", atomic_load(&heard), 2 * CALLERS * ROUNDS);
		usleep(1000);
	}
	/* One for each of those that still wait. */
	for (int i = 0; i < LISTENERS; i++) {
		allocate(other, 10, "the end");
		assert_ok(shmb_unpublish(other, "the end"));
	}
	for (int i = 0; i < LISTENERS; i++) {
		assert_int_equal(pthread_join(listeners[i], &failure), 0);
		assert_null(failure);
	}
}

static void *wait_for_one(void *argument)
{
	shmb_event own;
	int *result = argument;

	*result = shmb_next_event(session, UINT32_MAX, &own);
	return NULL;
}

/* A thread that waits is told: also when another one unsubscribes, and when the session is over. */
static void test_whoever_waits_is_told_of_the_end(void **state)
{
	pthread_t thread;
	int result;

	(void)state;
	assert_ok(shmb_subscribe(session, NAMES, NULL));
	assert_int_equal(pthread_create(&thread, NULL, wait_for_one, &result), 0);
	usleep(1000); /* it may wait by now; both ways are fine */
	assert_ok(shmb_subscribe(session, 0, NULL));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(result, -SHMB_E_INVALID_ARGUMENT);

	assert_ok(shmb_subscribe(session, NAMES, NULL));
	assert_int_equal(pthread_create(&thread, NULL, wait_for_one, &result), 0);
	usleep(1000);
	assert_ok(shmb_end_session(other, number_of(session), false));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(result, -SHMB_E_SESSION_ENDED);
	assert_refused(shmb_next_event(session, 0, &event), SESSION_ENDED);
}

/* ---- Losing ----------------------------------------------------------------------------------------------------- */

#define BATCH 4096

/* Frees so many batches of blocks. */
static void free_batches(unsigned count)
{
	static uint64_t sizes[BATCH];
	static shmb_block blocks[BATCH];
	static shmb_handle handles[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		sizes[i] = 64;
	for (unsigned n = 0; n < count; n++) {
		assert_ok(shmb_alloc_batch(other, sizes, BATCH, NULL, blocks));
		for (unsigned i = 0; i < BATCH; i++)
			handles[i] = blocks[i].handle;
		assert_ok(shmb_free_batch(other, handles, BATCH));
	}
}

/* Takes all there is, and one more that closes the list: how many frees it was told of, or told to be lost. */
static uint64_t count_to_the_end(uint64_t *out_lost)
{
	uint64_t received = 0;

	*out_lost = 0;
	allocate(other, 10, "the end");
	for (;;) {
		assert_int_equal(shmb_next_event(session, PATIENCE_MS, &event), 1);
		if (event.kind == SHMB_EVENT_NAME_PUBLISHED)
			return received;
		if (event.kind == SHMB_EVENT_LOST)
			*out_lost += event.lost;
		else
			received++;
	}
}

static long resident_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		sscanf(line, "VmRSS: %ld", &kib);
	fclose(file);
	assert_true(kib > 0);
	return kib;
}

static void test_who_does_not_read_loses_and_the_others_go_on(void **state)
{
	const unsigned batches = 250; /* some more than a million */
	uint64_t lost;

	(void)state;
	assert_ok(shmb_subscribe(session, SHMB_EVENT_NAME_PUBLISHED | SHMB_EVENT_BLOCK_FREED, NULL));
	free_batches(8);
	long before = resident_kib(fixture.pid);
	free_batches(batches - 8);
	long growth = resident_kib(fixture.pid) - before;
	uint64_t received = count_to_the_end(&lost);
	print_message("%llu received, %llu lost; the daemon grew by %ld KiB\n", (unsigned long long)received,
	              (unsigned long long)lost, growth);
	assert_true(lost > 0 && received > 1000);
	assert_int_equal(received + lost, batches * BATCH);
#ifndef __SANITIZE_ADDRESS__
	assert_true(growth < 4096); /* the log's ring is one mebibyte; some hundred were sent */
#endif
	/* And from then on none is lost. */
	free_batches(0);
	shmb_block block = allocate(other, 10, NULL);
	assert_ok(shmb_free(other, block.handle));
	expect(SHMB_EVENT_BLOCK_FREED);
	expect_nothing();
}

/* The library reads because of its calls, and nobody takes what comes. */
static void test_a_full_queue_in_the_program(void **state)
{
	uint64_t lost;

	(void)state;
	assert_ok(shmb_subscribe(session, SHMB_EVENT_NAME_PUBLISHED | SHMB_EVENT_BLOCK_FREED, NULL));
	for (unsigned i = 0; i < 4; i++) {
		free_batches(1);
		for (unsigned n = 0; n < 40; n++)
			assert_ok(shmb_ping(session));
	}
	uint64_t received = count_to_the_end(&lost);
	assert_true(lost > 0 && received >= 1000);
	assert_int_equal(received + lost, 4 * BATCH);
}

static void test_a_new_subscription_counts_what_of_the_old_one_was_not_sent(void **state)
{
	uint64_t lost;

	(void)state;
	assert_ok(shmb_subscribe(session, SHMB_EVENT_NAME_PUBLISHED | SHMB_EVENT_BLOCK_FREED, NULL));
	free_batches(20);
	assert_ok(shmb_subscribe(session, SHMB_EVENT_NAME_PUBLISHED, NULL));
	free_batches(1);
	uint64_t received = count_to_the_end(&lost);
	assert_true(lost > 0);
	assert_int_equal(received + lost, 20 * BATCH);
}

/* ---- Another daemon, another process ---------------------------------------------------------------------------- */

static void expect_unknown_loss(void)
{
	expect(SHMB_EVENT_LOST);
	assert_int_equal(event.lost, 0);
}

static void test_a_subscription_outlives_its_daemon(void **state)
{
	(void)state;
	assert_ok(shmb_subscribe(session, NAMES, "kept/"));
	allocate(other, 10, "kept/1");
	expect(SHMB_EVENT_NAME_PUBLISHED);
	for (unsigned i = 0; i < 3; i++) {
		char name[32], hidden[32];
		snprintf(name, sizeof name, "kept/after %u", i);
		snprintf(hidden, sizeof hidden, "hidden %u", i);
		daemon_fixture_kill(&fixture);
		daemon_fixture_restart(&fixture, NULL);
		if (i == 1)
			assert_ok(shmb_ping(session)); /* it may be any call that finds the daemon */
		else
			expect_unknown_loss();
		allocate(other, 10, hidden);
		allocate(other, 10, name);
		if (i == 1)
			expect_unknown_loss();
		expect(SHMB_EVENT_NAME_PUBLISHED);
		assert_string_equal(event.name, name);
		expect_nothing();
	}
	/* Without waiting, too, and while there is none. */
	daemon_fixture_kill(&fixture);
	int result;
	while ((result = shmb_next_event(session, 0, &event)) == 0)
		;
	assert_int_equal(result, -SHMB_E_DISCONNECTED);
	daemon_fixture_restart(&fixture, NULL);
	while ((result = shmb_next_event(session, 0, &event)) == -SHMB_E_DISCONNECTED)
		;
	assert_int_equal(result, 1);
	assert_int_equal(event.kind, SHMB_EVENT_LOST);
	/* What was given up is not taken up again. */
	assert_ok(shmb_subscribe(session, 0, NULL));
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, NULL);
	assert_ok(shmb_ping(session));
	assert_refused(shmb_next_event(session, 0, &event), INVALID_ARGUMENT);
}

static void look_in_the_child(int control, const void *argument)
{
	shmb_event own;
	shmb_block block;

	(void)argument;
	CLIENT_CHECK(shmb_next_event(session, 0, &own) == -SHMB_E_INVALID_ARGUMENT);
	CLIENT_CHECK(shmb_subscribe(session, SHMB_EVENT_NAME_PUBLISHED, "child") == 0);
	CLIENT_CHECK(shmb_alloc(session, 10, &(shmb_alloc_options){.name = "child's"}, &block) == 0);
	CLIENT_CHECK(shmb_next_event(session, PATIENCE_MS, &own) == 1 && strcmp(own.name, "child's") == 0);
	client_process_say(control, "", 1);
	shmb_close(session);
}

static void test_a_child_is_subscribed_to_nothing(void **state)
{
	struct client_process process;
	char byte;

	(void)state;
	assert_ok(shmb_subscribe(session, NAMES, NULL));
	allocate(other, 10, "before");
	assert_ok(shmb_ping(session));
	assert_ok(shmb_ping(session)); /* an event waits in the queue of the parent */
	client_process_start(&process, look_in_the_child, NULL);
	client_process_receive(&process, &byte, 1);
	assert_int_equal(client_process_reap(&process), 0);
	expect(SHMB_EVENT_NAME_PUBLISHED);
	assert_string_equal(event.name, "before");
	expect(SHMB_EVENT_NAME_PUBLISHED);
	assert_string_equal(event.name, "child's");
}

static void test_who_may_only_read_may_listen(void **state)
{
	(void)state;
	shmb_close(session);
	session = pool_session_open_read_only(&fixture);
	assert_ok(shmb_subscribe(session, SHMB_EVENT_ALL, NULL));
	allocate(other, 10, "seen");
	expect(SHMB_EVENT_NAME_PUBLISHED);
}

/* ---- Bounds and bad manners ------------------------------------------------------------------------------------- */

static void test_what_cannot_be_is_refused(void **state)
{
	struct raw_session raw;
	char prefix[SHMB_NAME_MAX + 2];

	(void)state;
	memset(prefix, 'p', sizeof prefix - 1);
	prefix[sizeof prefix - 1] = '\0';
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_subscribe(&raw, 1u << 9, ""), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_subscribe(&raw, UINT32_MAX, ""), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_subscribe(&raw, NAMES, prefix), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_subscribe(&raw, NAMES, "//host"), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_subscribe(&raw, NAMES, "a\nb"), SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(raw_session_subscribe(&raw, NAMES, prefix + 1), 0);
	assert_int_equal(raw_session_subscribe(&raw, SHMB_EVENT_LOST, ""), 0); /* of nothing */
	assert_int_equal(raw_session_ping(&raw), 0);
	raw_session_close(&raw);
	assert_refused(shmb_subscribe(session, 1u << 9, NULL), INVALID_ARGUMENT);
	assert_refused(shmb_subscribe(session, NAMES, prefix), INVALID_ARGUMENT);
	assert_refused(shmb_subscribe(session, NAMES, "//host"), INVALID_ARGUMENT);
}

#define MOST 1024

/* Room for the descriptors of so many clients. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 3 * MOST)
		skip();
}

static void test_a_pool_has_so_many_subscribers(void **state)
{
	struct raw_session *raw = calloc(MOST + 1, sizeof *raw);

	(void)state;
	raise_descriptor_limit();
	assert_non_null(raw);
	for (unsigned i = 0; i <= MOST; i++) {
		raw_session_open(&raw[i], fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
		close(raw[i].segment);
		close(raw[i].view);
		raw[i].segment = raw[i].view = -1;
		if (i < MOST)
			assert_int_equal(raw_session_subscribe(&raw[i], SHMB_EVENT_BLOCK_FREED, ""), 0);
	}
	assert_int_equal(raw_session_subscribe(&raw[MOST], NAMES, ""), SHMB_E_LIMIT);
	assert_refused(shmb_subscribe(session, NAMES, NULL), LIMIT);
	/* Whoever is one may change its mind. */
	assert_int_equal(raw_session_subscribe(&raw[0], SHMB_EVENT_BLOCK_FREED, "other"), 0);
	/* None of them reads, and others go on. */
	uint64_t start = pool_session_now_ns(), longest = 0;
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before = pool_session_now_ns();
		free_batches(1);
		if (pool_session_now_ns() - before > longest)
			longest = pool_session_now_ns() - before;
	}
	print_message("%d frees before %d who do not read took %.0f ms, the longest batch %.1f ms\n", 20 * BATCH, MOST,
	              (double)(pool_session_now_ns() - start) / 1e6, (double)longest / 1e6);
	/* A place is free again with a subscription, and with a connection. */
	assert_int_equal(raw_session_subscribe(&raw[1], 0, ""), 0);
	assert_ok(shmb_subscribe(session, NAMES, NULL));
	assert_int_equal(raw_session_subscribe(&raw[MOST], NAMES, ""), SHMB_E_LIMIT);
	raw_session_close(&raw[2]);
	while (raw_session_subscribe(&raw[MOST], NAMES, "") != 0)
		;
	for (unsigned i = 0; i <= MOST; i++)
		raw_session_close(&raw[i]);
	free(raw);
}

static void test_coming_and_going(void **state)
{
	const shmb_alloc_options named = {.name = "in between"};
	shmb_block block;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		assert_ok(shmb_subscribe(session, i % 3 ? NAMES : SHMB_EVENT_ALL, i % 5 ? NULL : "in"));
		assert_ok(shmb_alloc(other, 10, &named, &block));
		if (i % 2) {
			expect(SHMB_EVENT_NAME_PUBLISHED);
			assert_int_equal(event.block.id, block.handle.id);
		}
		assert_ok(shmb_unpublish(other, named.name));
		assert_ok(shmb_free(other, block.handle));
		assert_ok(shmb_subscribe(session, 0, NULL));
		while (shmb_next_event(session, 0, &event) == 1)
			;
	}
	/* And with the connection. */
	for (unsigned i = 0; i < 200; i++) {
		shmb_session *third = pool_session_open(&fixture);
		assert_ok(shmb_subscribe(third, SHMB_EVENT_ALL, NULL));
		assert_ok(shmb_alloc(other, 10, NULL, &block));
		assert_ok(shmb_free(other, block.handle));
		shmb_close(third);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_and_frees_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_name_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_time_to_live_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_a_subscriber_does_itself_is_told_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_what_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sessions_come_and_go, setup, teardown),
		cmocka_unit_test_teardown(test_pressure, teardown),
		cmocka_unit_test_setup_teardown(test_waiting_ends_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beside_calls_of_other_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whoever_waits_is_told_of_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_does_not_read_loses_and_the_others_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_queue_in_the_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_new_subscription_counts_what_of_the_old_one_was_not_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_subscription_outlives_its_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_child_is_subscribed_to_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_may_only_read_may_listen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_pool_has_so_many_subscribers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_coming_and_going, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
