/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets are made, redeemed and taken back. */
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

/* The ticket is the last hold. */
static void prepare_ticket_alone(void)
{
	trial_allocate(&trial.other, 0, 5000, NULL);
	trial_share(&trial.other);
	assert_int_equal(raw_session_free(&trial.other, &trial.block[0]), OK);
}

static void prepare_ticket_looked_up(void)
{
	prepare_looked_up();
	trial_share(&trial.other);
}

static Shmbuddy__V1__Request *request_share(void)
{
	return raw_request_share(&trial.block[0], TRIAL_LONG_MS);
}

static Shmbuddy__V1__Request *request_redeem(void)
{
	return raw_request_redeem(trial.ticket, sizeof trial.ticket);
}

static Shmbuddy__V1__Request *request_revoke(void)
{
	return raw_request_revoke(trial.ticket, sizeof trial.ticket);
}

const struct operation operation_tickets[] = {
	{"share", prepare_owned, request_share, NULL},
	{"share what is not held", prepare_named, request_share, NULL},
	{"redeem, the last hold", prepare_ticket_alone, request_redeem, NULL},
	{"redeem what is referred to", prepare_ticket_looked_up, request_redeem, NULL},
	{"redeem what is owned", prepare_ticket_owned, request_redeem, NULL},
	{"redeem what is not there", prepare_nothing, request_redeem, NULL},
	{"revoke", prepare_ticket_owned, request_revoke, NULL},
	{"revoke, the last hold", prepare_ticket_alone, request_revoke, NULL},
	{NULL, NULL, NULL, NULL},
};
