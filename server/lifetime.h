/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps a block alive, and what happens when nothing does any more. A block is held by the session that allocated it, by
 * references of sessions, by names, by tickets, by links from other blocks, and until its time to live has passed. Each function makes
 * one change count by one commit(), keeps the lists and sums that follow from it, and frees the block with its last holder. So does the one
 * for what may change of a block meanwhile. Loop thread only.
 */
#ifndef SERVER_LIFETIME_H
#define SERVER_LIFETIME_H

#include <stdint.h>

#include "names.h"
#include "pool.h"
#include "session.h"

/* One hold of a session on a block. */
struct hold {
	uint32_t block;     /* index of its record */
	uint32_t reference; /* index of the reference plus one; 0: the session holds it as its owner */
};

/* The session's reference to a block, as index plus one; 0: none. */
uint32_t lifetime_find_reference(const struct session *session, uint32_t block);

/* After a pending block was decided: it lives, and its session owns it. */
void lifetime_add_owner(struct session *session, uint32_t block);
void lifetime_drop_owner(struct session *session, uint32_t block);

/* After a pending reference was decided. */
void lifetime_add_reference(struct session *session, uint32_t reference);

/*
 * A session that is a clone under way holds a live block too, once; nothing where it does already. One store makes it count, without a slot.
 * 0, or ERROR_LIMIT: there are no more references.
 */
int lifetime_copy_hold(struct session *copy, uint32_t block);

/* The reference's count becomes `count`; with 0 it is gone. */
void lifetime_set_reference(struct session *session, uint32_t reference, uint32_t count);

/* After a pending name was decided. Who waits for it is told when the request is over (name_waiters_tell). */
void lifetime_add_name(struct pool *pool, uint32_t name);
void lifetime_drop_name(struct pool *pool, uint32_t name);

/* After it was decided what a live name stands for next: from now on it does, and holds that block. */
void lifetime_replace_name(struct pool *pool, uint32_t name);

/* The link from one block to another, as index plus one; 0: none. */
uint32_t lifetime_find_link(const struct pool *pool, uint32_t from, uint32_t to);

/* After a pending link was decided. */
void lifetime_add_link(struct pool *pool, uint32_t link);
void lifetime_drop_link(struct pool *pool, uint32_t link);
/* After a pending ticket was decided. It is in the pool's deadlines. */
void lifetime_add_ticket(struct pool *pool, uint32_t ticket);
void lifetime_drop_ticket(struct pool *pool, uint32_t ticket);

/* After a pending lease was decided, which ends then; or a live one gets another deadline. */
void lifetime_add_lease(struct pool *pool, uint32_t lease, uint64_t deadline);
void lifetime_renew_lease(struct pool *pool, uint32_t lease, uint64_t deadline);
void lifetime_drop_lease(struct pool *pool, uint32_t lease);

/* After it was decided that a block is a cache block; and it is none any more. */
void lifetime_add_cached(struct pool *pool, uint32_t block);
void lifetime_drop_cached(struct pool *pool, uint32_t block);

/*
 * The session, which holds the block, wants that nobody else does: no other session, clones of this one among them, no other block by a
 * link, and nobody who has a ticket. Names and a time to live are not asked for: they hold the block and read nothing; who looked it up
 * is a session. Nor are the block's own links, by which it holds others. 0: so it is, and until the block's next state nobody takes hold of it
 * by a page; it is to have its former state at the end of the same turn. Else ERROR_IN_USE, or ERROR_LIMIT where the hold pages were read too often of late, and all is as it was. Whatever comes to hold
 * blocks is asked for here.
 */
int lifetime_seclude(struct session *session, uint32_t block);

/* After a change of the block was decided: its other body counts, and it has this state. A tail that it loses by that is free. */
void lifetime_change_body(struct pool *pool, uint32_t block, enum record_state state);

/* For recovery: a live record that a former daemon left goes into the lists and sums. */
void lifetime_adopt_block(struct pool *pool, uint32_t block);
void lifetime_adopt_reference(struct session *session, uint32_t reference);
void lifetime_adopt_name(struct pool *pool, uint32_t name);
void lifetime_adopt_link(struct pool *pool, uint32_t link);
void lifetime_adopt_ticket(struct pool *pool, uint32_t ticket);
void lifetime_adopt_lease(struct pool *pool, uint32_t lease);

/*
 * After a reference, a name, a ticket, a lease or a link has gone: the end of the block begins (dying.h) if nothing holds it, and where only
 * links do, the collector may have to find out whether they hold themselves.
 */
void lifetime_free_unheld(struct pool *pool, uint32_t block);

/* Gives back one hold: drop_owner, or set_reference with one less. */
void lifetime_drop_hold(struct session *session, const struct hold *hold);

#endif
