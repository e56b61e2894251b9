/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks hold others, and go with what holds them; circles are collected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "cleanup.h"
#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/preparation.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"
#include "view_layout.h"

#define OK SHMBUDDY__V1__STATUS__OK

/* Only the link holds the second. */
static void prepare_linked_alone(void)
{
	prepare_linked();
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[1]), OK);
}

/* 0 holds 1 and 2, both hold 3: all but the first by links alone. */
static void prepare_diamond(void)
{
	for (unsigned i = 0; i < 4; i++)
		trial_allocate(&trial.mine, i, 100 + 1000 * i, NULL);
	trial_link(0, 1);
	trial_link(0, 2);
	trial_link(1, 3);
	trial_link(2, 3);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(raw_session_free(&trial.mine, &trial.block[i]), OK);
}

/* 0 to 2 hold each other in a circle, and that holds 3. Only links hold any of them; and so does what is held of 4 and 5. */
static void prepare_circle(void)
{
	for (unsigned i = 0; i < 6; i++)
		trial_allocate(&trial.mine, i, 100 + 1000 * i, NULL);
	for (unsigned i = 0; i < 3; i++)
		trial_link(i, (i + 1) % 3);
	trial_link(2, 3);
	trial_link(4, 5);
	trial_link(5, 4);
	trial_link(0, 4);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(raw_session_free(&trial.mine, &trial.block[i]), OK);
}

static Shmbuddy__V1__Request *request_link(void)
{
	return raw_request_link(&trial.block[0], &trial.block[1]);
}

static Shmbuddy__V1__Request *request_unlink(void)
{
	return raw_request_unlink(&trial.block[0], &trial.block[1]);
}

/* As the view says now. */
static uint64_t links_counted(void)
{
	uint64_t links;

	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&trial.daemon, ".view");
	assert_int_equal(pread(fd, &links, sizeof links, VIEW_COUNTERS_AT + (off_t)offsetof(struct view_counters, links)),
	                 sizeof links);
	return links;
}

/* What the block held goes after the answer, a link at a time. */
static bool act_free_diamond(bool again)
{
	(void)again;
	if (!trial_perform(raw_request_free(&trial.block[0])))
		return false;
	do {
		if (!trial_wait_for_sessions(2))
			return false;
	} while (links_counted() > 0);
	return true;
}

/* However far it had come: the circle is there as a whole, or nothing of it is. */
static void expect_whole_or_gone(void)
{
	unsigned there = 0;

	for (unsigned i = 0; i < 4; i++) {
		Shmbuddy__V1__Status status = raw_session_call(&trial.other, raw_request_acquire(&trial.block[i]));
		assert_true(status == OK || status == SHMBUDDY__V1__STATUS__STALE_HANDLE);
		there += status == OK;
	}
	assert_true(there == 0 || there == 4);
	for (unsigned i = 0; i < there; i++)
		assert_int_equal(raw_session_free(&trial.other, &trial.block[i]), OK);
}

static bool act_collect(bool again)
{
	Shmbuddy__V1__Request *request = raw_request_collect();
	Shmbuddy__V1__Reply *reply;

	if (again)
		expect_whole_or_gone();
	request->slot = TRIAL_SLOT;
	request->sequence = 1 + again;
	if (raw_client_call(&trial.mine.client, request, &reply) < 0)
		return false;
	assert_int_equal(reply->status, OK);
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return true;
}

const struct operation operation_links[] = {
	{"link", prepare_two, request_link, NULL},
	{"link what is linked", prepare_linked, request_link, NULL},
	{"unlink", prepare_linked, request_unlink, NULL},
	{"unlink, the last hold", prepare_linked_alone, request_unlink, NULL},
	{"unlink what is not linked", prepare_two, request_unlink, NULL},
	{"free what holds others", prepare_diamond, NULL, act_free_diamond},
	{"collect a circle", prepare_circle, NULL, act_collect},
	{NULL, NULL, NULL, NULL},
};
