/* SPDX-License-Identifier: Apache-2.0 */
/* What an operation led to: see outcome.h. */
#include "tests/integration/commit_points/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/accounting.h"
#include "tests/support/recount.h"

void outcome_keep_answer(struct outcome *outcome, const Shmbuddy__V1__Reply *reply)
{
	outcome->status = reply->status;
	if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK) {
		outcome->blocks = 1;
		outcome->size = reply->block->size;
		outcome->granted = reply->block->granted;
		trial.last_block = *reply->block->handle;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_CLONE_TOKEN) {
		outcome->blocks = reply->clone_token->token.len;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_TICKET) {
		memcpy(trial.ticket, reply->ticket->token.data, sizeof trial.ticket);
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_RESIZED) {
		outcome->blocks = reply->resized->moved ? 2 : 1;
		outcome->size = reply->resized->block->size;
		outcome->granted = reply->resized->block->granted;
	} else if (reply->result_case == SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH) {
		outcome->blocks = reply->block_batch->n_index;
		for (size_t i = 0; i < reply->block_batch->n_granted; i++) {
			outcome->granted += reply->block_batch->granted[i];
			assert_true(reply->block_batch->index[i] < RECOUNT_RECORDS_MAX); /* there, not lost */
		}
	}
}

/* Places in `counted`. */
enum { BLOCKS = 0, USED = 5, OWNED = 6 };

void outcome_keep_tables(struct outcome *outcome)
{
	static struct recount recount;

	recount_pool(trial.daemon.pool, &recount);
	accounting_agrees(trial.daemon.pool, trial.daemon.socket_path, 0, NULL);
	const uint64_t counted[] = {recount.blocks, recount.names,  recount.references, recount.holds,   recount.sessions,
	                            recount.used,   recount.owned,  recount.tickets,    recount.leases,  recount.links,
	                            recount.named,  recount.sealed, recount.cached,     recount.metadata};
	_Static_assert(sizeof counted == sizeof outcome->counted, "all of them");
	memcpy(outcome->counted, counted, sizeof counted);
}

void outcome_add_owned(struct outcome *outcome, uint64_t bytes)
{
	outcome->counted[BLOCKS]++;
	outcome->counted[USED] += bytes;
	outcome->counted[OWNED]++;
}

bool outcome_is_same(const struct outcome *one, const struct outcome *two)
{
	return one->status == two->status && one->blocks == two->blocks && one->size == two->size &&
	       one->granted == two->granted && memcmp(one->counted, two->counted, sizeof one->counted) == 0;
}

void outcome_expect_same_answer(Shmbuddy__V1__Reply *one, Shmbuddy__V1__Reply *two)
{
	char nothing[1] = "", *texts[] = {one->text, two->text};

	one->text = two->text = nothing;
	size_t size = shmbuddy__v1__reply__get_packed_size(one);
	assert_int_equal(shmbuddy__v1__reply__get_packed_size(two), size);
	CLEANUP_FREE uint8_t *first = malloc(size), *second = malloc(size);
	shmbuddy__v1__reply__pack(one, first);
	shmbuddy__v1__reply__pack(two, second);
	assert_memory_equal(first, second, size);
	one->text = texts[0];
	two->text = texts[1];
}
