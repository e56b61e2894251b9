/* SPDX-License-Identifier: Apache-2.0 */
/* Names are published, replaced, looked up and taken away. */
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

/* A name of a block that has an owner as well, and a second block. */
static void prepare_named_and_other(void)
{
	prepare_owned_and_named();
	trial_allocate(&trial.mine, 1, 300, NULL);
}

/* Only its name holds the one. */
static void prepare_name_alone_and_other(void)
{
	prepare_named_and_other();
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
}

static void prepare_range(void)
{
	trial_allocate(&trial.other, 0, 5000, NULL);
	assert_int_equal(raw_session_call(&trial.other, raw_request_publish_range(&trial.block[0], "theirs", false, 1000, 0)),
	                 OK);
}

static void prepare_range_looked_up(void)
{
	prepare_range();
	assert_int_equal(raw_session_lookup(&trial.mine, "theirs", NULL), OK);
}

static Shmbuddy__V1__Request *request_publish(void)
{
	return raw_request_publish(&trial.block[0], "published");
}

static Shmbuddy__V1__Request *request_publish_range(void)
{
	return raw_request_publish_range(&trial.block[0], "published", true, 100, 200);
}

static Shmbuddy__V1__Request *request_publish_beyond(void)
{
	return raw_request_publish_range(&trial.block[0], "published", false, 4000, 1001);
}

static Shmbuddy__V1__Request *request_replace(void)
{
	return raw_request_publish_range(&trial.block[1], "kept", true, 0, 0);
}

static Shmbuddy__V1__Request *request_replace_by_range(void)
{
	return raw_request_publish_range(&trial.block[0], "kept", true, 4000, 1000);
}

static Shmbuddy__V1__Request *request_allocate_replacing(void)
{
	Shmbuddy__V1__Request *request = raw_request_allocate(300, "kept");

	request->allocate->replace = true;
	return request;
}

/* A name that is replaced, a time to live, metadata. */
static Shmbuddy__V1__Request *request_allocate_with_all(void)
{
	Shmbuddy__V1__Request *request = request_allocate_replacing();

	request->allocate->ttl_ms = TRIAL_LONG_MS;
	request->allocate->metadata = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "a shape"};
	return request;
}

static Shmbuddy__V1__Request *request_unpublish(void)
{
	return raw_request_unpublish("kept");
}

static Shmbuddy__V1__Request *request_lookup(void)
{
	return raw_request_lookup("theirs");
}

const struct operation operation_names[] = {
	{"publish", prepare_owned, request_publish, NULL},
	{"publish a range", prepare_owned, request_publish_range, NULL},
	{"publish a range that is none", prepare_owned, request_publish_beyond, NULL},
	{"replace a name", prepare_named_and_other, request_replace, NULL},
	{"replace a name, the last hold", prepare_name_alone_and_other, request_replace, NULL},
	{"replace a name by a range of the same block", prepare_owned_and_named, request_replace_by_range, NULL},
	{"allocate, replacing a name", prepare_owned_and_named, request_allocate_replacing, NULL},
	{"allocate, replacing a name, the last hold", prepare_name_alone, request_allocate_replacing, NULL},
	{"allocate, replacing a name that is not there", prepare_nothing, request_allocate_replacing, NULL},
	{"allocate with all, replacing a name, the last hold", prepare_name_alone, request_allocate_with_all, NULL},
	{"look up", prepare_named, request_lookup, NULL},
	{"look up again", prepare_looked_up, request_lookup, NULL},
	{"look up a range", prepare_range, request_lookup, NULL},
	{"look up a range again", prepare_range_looked_up, request_lookup, NULL},
	{"unpublish", prepare_owned_and_named, request_unpublish, NULL},
	{"unpublish, the last hold", prepare_name_alone, request_unpublish, NULL},
	{NULL, NULL, NULL, NULL},
};
