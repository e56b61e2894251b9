/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for memory, and who gets it: see wait_queue.h.
 *
 * Happy path. A request finds no room, and joins the line. Something is freed: the queue is woken, and in the turns of the loop that follow
 * it looks for the earliest in line for whom there is room, until there is none. That one leaves the line with its memory.
 *
 * Order. First come, first served, but a request for which there is room may go past others for which there is not: from within the line,
 * or newly come. Each time counts against all with a time of their own who came before it. It is enough to count, for the whole queue, how
 * often the first of these was passed: a waiter's share is what came since it joined. Whoever passes a later one passes the
 * first as well, so no share is too small, and the first's is the largest. Once that is WAIT_QUEUE_OVERTAKEN_MAX nobody who came after it
 * gets anything until it has gone: what is freed gathers. So nobody is ever overtaken more often, and who wants much waits for
 * others to free, but not for ever behind those who want little.
 *
 * Two kinds wait. The patient have a time of their own, and leave with it. The impatient wait only because some memory is on its way back,
 * which takes milliseconds: they leave when nothing is any more, or when as much came back as the segment has; or because circles of links are
 * looked for (collector.h), for one run that began after they came, or two where one was under way. Cleaning goes round the
 * segment (cleaner.c), so by then each unit that was on its way when they came has been free at least once; others that free all the
 * time do not keep them for ever. Or it is owed to them to find out what is nobody's any more (dying.c): they leave when that was done once
 * since they came. Nothing is set aside for them: a pool whose users never wait refuses nobody on their account.
 * Whoever's time is over has a last look.
 *
 * Who cannot take memory, because a quota stops him, does not wait here: he steps aside when his turn has come, or when memory would be set
 * aside for him, and waits for his quota elsewhere (account_line.c), to come back to the end of this line.
 *
 * Cost. To wake is O(1), and to find out whom to serve O(orders), however many wait: the firsts of both kinds are looked at as what they are,
 * all others by the order of one free block that would do for all that they ask for. So of many in line a batch may stay behind though it
 * would fit into several smaller pieces, until it is first. Turns are short: SLICE blocks.
 *
 * Nothing of this is recorded: a request that waits has not happened (state_layout.h). No deadlock: what is on its way waits for the kernel
 * only, and everybody else has a time.
 */
#include "wait_queue.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "size.h"

/* Blocks taken in one turn of the loop, at most, unless one waiter wants more: some 50 microseconds. */
#define SLICE 32

static void look(uv_idle_t *idle);

void wait_queue_init(struct wait_queue *queue, uv_loop_t *loop, const struct buddy *buddy, struct timeouts *timeouts)
{
	*queue = (struct wait_queue){.buddy = buddy, .timeouts = timeouts, .loop = loop};
	uv_idle_init(loop, &queue->looking);
	queue->looking.data = queue;
}

void wait_queue_deinit(struct wait_queue *queue)
{
	assert(!queue->patient.first && !queue->impatient.first);
	if (queue->loop)
		uv_close((uv_handle_t *)&queue->looking, NULL);
	queue->loop = NULL;
}

/* ---- The line --------------------------------------------------------------------------------------------------- */

static void append(struct waiter_list *list, struct waiter *waiter, enum waiter_list_kind kind)
{
	waiter->next[kind] = NULL;
	waiter->previous[kind] = list->last;
	if (list->last)
		list->last->next[kind] = waiter;
	else
		list->first = waiter;
	list->last = waiter;
}

static void unlink_from(struct waiter_list *list, struct waiter *waiter, enum waiter_list_kind kind)
{
	struct waiter *next = waiter->next[kind], *previous = waiter->previous[kind];

	if (previous)
		previous->next[kind] = next;
	else
		list->first = next;
	if (next)
		next->previous[kind] = previous;
	else
		list->last = previous;
}

static struct waiter_list *kind_of(struct wait_queue *queue, const struct waiter *waiter)
{
	return waiter->patient ? &queue->patient : &queue->impatient;
}

/* A demand that is no power of two may need more than one block can have: then only its exact form will do. */
static bool has_order(const struct waiter *waiter)
{
	return demand_order(&waiter->demand) < BUDDY_ORDERS;
}

static void enter(struct wait_queue *queue, struct waiter *waiter)
{
	unsigned order = demand_order(&waiter->demand);

	waiter->queue = queue;
	waiter->arrival = ++queue->arrivals;
	waiter->overtakings = queue->overtakings;
	append(kind_of(queue, waiter), waiter, WAITER_KIND);
	if (has_order(waiter)) {
		append(&queue->of_order[order], waiter, WAITER_ORDER);
		queue->orders |= UINT64_C(1) << order;
	}
	if (waiter->patient) {
		queue->patient_count++;
		queue->blocks += waiter->demand.blocks;
	}
}

bool wait_queue_leave(struct waiter *waiter)
{
	struct wait_queue *queue = waiter->queue;
	unsigned order = demand_order(&waiter->demand);

	if (!queue)
		return false;
	waiter->queue = NULL;
	unlink_from(kind_of(queue, waiter), waiter, WAITER_KIND);
	if (has_order(waiter)) {
		unlink_from(&queue->of_order[order], waiter, WAITER_ORDER);
		if (!queue->of_order[order].first)
			queue->orders &= ~(UINT64_C(1) << order);
	}
	if (waiter->patient) {
		timeouts_stop(queue->timeouts, &waiter->timeout);
		queue->patient_count--;
		queue->blocks -= waiter->demand.blocks;
		wait_queue_wake(queue); /* what was set aside for it is there for others */
	}
	return true;
}

/* ---- Who is served ---------------------------------------------------------------------------------------------- */

/* The patient waiter for whom memory is set aside; NULL: there is none. */
static const struct waiter *privileged(const struct wait_queue *queue)
{
	const struct waiter *first = queue->patient.first;

	return first && queue->overtakings - first->overtakings >= WAIT_QUEUE_OVERTAKEN_MAX ? first : NULL;
}

static bool steps_aside(struct waiter *waiter)
{
	return waiter->step_aside && waiter->step_aside(waiter);
}

/* Nothing is set aside for one who could not take it. */
static void dismiss(struct wait_queue *queue)
{
	while (privileged(queue) && steps_aside(queue->patient.first))
		;
}

bool wait_queue_is_set_aside(struct wait_queue *queue)
{
	dismiss(queue);
	return privileged(queue) != NULL;
}

bool wait_queue_is_busy(const struct wait_queue *queue)
{
	return queue->impatient.first || uv_is_active((const uv_handle_t *)&queue->looking);
}

/* May it be served, whoever waits before it? */
static bool is_allowed(const struct wait_queue *queue, const struct waiter *waiter)
{
	const struct waiter *first = privileged(queue);

	return !first || waiter->arrival <= first->arrival;
}

static struct waiter *earlier(struct waiter *one, struct waiter *other)
{
	return !one || (other && other->arrival < one->arrival) ? other : one;
}

/* The earliest for whom there is room; NULL: for nobody. */
static struct waiter *next_to_serve(const struct wait_queue *queue)
{
	struct waiter *firsts[] = {queue->patient.first, queue->impatient.first}, *found = NULL;
	uint64_t largest = buddy_largest_free(queue->buddy);

	for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
		if (firsts[i] && demand_fits(&firsts[i]->demand, queue->buddy))
			found = earlier(found, firsts[i]);
	}
	if (largest) {
		uint64_t fitting = (UINT64_C(2) << size_order_for(largest)) - 1;
		for (uint64_t orders = queue->orders & fitting; orders; orders &= orders - 1)
			found = earlier(found, queue->of_order[__builtin_ctzll(orders)].first);
	}
	return found && is_allowed(queue, found) ? found : NULL;
}

/* It has its memory. */
static void serve(struct wait_queue *queue, struct waiter *waiter)
{
	const struct waiter *first = queue->patient.first;

	queue->overtakings += first && first->arrival < waiter->arrival;
	wait_queue_leave(waiter);
	waiter->ended(waiter, 0);
}

/* Its time is over. */
static void see_off(struct wait_queue *queue, struct waiter *waiter, int result)
{
	bool allowed = is_allowed(queue, waiter);

	if (allowed && waiter->take(waiter)) {
		serve(queue, waiter);
		return;
	}
	wait_queue_leave(waiter);
	waiter->ended(waiter, allowed ? result : -EBUSY);
}

static void timed_out(struct timeout *timeout)
{
	struct waiter *waiter = (struct waiter *)((char *)timeout - offsetof(struct waiter, timeout));

	see_off(waiter->queue, waiter, -ETIMEDOUT);
}

/* The first of the impatient came before the others: if it may wait on, so may they. */
static bool is_over(const struct wait_queue *queue, const struct waiter *impatient)
{
	bool comes = queue->coming > 0 && queue->returned < impatient->until;
	bool owed = queue->owed && queue->paid == impatient->paid;
	bool collecting = queue->collecting && impatient->arrival > queue->collected;

	bool evicting = queue->evicting && queue->evictions == impatient->evictions;

	return !comes && !owed && !collecting && !evicting;
}

/* One waiter. Its blocks; 0: nobody's turn has come. */
static uint32_t look_at_one(struct wait_queue *queue)
{
	dismiss(queue);
	struct waiter *waiter = next_to_serve(queue);
	uint32_t blocks;

	if (waiter && steps_aside(waiter))
		return 1; /* on to the next */
	/* Where the allocator knows better, it stays for when something else is freed. */
	if (waiter && waiter->take(waiter)) {
		blocks = waiter->demand.blocks;
		serve(queue, waiter);
		return blocks;
	}
	waiter = queue->impatient.first;
	if (!waiter || !is_over(queue, waiter))
		return 0;
	blocks = waiter->demand.blocks;
	see_off(queue, waiter, -ENOMEM);
	return blocks;
}

static void look(uv_idle_t *idle)
{
	struct wait_queue *queue = idle->data;
	uint32_t blocks = 1;

	for (uint32_t sum = 0; blocks && sum < SLICE; sum += blocks)
		blocks = look_at_one(queue);
	if (!blocks)
		uv_idle_stop(idle);
}

/* ---- From outside ----------------------------------------------------------------------------------------------- */

void wait_queue_wake(struct wait_queue *queue)
{
	if (wait_queue_has_waiters(queue))
		uv_idle_start(&queue->looking, look);
}

void wait_queue_expect(struct wait_queue *queue, uint64_t coming, uint64_t returned)
{
	queue->coming = coming;
	queue->returned = returned;
	if (queue->impatient.first && is_over(queue, queue->impatient.first))
		wait_queue_wake(queue);
}

void wait_queue_expect_eviction(struct wait_queue *queue, bool evicting)
{
	queue->evictions += queue->evicting && !evicting;
	queue->evicting = evicting;
	if (!evicting && queue->impatient.first && is_over(queue, queue->impatient.first))
		wait_queue_wake(queue);
}

bool wait_queue_has_waiters(const struct wait_queue *queue)
{
	return queue->patient.first || queue->impatient.first;
}

bool wait_queue_can_serve(const struct wait_queue *queue)
{
	return next_to_serve(queue) != NULL;
}

void wait_queue_owe(struct wait_queue *queue, bool owed)
{
	queue->paid += queue->owed && !owed;
	queue->owed = owed;
	if (!owed)
		wait_queue_wake(queue);
}

void wait_queue_await_collection(struct wait_queue *queue)
{
	queue->collecting = true;
}

void wait_queue_collected(struct wait_queue *queue, uint64_t arrival)
{
	queue->collecting = queue->collecting && arrival != UINT64_MAX;
	queue->collected = arrival == UINT64_MAX ? queue->arrivals : arrival;
	wait_queue_wake(queue);
}

int wait_queue_join(struct wait_queue *queue, struct waiter *waiter, uint32_t wait_ms)
{
	assert(!waiter->queue);
	waiter->patient = wait_ms > 0;
	if (!waiter->patient && queue->coming == 0 && !queue->owed && !queue->evicting && !queue->collecting)
		return -ENOMEM;
	if (waiter->patient &&
	    (queue->patient_count >= WAIT_QUEUE_MAX || queue->blocks + waiter->demand.blocks > WAIT_QUEUE_BLOCKS_MAX))
		return -EDQUOT;
	waiter->until = queue->returned + buddy_units(queue->buddy);
	waiter->paid = queue->paid;
	waiter->evictions = queue->evictions;
	waiter->timeout.passed = timed_out;
	enter(queue, waiter);
	if (waiter->patient)
		timeouts_start(queue->timeouts, &waiter->timeout, wait_ms);
	return 0;
}
