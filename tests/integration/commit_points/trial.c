/* SPDX-License-Identifier: Apache-2.0 */
/* A pool and its two sessions: see trial.h. */
#include "tests/integration/commit_points/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/raw_request.h"
#include "view_layout.h"

#define OK SHMBUDDY__V1__STATUS__OK

struct trial trial = {.mine = RAW_SESSION_CLOSED, .other = RAW_SESSION_CLOSED, .clone = RAW_SESSION_CLOSED};

void trial_become(uid_t uid)
{
	if (getuid() == 0)
		assert_int_equal(seteuid(uid), 0);
}

void trial_open(void)
{
	trial.grows = 0;
	for (unsigned i = 0; i < TRIAL_BLOCKS; i++)
		trial.block[i] = (Shmbuddy__V1__Handle)SHMBUDDY__V1__HANDLE__INIT;
	trial.last_block = trial.block[0];
	daemon_fixture_start_lasting(&trial.daemon, "--size", "1M", "--max-sessions", "8", NULL);
	daemon_fixture_let_all_in(&trial.daemon);
	trial_become(TRIAL_MINE);
	raw_session_open(&trial.mine, trial.daemon.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	trial_become(0);
	raw_session_open(&trial.other, trial.daemon.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

bool trial_start(uint64_t trap)
{
	char number[24];

	snprintf(number, sizeof number, "%llu", (unsigned long long)trap);
	if (trap)
		assert_int_equal(setenv("SHMB_COMMIT_TRAP", number, 1), 0);
	daemon_fixture_respawn(&trial.daemon, "--size", "1M", NULL);
	unsetenv("SHMB_COMMIT_TRAP");
	int status = daemon_fixture_comes_up(&trial.daemon);
	if (!trial.daemon.pid)
		assert_int_equal(status, -9);
	return trial.daemon.pid != 0;
}

void trial_take_up(struct raw_session *session)
{
	uint64_t sequence = session->sequence;

	daemon_fixture_let_all_in(&trial.daemon);
	trial_become(session == &trial.mine ? TRIAL_MINE : 0);
	Shmbuddy__V1__Status status = raw_session_resume(session, trial.daemon.socket_path);
	trial_become(0);

	session->sequence = sequence;
	if (status == OK)
		return;
	/* Only goodbye may have ended it, or an administrator asked it to. */
	assert_int_equal(status, SHMBUDDY__V1__STATUS__SESSION_ENDED);
	raw_session_close(session);
}

void trial_close(void)
{
	raw_session_close(&trial.mine);
	raw_session_close(&trial.other);
	raw_session_close(&trial.clone);
	daemon_fixture_stop(&trial.daemon);
}

/* ---- What they ask ---------------------------------------------------------------------------------------------- */

int trial_ask(Shmbuddy__V1__Request *request, Shmbuddy__V1__Reply **out_reply)
{
	request->slot = TRIAL_SLOT;
	request->sequence = 1;
	return raw_client_call(&trial.mine.client, request, out_reply);
}

bool trial_perform(Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply *reply;

	if (trial_ask(request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return true;
}

bool trial_tell(Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply *reply;

	request->sequence = ++trial.other.sequence;
	if (raw_client_call(&trial.other.client, request, &reply) < 0)
		return false;
	assert_true(reply->status == OK || reply->status == SHMBUDDY__V1__STATUS__STALE_HANDLE ||
	            reply->status == SHMBUDDY__V1__STATUS__NOT_HELD);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return true;
}

bool trial_wait_for_sessions(size_t count)
{
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited++) {
		Shmbuddy__V1__ListClients list = SHMBUDDY__V1__LIST_CLIENTS__INIT;
		Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
		Shmbuddy__V1__Reply *reply;

		request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LIST_CLIENTS;
		request.list_clients = &list;
		request.sequence = ++trial.other.sequence;
		if (raw_client_call(&trial.other.client, &request, &reply) < 0)
			return false;
		size_t found = reply->client_page->n_client;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		if (found == count)
			return true;
		poll(NULL, 0, 1);
	}
	fail_msg("the pool has not come to have %zu sessions", count);
	return false;
}

bool trial_wait_for_expiry(void)
{
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited++) {
		struct view_counters counters;

		/* The daemon must answer: the counters may be those of one that died. */
		if (!trial_tell(raw_request_ping()))
			return false;
		assert_int_equal(pread(trial.other.view, &counters, sizeof counters, VIEW_COUNTERS_AT), sizeof counters);
		if (atomic_load(&counters.tickets) == 0 && atomic_load(&counters.leases) == 0)
			return true;
		poll(NULL, 0, 1);
	}
	fail_msg("what has come to its deadline does not expire");
	return false;
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

void trial_allocate(struct raw_session *session, unsigned which, uint64_t size, const char *name)
{
	assert_int_equal(raw_session_allocate(session, size, name, &trial.block[which]), OK);
}

void trial_allocate_for(struct raw_session *session, unsigned which, uint64_t ttl_ms, const char *name)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, name);

	request->allocate->ttl_ms = ttl_ms;
	Shmbuddy__V1__Reply *reply = raw_session_send(session, 0, ++session->sequence, request);
	assert_int_equal(reply->status, OK);
	trial.block[which] = *reply->block->handle;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

void trial_link(unsigned from, unsigned to)
{
	assert_int_equal(raw_session_call(&trial.mine, raw_request_link(&trial.block[from], &trial.block[to])), OK);
}

void trial_share(struct raw_session *session)
{
	Shmbuddy__V1__Reply *reply =
		raw_session_send(session, 0, ++session->sequence, raw_request_share(&trial.block[0], TRIAL_LONG_MS));

	assert_int_equal(reply->status, OK);
	assert_int_equal(reply->ticket->token.len, sizeof trial.ticket);
	memcpy(trial.ticket, reply->ticket->token.data, sizeof trial.ticket);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}
