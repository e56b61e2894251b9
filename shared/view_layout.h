/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a pool's view, `/shmbuddy.POOL.view`: the object that the daemon writes and every client maps read-only.
 *
 *     header | counters | name index | name records | block records | metadata records
 *
 * Offsets and record indexes, never pointers. Tables are reserved sparse at their largest size and never moved. The view is
 * read beside a daemon that writes, hangs or is dead, so every store leaves it valid:
 *
 * - A record is alive when its `word` says so. The word carries the id as well, so that one acquire load answers both "which"
 *   and "alive". What belongs to a record is written before the word that makes it count (release store).
 * - What may change during a record's life has two bodies, each with a checksum; one bit of the word says which counts. A
 *   change fills the idle one and flips the bit, in one store. What never changes is written once and has its own checksum.
 * - A reader copies a record, checks that the word is still the same, and only then believes the copy (view_read_*).
 * - A block's metadata has a record of its own, which the body that counts names. It never changes while it is named: new metadata is
 *   written to another record, and the body that names that one made to count. A record that no body names is free. A reader who
 *   is overtaken finds a copy whose checksum, into which the block's id goes, is wrong; or what is true by now.
 * - The name index is a table of chains: bucket -> record -> record. A link is the record's index plus one, and zero ends a
 *   chain, so that a sparse table is an empty one. Linking and unlinking are one store each. A reader whose
 *   record is recycled under it may stray into another chain, hence it counts its steps and compares names; a miss is not an
 *   answer, but a reason to ask the daemon.
 * - A page that was never committed is not read by way of a mapping: the kernel would back it, or raise SIGBUS where it cannot. The
 *   header and the counters are committed before `magic`, a record's word before the counter that speaks of it
 *   (`block_records`, `name_records`), the rest of the record before its word says that it lives, and a metadata record before
 *   a body names it. None is ever given back.
 *
 * All integers are in the byte order of the machine: the object never leaves it.
 */
#ifndef SHARED_VIEW_LAYOUT_H
#define SHARED_VIEW_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_MAGIC UINT64_C(0x3157454956424853) /* "SHBVIEW1" in memory, little-endian */
#define VIEW_LAYOUT_VERSION 4u
#define VIEW_HEADER_SIZE 4096u
#define VIEW_COUNTERS_AT 4096u
#define VIEW_COUNTERS_SIZE 4096u
#define VIEW_INDEX_AT 8192u

/* The liveness lock of the session with serial number n is the byte at VIEW_LOCKS_AT + n, far beyond the object's end: locks
 * need no bytes. By serial, not by number: a description that is kept after its session ended holds no other session's lock. */
#define VIEW_LOCKS_AT (INT64_C(1) << 62)

/* Counters, each with its prose. Written by the daemon only; a reader loads each by itself, relaxed. */
#define VIEW_COUNTERS(X)                                                                                                    \
	X(used, "bytes set aside for blocks")                                                                                   \
	X(requested, "bytes asked for by the owners of the live blocks")                                                        \
	X(longest_free, "bytes; the largest request that would be met now")                                                     \
	X(committed, "bytes of the segment backed by memory of the kernel")                                                     \
	X(blocks, "live blocks")                                                                                                \
	X(names, "published names")                                                                                             \
	X(links, "links by which blocks hold others")                                                                           \
	X(sessions, "sessions, connected or not")                                                                               \
	X(block_records, "block records ever used: listings read no further")                                                   \
	X(name_records, "name records ever used: listings read no further")                                                     \
	X(allocations, "blocks allocated since the pool was made")                                                              \
	X(frees, "blocks freed since the pool was made")                                                                        \
	X(refusals, "allocations refused for want of memory since the pool was made")                                           \
	X(requests, "requests answered since the pool was made")                                                                \
	X(sessions_opened, "sessions opened since the pool was made")                                                           \
	X(sessions_died, "sessions whose process ended without goodbye since the pool was made")                                \
	X(tickets, "tickets that can be redeemed")                                                                              \
	X(leases, "blocks with a time to live")                                                                                 \
	X(metadata_records, "metadata records ever used: nobody reads further")                                                 \
	X(idle_blocks, "cache blocks that nobody holds: they go when their memory is needed")                                   \
	X(idle_bytes, "bytes set aside for those")                                                                              \
	X(evictions, "cache blocks that went because their memory was needed, since the pool was made")

struct view_counters {
#define VIEW_COUNTER_FIELD(name, prose) _Atomic uint64_t name;
	VIEW_COUNTERS(VIEW_COUNTER_FIELD)
#undef VIEW_COUNTER_FIELD
};
_Static_assert(sizeof(struct view_counters) <= VIEW_COUNTERS_SIZE, "counters outgrew their page");

/* Written once, before `magic`, which is stored last: a half-made pool is known as such. */
struct view_header {
	_Atomic uint64_t magic;
	uint32_t layout_version;
	uint32_t incarnation;  /* which life of the pool; never 0 */
	uint8_t boot_id[16];   /* of the boot it was made in: what it says died with that boot */
	char pool[64];         /* name, NUL-terminated */
	uint64_t created_ns;   /* since 1970-01-01 UTC */
	uint64_t unit;         /* bytes, power of two from 16 */
	uint64_t max_size;     /* bytes that the segment may grow to */
	uint64_t view_size;    /* bytes of this object */
	uint64_t names_at;     /* where the name records start, in bytes */
	uint64_t blocks_at;    /* where the block records start, in bytes */
	uint64_t metadata_at;  /* where the metadata records start, in bytes: as many as names */
	uint32_t name_buckets; /* power of two */
	uint32_t max_names;
	uint32_t max_blocks;
	uint32_t max_sessions;
	uint32_t checksum;           /* over all fields between `magic` and this one: what never changes */
	_Atomic uint32_t daemon_pid; /* of the daemon that serves, or last served, the pool */
	_Atomic uint64_t size;       /* bytes of the segment that are managed; only ever grows */
	_Atomic uint64_t
		use_clock; /* counts uses of cache blocks: what the trail of a hold page has (hold_layout.h); only ever grows */
};
_Static_assert(sizeof(struct view_header) == 192, "layout");
_Static_assert(offsetof(struct view_header, checksum) == 168, "layout");

/*
 * What a record's word says: the id in the upper 56 bits, then the flag for the body that counts, then, of blocks, whether it may be
 * held by hold pages (hold_layout.h), whether it is condemned, then the state.
 */
enum record_state {
	RECORD_FREE = 0,    /* recycled any moment; the id is that of its last life */
	RECORD_PENDING = 1, /* made by an operation that is not decided: invisible */
	RECORD_LIVE = 2,
	RECORD_FREEING = 3, /* marked by a batch of frees that is not decided: still alive */
	/* Blocks: whether a hold page has it is being looked at; no known holder is left, or one wants it to shrink. */
	RECORD_DYING = 4,
	RECORD_ORPHAN = 5, /* blocks: alive, and held by hold pages alone */
};
#define RECORD_STATE_MASK UINT64_C(0x0f)
#define RECORD_SHARED UINT64_C(0x10) /* others than its owner may know it: hold pages may have it. Never cleared in a life */
#define RECORD_CONDEMNED                                                                                                    \
	UINT64_C(0x40) /* of DYING blocks: only links hold it, from others of the kind; the daemon ends them together */
#define RECORD_BODY UINT64_C(0x80) /* body[1] counts, not body[0] */
#define RECORD_ID_SHIFT 8
#define RECORD_ID_MAX ((UINT64_C(1) << 56) - 1)

static inline uint64_t record_word(uint64_t id, unsigned body, enum record_state state)
{
	return id << RECORD_ID_SHIFT | (body ? RECORD_BODY : 0) | (uint64_t)state;
}
static inline uint64_t record_id(uint64_t word)
{
	return word >> RECORD_ID_SHIFT;
}
static inline unsigned record_body(uint64_t word)
{
	return (word & RECORD_BODY) != 0;
}
static inline enum record_state record_state(uint64_t word)
{
	return (enum record_state)(word & RECORD_STATE_MASK);
}
/* The same word with another state. */
static inline uint64_t record_with_state(uint64_t word, enum record_state state)
{
	return (word & ~(RECORD_STATE_MASK | RECORD_CONDEMNED)) | (uint64_t)state;
}
/* To a reader a block that is being freed in an undecided batch is alive, and so is one that is dying: its memory is in use. */
static inline int record_is_live(uint64_t word)
{
	return record_state(word) == RECORD_LIVE ||
	       (record_state(word) >= RECORD_FREEING && record_state(word) <= RECORD_ORPHAN);
}
/* May a session take hold of the block by its hold page? */
static inline int record_is_holdable(uint64_t word)
{
	return (word & RECORD_SHARED) && record_is_live(word) && record_state(word) != RECORD_DYING;
}
/* Whoever lets go of the block by a hold page tells the daemon. */
static inline int record_awaits_release(uint64_t word)
{
	return record_state(word) == RECORD_DYING || record_state(word) == RECORD_ORPHAN;
}

/* What of a block may change. */
struct block_body {
	uint64_t size;     /* bytes asked for */
	uint64_t granted;  /* bytes set aside, whole units */
	uint32_t owner;    /* number of the session that allocated it and still holds it; 0: held by others or by names only */
	uint32_t flags;    /* BLOCK_* */
	uint32_t metadata; /* index of its metadata record, plus one; 0: it has none */
	uint32_t checksum; /* over the id and the fields above */
};

#define BLOCK_SEALED UINT32_C(1) /* for good: neither its bytes, nor its size or metadata change */
#define BLOCK_CACHED UINT32_C(2) /* kept though nobody holds it, until its memory is needed. It is sealed */

/* One block, 112 bytes. Its index is fixed for its life. */
struct block_record {
	_Atomic uint64_t word;
	uint64_t offset; /* bytes from the start of the segment */
	uint64_t created_ns;
	char tag[16];      /* NUL-terminated */
	uint32_t uid;      /* of the user that allocated it */
	uint32_t checksum; /* over the id and the fixed fields above */
	struct block_body body[2];
};
_Static_assert(sizeof(struct block_body) == 32, "layout");
_Static_assert(sizeof(struct block_record) == 112, "layout");
_Static_assert(offsetof(struct block_record, body) == 48, "layout");

/* What a name stands for: the whole of a block, or a range of it. Replaced as a whole. */
struct name_body {
	uint64_t id; /* of this publication; the word has it too while the body counts */
	uint64_t block_id;
	uint64_t offset; /* of the range, bytes from the start of the block */
	uint64_t length; /* of the range, bytes; 0: to the end of the block, wherever that is */
	uint64_t created_ns;
	uint64_t session;  /* which session published it, as the daemon counts them; nobody's once that one has ended */
	uint32_t block;    /* index of the block record */
	uint32_t uid;      /* of the publisher */
	uint32_t checksum; /* over the record's first id and the fields above */
	uint32_t reserved;
};

/*
 * One name, 424 bytes. Ids of names come from the same counter as those of blocks. A name that is replaced keeps its record and
 * its place in the index: one store flips the body and brings the id of the new publication.
 */
struct name_record {
	_Atomic uint64_t word;
	_Atomic uint32_t next; /* link: in its chain of the name index */
	uint32_t name_length;  /* bytes, without the NUL */
	uint64_t hash;         /* hash_of(name) */
	uint64_t first_id;     /* of its first publication: the same for the record's life */
	struct name_body body[2];
	uint32_t checksum; /* over the fixed fields: length, hash, first id and name */
	char name[256];    /* NUL-terminated */
};
_Static_assert(sizeof(struct name_body) == 64, "layout");
_Static_assert(offsetof(struct name_record, body) == 32, "layout");
_Static_assert(offsetof(struct name_record, name) == 164, "layout");
_Static_assert(sizeof(struct name_record) == 424, "layout");

#define METADATA_MAX 256u

/* The metadata of one block, 272 bytes. */
struct metadata_record {
	uint64_t block_id;
	uint32_t length;             /* bytes, from 1 */
	uint32_t checksum;           /* over the fields above and the bytes */
	uint8_t bytes[METADATA_MAX]; /* the user's own; zeros behind them */
};
_Static_assert(sizeof(struct metadata_record) == 272, "layout");

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "atomics in shared memory must not use locks");

#endif
