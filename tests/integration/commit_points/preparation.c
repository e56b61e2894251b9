/* SPDX-License-Identifier: Apache-2.0 */
/* What is there before an operation: see preparation.h. */
#include "tests/integration/commit_points/preparation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"

#define OK SHMBUDDY__V1__STATUS__OK

void prepare_nothing(void) {}

void prepare_owned(void)
{
	trial_allocate(&trial.mine, 0, 5000, NULL);
}

void prepare_owned_and_named(void)
{
	trial_allocate(&trial.mine, 0, 5000, "kept");
}

void prepare_name_alone(void)
{
	prepare_owned_and_named();
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

void prepare_named(void)
{
	trial_allocate(&trial.other, 0, 5000, "theirs");
}

void prepare_looked_up(void)
{
	prepare_named();
	assert_int_equal(raw_session_lookup(&trial.mine, "theirs", NULL), OK);
}

void prepare_mixed(void)
{
	trial_allocate(&trial.mine, 0, 100, NULL);
	trial_allocate(&trial.mine, 1, 5000, "named");
	trial_allocate(&trial.other, 2, 300, "theirs");
	assert_int_equal(raw_session_lookup(&trial.mine, "theirs", NULL), OK);
	assert_int_equal(raw_session_lookup(&trial.mine, "theirs", NULL), OK);
	trial_allocate(&trial.mine, 3, 64, "both");
	assert_int_equal(raw_session_lookup(&trial.mine, "both", NULL), OK);
	trial_allocate(&trial.other, 4, 700, "given");
	assert_int_equal(raw_session_lookup(&trial.mine, "given", NULL), OK);
	assert_int_equal(raw_session_free(&trial.other, &trial.block[4]), OK);
	assert_int_equal(raw_session_unpublish(&trial.other, "given"), OK);
}

void prepare_two(void)
{
	trial_allocate(&trial.mine, 0, 5000, NULL);
	trial_allocate(&trial.mine, 1, 300, NULL);
}

void prepare_linked(void)
{
	prepare_two();
	trial_link(0, 1);
}

void prepare_sealed(void)
{
	prepare_owned();
	assert_int_equal(raw_session_call(&trial.mine, raw_request_seal(&trial.block[0])), OK);
}

void prepare_ticket_owned(void)
{
	prepare_owned();
	trial_share(&trial.mine);
}

void prepare_leased(void)
{
	trial_allocate_for(&trial.mine, 0, TRIAL_LONG_MS, "leased");
}

void prepare_lease_and_name_alone(void)
{
	prepare_leased();
	assert_int_equal(raw_session_publish(&trial.mine, &trial.block[0], "second"), OK);
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}
