/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks are sealed, shrunk and grown, and their metadata set. */
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

static void prepare_with_metadata(void)
{
	prepare_owned();
	assert_int_equal(raw_session_call(&trial.mine, raw_request_set_metadata(&trial.block[0], "a shape", 7)), OK);
}

static void prepare_growing(void)
{
	prepare_owned();
	trial.grows = 8192;
}

/* What it had is for others, and what lies behind it is not free: it cannot grow in its place. */
static void prepare_hemmed_in(void)
{
	prepare_with_metadata();
	trial_allocate(&trial.other, 1, 5000, NULL);
}

/* It cannot grow in its place. */
static void prepare_leased_and_hemmed_in(void)
{
	prepare_leased();
	trial_allocate(&trial.other, 1, 5000, NULL);
}

/* Others may know it, and have hold pages. */
static void prepare_with_pages(void)
{
	Shmbuddy__V1__Status status;

	prepare_owned();
	assert_int_equal(raw_session_acquire(&trial.mine, &trial.block[0]), OK);
	assert_int_equal(raw_session_open_holds(&trial.other, trial.daemon.socket_path, &status), 0);
	assert_int_equal(status, OK);
}

/* Of this session's own block, from byte 1000 to its end. */
static void prepare_own_range(void)
{
	trial_allocate(&trial.mine, 0, 5000, NULL);
	assert_int_equal(raw_session_call(&trial.mine, raw_request_publish_range(&trial.block[0], "own", false, 1000, 0)), OK);
}

static Shmbuddy__V1__Request *request_seal(void)
{
	return raw_request_seal(&trial.block[0]);
}

static Shmbuddy__V1__Request *request_set_metadata(void)
{
	return raw_request_set_metadata(&trial.block[0], "a shape", 7);
}

static Shmbuddy__V1__Request *request_no_metadata(void)
{
	return raw_request_set_metadata(&trial.block[0], NULL, 0);
}

static Shmbuddy__V1__Request *request_allocate_with_metadata(void)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(5000, "new");

	request->allocate->metadata = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "a shape"};
	return request;
}

static Shmbuddy__V1__Request *request_free(void)
{
	return raw_request_free(&trial.block[0]);
}

static Shmbuddy__V1__Request *request_shrink(void)
{
	return raw_request_resize(&trial.block[0], 100);
}

static Shmbuddy__V1__Request *request_shrink_to_range(void)
{
	return raw_request_resize(&trial.block[0], 1001);
}

static Shmbuddy__V1__Request *request_grow(void)
{
	return raw_request_resize(&trial.block[0], 10000);
}

static Shmbuddy__V1__Request *request_grow_much(void)
{
	return raw_request_resize(&trial.block[0], 300000);
}

const struct operation operation_changes[] = {
	{"seal", prepare_owned, request_seal, NULL},
	{"seal what is sealed", prepare_sealed, request_seal, NULL},
	{"set metadata", prepare_owned, request_set_metadata, NULL},
	{"set metadata anew", prepare_with_metadata, request_set_metadata, NULL},
	{"set metadata of a sealed block", prepare_sealed, request_set_metadata, NULL},
	{"take metadata away", prepare_with_metadata, request_no_metadata, NULL},
	{"allocate with a name and metadata", prepare_nothing, request_allocate_with_metadata, NULL},
	{"free a block with metadata", prepare_with_metadata, request_free, NULL},
	{"shrink", prepare_owned, request_shrink, NULL},
	{"shrink what hold pages may have", prepare_with_pages, request_shrink, NULL},
	{"shrink what others hold", prepare_looked_up, request_shrink, NULL},
	{"shrink what a ticket holds", prepare_ticket_owned, request_shrink, NULL},
	{"shrink what holds others", prepare_linked, request_shrink, NULL},
	{"shrink to a byte of a range", prepare_own_range, request_shrink_to_range, NULL},
	{"shrink below a range", prepare_own_range, request_shrink, NULL},
	{"grow", prepare_owned, request_grow, NULL},
	{"grow what must be committed first", prepare_growing, request_grow_much, NULL},
	{"grow into a new block", prepare_hemmed_in, request_grow, NULL},
	{"grow into a new block, without its time to live", prepare_leased_and_hemmed_in, request_grow, NULL},
	{NULL, NULL, NULL, NULL},
};
