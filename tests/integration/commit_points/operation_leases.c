/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks have times to live, and these pass, as those of tickets do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/preparation.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"

#define OK SHMBUDDY__V1__STATUS__OK

/* The lease is the last hold. */
static void prepare_lease_alone(void)
{
	trial_allocate_for(&trial.mine, 0, TRIAL_LONG_MS, NULL);
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

/* Two names and a lease hold one block, and a session another one as well. A third one is shared when the time has come. */
static void prepare_to_expire(void)
{
	prepare_lease_and_name_alone();
	trial_allocate_for(&trial.mine, 1, TRIAL_LONG_MS, "held");
	assert_int_equal(raw_session_publish(&trial.mine, &trial.block[1], "held again"), OK);
	trial_allocate(&trial.other, 2, 300, NULL);
}

/* As it expires. */
static void prepare_to_expire_cached(void)
{
	prepare_to_expire();
	assert_int_equal(raw_session_acquire(&trial.mine, &trial.block[0]), OK);
	assert_int_equal(raw_session_call(&trial.mine, raw_request_cache(&trial.block[0])), OK);
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

static Shmbuddy__V1__Request *request_allocate_leased(void)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "new");

	request->allocate->ttl_ms = TRIAL_LONG_MS;
	return request;
}

static Shmbuddy__V1__Request *request_free(void)
{
	return raw_request_free(&trial.block[0]);
}

static Shmbuddy__V1__Request *request_renew(void)
{
	return raw_request_renew(&trial.block[0], 2 * TRIAL_LONG_MS);
}

static Shmbuddy__V1__Request *request_renew_never(void)
{
	return raw_request_renew(&trial.block[0], 0);
}

/* One block is freed with its names, one loses its names, and one is freed with its ticket. */
static bool act_expiry(bool again)
{
	(void)again;
	if (!trial_tell(raw_request_share(&trial.block[2], 1)) || !trial_tell(raw_request_free(&trial.block[2])))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (!trial_tell(raw_request_renew(&trial.block[i], 1)))
			return false;
	}
	return trial_wait_for_expiry();
}

const struct operation operation_leases[] = {
	{"allocate with a name and a time to live", prepare_nothing, request_allocate_leased, NULL},
	{"free, as owner, what has a time to live", prepare_leased, request_free, NULL},
	{"renew", prepare_leased, request_renew, NULL},
	{"renew what had no time to live", prepare_name_alone, request_renew, NULL},
	{"renew no more", prepare_lease_and_name_alone, request_renew_never, NULL},
	{"renew no more, the last hold", prepare_lease_alone, request_renew_never, NULL},
	{"expire", prepare_to_expire, NULL, act_expiry},
	{"expire, a cache block", prepare_to_expire_cached, NULL, act_expiry},
	{NULL, NULL, NULL, NULL},
};
