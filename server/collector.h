/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the blocks that hold each other by links in circles, and that nothing else holds, and frees them: in runs, by request, by itself, or
 * because memory is wanted. A run goes on in slices of the loop. Owned by the pool; loop thread only. The story is told in collector.c.
 */
#ifndef SERVER_COLLECTOR_H
#define SERVER_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "condemned.h"
#include "mark.h"

struct pool;
struct session;

/* Requests that wait for a run to end, at most. */
#define COLLECTOR_WAITERS_MAX 1024

/* What a run did. */
struct collection {
	uint64_t marked;      /* blocks with links that something holds */
	uint64_t freed;       /* blocks */
	uint64_t freed_bytes; /* set aside for them */
	uint64_t slices;
	uint64_t longest_ns;  /* of the slices */
	uint64_t duration_ns; /* from its beginning to its end */
};

/* Somebody who waits for the end of a run that begins from now on. Lives with whoever waits. */
struct collector_waiter {
	/*
	 * The run has ended: 0; -EIO: without a result, for a hold page could not be read; -ENOMEM. From a turn of the loop of its own; the
	 * waiter may be freed.
	 */
	void (*ended)(struct collector_waiter *waiter, const struct collection *collection, int result);

	/* The collector's own. */
	uint64_t run;
	struct collector_waiter *next, *previous;
};

enum collector_phase {
	COLLECTOR_RESTS,
	COLLECTOR_MARKS,    /* looks at all blocks for what holds them, and follows links */
	COLLECTOR_CONDEMNS, /* what was not reached */
	COLLECTOR_LOOKS,    /* through the hold pages */
	COLLECTOR_FREES,    /* what is condemned still: that has been decided */
	COLLECTOR_RESCUES,  /* all of it: a hold page could not be read */
	COLLECTOR_ENDS,     /* those who wait are to be told */
};

struct collector {
	struct pool *pool;
	enum collector_phase phase;
	bool marking;      /* whatever gets a holder is to be marked: from the beginning of a run to its decision */
	bool suspected;    /* since the last run began something has happened that may have left a circle to itself */
	bool held_by_page; /* the last run found a circle that a hold page held: nobody says when it lets go */
	bool wanted;       /* another run is to follow this one at once */
	bool hurried;      /* somebody waits: a slice every turn of the loop */
	bool stopped;      /* the daemon ends: no more runs */
	struct mark mark;  /* while `marking` */
	uint32_t cursor,
		end; /* blocks looked at, and how many there are to be looked at; of `cursor` also: the next session's number */
	struct condemned condemned;
	uint64_t run; /* number of the run under way, or of the last */
	int result;   /* of the run, as waiters get it */
	struct collection collection;
	uint64_t slice_ns;             /* a slice goes on until so much has passed, which is looked at after so many steps: */
	unsigned slice_steps;          /* smaller in tests alone */
	uint64_t started_ns, ended_ns; /* uv_hrtime() */
	uint64_t arrivals;             /* in the line for memory, when the run began */
	struct collector_waiter *first, *last;
	uint32_t waiters;
	uv_timer_t timer; /* until the next run, or its next slice */
	uv_idle_t slices; /* runs while a run is hurried */
	uv_loop_t *loop;  /* NULL: not initialised */
};

int collector_init(struct collector *collector, struct pool *pool);

/* The pool is served from now on: what a former daemon decided goes on, and what it may have left is looked for. */
void collector_start(struct collector *collector);

/* The daemon stops: no more slices. The next daemon goes on. Nobody waits. */
void collector_stop(struct collector *collector);

/* Closes its handles; the loop must run once more. Nothing if it was never initialised. */
void collector_close(struct collector *collector);

/* -EDQUOT: as many wait as may. -ECANCELED: the daemon stops. */
int collector_wait(struct collector *collector, struct collector_waiter *waiter);

/* Waits no more, without a word. */
void collector_leave(struct collector *collector, struct collector_waiter *waiter);

/* Memory is wanted, and there is none. True: a run is under way that may free some, and the line for memory knows. */
bool collector_want_memory(struct pool *pool);

/* A block may be left to a circle: there will be a run. */
void collector_suspect(struct pool *pool);

/* For collector_touched. */
void collector_touch(struct pool *pool, uint32_t block);

/* A live block has got a holder, of whatever kind. To be called wherever that happens. */
#define collector_touched(pool, block)                                                                                      \
	do {                                                                                                                    \
		if ((pool)->collector.marking)                                                                                      \
			collector_touch(pool, block);                                                                                   \
	} while (0)

/* Before a link leaves its list. */
#define collector_link_goes(pool, link)                                                                                     \
	do {                                                                                                                    \
		if ((pool)->collector.marking)                                                                                      \
			mark_link_goes(&(pool)->collector.mark, link);                                                                  \
	} while (0)

/* Somebody is about to take hold of a condemned block: it lives on, with all that it holds, unless its end has been decided. */
void collector_rescue(struct pool *pool, uint32_t block);

/* A condemned block stands in a hold page. */
void collector_found_held(struct pool *pool, uint32_t block);

/* A condemned block has lost a holder. */
void collector_dropped(struct pool *pool, uint32_t block);

/* Has the end of what is condemned been decided? */
#define collector_has_decided(pool) ((pool)->collector.phase == COLLECTOR_FREES)

/* For recovery: a block that a former daemon condemned, once all holders are known. True: it ends. False: it is a block as any other. */
bool collector_adopt(struct pool *pool, uint32_t block);

/* For recovery, once all of them were: a decision that left nothing to do is over. */
void collector_recover(struct pool *pool);

#endif
