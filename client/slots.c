/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot that becomes free goes to the head of the line directly, so that latecomers cannot starve it. See slots.h.
 *
 * A call may wait for what another thread of the program is about to do: to free memory, to publish a name. So calls that wait for something
 * leave an eighth of the slots to the others, and stand in line meanwhile; the others go past them.
 */
#include "slots.h"

#include <stdlib.h>
#include <string.h>

static void tell(struct call *call)
{
	if (call->done)
		call->done(call);
}

/* May the call have a slot that is free, or has just become so? */
static bool may_have(const struct slots *slots, const struct call *call)
{
	uint32_t count = slots->count < SLOTS_MAX ? slots->count : SLOTS_MAX;

	return !call->wait_ms || count < 2 || slots->waiting < count - (count + 7) / 8;
}

static void grant(struct slots *slots, uint32_t index, struct call *call)
{
	slots->busy |= UINT64_C(1) << index;
	slots->slot[index].call = call;
	slots->slot[index].waits = call->wait_ms != NULL;
	slots->waiting += slots->slot[index].waits;
	call->slot = index;
	call->state = CALL_GRANTED;
}

static void drop_frame(struct slot *slot)
{
	free(slot->frame);
	slot->frame = NULL;
}

void slots_claim(struct slots *slots, struct call *call)
{
	uint64_t usable = slots->count < SLOTS_MAX ? (UINT64_C(1) << slots->count) - 1 : UINT64_MAX;
	uint64_t idle = ~slots->busy & usable;

	if (idle && may_have(slots, call)) {
		grant(slots, (uint32_t)__builtin_ctzll(idle), call);
		return;
	}
	call->state = CALL_WAITING;
	call->next_waiting = NULL;
	if (slots->last_waiting)
		slots->last_waiting->next_waiting = call;
	else
		slots->first_waiting = call;
	slots->last_waiting = call;
}

void slots_leave_line(struct slots *slots, struct call *call)
{
	struct call *before = NULL, **place = &slots->first_waiting;

	while (*place && *place != call) {
		before = *place;
		place = &before->next_waiting;
	}
	if (!*place)
		return;
	*place = call->next_waiting;
	if (slots->last_waiting == call)
		slots->last_waiting = before;
}

void slots_release(struct slots *slots, uint32_t index)
{
	struct call *next = slots->first_waiting;

	slots->slot[index].call = NULL;
	drop_frame(&slots->slot[index]);
	slots->waiting -= slots->slot[index].waits;
	slots->slot[index].waits = false;
	while (next && !may_have(slots, next))
		next = next->next_waiting;
	if (!next) {
		slots->busy &= ~(UINT64_C(1) << index);
		return;
	}
	slots_leave_line(slots, next);
	grant(slots, index, next);
	tell(next);
}

/* Before anybody is told of the first, all that are to fail are out of the line and out of their slots. */
void slots_fail(struct slots *slots, bool once, enum error_code code, const char *text)
{
	struct call *failed = NULL, *next;

	for (struct call *waiting = slots->first_waiting; waiting; waiting = next) {
		next = waiting->next_waiting;
		if (once && !waiting->once)
			continue;
		slots_leave_line(slots, waiting);
		waiting->next_waiting = failed;
		failed = waiting;
	}
	for (uint32_t index = 0; index < slots->count; index++) {
		struct slot *slot = &slots->slot[index];
		struct call *call = slot->call;

		if (once && !(call && call->once))
			continue;
		slot->call = NULL;
		drop_frame(slot);
		slot->leftover.id = 0;
		slots->waiting -= slot->waits;
		slot->waits = false;
		slots->busy &= ~(UINT64_C(1) << index);
		if (call) {
			call->next_waiting = failed;
			failed = call;
		}
	}
	for (; failed; failed = next) {
		next = failed->next_waiting;
		call_fail(failed, code, text);
		tell(failed);
	}
}

void slots_deinit(struct slots *slots, bool forget)
{
	for (uint32_t index = 0; index < SLOTS_MAX && !forget; index++)
		drop_frame(&slots->slot[index]);
	memset(slots, 0, sizeof *slots);
}
