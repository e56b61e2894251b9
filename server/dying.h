/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a block: nobody is known to hold it any more, and the hold pages are looked through before it is freed. Owned by the pool;
 * loop thread only. The story is told in dying.c, what clients do in hold_layout.h.
 */
#ifndef SERVER_DYING_H
#define SERVER_DYING_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "pair_index.h"

struct pool;
struct session;

struct dying {
	struct pool *pool;
	struct pair_index by_id;      /* the blocks below: what a slot says leads to one of them, or nowhere */
	uint32_t waiting, looked_for; /* heads of lists of DYING blocks: for the next look, and of the one under way */
	uint32_t orphans, confirmed; /* heads of lists of ORPHAN blocks: those that are looked at again first, and the others; */
	uint32_t found;              /* and, while the pages are read for orphans, those that stand in one */
	uint64_t orphan_count;       /* how many there are */
	uint64_t dead_count, dead_bytes; /* of blocks that have died since the last look began */
	uint64_t pages_read;             /* by looks, ever */
	uint32_t next_session;           /* whose page the look under way reads next */
	bool looking;                    /* a look is under way */
	bool unreadable;                 /* the look under way has met a page that cannot be read */
	bool stopped;                    /* the daemon ends: no more looks */
	uint64_t started_ns, ended_ns;   /* of the last look, uv_hrtime() */
	uv_timer_t timer;                /* until the next look */
	uv_timer_t again;                /* until some orphans are looked at again, whatever was heard */
	uv_timer_t owed;                 /* until there is an allowance for what memory is wanted from */
	uv_idle_t slices;                /* runs while a look is under way */
	uv_loop_t *loop;                 /* NULL: not initialised */
};

int dying_init(struct dying *dying, struct pool *pool, uint32_t max_blocks);

/* The daemon stops: from now on nobody's hold pages are read, and nothing that one may hold is freed. The next daemon goes on. */
void dying_stop(struct dying *dying);

/* Closes its handles; the loop must run once more. Nothing if it was never initialised. */
void dying_close(struct dying *dying);
void dying_deinit(struct dying *dying);

/*
 * Nothing is known to hold the live block but its owner, who lets go, or nothing at all. It is freed now, where no hold page can have it;
 * else once a look has found nobody.
 */
void dying_begin(struct pool *pool, uint32_t block);

/*
 * A DYING block that a session asks for, now: it is an orphan from now on if it is held, or if there is no allowance to find out; else it is
 * freed. The session's own page is read first.
 */
void dying_settle(const struct session *asking, uint32_t block);

/* An orphan has a known holder again. Nothing if the block is none. */
void dying_revive(struct pool *pool, uint32_t block);

/* A DYING block is found from now on by the id that stands in a hold page; or is not any more. */
void dying_know(struct pool *pool, uint32_t block);
void dying_forget(struct pool *pool, uint32_t block);

/* The end of a block that nobody holds, for certain: one store, and its memory is there for the next. It is in no list, and not known. */
void dying_free(struct pool *pool, uint32_t block);

/*
 * Reads the session's hold page, which it has, after a fence: of what is known and DYING, and stands in it, the collector hears if it is
 * condemned (collector_found_held), and else it is an orphan from now on. -errno: it cannot be read now, and may hold anything.
 */
int dying_look_at(struct session *session);

/* The session says that it has let go of the block by its hold page. Nothing if it has not, or the block is no orphan. */
void dying_released(const struct session *session, uint32_t block);

/*
 * All that is dying is looked for at once, and so are orphans that nobody holds any more: memory is wanted. True: some was freed, and there may
 * be more. False: none, now; if there is no allowance left to find out, the pool's wait queue is told that it is owed.
 */
bool dying_hurry(struct pool *pool);

/*
 * The session is over: what only its hold page held goes, and it has none any more. Returns what was its `hold_page`, for whoever closes and removes it.
 */
int dying_drop_page(struct session *session);

/* A message of the session's may have been lost: what it may have let go of is looked at again. */
void dying_doubt(struct pool *pool);

/* For recovery, once all holders are known: a block that is DYING or ORPHAN, or that lives and nothing holds. */
void dying_adopt(struct pool *pool, uint32_t block);

#endif
