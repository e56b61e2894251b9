/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks are held by pages that the daemon reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "hold_layout.h"
#include "server/state_layout.h"
#include "tests/integration/commit_points/operation.h"
#include "tests/integration/commit_points/preparation.h"
#include "tests/integration/commit_points/trial.h"
#include "tests/support/raw_request.h"
#include "view_layout.h"

#define OK SHMBUDDY__V1__STATUS__OK

static int open_hold_page(void)
{
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s.hold.%u", trial.daemon.pool, (unsigned)trial.mine.number);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* The inode that the record of `mine` says; 0: it has no page. */
static uint64_t recorded_hold_page(void)
{
	struct state_header header;
	struct session_record record;

	CLEANUP_CLOSE int fd = daemon_fixture_open_object(&trial.daemon, ".state");
	assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
	assert_int_equal(pread(fd, &record, sizeof record, (off_t)(header.sessions_at + trial.mine.number * sizeof record)),
	                 sizeof record);
	return atomic_load(&record.hold_page);
}

/* A page that no record speaks of does not outlive the next start. */
static bool act_open_holds(bool again)
{
	Shmbuddy__V1__Status status;

	if (again)
		assert_int_equal(daemon_fixture_shared_objects(&trial.daemon), recorded_hold_page() ? 4 : 3);
	trial_become(TRIAL_MINE);
	int result = raw_session_open_holds(&trial.mine, trial.daemon.socket_path, &status);
	trial_become(0);
	if (result < 0)
		return false;
	assert_int_equal(status, OK);
	CLEANUP_CLOSE int fd = open_hold_page();
	struct stat page;
	assert_int_equal(fstat(fd, &page), 0);
	assert_int_equal(recorded_hold_page(), page.st_ino);
	return true;
}

static void set_hold(uint64_t id)
{
	CLEANUP_CLOSE int fd = open_hold_page();

	assert_int_equal(pwrite(fd, &id, sizeof id, offsetof(struct hold_page, slots)), sizeof id);
}

/* `mine` holds it by its page, and the owner is the only one that the daemon knows of. */
static void prepare_held_by_page(void)
{
	Shmbuddy__V1__Status status;

	trial_allocate(&trial.other, 0, 5000, NULL);
	assert_int_equal(raw_session_call(&trial.mine, raw_request_acquire(&trial.block[0])), OK);
	assert_int_equal(raw_session_free(&trial.mine, &trial.block[0]), OK);
	trial_become(TRIAL_MINE);
	assert_int_equal(raw_session_open_holds(&trial.mine, trial.daemon.socket_path, &status), 0);
	trial_become(0);
	assert_int_equal(status, OK);
	set_hold(trial.block[0].id);
}

/* Until block 0 is in that state, or free. False: the daemon died. */
static bool wait_for_state(enum record_state wanted)
{
	struct view_header header;
	uint64_t word;

	assert_int_equal(pread(trial.other.view, &header, sizeof header, 0), sizeof header);
	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited++) {
		if (!trial_tell(raw_request_ping()))
			return false;
		off_t at = (off_t)(header.blocks_at + trial.block[0].index * sizeof(struct block_record));
		assert_int_equal(pread(trial.other.view, &word, sizeof word, at), sizeof word);
		if (record_state(word) == wanted || record_state(word) == RECORD_FREE)
			return true;
		poll(NULL, 0, 1);
	}
	fail_msg("the block does not come to state %d", (int)wanted);
	return false;
}

/* From owned to dying, orphan, dying again, and free. What is said of that to a daemon that dies is not said again. */
static bool act_hold_of_page(bool again)
{
	Shmbuddy__V1__Released message = SHMBUDDY__V1__RELEASED__INIT;
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;

	(void)again;
	if (!trial_tell(raw_request_free(&trial.block[0])) || !wait_for_state(RECORD_ORPHAN))
		return false;
	set_hold(0);
	message.handle = &trial.block[0];
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RELEASED;
	request.released = &message;
	return raw_client_send_request(&trial.mine.client, &request) == 0 && wait_for_state(RECORD_FREE);
}

const struct operation operation_holds[] = {
	{"open a hold page", prepare_nothing, NULL, act_open_holds},
	{"let go by a hold page, the last hold", prepare_held_by_page, NULL, act_hold_of_page},
	{NULL, NULL, NULL, NULL},
};
