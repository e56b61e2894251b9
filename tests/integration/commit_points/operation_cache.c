/* SPDX-License-Identifier: Apache-2.0 */
/* Cache blocks are made, and go when memory is needed. */
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

/* So that no more fits, but where the first one is, which was used first. */
static void prepare_cache(void)
{
	trial_allocate(&trial.mine, 0, 300000, "first");
	assert_int_equal(raw_session_publish(&trial.mine, &trial.block[0], "second"), OK);
	assert_int_equal(raw_session_call(&trial.mine, raw_request_renew(&trial.block[0], TRIAL_LONG_MS)), OK);
	trial_allocate(&trial.mine, 1, 300000, "third");
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(raw_session_call(&trial.mine, raw_request_cache(&trial.block[i])), OK);
		assert_int_equal(raw_session_free(&trial.mine, &trial.block[i]), OK);
	}
}

static Shmbuddy__V1__Request *request_cache(void)
{
	return raw_request_cache(&trial.block[0]);
}

static Shmbuddy__V1__Request *request_allocate_much(void)
{
	return raw_request_allocate(300000, NULL);
}

const struct operation operation_cache[] = {
	{"make a cache block", prepare_owned_and_named, request_cache, NULL},
	{"make a cache block of what is sealed", prepare_sealed, request_cache, NULL},
	{"allocate, for which a cache block goes", prepare_cache, request_allocate_much, NULL},
	{NULL, NULL, NULL, NULL},
};
