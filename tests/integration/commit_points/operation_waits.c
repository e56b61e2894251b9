/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait, and what another session does ends that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"

#define OK SHMBUDDY__V1__STATUS__OK

/* Replies to `mine`, up to the one of this slot; whether that of SLOT came along. False: the daemon has died. */
static bool hear(uint32_t slot, bool *out_answered)
{
	Shmbuddy__V1__Reply *reply;
	bool heard = false;

	while (!heard && raw_client_receive_reply(&trial.mine.client, &reply) == 0) {
		assert_int_equal(reply->status, OK);
		heard = reply->slot == slot;
		*out_answered = *out_answered || reply->slot == TRIAL_SLOT;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	return heard;
}

/* `mine` asks for what it waits for, and `other` does what that is. */
static bool wait_for(Shmbuddy__V1__Request *wanted, Shmbuddy__V1__Request *(*deed)(void))
{
	Shmbuddy__V1__Request *ping = raw_request_ping();
	Shmbuddy__V1__Reply *reply;
	bool answered = false;

	wanted->slot = TRIAL_SLOT;
	wanted->sequence = 1;
	ping->slot = 0;
	ping->sequence = ++trial.mine.sequence;
	if (raw_client_send_request(&trial.mine.client, wanted) < 0 || raw_client_send_request(&trial.mine.client, ping) < 0 ||
	    !hear(0, &answered))
		return false;
	Shmbuddy__V1__Request *request = deed();
	request->slot = TRIAL_SLOT;
	request->sequence = 1;
	if (raw_client_call(&trial.other.client, request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return answered || hear(TRIAL_SLOT, &answered);
}

static void prepare_theirs(void)
{
	trial_allocate(&trial.other, 0, 5000, NULL);
}

static void prepare_all_theirs(void)
{
	trial_allocate(&trial.other, 0, 1 << 20, NULL);
}

static Shmbuddy__V1__Request *request_publish(void)
{
	return raw_request_publish(&trial.block[0], "published");
}

static Shmbuddy__V1__Request *request_free(void)
{
	return raw_request_free(&trial.block[0]);
}

static Shmbuddy__V1__Request *request_shrink(void)
{
	return raw_request_resize(&trial.block[0], 100);
}

static bool act_waiting_lookup(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_lookup("published");

	(void)again;
	request->lookup->wait_ms = 60000;
	return wait_for(request, request_publish);
}

static bool act_waiting_allocation(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "waited for");

	(void)again;
	request->allocate->wait_ms = 60000;
	return wait_for(request, request_free);
}

static bool act_waiting_shrink(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "waited for");

	(void)again;
	request->allocate->wait_ms = 60000;
	return wait_for(request, request_shrink);
}

const struct operation operation_waits[] = {
	{"look up what is published later", prepare_theirs, NULL, act_waiting_lookup},
	{"allocate what is freed later", prepare_all_theirs, NULL, act_waiting_allocation},
	{"allocate what is left by a shrink later", prepare_all_theirs, NULL, act_waiting_shrink},
	{NULL, NULL, NULL, NULL},
};
