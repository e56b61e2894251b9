/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets: a block goes to a program that has not connected yet, and is held all the way; once, for whom it was meant, until the ticket
 * expires or is taken back; whatever becomes of the program that made it, and of the daemon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"
#include "tests/support/recount.h"

#define POOL (UINT64_C(1) << 20)
#define NOBODY 65534
#define OK SHMBUDDY__V1__STATUS__OK

static struct daemon_fixture fixture;
static shmb_session *session, *other;
static struct client_process maker;

static int setup(void **state)
{
	(void)state;
	daemon_fixture_start_lasting(&fixture, "--size", "1M", NULL);
	session = pool_session_open(&fixture);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	client_process_end(&maker);
	shmb_close(session);
	shmb_close(other);
	session = other = NULL;
	daemon_fixture_stop(&fixture);
	return 0;
}

static void restart(void)
{
	daemon_fixture_kill(&fixture);
	daemon_fixture_restart(&fixture, "--size", "1M", NULL);
}

static void expect_nothing_left(void)
{
	static struct recount recount;

	pool_session_assert_empty(session, POOL);
	recount_pool(fixture.pool, &recount);
	assert_int_equal(recount.tickets, 0);
	assert_int_equal(recount.references, 0);
}

/* ---- From hand to hand ------------------------------------------------------------------------------------------ */

/* Leaves a block to whoever gets the ticket, and is then killed. */
static void make_and_wait(int control, const void *argument)
{
	shmb_connect_options options = {.socket_path = argument};
	char text[SHMB_TICKET_TEXT_MAX];
	shmb_session *own;
	shmb_ticket ticket;
	shmb_block block;

	CLIENT_CHECK(shmb_connect(&options, &own) == 0);
	CLIENT_CHECK(shmb_alloc(own, 100000, NULL, &block) == 0);
	pattern_write(block.data, block.size, 3);
	CLIENT_CHECK(shmb_share(own, block.handle, NULL, &ticket) == 0);
	CLIENT_CHECK(shmb_free(own, block.handle) == 0);
	shmb_ticket_format(ticket, text);
	CLIENT_CHECK(client_process_say(control, text, sizeof text));
	client_process_hear(control, text, 1);
}

static void test_outlives_its_maker(void **state)
{
	char text[SHMB_TICKET_TEXT_MAX];
	shmb_block block, again;
	shmb_ticket ticket;

	(void)state;
	client_process_start(&maker, make_and_wait, fixture.socket_path);
	client_process_receive(&maker, text, sizeof text);
	client_process_kill(&maker);
	pool_session_await_clients(session, 1);
	assert_int_equal(pool_session_status(session).tickets, 1);
	restart();
	assert_ok(shmb_ticket_parse(text, &ticket));
	assert_ok(shmb_redeem(session, ticket, &block));
	assert_int_equal(block.size, 100000);
	assert_true(pattern_matches(block.data, block.size, 3));
	assert_refused(shmb_redeem(session, ticket, &again), NO_SUCH_TICKET);
	assert_refused(shmb_revoke(session, ticket), NO_SUCH_TICKET);
	restart();
	assert_refused(shmb_redeem(session, ticket, &again), NO_SUCH_TICKET);
	assert_true(pattern_matches(block.data, block.size, 3));
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_free(session, block.handle), STALE_HANDLE);
	expect_nothing_left();
}

/* Several tickets for one block are several holds, and so is what they bring. */
static void test_many_for_one(void **state)
{
	shmb_ticket tickets[5];
	shmb_block block, found;

	(void)state;
	assert_ok(shmb_alloc(session, 5000, NULL, &block));
	for (unsigned i = 0; i < 5; i++)
		assert_ok(shmb_share(session, block.handle, NULL, &tickets[i]));
	other = pool_session_open_read_only(&fixture);
	for (unsigned i = 0; i < 4; i++) {
		assert_ok(shmb_redeem(i % 2 ? session : other, tickets[i], &found));
		assert_int_equal(found.handle.id, block.handle.id);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_free(session, block.handle), NOT_HELD);
	assert_refused(shmb_remove(session, block.handle.id), IN_USE);
	assert_ok(shmb_free(other, block.handle));
	assert_ok(shmb_free(other, block.handle));
	assert_refused(shmb_remove(session, block.handle.id), IN_USE); /* the last ticket alone */
	assert_ok(shmb_revoke(session, tickets[4]));
	expect_nothing_left();
}

static void test_expires(void **state)
{
	shmb_share_options brief = {.ttl_ms = 1};
	shmb_block block, found;
	shmb_ticket ticket;

	(void)state;
	assert_ok(shmb_alloc(session, 5000, NULL, &block));
	assert_ok(shmb_share(session, block.handle, &brief, &ticket));
	assert_ok(shmb_free(session, block.handle));
	expect_nothing_left();
	assert_refused(shmb_redeem(session, ticket, &found), NO_SUCH_TICKET);
	/* Who holds it keeps it. */
	assert_ok(shmb_alloc(session, 5000, NULL, &block));
	pattern_write(block.data, block.size, 5);
	assert_ok(shmb_share(session, block.handle, &brief, &ticket));
	while (pool_session_status(session).tickets)
		;
	assert_true(pattern_matches(block.data, block.size, 5));
	assert_ok(shmb_free(session, block.handle));
	expect_nothing_left();
}

/* ---- Who may not ------------------------------------------------------------------------------------------------ */

static void test_refused(void **state)
{
	shmb_share_options long_lived = {.ttl_ms = SHMB_TTL_MAX_MS + 1}, bound = {.bound = true, .uid = UINT32_MAX};
	shmb_ticket ticket = {{1, 2, 3}};
	shmb_block block, found;

	(void)state;
	assert_refused(shmb_redeem(session, ticket, &found), NO_SUCH_TICKET);
	assert_refused(shmb_revoke(session, ticket), NO_SUCH_TICKET);
	assert_refused(shmb_redeem(session, ticket, NULL), INVALID_ARGUMENT);
	assert_ok(shmb_alloc(session, 5000, &(shmb_alloc_options){.name = "kept"}, &block));
	assert_refused(shmb_share(session, block.handle, &long_lived, &ticket), INVALID_ARGUMENT);
	assert_refused(shmb_share(session, block.handle, &bound, &ticket), INVALID_ARGUMENT);
	assert_refused(shmb_share(session, block.handle, NULL, NULL), INVALID_ARGUMENT);
	assert_refused(shmb_share(session, (shmb_handle){0}, NULL, &ticket), INVALID_ARGUMENT);
	long_lived.ttl_ms--;
	assert_ok(shmb_share(session, block.handle, &long_lived, &ticket));
	other = pool_session_open_read_only(&fixture);
	assert_refused(shmb_revoke(other, ticket), READ_ONLY);
	assert_ok(shmb_redeem(other, ticket, &found));
	assert_refused(shmb_share(other, found.handle, NULL, &ticket), READ_ONLY);
	assert_ok(shmb_free(session, block.handle));
	assert_refused(shmb_share(session, block.handle, NULL, &ticket), NOT_HELD);
	assert_ok(shmb_unpublish(session, "kept"));
	assert_ok(shmb_free(other, block.handle));
	assert_refused(shmb_share(session, block.handle, NULL, &ticket), STALE_HANDLE);
	expect_nothing_left();
}

static void test_other_users(void **state)
{
	shmb_share_options for_nobody = {.bound = true, .uid = NOBODY}, for_root = {.bound = true, .uid = 0};
	shmb_ticket theirs, ours, open;
	shmb_block block, found;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	daemon_fixture_let_all_in(&fixture);
	other = pool_session_open_as(&fixture, NOBODY);
	assert_ok(shmb_alloc(session, 5000, NULL, &block));
	assert_ok(shmb_share(session, block.handle, &for_nobody, &theirs));
	assert_ok(shmb_share(session, block.handle, &for_root, &ours));
	assert_ok(shmb_share(session, block.handle, NULL, &open));
	assert_refused(shmb_redeem(session, theirs, &found), DENIED);
	assert_refused(shmb_redeem(other, ours, &found), DENIED);
	assert_refused(shmb_revoke(other, theirs), DENIED);
	assert_refused(shmb_revoke(other, open), DENIED);
	restart();
	daemon_fixture_let_all_in(&fixture);
	assert_int_equal(seteuid(NOBODY), 0); /* as who it connects again */
	assert_ok(shmb_ping(other));
	assert_int_equal(seteuid(0), 0);
	assert_refused(shmb_redeem(session, theirs, &found), DENIED);
	assert_ok(shmb_redeem(other, theirs, &found));
	assert_ok(shmb_redeem(other, open, &found));
	assert_ok(shmb_share(other, found.handle, NULL, &theirs));
	assert_ok(shmb_revoke(session, theirs)); /* root may */
	assert_ok(shmb_revoke(session, ours));
	assert_ok(shmb_free(other, found.handle));
	assert_ok(shmb_free(other, found.handle));
	assert_ok(shmb_free(session, block.handle));
	expect_nothing_left();
}

/* However many a client makes, there is an end to it, and the rest of the pool goes on. */
static void test_as_many_as_there_are(void **state)
{
	shmb_share_options brief = {.ttl_ms = 60000};
	shmb_ticket ticket, last = {{0}};
	shmb_block block;
	uint64_t count = 0;
	int result;

	(void)state;
	assert_ok(shmb_alloc(session, 100, NULL, &block));
	while ((result = shmb_share(session, block.handle, &brief, &ticket)) == 0) {
		last = ticket;
		assert_true(++count <= pool_session_status(session).max_names);
	}
	assert_int_equal(result, -SHMB_E_LIMIT);
	assert_non_null(strstr(shmb_last_error(), "tickets"));
	assert_ok(shmb_publish(session, block.handle, "still works"));
	assert_ok(shmb_unpublish(session, "still works"));
	restart();
	assert_refused(shmb_share(session, block.handle, &brief, &ticket), LIMIT);
	assert_ok(shmb_revoke(session, last));
	assert_ok(shmb_share(session, block.handle, &brief, &ticket));
	assert_int_equal(pool_session_status(session).tickets, count);
}

/* ---- Exactly once ----------------------------------------------------------------------------------------------- */

static Shmbuddy__V1__Reply *share_in(struct raw_session *raw, uint64_t sequence, Shmbuddy__V1__Handle *handle, uint64_t ttl)
{
	return raw_session_send(raw, 1, sequence, raw_request_share(handle, ttl));
}

static Shmbuddy__V1__Status redeem(struct raw_session *raw, const uint8_t *token, size_t size)
{
	return raw_session_call(raw, raw_request_redeem(token, size));
}

/* A repeated request gets the same ticket as long as that lives; never another one, which may have come into its record. */
static void test_repeated(void **state)
{
	struct raw_session raw;
	Shmbuddy__V1__Handle handle;
	Shmbuddy__V1__Reply *reply;
	uint8_t token[16];

	(void)state;
	raw_session_open(&raw, fixture.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&raw, 100, NULL, &handle), OK);
	for (unsigned i = 0; i < 4; i++) {
		reply = share_in(&raw, 1, &handle, 0);
		assert_int_equal(reply->status, OK);
		if (i == 0)
			memcpy(token, reply->ticket->token.data, sizeof token);
		assert_memory_equal(reply->ticket->token.data, token, sizeof token);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		assert_int_equal(pool_session_status(session).tickets, 1);
		if (i == 2) {
			uint64_t sequence = raw.sequence;
			restart();
			assert_int_equal(raw_session_resume(&raw, fixture.socket_path), OK);
			raw.sequence = sequence;
		}
	}
	assert_int_equal(redeem(&raw, token, 15), SHMBUDDY__V1__STATUS__INVALID_ARGUMENT);
	assert_int_equal(redeem(&raw, token, 0), SHMBUDDY__V1__STATUS__INVALID_ARGUMENT);
	assert_int_equal(redeem(&raw, token, sizeof token), OK);
	for (unsigned i = 0; i < 2; i++) {
		reply = share_in(&raw, 1, &handle, 0);
		assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__NO_SUCH_TICKET);
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		shmb_block block;
		shmb_ticket ticket;
		if (i == 0) {
			assert_ok(shmb_alloc(session, 100, NULL, &block));
			assert_ok(shmb_share(session, block.handle, NULL, &ticket)); /* into the record that was given back */
		}
	}
	raw_session_close(&raw);
}

/* ---- Nobody waits any more -------------------------------------------------------------------------------------- */

/* The daemon answers when the caller has given up: the library gives back what it brings. */
static void test_given_up(void **state)
{
	shmb_connect_options hasty = {.socket_path = fixture.socket_path, .timeout_ms = 20};
	shmb_ticket tickets[2], none;
	shmb_block block, found;

	(void)state;
	assert_ok(shmb_alloc(session, 5000, NULL, &block));
	assert_ok(shmb_share(session, block.handle, NULL, &tickets[0]));
	assert_ok(shmb_free(session, block.handle));
	/* Its own block, and another's by a ticket. */
	assert_ok(shmb_connect(&hasty, &other));
	while (shmb_alloc(other, 300, NULL, &found) == -SHMB_E_TIMEOUT)
		;
	assert_int_equal(kill(fixture.pid, SIGSTOP), 0);
	assert_refused(shmb_share(other, found.handle, NULL, &none), TIMEOUT);
	assert_refused(shmb_redeem(other, tickets[0], &block), TIMEOUT);
	assert_refused(shmb_alloc(other, 7000, &(shmb_alloc_options){.ttl_ms = SHMB_TTL_MAX_MS}, &block), TIMEOUT);
	assert_int_equal(kill(fixture.pid, SIGCONT), 0);
	/* Whatever it asks next, it comes across the answers; those to what it then asks itself come a little later. */
	shmb_status status;
	do {
		shmb_ping(other);
		status = pool_session_status(session);
	} while (status.tickets || status.leases || status.blocks != 1);
	while (shmb_free(other, found.handle) == -SHMB_E_TIMEOUT)
		;
	expect_nothing_left();
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outlives_its_maker), TEST(test_many_for_one),         TEST(test_expires),  TEST(test_refused),
		TEST(test_other_users),        TEST(test_as_many_as_there_are), TEST(test_repeated), TEST(test_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
