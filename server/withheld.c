/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is withheld for a while: see withheld.h.
 *
 * Whoever finds no room asks to wait. It may while something is on its way back, that is, withheld and not stuck; otherwise its answer is
 * out of memory, at once. What is withheld comes back through withheld_give alone, and each give has all who wait look again: so
 * a wake-up cannot be lost, and when the last of it comes back everybody has a last look. One waiter looks in a turn of the loop, for a
 * look may be a batch of thousands, and others have requests.
 *
 * Nobody waits for ever, even if others free all the time and each free is withheld anew. Cleaning goes round the segment
 * (cleaner.c), so by the time that as many units as the segment has were given back, each unit that was withheld when the waiter
 * came has been free at least once. Then it is refused, as it would have been had it come a moment later.
 *
 * No deadlock: what is withheld waits for the kernel only, never for a client or another waiter.
 */
#include "withheld.h"

#include <assert.h>

#include "buddy.h"

void withheld_init(struct withheld *withheld, uv_loop_t *loop, struct buddy *buddy)
{
	*withheld = (struct withheld){.buddy = buddy, .loop = loop};
	withheld->last = &withheld->first;
	uv_idle_init(loop, &withheld->looking);
	withheld->looking.data = withheld;
}

void withheld_deinit(struct withheld *withheld)
{
	if (withheld->loop)
		uv_close((uv_handle_t *)&withheld->looking, NULL);
	withheld->loop = NULL;
}

static void look(uv_idle_t *idle)
{
	struct withheld *withheld = idle->data;
	struct withheld_waiter *waiter = withheld->first;

	if (waiter && withheld->to_look) {
		withheld->to_look--;
		withheld->waiting--;
		withheld->first = waiter->next;
		if (!withheld->first)
			withheld->last = &withheld->first;
		waiter->look(waiter);
	}
	if (!withheld->to_look)
		uv_idle_stop(idle);
}

static void wake_all(struct withheld *withheld)
{
	withheld->to_look = withheld->waiting;
	if (withheld->to_look)
		uv_idle_start(&withheld->looking, look);
}

void withheld_stop(struct withheld *withheld)
{
	withheld->stopped = true;
	wake_all(withheld);
}

void withheld_take(struct withheld *withheld, uint64_t offset, uint64_t units)
{
	int taken = buddy_reserve(withheld->buddy, offset, units);

	assert(taken == 0);
	(void)taken;
	withheld->units += units;
}

void withheld_keep(struct withheld *withheld, uint64_t units)
{
	withheld->units += units;
}

void withheld_give(struct withheld *withheld, uint64_t offset, uint64_t units)
{
	assert(units <= withheld->units);
	buddy_release(withheld->buddy, offset, units);
	withheld->units -= units;
	withheld->given += units;
	wake_all(withheld);
}

void withheld_set_stuck(struct withheld *withheld, uint64_t units)
{
	withheld->stuck = units;
	wake_all(withheld);
}

bool withheld_wait(struct withheld *withheld, struct withheld_waiter *waiter)
{
	if (withheld->stopped || withheld->units <= withheld->stuck)
		return false;
	if (!waiter->until)
		waiter->until = withheld->given + buddy_units(withheld->buddy);
	if (withheld->given >= waiter->until)
		return false;
	waiter->next = NULL;
	*withheld->last = waiter;
	withheld->last = &waiter->next;
	withheld->waiting++;
	return true;
}
