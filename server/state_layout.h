/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a pool's state, `/shmbuddy.POOL.state`: what the daemon must know after a restart and no client may see.
 *
 *     header | extents | references | links | tickets | leases | sessions, each with its request slots
 *
 * The daemon that serves the pool holds a flock on this object; its descriptor is never given away.
 *
 * How an operation becomes one (the story for whoever kills the daemon in the middle)
 *
 * A request names a slot of its session and a sequence. It runs in one stretch of the loop, after the memory that it needs has
 * been found and committed, which leaves no trace in the tables but marks in `extents`:
 *
 *   1. slot.word = sequence | FILLING        the former outcome of the slot is acknowledged, and gone
 *   2. the slot's body: operation, which block, how many, what a count becomes
 *   3. records it makes: written whole, then word = PENDING: to readers they do not exist;
 *      in a batch of frees, each hold that it gives back: word = FREEING: to readers it is still there
 *   4. slot.word = sequence | DECIDED        from here on it has happened
 *   5. PENDING -> LIVE (block, reference, name, ticket, lease, in this order), FREEING -> FREE or what is left, or what the body says
 *   6. slot.word = sequence | DONE           the body is the outcome that a repeated request gets
 *   7. the reply goes out
 *
 * One thread changes state and does not pause between 1 and 6: in the whole pool at most one slot is open (FILLING or
 * DECIDED), so the marks PENDING and FREEING need not say whose they are.
 *
 * A process that is killed leaves a prefix of its stores. Killed before 4, the open slot says FILLING: whatever is PENDING becomes
 * FREE, whatever is FREEING becomes LIVE, then the slot becomes EMPTY with the sequence before, and the request, when it is sent
 * again, runs afresh. Killed after 4: step 5 is done once more, which is absolute (a reference's count becomes `next`; the owner
 * becomes nobody if the record still has this id; a link goes if it is still the one) and changes nothing where it was done already; then 6. Killed after 6: a repeated request
 * gets the outcome. Each store that makes something count goes through commit() (commit.h), and is one aligned word.
 *
 * A change of a block (seal, metadata, size) makes no records but fills the body of the block that does not count, and the slot's body
 * says that it will: step 5 is one store, the block's word. The memory that a larger size needs was taken before, as for an
 * allocation; what a smaller one leaves is free after that store. A block that is to shrink is DYING meanwhile, from before step 1 until
 * that store, so that nobody takes hold of it by a page: left behind, it is LIVE again, for it has a holder.
 *
 * A refusal has no steps 3 to 5. Taking names away marks nothing: the body says which block, or which name. So with a ticket that is
 * revoked or redeemed, and with another deadline of a lease: which record, and what becomes of it. Replacing a name marks nothing
 * either (publication.c): step 3 fills the body of the name that does not count, step 5 is one store, the name's word.
 *
 * What comes to its deadline goes without a slot, by the daemon's own act (expiry.c): a ticket in one store; of a block with a lease first its
 * names, each in one store, then the lease. After a kill the next daemon finds the deadline passed, and goes on with what is left.
 *
 * A block with very many names is removed by its lease (request_remove.c): the slot decides that it has one, a new one or the one there was, whose
 * deadline has passed; the slot is done with that, and all else is expiry.
 *
 * Circles of links end without a slot too (collector.c): each block of one becomes DYING and condemned, in one store; that all of them end is one
 * store, header.collection; then their links go, and they, each in one store. A later daemon goes on with that, if it was decided, and else
 * takes the marks back.
 *
 * A block that lives and is held by nobody is a state that a kill may leave (its last hold went in one store, the block
 * goes in the next): after all is redone, such blocks are freed.
 *
 * takeover.c does all this at the start of the next daemon, and checks every record: a contradiction is named and refused, and
 * nothing is erased. It can be killed as well: it closes the open slot last, and each of its stores sets a record to what it must be.
 *
 * An administrator's wish is one store, session.word = ASKED, before anybody is told: a later daemon goes on telling.
 * A session's end is one store, session.word = DEAD; what it held is then dropped record by record, each by one store, in slices.
 * After a restart the dropping goes on wherever it was. Its number is given out again only when nothing of it is left, its
 * slots are zeroed before the new life begins, and its record never changes during a life. A token is good for the process
 * that it was given to, and no other.
 *
 * A clone (clone.c) is a session whose process comes later. Its record says CLONING while references are made for it, LIVE one by one: a
 * daemon that finds it so ends it. The slot that asked for it decides, session.word = CLONED, and the slot is done. Then some process adopts
 * it: `adopter` is filled in, and session.word = ADOPTED makes it count. It is LIVE when that process has been heard of since: until then
 * a lock that is free may be one that it has not got yet.
 *
 * What is charged to which user and session is not stored: it follows from the records, each of which says who made it (payer.c, charge.c).
 *
 * Sequences rise in each slot. One below the recorded one is never executed. The sequence is part of the body's checksum, and the
 * serial number part of the session's. Hello, goodbye, ping and the listings record nothing. Session number 0 is nobody, and the
 * daemon's own page of slots.
 */
#ifndef SERVER_STATE_LAYOUT_H
#define SERVER_STATE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "view_layout.h"

#define STATE_MAGIC UINT64_C(0x3145544154534853) /* "SHSTATE1" in memory, little-endian */
#define STATE_LAYOUT_VERSION 5u
#define STATE_EXTENTS_AT 4096u

/* Ids are set aside in strides of this many, so that a restart never hands one out twice. */
#define STATE_ID_STRIDE 65536u

/* Bytes of the segment that one bit of `extents` speaks for: a page, the smallest piece that the kernel gives. */
#define STATE_EXTENT 4096u

struct state_header {
	_Atomic uint64_t magic; /* stored last */
	uint32_t layout_version;
	uint32_t incarnation; /* as in the view */
	uint8_t boot_id[16];
	char pool[64];                      /* name, NUL-terminated */
	uint64_t view_inode, segment_inode; /* the objects that belong to it: a foreign one must not be taken for ours */
	uint64_t unit, max_size, extent;    /* bytes */
	uint64_t references_at, links_at, tickets_at, leases_at, sessions_at, state_size; /* bytes */
	uint32_t max_blocks, max_names, max_references, max_links, max_tickets, max_leases, max_sessions;
	uint32_t checksum;             /* over the fields between `magic` and this one: what never changes */
	_Atomic uint64_t size;         /* bytes of the segment that are managed; only ever grows, as growth.c tells */
	_Atomic uint64_t ids_reserved; /* ids below this one may have been handed out */
	_Atomic uint64_t lasts;        /* STATE_LASTS, or STATE_EPHEMERAL: as the last daemon was told */
	_Atomic uint64_t collection;   /* 0, or STATE_COLLECTED: the end of all blocks that are condemned has been decided */
};
_Static_assert(sizeof(struct state_header) == 248, "layout");

/* Far apart, and neither is 0: no damage turns one into the other. Of a pool that is ephemeral the next start makes a new one. */
#define STATE_LASTS UINT64_C(0x535453414c4d4853)     /* "SHMLASTS" in memory */
#define STATE_EPHEMERAL UINT64_C(0x3f3f3f454e4f4748) /* "HGONE???" */

#define STATE_COLLECTED UINT64_C(0x444554434c4c4f43) /* "COLLCTED" */

/* One session's hold on one block that it did not allocate, or holds once more. 32 bytes. */
struct reference_record {
	_Atomic uint64_t word; /* REFERENCE_WORD: how often, and how often once the open slot has decided */
	uint32_t block;        /* index of the block record */
	uint32_t session;      /* number */
	uint64_t block_id;
	uint32_t checksum; /* over the three fields above */
	uint32_t reserved;
};
_Static_assert(sizeof(struct reference_record) == 32, "layout");

#define REFERENCE_COUNT_MAX 0xffffffu
#define REFERENCE_WORD(count, next, state) ((uint64_t)(count) << 40 | (uint64_t)(next) << 16 | (uint64_t)(state))
#define REFERENCE_COUNT(word) ((uint32_t)((word) >> 40))
#define REFERENCE_NEXT(word) ((uint32_t)((word) >> 16) & 0xffffffu)
#define REFERENCE_STATE(word) ((enum record_state)((word)&0xffu))

/*
 * Which life of which session number made a record, for its account (account.h). A session that has ended leaves keys that no other
 * session has; never 0.
 */
#define SESSION_KEY(number, serial) ((uint64_t)(number) << 40 | ((serial) & ((UINT64_C(1) << 40) - 1)))
#define SESSION_KEY_NUMBER(key) ((uint32_t)((key) >> 40))

/* One block holds another. 48 bytes. */
struct link_record {
	_Atomic uint64_t word; /* enum record_state: FREE, PENDING or LIVE */
	uint32_t from, to;     /* indexes of the block records: `from` holds `to` */
	uint64_t from_id, to_id;
	uint64_t session;  /* SESSION_KEY of the one that made it */
	uint32_t uid;      /* of the user that made it */
	uint32_t checksum; /* over the six fields above */
};
_Static_assert(sizeof(struct link_record) == 48, "layout");

/* Who may redeem a ticket: any user. No user has this uid, chown(2). */
#define TICKET_FOR_ALL UINT32_MAX

/* A hold on a block by whoever knows the token, until it is redeemed, revoked or expired. 64 bytes. */
struct ticket_record {
	_Atomic uint64_t word; /* record_word: its id comes from the same counter as those of blocks */
	uint8_t token[16];     /* secret */
	uint64_t block_id;
	uint64_t deadline; /* ms, deadlines.h */
	uint64_t session;  /* SESSION_KEY of the one that made it */
	uint32_t block;    /* index of the block record */
	uint32_t uid;      /* of the user that made it */
	uint32_t for_uid;  /* of the user that may redeem it, or TICKET_FOR_ALL */
	uint32_t checksum; /* over the id and the fields above */
};
_Static_assert(sizeof(struct ticket_record) == 64, "layout");

/* A block's time to live: it is held until then. One a block at most. 24 bytes. */
struct lease_record {
	_Atomic uint64_t word; /* lease_word(): the deadline is part of it, so that another one is one store */
	uint64_t block_id;
	uint32_t block;    /* index of the block record */
	uint32_t checksum; /* over the two fields above */
};
_Static_assert(sizeof(struct lease_record) == 24, "layout");

#define LEASE_DEADLINE_MAX ((UINT64_C(1) << 40) - 1) /* ms: 34 years */
#define LEASE_DEADLINE(word) ((word) >> 24)          /* ms, deadlines.h */
#define LEASE_REMOVED 1                              /* a deadline that passed before any pool was: it is being removed */
#define LEASE_STATE(word) ((enum record_state)((word)&0xffu))

enum slot_phase {
	SLOT_EMPTY = 0, /* never used */
	SLOT_FILLING = 1,
	SLOT_DECIDED = 2,
	SLOT_DONE = 3,
};
#define SLOT_WORD(sequence, phase) ((uint64_t)(sequence) << 8 | (uint64_t)(phase))
#define SLOT_SEQUENCE(word) ((word) >> 8)
#define SLOT_PHASE(word) ((enum slot_phase)((word)&0xffu))
#define SLOT_SEQUENCE_MAX ((UINT64_C(1) << 56) - 1)

/* One request slot, 64 bytes: a cache line. */
struct slot_record {
	_Atomic uint64_t word;
	uint32_t operation; /* enum slot_operation */
	uint32_t status;    /* 0, or the number of the error that the request got */
	uint64_t id;        /* of the block, or the first of a batch; of the name or ticket that is taken away or made alone */
	union {
		uint64_t deadline; /* what the lease's becomes; 0: it goes. Of a removal of many names: LEASE_REMOVED */
		uint64_t offset;   /* of a look-up: where what was found starts in its block, bytes */
	};
	union {
		struct {
			uint32_t ticket; /* ticket record, plus one */
			uint32_t lease;  /* lease record, plus one */
		};
		uint64_t length; /* of a look-up: of what was found, bytes; 0: to the end of its block */
	};
	uint32_t block;     /* index of the block record */
	uint32_t count;     /* blocks in the batch */
	uint32_t name;      /* name record, plus one */
	uint32_t reference; /* reference record, or link record, plus one */
	/* What the reference's count becomes; which body counts then, of a replaced name, plus one, or of a changed block, 0 or 1. */
	uint32_t next;
	uint32_t checksum; /* over the sequence and the fields above */
};
_Static_assert(sizeof(struct slot_record) == 64, "layout");

enum slot_operation {
	SLOT_NOTHING = 0,
	SLOT_ALLOCATE = 1,
	SLOT_ALLOCATE_BATCH = 2,
	SLOT_FREE = 3,
	SLOT_FREE_BATCH = 4,
	SLOT_PUBLISH = 5,
	SLOT_UNPUBLISH = 6,
	SLOT_LOOKUP = 7,
	SLOT_REMOVE = 8,
	SLOT_ACQUIRE = 9,
	SLOT_CLONE = 18, /* `block` is the number of the clone's session, `id` its serial number */
	SLOT_LINK = 16,
	SLOT_UNLINK = 17,
	SLOT_SHARE = 10,
	SLOT_REDEEM = 11,
	SLOT_RENEW = 15,
	SLOT_REVOKE = 20,
	SLOT_SEAL = 12,
	SLOT_SET_METADATA = 13,
	SLOT_RESIZE = 14, /* in its place; with a count of 1: a new block, as of SLOT_ALLOCATE */
};

enum session_state {
	SESSION_FREE = 0,
	SESSION_LIVE = 1,
	SESSION_DEAD = 2,    /* its process is gone; what it held is being dropped */
	SESSION_ASKED = 3,   /* lives, and is to be told to end: an administrator wants it */
	SESSION_CLONING = 4, /* a clone that is not whole yet: nobody's */
	SESSION_CLONED = 5,  /* a clone that waits for a process to adopt it */
	SESSION_ADOPTED = 6, /* its process is known, and may not have got its lock yet */
};

/* Bits of a session's `access`. */
#define SESSION_READ_ONLY 1u
#define SESSION_CLONE 2u /* its process is `adopter` from ADOPTED on, and there is none before */

/* The process of a session that was cloned. */
struct session_adopter {
	uint64_t start_time; /* as in session_record, and so are the next two */
	uint32_t pid, pid_namespace;
	uint32_t checksum; /* over the serial number and the fields above */
	uint32_t reserved;
};
_Static_assert(sizeof(struct session_adopter) == 24, "layout");

#define SESSION_SLOTS 60

/* One session with its slots: a page, so that an idle client costs one. */
struct session_record {
	_Atomic uint64_t word; /* serial number << 8 | enum session_state */
	uint8_t token[16];
	uint64_t start_time; /* of the process, in clock ticks since boot */
	uint64_t opened_ns;  /* since 1970-01-01 UTC */
	uint32_t uid, gid, pid;
	uint32_t access; /* SESSION_READ_ONLY, SESSION_CLONE */
	char program[64];
	uint32_t pid_namespace;     /* inode of the daemon's when the session was opened: only there `pid` means something */
	uint32_t checksum;          /* over the serial number and the fields above */
	_Atomic uint64_t hold_page; /* inode of its hold page, set before the client gets it; 0: it has none */
	struct session_adopter adopter;
	uint64_t reserved[12];
	struct slot_record slots[SESSION_SLOTS];
};
_Static_assert(offsetof(struct session_record, slots) == 256, "layout");
_Static_assert(sizeof(struct session_record) == 4096, "layout");

#endif
