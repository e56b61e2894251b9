/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions are opened, cloned and ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/preparation.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"

#define OK SHMBUDDY__V1__STATUS__OK

/* One of another's too, as if by a hold page. */
static Shmbuddy__V1__Request *request_clone(void)
{
	return raw_request_clone(trial.block[2].incarnation, &trial.block[2].id, 1, &trial.block[2].index, 1);
}

static void prepare_cloned(void)
{
	Shmbuddy__V1__Reply *reply;

	prepare_mixed();
	trial.clone = RAW_SESSION_CLOSED;
	reply = raw_session_send(&trial.mine, 2, 1, request_clone());
	assert_int_equal(reply->status, OK);
	trial.clone.number = reply->clone_token->session;
	memcpy(trial.clone.token, reply->clone_token->token.data, sizeof trial.clone.token);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
}

/* A client whose hello was not answered knows nothing of a session, and says hello again. */
static bool act_hello(bool again)
{
	static struct raw_client client = {.fd = -1};
	Shmbuddy__V1__Reply *reply;

	(void)again;
	raw_client_close(&client);
	assert_int_equal(raw_client_open(&client, trial.daemon.socket_path), 0);
	if (raw_client_hello(&client, &reply) < 0) {
		raw_client_close(&client);
		return false;
	}
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	bool alive = trial_wait_for_sessions(3);
	raw_client_close(&client);
	return alive && trial_wait_for_sessions(2);
}

static bool act_goodbye(bool again)
{
	Shmbuddy__V1__Goodbye message = SHMBUDDY__V1__GOODBYE__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	/* Again: it may have been understood, and then there is no such session. */
	if (again && trial.mine.client.fd < 0)
		return trial_wait_for_sessions(1);
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_GOODBYE;
	request.goodbye = &message;
	if (!trial_perform(&request))
		return false;
	raw_session_close(&trial.mine);
	return trial_wait_for_sessions(1);
}

static bool act_death(bool again)
{
	(void)again;
	raw_session_close(&trial.mine);
	return trial_wait_for_sessions(1);
}

/* The session is asked to end, and lets go of its lock as soon as it has heard that: at once, or from the next daemon. */
static bool act_asked(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_end_session(trial.mine.number);
	Shmbuddy__V1__Reply *reply;

	request->sequence = ++trial.other.sequence;
	if (raw_client_call(&trial.other.client, request, &reply) < 0)
		return false;
	/* Again: it may have heard of it from the daemon that took the pool over, and be gone. */
	assert_true(reply->status == OK || (again && reply->status == SHMBUDDY__V1__STATUS__SESSION_ENDED));
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	raw_session_close(&trial.mine);
	return trial_wait_for_sessions(1);
}

/* Nobody knows how far a hello has come that was not answered: it is said again. What holds its lock takes the session up as any other. */
static bool act_adopt(bool again)
{
	Shmbuddy__V1__Status status;

	trial_become(TRIAL_MINE);
	int result = 0;
	if (again && trial.clone.lock >= 0)
		status = raw_session_resume(&trial.clone, trial.daemon.socket_path);
	else
		result = raw_session_adopt(&trial.clone, trial.daemon.socket_path, &status);
	trial_become(0);
	if (result < 0)
		return false;
	assert_int_equal(status, OK);
	trial.clone.sequence++;
	Shmbuddy__V1__Request *ping = raw_request_ping();
	Shmbuddy__V1__Reply *reply;
	ping->sequence = trial.clone.sequence;
	if (raw_client_call(&trial.clone.client, ping, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return trial_wait_for_sessions(3);
}

const struct operation operation_sessions[] = {
	{"hello", prepare_nothing, NULL, act_hello},
	{"clone", prepare_mixed, request_clone, NULL},
	{"adopt a clone", prepare_cloned, NULL, act_adopt},
	{"goodbye", prepare_mixed, NULL, act_goodbye},
	{"death", prepare_mixed, NULL, act_death},
	{"ask a session to end", prepare_mixed, NULL, act_asked},
	{NULL, NULL, NULL, NULL},
};
