/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one line of those who wait for memory of the pool's segment: because they said that they would, up to a time of their own; or, whoever
 * did not, because some is on its way back by itself (withheld.h), or may be found to be nobody's (dying.h). Knows the allocator, and nothing of requests. Owned by the pool; loop
 * thread only. Who is served when is told in wait_queue.c.
 */
#ifndef SERVER_WAIT_QUEUE_H
#define SERVER_WAIT_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "buddy.h"
#include "demand.h"
#include "timeouts.h"

/* Requests that wait up to a time of their own at most, and blocks that they ask for together. */
#define WAIT_QUEUE_MAX 16384
#define WAIT_QUEUE_BLOCKS_MAX (UINT32_C(1) << 20)

/* How often later requests go past one that waits, as shmbuddy.h says: SHMB_OVERTAKEN_MAX. */
#define WAIT_QUEUE_OVERTAKEN_MAX 64

struct waiter;

struct waiter_list {
	struct waiter *first, *last; /* in the order in which they came */
};

/* The lists that a waiter is in: of its kind, and of those whose demand has the same order. */
enum waiter_list_kind { WAITER_KIND, WAITER_ORDER, WAITER_LISTS };

/* Somebody who waits. Lives with whoever waits; all zeros but the first four fields where it does not. */
struct waiter {
	struct demand demand;
	/* Takes memory from the allocator if there is room. Calls nobody back. */
	bool (*take)(struct waiter *waiter);
	/*
	 * True: it could not take memory if there were room, has left the line, and may be gone. NULL: it always can. Of one who has a time nobody
	 * is called back.
	 */
	bool (*step_aside)(struct waiter *waiter);
	/*
	 * It waits no more. 0: it has taken its memory. -ETIMEDOUT: its time has passed. -EBUSY: so it has, and memory is set aside for one
	 * who came before. -ENOMEM: nothing is on its way any more. From a turn of the loop of its own; the waiter may be freed.
	 */
	void (*ended)(struct waiter *waiter, int result);

	/* The queue's own. */
	struct wait_queue *queue; /* NULL: it does not wait */
	uint64_t arrival;         /* rises from one to the next */
	uint64_t overtakings;     /* of the queue, when it came */
	uint64_t paid;            /* of the queue, when it came */
	uint64_t until;     /* of one without a time: when so much has come back, it has waited for all that was on its way */
	uint64_t evictions; /* of the queue, when it came */
	struct timeout timeout; /* of one with a time */
	bool patient;           /* it has one */
	struct waiter *next[WAITER_LISTS], *previous[WAITER_LISTS];
};

struct wait_queue {
	const struct buddy *buddy;
	struct timeouts *timeouts;
	struct waiter_list patient, impatient;     /* with a time of their own, and without */
	struct waiter_list of_order[BUDDY_ORDERS]; /* all, by demand_order() */
	uint64_t orders;                           /* bit k: of_order[k] is not empty */
	uint32_t patient_count, blocks;            /* of the patient: how many, and the blocks that they ask for */
	uint64_t arrivals, overtakings;            /* ever */
	uint64_t coming, returned;                 /* units on their way back now, and returned ever: see wait_queue_expect */
	bool owed;                                 /* see wait_queue_owe; */
	uint64_t paid;                             /* how often that was paid */
	bool evicting;                             /* more is on its way, as much as can be */
	uint64_t evictions;                        /* how often that came to an end */
	bool collecting;                           /* circles of links are looked for, that may free some: collector.h */
	uint64_t collected;                        /* whoever arrived so early waits for that no more */
	uv_idle_t looking;                         /* runs while it is to be seen who can be served */
	uv_loop_t *loop;                           /* NULL: not initialised */
};

void wait_queue_init(struct wait_queue *queue, uv_loop_t *loop, const struct buddy *buddy, struct timeouts *timeouts);

/* Closes its handle; the loop must run once more. Nobody waits. Nothing if it was never initialised. */
void wait_queue_deinit(struct wait_queue *queue);

/*
 * Waits at the end of the line, up to `wait_ms`; 0: for what is on its way back, owed, or may be found to be garbage. That there is no room now
 * the caller has seen, and that there would be in an empty segment. -ENOMEM: nothing is on its way. -EDQUOT: as many wait as may.
 */
int wait_queue_join(struct wait_queue *queue, struct waiter *waiter, uint32_t wait_ms);

/* Leaves the line without a word. False: it was not in it. */
bool wait_queue_leave(struct waiter *waiter);

/* Something has become free: in turns of the loop from the next one on, whoever can be served is. O(1). */
void wait_queue_wake(struct wait_queue *queue);

/* So many units are on their way back now, and so many came back ever. */
void wait_queue_expect(struct wait_queue *queue, uint64_t coming, uint64_t returned);

/*
 * It is owed from now on, and done later, to find out whether some memory is nobody's: who would be refused waits for that. Paid: it was done,
 * for all that had come until then, and what it freed is free.
 */
void wait_queue_owe(struct wait_queue *queue, bool owed);

/*
 * Whether memory is being made free for those who wait: who has come before the end of that does not leave because nothing else is on its way,
 * and does not wait for the next time.
 */
void wait_queue_expect_eviction(struct wait_queue *queue, bool evicting);

/* Garbage is looked for: who comes from now on may wait for the end of that, and so may who waits already. */
void wait_queue_await_collection(struct wait_queue *queue);

/* It has been, for all who arrived up to then; UINT64_MAX: for all, and there is no more of it. */
void wait_queue_collected(struct wait_queue *queue, uint64_t arrival);

/* Does anybody wait? Is there somebody who can be served now? O(orders). */
bool wait_queue_has_waiters(const struct wait_queue *queue);
bool wait_queue_can_serve(const struct wait_queue *queue);

/* The first who has a time was overtaken as often as may be: until it has gone, who comes now gets nothing but a place behind it. */
bool wait_queue_is_set_aside(struct wait_queue *queue);

/* Somebody who did not wait has taken memory. */
static inline void wait_queue_overtake(struct wait_queue *queue)
{
	queue->overtakings += queue->patient.first != NULL;
}

/* Is somebody about to be served, or waits for what is on its way back? Then nobody should take free memory for a while and give it back. */
bool wait_queue_is_busy(const struct wait_queue *queue);

#endif
