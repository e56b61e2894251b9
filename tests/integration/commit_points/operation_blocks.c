/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks are allocated, acquired and freed, one at a time and in batches. */
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

static void prepare_looked_up_twice(void)
{
	prepare_looked_up();
	assert_int_equal(raw_session_lookup(&trial.mine, "theirs", NULL), OK);
}

/* Mine is the last hold. */
static void prepare_looked_up_alone(void)
{
	prepare_looked_up();
	assert_int_equal(raw_session_free(&trial.other, &trial.block[0]), OK);
	assert_int_equal(raw_session_unpublish(&trial.other, "theirs"), OK);
}

static Shmbuddy__V1__Request *request_allocate(void)
{
	return raw_request_allocate(5000, NULL);
}

static Shmbuddy__V1__Request *request_allocate_much(void)
{
	return raw_request_allocate(300000, NULL);
}

static Shmbuddy__V1__Request *request_allocate_named(void)
{
	return raw_request_allocate(5000, "new");
}

static Shmbuddy__V1__Request *request_allocate_taken(void)
{
	return raw_request_allocate(5000, "kept");
}

static Shmbuddy__V1__Request *request_allocate_batch(void)
{
	static uint64_t sizes[] = {100, 5000, 64, 1, 300};
	static Shmbuddy__V1__AllocateBatch batch;
	static Shmbuddy__V1__Request request;

	batch = (Shmbuddy__V1__AllocateBatch)SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	batch.n_size = sizeof sizes / sizeof sizes[0];
	batch.size = sizes;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &batch;
	return &request;
}

static Shmbuddy__V1__Request *request_acquire(void)
{
	return raw_request_acquire(&trial.block[0]);
}

static Shmbuddy__V1__Request *request_free(void)
{
	return raw_request_free(&trial.block[0]);
}

static Shmbuddy__V1__Request *free_batch(const unsigned *which, size_t count)
{
	static uint64_t ids[TRIAL_BLOCKS + 2];
	static uint32_t indexes[TRIAL_BLOCKS + 2];
	static Shmbuddy__V1__FreeBatch batch;
	static Shmbuddy__V1__Request request;

	for (size_t i = 0; i < count; i++) {
		ids[i] = trial.block[which[i]].id;
		indexes[i] = trial.block[which[i]].index;
	}
	batch = (Shmbuddy__V1__FreeBatch)SHMBUDDY__V1__FREE_BATCH__INIT;
	batch.incarnation = trial.block[0].incarnation;
	batch.n_id = batch.n_index = count;
	batch.id = ids;
	batch.index = indexes;
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH;
	request.free_batch = &batch;
	return &request;
}

static Shmbuddy__V1__Request *request_free_batch(void)
{
	return free_batch((const unsigned[]){0, 1, 2, 2, 3, 3, 4}, 7);
}

/* One too many of block 0: none is freed. */
static Shmbuddy__V1__Request *request_free_batch_refused(void)
{
	return free_batch((const unsigned[]){0, 1, 2, 3, 4, 0}, 6);
}

const struct operation operation_blocks[] = {
	{"allocate", prepare_nothing, request_allocate, NULL},
	{"allocate what must be committed first", prepare_nothing, request_allocate_much, NULL},
	{"allocate with a name", prepare_nothing, request_allocate_named, NULL},
	{"allocate with a name that is taken", prepare_owned_and_named, request_allocate_taken, NULL},
	{"allocate a batch", prepare_owned, request_allocate_batch, NULL},
	{"free, as owner", prepare_owned, request_free, NULL},
	{"free, as owner, a named block", prepare_owned_and_named, request_free, NULL},
	{"free a reference that counts 2", prepare_looked_up_twice, request_free, NULL},
	{"free a reference that counts 1", prepare_looked_up, request_free, NULL},
	{"free a reference, the last hold", prepare_looked_up_alone, request_free, NULL},
	{"free what is not held", prepare_named, request_free, NULL},
	{"free a batch of mixed holds", prepare_mixed, request_free_batch, NULL},
	{"free a batch with a wrong entry", prepare_mixed, request_free_batch_refused, NULL},
	{"acquire", prepare_named, request_acquire, NULL},
	{"acquire again", prepare_looked_up, request_acquire, NULL},
	{"acquire what is owned", prepare_owned, request_acquire, NULL},
	{NULL, NULL, NULL, NULL},
};
