/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for names: see name_waiters.h.
 *
 * Happy path. A look-up finds nothing, and waits in the bucket of its name's hash. The name is published, in the middle of another request:
 * those who wait for it become due, in the order in which they came. When that request is over the first SLICE are told, before any
 * other request can take the name away again; the rest in turns of the loop, so that ten thousand answers hold up nobody.
 *
 * Who is told looks for the name itself. Where it has gone in between, or its block cannot be had, the waiter waits on, with its time running.
 *
 * Nothing of this is recorded: a request that waits has not happened (state_layout.h).
 */
#include "name_waiters.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Told in one go: each is a reference, a reply and a system call. */
#define SLICE 32

static void tell_on(uv_idle_t *idle);

int name_waiters_init(struct name_waiters *waiters, uv_loop_t *loop, struct timeouts *timeouts)
{
	*waiters = (struct name_waiters){.timeouts = timeouts, .due_end = &waiters->due};
	int result = keyed_hash_init(&waiters->hash);
	if (result < 0)
		return result;
	waiters->loop = loop;
	uv_idle_init(loop, &waiters->telling);
	waiters->telling.data = waiters;
	return 0;
}

void name_waiters_deinit(struct name_waiters *waiters)
{
	assert(waiters->count == 0);
	if (waiters->loop)
		uv_close((uv_handle_t *)&waiters->telling, NULL);
	waiters->loop = NULL;
}

/* At `place`: the end of its list, or before what is there. */
static void insert(struct name_waiter *waiter, struct name_waiter **place)
{
	waiter->next = *place;
	waiter->place = place;
	if (waiter->next)
		waiter->next->place = &waiter->next;
	*place = waiter;
}

static void take_out(struct name_waiter *waiter)
{
	if (waiter->due && waiter->waiters->due_end == &waiter->next)
		waiter->waiters->due_end = waiter->place;
	*waiter->place = waiter->next;
	if (waiter->next)
		waiter->next->place = waiter->place;
	waiter->due = false;
}

static struct name_waiter **bucket_of(struct name_waiters *waiters, uint64_t hash)
{
	return &waiters->buckets[hash % NAME_WAITERS_BUCKETS];
}

static void timed_out(struct timeout *timeout)
{
	struct name_waiter *waiter = (struct name_waiter *)((char *)timeout - offsetof(struct name_waiter, timeout));

	name_waiters_leave(waiter);
	waiter->timed_out(waiter);
}

int name_waiters_join(struct name_waiters *waiters, struct name_waiter *waiter, uint32_t wait_ms)
{
	assert(!waiter->waiters);
	if (waiters->count >= NAME_WAITERS_MAX)
		return -EDQUOT;
	waiter->waiters = waiters;
	waiter->hash = keyed_hash_of(&waiters->hash, waiter->name, waiter->length);
	waiter->timeout.passed = timed_out;
	insert(waiter, bucket_of(waiters, waiter->hash));
	timeouts_start(waiters->timeouts, &waiter->timeout, wait_ms);
	waiters->count++;
	return 0;
}

bool name_waiters_leave(struct name_waiter *waiter)
{
	struct name_waiters *waiters = waiter->waiters;

	if (!waiters)
		return false;
	take_out(waiter);
	timeouts_stop(waiters->timeouts, &waiter->timeout);
	waiters->count--;
	waiter->waiters = NULL;
	return true;
}

void name_waiters_published(struct name_waiters *waiters, const char *name, size_t length)
{
	if (waiters->count == 0)
		return;
	uint64_t hash = keyed_hash_of(&waiters->hash, name, length);
	struct name_waiter *found = NULL, *next;

	/* The last to come is at the start of the bucket: turned round, they are in the order in which they came. */
	for (struct name_waiter *waiter = *bucket_of(waiters, hash); waiter; waiter = next) {
		next = waiter->next;
		if (waiter->hash != hash || waiter->length != length || memcmp(waiter->name, name, length) != 0)
			continue;
		take_out(waiter);
		insert(waiter, &found);
	}
	for (; found; found = next) {
		next = found->next;
		insert(found, waiters->due_end);
		waiters->due_end = &found->next;
		found->due = true;
	}
	if (waiters->due)
		uv_idle_start(&waiters->telling, tell_on);
}

void name_waiters_tell(struct name_waiters *waiters)
{
	for (unsigned i = 0; i < SLICE && waiters->due; i++) {
		struct name_waiter *waiter = waiters->due;
		take_out(waiter);
		insert(waiter, bucket_of(waiters, waiter->hash));
		waiter->published(waiter);
	}
	if (!waiters->due)
		uv_idle_stop(&waiters->telling);
}

static void tell_on(uv_idle_t *idle)
{
	name_waiters_tell(idle->data);
}
