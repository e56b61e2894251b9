/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a pool's state, `/shmbuddy.POOL.state`: what the daemon must know after a restart and no client may see.
 *
 *     header | extents | references | sessions, each with its request slots
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
 *   5. PENDING -> LIVE (block, reference, name, in this order), FREEING -> FREE or what is left, or what the body says
 *   6. slot.word = sequence | DONE           the body is the outcome that a repeated request gets
 *   7. the reply goes out
 *
 * One thread changes state and does not pause between 1 and 6: in the whole pool at most one slot is open (FILLING or
 * DECIDED), so the marks PENDING and FREEING need not say whose they are.
 *
 * A process that is killed leaves a prefix of its stores. Killed before 4, the open slot says FILLING: whatever is PENDING becomes
 * FREE, whatever is FREEING becomes LIVE, then the slot becomes EMPTY with the sequence before, and the request, when it is sent
 * again, runs afresh. Killed after 4: step 5 is done once more, which is absolute (a reference's count becomes `next`; the owner
 * becomes nobody if the record still has this id) and changes nothing where it was done already; then 6. Killed after 6: a repeated request
 * gets the outcome. Each store that makes something count goes through commit() (commit.h), and is one aligned word.
 *
 * A change of a block (seal, metadata, size) makes no records but fills the body of the block that does not count, and the slot's body
 * says that it will: step 5 is one store, the block's word. The memory that a larger size needs was taken before, as for an
 * allocation; what a smaller one leaves is free after that store. A block that is to shrink is DYING meanwhile, from before step 1 until
 * that store, so that nobody takes hold of it by a page: left behind, it is LIVE again, for it has a holder.
 *
 * A refusal has no steps 3 to 5. Taking names away marks nothing: the body says which block, or which name.
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
#define STATE_LAYOUT_VERSION 3u
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
	uint64_t references_at, sessions_at, state_size; /* bytes */
	uint32_t max_blocks, max_names, max_references, max_sessions;
	uint32_t reserved;
	uint32_t checksum;             /* over the fields between `magic` and this one: what never changes */
	_Atomic uint64_t size;         /* bytes of the segment that are managed; only ever grows, as growth.c tells */
	_Atomic uint64_t ids_reserved; /* ids below this one may have been handed out */
	_Atomic uint64_t lasts;        /* STATE_LASTS, or STATE_EPHEMERAL: as the last daemon was told */
};
_Static_assert(sizeof(struct state_header) == 208, "layout");

/* Far apart, and neither is 0: no damage turns one into the other. Of a pool that is ephemeral the next start makes a new one. */
#define STATE_LASTS UINT64_C(0x535453414c4d4853)     /* "SHMLASTS" in memory */
#define STATE_EPHEMERAL UINT64_C(0x3f3f3f454e4f4748) /* "HGONE???" */

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
	uint64_t id;        /* of the block, or the first of a batch */
	uint32_t block;     /* index of the block record */
	uint32_t count;     /* blocks in the batch */
	uint32_t name;      /* name record, plus one */
	uint32_t reference; /* reference record, plus one */
	uint32_t next;      /* what the reference's count becomes; of a change of a block: which body counts then, 0 or 1 */
	uint32_t checksum;  /* over the sequence and the fields above */
	uint64_t reserved[2];
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
	SLOT_SEAL = 12,
	SLOT_SET_METADATA = 13,
	SLOT_RESIZE = 14, /* in its place; with a count of 1: a new block, as of SLOT_ALLOCATE */
};

enum session_state {
	SESSION_FREE = 0,
	SESSION_LIVE = 1,
	SESSION_DEAD = 2,  /* its process is gone; what it held is being dropped */
	SESSION_ASKED = 3, /* lives, and is to be told to end: an administrator wants it */
};

#define SESSION_SLOTS 60

/* One session with its slots: a page, so that an idle client costs one. */
struct session_record {
	_Atomic uint64_t word; /* serial number << 8 | enum session_state */
	uint8_t token[16];
	uint64_t start_time; /* of the process, in clock ticks since boot */
	uint64_t opened_ns;  /* since 1970-01-01 UTC */
	uint32_t uid, gid, pid;
	uint32_t access;
	char program[64];
	uint32_t pid_namespace;     /* inode of the daemon's when the session was opened: only there `pid` means something */
	uint32_t checksum;          /* over the serial number and the fields above */
	_Atomic uint64_t hold_page; /* inode of its hold page, set before the client gets it; 0: it has none */
	uint64_t reserved[15];
	struct slot_record slots[SESSION_SLOTS];
};
_Static_assert(offsetof(struct session_record, slots) == 256, "layout");
_Static_assert(sizeof(struct session_record) == 4096, "layout");

#endif
