/* SPDX-License-Identifier: Apache-2.0 */
/* All is given back: see leftovers.h. */
#include "tests/integration/commit_points/leftovers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"
#include "tests/support/recount.h"

#define OK SHMBUDDY__V1__STATUS__OK

/* What nobody has adopted: all but `other` are over, or will be by themselves. */
static void end_clones(void)
{
	for (uint32_t number = 1; number <= 4; number++) {
		if (number != trial.other.number)
			raw_session_call(&trial.other, raw_request_end_session(number));
	}
}

void leftovers_expect_none(void)
{
	static struct recount recount;

	if (trial.mine.client.fd >= 0) {
		Shmbuddy__V1__Handle more;
		uint64_t sequence = trial.mine.sequence;
		assert_int_equal(raw_session_allocate(&trial.mine, 200, "more", &more), OK);
		assert_int_equal(raw_session_unpublish(&trial.mine, "more"), OK);
		assert_int_equal(raw_session_free(&trial.mine, &more), OK);
		assert_int_equal(trial.mine.sequence, sequence + 3);
	}
	raw_session_close(&trial.mine);
	raw_session_close(&trial.clone);
	end_clones();
	assert_true(trial_wait_for_sessions(1));
	for (unsigned i = 0; i < TRIAL_BLOCKS; i++) {
		if (trial.block[i].id)
			raw_session_free(&trial.other, &trial.block[i]);
	}
	/* What lives by a time or a ticket, or as a cache block, if any does. */
	for (unsigned i = 0; i < TRIAL_BLOCKS; i++) {
		if (trial.block[i].id)
			raw_session_call(&trial.other, raw_request_remove(&trial.block[i]));
	}
	raw_session_call(&trial.other, raw_request_revoke(trial.ticket, sizeof trial.ticket));
	for (unsigned i = 0; i < TRIAL_BLOCKS; i++)
		raw_session_call(&trial.other, raw_request_renew(&trial.block[i], 0));
	raw_session_call(&trial.other, raw_request_renew(&trial.last_block, 0));
	assert_int_equal(raw_session_call(&trial.other, raw_request_collect()), OK);
	recount_pool(trial.daemon.pool, &recount);
	for (uint64_t i = 0; i < recount.names; i++)
		assert_int_equal(raw_session_unpublish(&trial.other, recount.name[i]), OK);
	recount_pool(trial.daemon.pool, &recount);
	assert_int_equal(recount.blocks, 0);
	assert_int_equal(recount.used, 0);
	assert_int_equal(recount.references, 0);
	assert_int_equal(recount.tickets, 0);
	assert_int_equal(recount.leases, 0);
	assert_int_equal(recount.sessions, 1);
}
