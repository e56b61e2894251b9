/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks are removed, with their names, however many these are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/preparation.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"

#define OK SHMBUDDY__V1__STATUS__OK

#define MANY_NAMES 65

static void prepare_two_names_alone(void)
{
	prepare_owned_and_named();
	assert_int_equal(raw_session_publish(&trial.mine, &trial.block[0], "second"), OK);
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

/* So many that they do not go in one piece. A lease holds it as well, if `leased`. */
static void prepare_many_names(bool leased)
{
	char name[16];

	if (leased)
		trial_allocate_for(&trial.mine, 0, TRIAL_LONG_MS, NULL);
	else
		prepare_owned();
	for (unsigned i = 0; i < MANY_NAMES; i++) {
		snprintf(name, sizeof name, "name %u", i);
		assert_int_equal(raw_session_publish(&trial.mine, &trial.block[0], name), OK);
	}
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

static void prepare_many_names_alone(void)
{
	prepare_many_names(false);
}

static void prepare_lease_and_many_names(void)
{
	prepare_many_names(true);
}

/* Two names and a time to live are all that this cache block has. */
static void prepare_cached(void)
{
	prepare_leased();
	assert_int_equal(raw_session_publish(&trial.mine, &trial.block[0], "second"), OK);
	assert_int_equal(raw_session_call(&trial.mine, raw_request_cache(&trial.block[0])), OK);
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

static Shmbuddy__V1__Request *request_remove(void)
{
	return raw_request_remove(&trial.block[0]);
}

/* It is answered when it was decided, and so it is when it is sent again; the names go after that. */
static bool act_remove_many(bool again)
{
	(void)again;
	for (unsigned i = 0; i < 2; i++) {
		if (!trial_perform(raw_request_remove(&trial.block[0])))
			return false;
	}
	return trial_wait_for_expiry();
}

const struct operation operation_removals[] = {
	{"remove a block with two names", prepare_two_names_alone, request_remove, NULL},
	{"remove a block with many names", prepare_many_names_alone, NULL, act_remove_many},
	{"remove a block with a time to live and many names", prepare_lease_and_many_names, NULL, act_remove_many},
	{"remove a block with a time to live and two names", prepare_lease_and_name_alone, request_remove, NULL},
	{"remove a cache block", prepare_cached, request_remove, NULL},
	{NULL, NULL, NULL, NULL},
};
