/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is withheld for a while: see withheld.h. */
#include "withheld.h"

#include <assert.h>

#include "buddy.h"
#include "wait_queue.h"

void withheld_init(struct withheld *withheld, struct buddy *buddy, struct wait_queue *queue)
{
	*withheld = (struct withheld){.buddy = buddy, .queue = queue};
}

static void tell(const struct withheld *withheld)
{
	uint64_t coming = withheld->units > withheld->stuck ? withheld->units - withheld->stuck : 0;

	wait_queue_expect(withheld->queue, coming, withheld->given);
}

void withheld_take(struct withheld *withheld, uint64_t offset, uint64_t units)
{
	int taken = buddy_reserve(withheld->buddy, offset, units);

	assert(taken == 0);
	(void)taken;
	withheld->units += units;
	tell(withheld);
}

void withheld_keep(struct withheld *withheld, uint64_t units)
{
	withheld->units += units;
	tell(withheld);
}

void withheld_give(struct withheld *withheld, uint64_t offset, uint64_t units)
{
	assert(units <= withheld->units);
	buddy_release(withheld->buddy, offset, units);
	withheld->units -= units;
	withheld->given += units;
	tell(withheld);
	wait_queue_wake(withheld->queue);
}

void withheld_set_stuck(struct withheld *withheld, uint64_t units)
{
	withheld->stuck = units;
	tell(withheld);
}
