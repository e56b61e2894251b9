/* SPDX-License-Identifier: Apache-2.0 */
/* Until all is as it must be: see rest.h. Counters change after what they count, and before the answer goes out. */
#include "tests/integration/model/rest.h"

#include "tests/integration/model/adrift.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/waits.h"
#include "tests/support/pool_session.h"

#define PATIENCE_NS UINT64_C(30000000000)

static uint64_t ending[KNOWN_BLOCKS * 2];
static unsigned ending_count;

void rest_expect_end(uint64_t id)
{
	MODEL_CHECK(ending_count < sizeof ending / sizeof ending[0]);
	ending[ending_count++] = id;
}

static bool all_have_ended(void)
{
	shmb_block_info info;

	while (ending_count) {
		int result = shmb_find_block(model.watcher, ending[ending_count - 1], &info);
		if (result == 0)
			return false;
		MODEL_CHECK(result == -SHMB_E_NO_SUCH_BLOCK);
		ending_count--;
	}
	return true;
}

static bool counters_are_right(const shmb_status *status)
{
	return status->blocks == known_block_count() && status->names == known_name_count() &&
	       status->tickets == known_ticket_count() && status->used == known_block_used() &&
	       status->requested == known_block_requested() && status->clients == actor_count() + 1;
}

static uint64_t leased(void)
{
	uint64_t count = 0;

	for (int i = 0; i < KNOWN_BLOCKS; i++)
		count += model.blocks[i].live && model.blocks[i].ttl_ms;
	return count;
}

/* Says what is not as it should be. */
static void judge(const shmb_status *status)
{
	for (unsigned i = 0; i < ending_count; i++)
		dprintf(STDERR_FILENO, "block %" PRIu64 " lives\n", ending[i]);
	if (!model.script.alone)
		model_fail(__FILE__, __LINE__, "blocks live that nothing holds");
	MODEL_EQUAL(status->blocks, known_block_count());
	MODEL_EQUAL(status->names, known_name_count());
	MODEL_EQUAL(status->tickets, known_ticket_count());
	MODEL_EQUAL(status->leases, leased());
	MODEL_EQUAL(status->used, known_block_used());
	MODEL_EQUAL(status->requested, known_block_requested());
	MODEL_EQUAL(status->clients, actor_count() + 1);
	for (int i = 0; i < ACTORS; i++)
		if (model.actors[i].there && model.actors[i].wait == ACTOR_WAITS_FOR_MEMORY)
			dprintf(STDERR_FILENO, "session %u waits for %" PRIu64 " bytes in a row\n", (unsigned)model.actors[i].session,
			        model.actors[i].need);
	model_fail(__FILE__, __LINE__, "there is room for who waits, %" PRIu64 " bytes in a row", status->longest_free);
}

void rest_await(void)
{
	uint64_t started = pool_session_now_ns();
	shmb_status status;

	for (;;) {
		waits_hear();
		adrift_look();
		adrift_look_for_evicted();
		MODEL_CHECK(shmb_get_status(model.watcher, &status) == 0);
		if (model.script.alone ? counters_are_right(&status) && status.leases == leased() && !waits_are_due(&status)
		                       : all_have_ended())
			break;
		if (pool_session_now_ns() - started > PATIENCE_NS)
			judge(&status);
		usleep(20);
	}
	if (model.script.alone)
		MODEL_CHECK(all_have_ended());
}
