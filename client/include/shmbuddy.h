/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shmbuddy: share memory between the processes of one machine, without copying and without leaking it.
 *
 *     shmb_session *session;
 *     shmb_block block;
 *     shmb_connect(NULL, &session);
 *     shmb_alloc(session, 1 << 20, NULL, &block);    block.data is memory that every client of the pool can map
 *     shmb_publish(session, block.handle, "frame");  another process: shmb_lookup(session, "frame", &block)
 *     shmb_free(session, block.handle);
 *     shmb_close(session);
 *
 * Results: every function that returns int returns 0, or a negative SHMB_E_* and leaves its outputs untouched.
 * shmb_last_error() then has the sentence for people. Outputs come last and start with `out_`. Whatever asks the daemon may
 * fail with DISCONNECTED, TIMEOUT, PROTOCOL or SYSTEM, and with INVALID_ARGUMENT for what cannot be (a NULL output, a handle of
 * zeros); what else can go wrong stands with each function.
 *
 * A lost daemon: when the daemon ends, is killed or upgraded, blocks, pointers and mappings stay what they are, and what is read in
 * shared memory can still be read, as it was last written. Calls that ask the daemon wait for the next one to come up (reconnect_ms,
 * within their timeout), take the session up again by themselves, and send what was not answered once more; each request takes
 * effect exactly once. When no daemon comes in time, the call fails with DISCONNECTED; what it asked for may have been done, and the next
 * call tries again. With SESSION_ENDED (but of shmb_end_session and shmb_adopt) the session is over for good: its blocks are not
 * its own any more, and their addresses fault; only shmb_close is left. That happens when an administrator ends it, when the program has closed descriptors that are not its own, and
 * when the pool was made anew (--ephemeral, --discard): in that case what was mapped stays accessible until shmb_close.
 *
 * Threads: a session may be used from any number of threads at a time, except that shmb_close must be the last call on
 * it. Functions without a session may be called from anywhere.
 *
 * Signals, threads, output: the library installs no handler, starts no thread, prints nothing, and every descriptor it
 * opens is close-on-exec.
 *
 * Fork: a child inherits neither the mappings nor the session. Its first call on an inherited session opens one of its
 * own; blocks that the parent held stay the parent's (SHMB_E_NOT_HELD), and their addresses fault in the child. Call
 * shmb_lookup, or ask the parent, to share a block with a child. A server that forks its workers clones its session for them: shmb_clone.
 */
#ifndef SHMBUDDY_H
#define SHMBUDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHMB_PUBLIC __attribute__((visibility("default")))
#else
#define SHMB_PUBLIC
#endif

/* Longest name of a block, tag of a block, name of a pool and name of a program, in bytes without the final NUL. */
#define SHMB_NAME_MAX 255
#define SHMB_TAG_MAX 15
#define SHMB_METADATA_MAX 256 /* bytes of metadata of a block at most */
#define SHMB_POOL_NAME_MAX 63
#define SHMB_PROGRAM_MAX 63

/* Largest alignment that an allocation may ask for, in bytes. */
#define SHMB_ALIGNMENT_MAX (UINT64_C(1) << 30)

/* Longest time to live of a block or a ticket, 30 days, and what a ticket has that is given none, in milliseconds. */
#define SHMB_TTL_MAX_MS UINT64_C(2592000000)
#define SHMB_TICKET_TTL_MS UINT64_C(60000)

/* Room for a ticket's text, the NUL included. */
#define SHMB_TICKET_TEXT_MAX 39

/* Blocks in one batch at most. */
#define SHMB_BATCH_MAX 4096

/* Errors. Functions return the negative value. */
enum shmb_error {
	SHMB_E_INVALID_ARGUMENT = 1000,  /* a value that no pool would take */
	SHMB_E_OUT_OF_MEMORY = 1001,     /* shmb_out_of_memory() says why and who holds it */
	SHMB_E_STALE_HANDLE = 1002,      /* the block of this handle has been freed */
	SHMB_E_NOT_HELD = 1003,          /* the block lives, but this session holds no reference to it */
	SHMB_E_OTHER_POOL = 1004,        /* the handle comes from another pool, or from a former life of this one */
	SHMB_E_NO_SUCH_BLOCK = 1005,     /* no live block has this id */
	SHMB_E_NO_SUCH_NAME = 1006,      /* nothing is published under this name */
	SHMB_E_NAME_TAKEN = 1007,        /* something else is published under this name */
	SHMB_E_BAD_NAME = 1008,          /* empty, over SHMB_NAME_MAX, not UTF-8, or with control characters */
	SHMB_E_READ_ONLY = 1009,         /* the session may read only */
	SHMB_E_DENIED = 1010,            /* this user has no right to it */
	SHMB_E_IN_USE = 1011,            /* others hold the block */
	SHMB_E_LIMIT = 1012,             /* a limit other than memory is reached */
	SHMB_E_NO_SUCH_POOL = 1013,      /* the daemon serves no pool of that name; offline, there is none */
	SHMB_E_VERSION = 1014,           /* daemon and library speak different versions of the protocol */
	SHMB_E_PROTOCOL = 1015,          /* what came over the socket was not the protocol */
	SHMB_E_UNKNOWN_OPERATION = 1016, /* the daemon is older than this library and does not know the operation */
	SHMB_E_NO_DAEMON = 1017,         /* nothing answers on the socket, or the session is SHMB_OFFLINE */
	SHMB_E_DISCONNECTED = 1018,      /* the daemon is gone; blocks and mappings stay, and the next call tries again */
	SHMB_E_TIMEOUT = 1019,           /* no answer in time */
	SHMB_E_CORRUPT = 1020,           /* the pool's tables contradict themselves */
	SHMB_E_SYSTEM = 1021,            /* the operating system refused */
	SHMB_E_SESSION_ENDED = 1022,     /* the session is over, though this program lives: see "A lost daemon" above */
	SHMB_E_NO_SUCH_LINK = 1024,      /* the one block does not hold the other by a link */
	SHMB_E_NO_SUCH_TICKET = 1023,    /* it was redeemed, has expired, was taken back, or was never given */
	SHMB_E_SEALED = 1025,            /* the block is sealed: neither its size nor its metadata can change */
};

/* One session: this program's standing with one pool. Opaque; owned by whoever connected. */
typedef struct shmb_session shmb_session;

/* Which block. By value; never reused, so a stale one is always refused. All zeros is no block. */
typedef struct shmb_handle {
	uint64_t id;          /* unique within the pool for ever; in text, a block is its id in decimal. Names take numbers from
	                         the same counter, so ids of blocks skip some, and after the death of a daemon up to 65536 */
	uint32_t index;       /* its record in the pool's tables */
	uint32_t incarnation; /* which life of the pool it belongs to */
} shmb_handle;

/* A block that this session holds. By value; shmb_free(handle) ends the hold, not the lifetime of this struct. */
typedef struct shmb_block {
	shmb_handle handle;
	uint64_t offset;  /* bytes from the start of the segment; the same in every process */
	uint64_t size;    /* bytes asked for */
	uint64_t granted; /* bytes set aside, at least `size` */
	void *data;  /* where the block is in this process, until it is freed; to write there faults in a read-only session, and
	                     where the block was sealed already: see shmb_seal */
	bool sealed; /* neither its bytes nor its size or metadata change any more */
} shmb_block;

/* ---- Sessions --------------------------------------------------------------------------------------------------- */

enum shmb_access {
	SHMB_READ_WRITE = 0,
	SHMB_READ_ONLY = 1, /* look up, free what was looked up, list; the memory is mapped read-only */
	SHMB_OFFLINE = 2,   /* inspect, and nothing else; no daemon is asked: see below */
};

/*
 * An offline session reads what the pool's daemon has written down in shared memory, whether that daemon answers, hangs or has
 * ended, with this process's own right to open it: the daemon's uid or root. It is no client of the pool: no daemon knows of
 * it. It takes status, blocks and names (see Inspection) but for clients and holders; every other call fails with NO_DAEMON,
 * shmb_pointer returns NULL. It sees the pool that was there when it connected, also when that is removed or made anew.
 */

/* How to connect. Zero-initialise, then set what differs: every zero means the default. */
typedef struct shmb_connect_options {
	const char *socket_path; /* default: $SHMBUDDY_SOCKET, else $XDG_RUNTIME_DIR/shmbuddy.sock where it exists, else
	                            /run/shmbuddy/shmbuddy.sock */
	const char *pool;        /* default: the daemon's first pool; offline: "default" */
	const char *program;     /* shown in listings; default: the name of the running program */
	enum shmb_access access;
	uint32_t timeout_ms; /* for each call, connecting included, on top of its wait_ms; default 30000; UINT32_MAX: for ever */
	uint32_t
		reconnect_ms; /* how long after a lost connection calls wait for a daemon; default 30000; UINT32_MAX: for ever. Later
	                          calls, and with 1 all, make one attempt at once and fail if there is none */
} shmb_connect_options;

/*
 * Connects, opens a session and maps the pool. `options` may be NULL. The caller owns the session and ends it with
 * shmb_close. Errors: NO_DAEMON, NO_SUCH_POOL, VERSION, DENIED, LIMIT, TIMEOUT, INVALID_ARGUMENT, PROTOCOL, DISCONNECTED
 * (the daemon closed the connection without a word), SYSTEM. Offline: NO_SUCH_POOL (none of that name, or half made), DENIED
 * (no right to open it), VERSION, CORRUPT, INVALID_ARGUMENT, SYSTEM.
 */
SHMB_PUBLIC int shmb_connect(const shmb_connect_options *options, shmb_session **out_session);

/*
 * Unmaps the pool and ends the session; everything that it still holds is given back at once. Pointers into the pool
 * are invalid from here on. NULL is fine. In a child that has not used the session since fork, frees it silently.
 */
SHMB_PUBLIC void shmb_close(shmb_session *session);

/*
 * Ends another session, by the number that listings show. Asked to (`kill_process` false), its program's next call of the library
 * makes the pool's addresses inaccessible there and fails with SESSION_ENDED, and then what the session held is free; a program
 * that makes no call goes on, and a daemon that is restarted meanwhile still asks. Or its process is killed (SIGKILL),
 * which the daemon must be allowed to do. 0 says that it was asked, or killed; its end shows in shmb_list_clients. For sessions of
 * one's own user, the daemon's user, and root. Errors: SESSION_ENDED (there is none of that number), DENIED, SYSTEM (its process is
 * not visible to the daemon, or not known to it yet since a restart), INVALID_ARGUMENT, READ_ONLY.
 */
SHMB_PUBLIC int shmb_end_session(shmb_session *session, uint32_t number, bool kill_process);

/* This session's own number in listings; in a child, that of the child's own session. No round trip. */
SHMB_PUBLIC int shmb_session_number(shmb_session *session, uint32_t *out_number);

/*
 * A copy of a session, for one process that the session's own has forked: by value. Secret: whoever shows it first, as the same
 * user, gets what it holds.
 */
typedef struct shmb_clone_token {
	uint8_t token[16];
	uint32_t session;     /* its number, as in listings; of no process until it is adopted */
	uint32_t incarnation; /* of the pool */
} shmb_clone_token;

/*
 * For servers that prepare blocks, and then fork workers which use them. In the parent, shmb_clone makes a copy of the session, which
 * holds each block that the session holds, once; after fork, the child's first call on the session is shmb_adopt. From then on the copy
 * is the child's session, at the parent's addresses: pointers into the pool are good there. The child gives its holds back by
 * shmb_free, and keeps them whatever becomes of the parent. One clone for each child:
 *
 *     shmb_clone(session, &clone);
 *     if (fork() == 0) { shmb_adopt(session, clone); … }
 *
 * Other threads go on meanwhile: what they acquire or free during shmb_clone may or may not be in the copy. A clone that nobody
 * adopts within 10 seconds ends; so nothing leaks where the fork fails, or the child dies. It outlives its parent, and its daemon:
 * the next one waits as long again. It is adopted once, by a process of the parent's user, of whatever generation, that has made
 * no other call on the session. A user has at most 64 clones that wait.
 *
 * Errors of shmb_clone: LIMIT (too many clones that wait, or sessions, or references; or the daemon was lost, and the clone ended
 * before the next one could answer), DENIED (an administrator has ended the clone). Of shmb_adopt, after which the session is
 * inherited as before: SESSION_ENDED (the clone has ended), DENIED (another process has adopted it, or this one's user is another),
 * INVALID_ARGUMENT (the session is this process's own already), SYSTEM (something else lies at the addresses, which can only be
 * after a bare clone(2)), and those of shmb_connect.
 */
SHMB_PUBLIC int shmb_clone(shmb_session *session, shmb_clone_token *out_clone);
SHMB_PUBLIC int shmb_adopt(shmb_session *session, shmb_clone_token clone);

/* Is the daemon there? One round trip. Errors: DISCONNECTED, TIMEOUT. */
SHMB_PUBLIC int shmb_ping(shmb_session *session);

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

typedef struct shmb_alloc_options {
	uint64_t alignment; /* of offset and address, in bytes: a power of two up to SHMB_ALIGNMENT_MAX and up to the size of the
	                       pool; 0: what the size brings by itself, for a block is aligned to the size that is granted */
	const char *name;   /* published in the same step; NULL: none. Not for batches. */
	const char *tag;    /* label for listings and profiles, at most SHMB_TAG_MAX bytes of UTF-8; NULL: none */
	const void *metadata; /* `metadata_size` bytes, at most SHMB_METADATA_MAX: see shmb_set_metadata. Not for batches. */
	size_t metadata_size;
	uint32_t wait_ms; /* how long to wait, in milliseconds, where the segment has no room; 0: not at all. See below */
	uint64_t ttl_ms;  /* time to live, at most SHMB_TTL_MAX_MS: see shmb_renew; 0: none. Not for batches. */
	bool replace;     /* a name that stands for something is to stand for this block instead: see shmb_publish_with */
} shmb_alloc_options;

/*
 * Allocates `size` bytes, which is 1 or more. The contents are undefined. The memory is committed: touching it never
 * raises SIGBUS. The session holds the block until shmb_free, shmb_close or the end of the process.
 * `options` may be NULL. Errors: OUT_OF_MEMORY, INVALID_ARGUMENT, NAME_TAKEN, DENIED (the name to replace is another user's), BAD_NAME,
 * LIMIT (names, times to live, metadata, or requests that wait), READ_ONLY, DISCONNECTED, TIMEOUT.
 *
 * TIMEOUT means that no answer came in time; the daemon may still allocate the block, and publish its name. A later call on
 * the session comes across that answer, and the library gives the block and its name back then, unless somebody holds the
 * block by that time; until then the name may be found, and asking again for it may fail with NAME_TAKEN. A session that
 * ends first leaves such a block to its name. A name that was replaced so goes with the block: what it stood for does not come back.
 */
SHMB_PUBLIC int shmb_alloc(shmb_session *session, uint64_t size, const shmb_alloc_options *options, shmb_block *out_block);

/*
 * Waiting for memory (wait_ms, of shmb_alloc and shmb_alloc_batch). Where the segment has no room, the request stands in a line, and is
 * met as soon as others have freed enough: first come, first served. A request for which there is room may go past others for which
 * there is not, from within the line or newly come, but each of these is overtaken SHMB_OVERTAKEN_MAX times at most. After that
 * whatever comes later waits behind it until it is served or its time is over, or, without a wait_ms, is refused with OUT_OF_MEMORY:
 * what is free is set aside. When the time is over: OUT_OF_MEMORY, whose sentence says how long that was. What would not fit an
 * empty pool, and what the kernel has no memory for, is refused at once. 16384 requests, for 1048576 blocks, may wait in a
 * pool; LIMIT where there are more.
 *
 * Whom a quota of his user or session stops, or what is guaranteed to others, waits in a line of its own for that, at whose head the same holds,
 * and goes to the end of the pool's line once he is let in; he delays nobody else. What is larger than the quota is refused at once.
 *
 * Calls that wait leave an eighth of a session's request slots (60 of them) to those that do not, so that another thread can free
 * what they wait for; where more threads wait, these stand in line behind them first. When the daemon is lost, a call waits
 * on with what is left of its time, at the end of the next daemon's line.
 */
#define SHMB_OVERTAKEN_MAX 64

/*
 * Gives back one reference that this session holds, whether it came from shmb_alloc, shmb_lookup or shmb_acquire. The block is
 * freed when nothing holds it: no session, name, ticket, link, or time to live, nor the pool (shmb_cache). Errors: STALE_HANDLE (freed already), NOT_HELD, OTHER_POOL,
 * INVALID_ARGUMENT (a handle of zeros), DISCONNECTED, TIMEOUT.
 */
SHMB_PUBLIC int shmb_free(shmb_session *session, shmb_handle handle);

/*
 * Takes a reference to a live block whose handle came from another program (by a message, a pipe, another block): it lives until
 * this session gives that back with shmb_free. Whoever sends a handle holds the block until the receiver has acquired
 * it, or else the receiver may get STALE_HANDLE. Errors: STALE_HANDLE, OTHER_POOL, LIMIT.
 *
 * A program that acquires or looks up again and again (from the fourth time on) does so without asking the daemon: shmb_acquire, shmb_lookup and
 * the shmb_free of what they brought then cost less than a system call, up to 504 holds of a session at a time, and work while there
 * is no daemon. That the session is over, such calls do not notice; the next one that asks does. A block that may be held so is freed a
 * moment after its last hold has gone, once the daemon has looked: until then it can be acquired again.
 */
SHMB_PUBLIC int shmb_acquire(shmb_session *session, shmb_handle handle, shmb_block *out_block);

/*
 * From now on the block `from` holds the block `to`, so that structures of blocks live and die together: `to` lives at least as long as `from`,
 * whoever holds that. Blocks that hold each other in a circle, and that nothing else holds, are freed together, with all that only they hold: by
 * shmb_collect, or a second or more later by itself. The session holds both. To link what is linked already changes nothing. Errors: STALE_HANDLE, NOT_HELD,
 * OTHER_POOL, LIMIT (the pool has as many links as it takes), INVALID_ARGUMENT (both are the same), SEALED (`from` is a cache block), READ_ONLY.
 */
SHMB_PUBLIC int shmb_link(shmb_session *session, shmb_handle from, shmb_handle to);

/* Takes a link away; the session holds `from`. `to` is freed where nothing else holds it. Errors: as above, and NO_SUCH_LINK. */
SHMB_PUBLIC int shmb_unlink(shmb_session *session, shmb_handle from, shmb_handle to);

/* What a collection did. */
typedef struct shmb_collection {
	uint64_t marked;      /* blocks with links that something holds */
	uint64_t freed;       /* blocks that only circles of links held */
	uint64_t freed_bytes; /* set aside for them */
	uint64_t slices;      /* turns of the daemon's loop that it took: in between it handled requests */
	uint64_t longest_us;  /* microseconds that the longest of them took */
	uint64_t duration_us; /* microseconds from beginning to end */
} shmb_collection;

/*
 * Has the daemon look for blocks that hold each other by links in circles, and that nothing else holds (no session, name, ticket or time to live, of
 * whatever program, of them or of what leads to them by links), and free them. It does so by itself, too: a second or more after the last holder has let go,
 * and before it refuses an allocation. Returns when a whole run is over that began after the call; several calls may share one. With a million
 * links that takes some tenths of a second, and others are served meanwhile. `out_collection` may be NULL. A circle of which a program holds a block
 * without having asked the daemon (shmb_acquire tells when) is found once that has let go. Errors: LIMIT (too many wait for a run), SYSTEM,
 * READ_ONLY, DISCONNECTED, TIMEOUT: the run goes on.
 */
SHMB_PUBLIC int shmb_collect(shmb_session *session, shmb_collection *out_collection);

/*
 * Allocates `count` blocks (1 to SHMB_BATCH_MAX), of sizes[0..count-1] bytes, all or none, in one round trip.
 * `out_blocks` has room for `count`.
 */
SHMB_PUBLIC int shmb_alloc_batch(shmb_session *session, const uint64_t *sizes, size_t count,
                                 const shmb_alloc_options *options, shmb_block *out_blocks);

/* Gives back one reference for each handle, all or none, in one round trip. A handle may stand as often as it is held. */
SHMB_PUBLIC int shmb_free_batch(shmb_session *session, const shmb_handle *handles, size_t count);

/*
 * Frees a block that only names published by this user hold, and the time to live of one that it allocated, names included. Where there
 * are more than 64 names, they and the block go a moment later, also if the daemon dies; whoever finds it by one that is still there keeps it, as
 * with a block whose time to live has passed. Errors: NO_SUCH_BLOCK, IN_USE, DENIED, READ_ONLY,
 * LIMIT (the daemon was asked too often of late what programs hold without having asked it: again in a second).
 */
SHMB_PUBLIC int shmb_remove(shmb_session *session, uint64_t id);

/* ---- What may change of a block --------------------------------------------------------------------------------- */

/*
 * What these change they change for all who hold the block, whoever allocated it; who holds it and may write may call them. Each takes effect at
 * one moment. Who was told of a block before is not told of the change: what shmb_block says is how it was then.
 */

/*
 * Seals a block that this session holds, for good: from now on neither its size nor its metadata change, and whoever acquires it, or looks it
 * up, gets its address in a mapping that is read-only: a stray write faults in the program that does it (SIGSEGV), and the bytes stay. What is
 * sealed already stays so. Addresses that were given out before stay writable, those of this session too: POSIX shared memory cannot take
 * a mapping back from a process, so sealing guards against mistakes, not against a client that means to write. For an address
 * that faults, ask shmb_pointer_read_only.
 *
 * The read-only mapping is a second one of the whole pool, made when a session first meets a sealed block; it takes as many addresses again, no
 * memory, and lasts as long as the first. It may fail (SYSTEM, from shmb_acquire, shmb_lookup and shmb_alloc too); nothing is held then.
 * Errors: STALE_HANDLE, NOT_HELD, OTHER_POOL, READ_ONLY.
 */
SHMB_PUBLIC int shmb_seal(shmb_session *session, shmb_handle handle);

/*
 * Makes a cache block of one that this session holds: it is sealed, and when nobody holds it any more the pool keeps it all the same, until its memory
 * is needed. Publish it, so that it is found again; shmb_acquire by its handle finds it too. Before an allocation is refused or waits for
 * room, cache blocks that no session, ticket or link holds go, with their names and their time to live: of the user who has the most of
 * them, the one that was not used for longest, then again. To hold it is to use it, however that is done. One whose last
 * name was taken away or given to another block, so that nobody finds it, goes before all others of its user. One that somebody holds never goes. With a
 * time to live it goes when that has passed, too (shmb_renew). One with more than 64 names stays. To take it away: shmb_remove.
 * It holds no others by links (IN_USE), nor can it from then on.
 * For the user that allocated the block, and for root. Errors: as shmb_seal; DENIED; IN_USE.
 */
SHMB_PUBLIC int shmb_cache(shmb_session *session, shmb_handle handle);

/*
 * Metadata: up to SHMB_METADATA_MAX bytes beside a block, the user's own (a shape, a type, a checksum), that every client of the pool
 * can read. Set at allocation, or here, in place of what there was; `size` 0: none. Errors: SEALED, LIMIT (the pool has as many blocks with metadata as
 * it takes names), STALE_HANDLE, NOT_HELD, OTHER_POOL, READ_ONLY, INVALID_ARGUMENT.
 */
SHMB_PUBLIC int shmb_set_metadata(shmb_session *session, shmb_handle handle, const void *metadata, size_t size);

/*
 * The metadata of a live block, held or not, as it was at one moment: `*out_size` bytes of it, 0 where it has none. No round trip; offline too.
 * Errors: STALE_HANDLE, OTHER_POOL, CORRUPT, INVALID_ARGUMENT (`buffer`, of `size` bytes, is too small).
 */
SHMB_PUBLIC int shmb_get_metadata(shmb_session *session, shmb_handle handle, void *buffer, size_t size, size_t *out_size);

/*
 * Gives a block that this session holds another size, 1 or more. `*out_block` is the block as it is from now on, and `*out_moved` says whether
 * it is another one.
 *
 * Smaller: in its place; what it had beyond that is free at once, for those too who wait for room. Only where no other session holds the block,
 * nor a clone of this one, nor a ticket, nor another block by a link, and where no name stands for bytes that would go: else IN_USE. A name
 * for the whole block, or for a range to its end, stands for what is left, which must be a byte of the range at least.
 * Larger: in its place where what lies behind it is free, and the block is charged to the caller's user (shmb_user_info); the bytes stay,
 * those that are new are undefined. Else a new block is allocated,
 * which this session owns, with tag and metadata of the old one, aligned as its size brings; its contents are undefined. The old block stays
 * as it is, with its names, links and time to live: copy what is wanted, then free it. Others who hold it keep it. Room for either is found as
 * by an allocation that does not wait: none that is set aside for those who do.
 *
 * Errors: IN_USE, SEALED, OUT_OF_MEMORY (the block stays as it is), LIMIT, STALE_HANDLE, NOT_HELD, OTHER_POOL, READ_ONLY, INVALID_ARGUMENT.
 * After a TIMEOUT the daemon may still do it; a new block that comes of it is given back, as of shmb_alloc.
 */
SHMB_PUBLIC int shmb_resize(shmb_session *session, shmb_handle handle, uint64_t size, shmb_block *out_block,
                            bool *out_moved);

/*
 * A block with a time to live is held until that has passed, whatever becomes of the session that made it: it lives at least until then. Then
 * its names go, at once or a moment later: for new readers it is gone. Whoever holds it by a session or a ticket keeps it.
 *
 * The block's time to live becomes `ttl_ms` from now on, at most SHMB_TTL_MAX_MS; with 0 it has none any more: its names stay, and nothing but
 * them and those who hold it keeps it. For the user that allocated the block, who is charged with it, and for root, whether they hold it or not;
 * others are refused (DENIED), and keep the block by a hold, a name or a ticket of their own. Time goes on while the machine sleeps. Errors:
 * STALE_HANDLE, OTHER_POOL, DENIED, LIMIT, READ_ONLY, INVALID_ARGUMENT.
 */
SHMB_PUBLIC int shmb_renew(shmb_session *session, shmb_handle handle, uint64_t ttl_ms);

/* ---- Tickets ---------------------------------------------------------------------------------------------------- */

/*
 * A ticket hands a block to a program that is not connected yet, with no moment at which nobody holds it: it holds the block itself, until it
 * is redeemed, once, or taken back, or has expired. It outlives the session that made it. Whoever has it gets the block: keep it from
 * others, from command lines (which everybody sees) and logs.
 */
typedef struct shmb_ticket {
	uint8_t token[16]; /* random */
} shmb_ticket;

/* Zero-initialise, then set what differs. */
typedef struct shmb_share_options {
	uint64_t ttl_ms; /* until it expires, at most SHMB_TTL_MAX_MS; 0: SHMB_TICKET_TTL_MS */
	bool bound;      /* only the user `uid` may redeem it; else whoever has it */
	uint32_t uid;
} shmb_share_options;

/*
 * Makes a ticket for a block that this session holds. `options` may be NULL. Errors: STALE_HANDLE, OTHER_POOL, NOT_HELD, LIMIT, READ_ONLY,
 * INVALID_ARGUMENT, SYSTEM; NO_SUCH_TICKET where the daemon was lost over it, and the ticket had gone before its successor could answer.
 */
SHMB_PUBLIC int shmb_share(shmb_session *session, shmb_handle handle, const shmb_share_options *options,
                           shmb_ticket *out_ticket);

/*
 * Takes a reference to the ticket's block, and uses the ticket up; give the reference back with shmb_free. Read-only sessions may. Errors:
 * NO_SUCH_TICKET, DENIED (it is another user's), LIMIT.
 */
SHMB_PUBLIC int shmb_redeem(shmb_session *session, shmb_ticket ticket, shmb_block *out_block);

/* Takes a ticket back, which this user made; root may take back any. Errors: NO_SUCH_TICKET, DENIED, READ_ONLY. */
SHMB_PUBLIC int shmb_revoke(shmb_session *session, shmb_ticket ticket);

/*
 * A ticket as text: 38 characters, without blanks, good in a line, a variable and a file name; one that was mistyped is known as such. No
 * session is needed. Parsing takes nothing but the ticket's own characters, in either case. Errors: INVALID_ARGUMENT.
 */
SHMB_PUBLIC void shmb_ticket_format(shmb_ticket ticket, char out_text[SHMB_TICKET_TEXT_MAX]);
SHMB_PUBLIC int shmb_ticket_parse(const char *text, shmb_ticket *out_ticket);

/* ---- Addresses -------------------------------------------------------------------------------------------------- */

/*
 * The address of a byte of the segment in this process, or NULL where `offset` lies outside. A pool may grow meanwhile. In a session that may write
 * the first is writable, whatever block lies there; to write at the second faults. The second may have to map the pool first, and is
 * NULL where that fails. No round trip.
 */
SHMB_PUBLIC void *shmb_pointer(shmb_session *session, uint64_t offset);
SHMB_PUBLIC const void *shmb_pointer_read_only(shmb_session *session, uint64_t offset);

/* The offset of an address in either mapping of this session. Errors: INVALID_ARGUMENT where it lies outside. No round trip. */
SHMB_PUBLIC int shmb_offset(shmb_session *session, const void *pointer, uint64_t *out_offset);

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/*
 * Names are 1 to SHMB_NAME_MAX bytes of UTF-8 without control characters; those that start with `//` are reserved. A
 * name stands for a block, or for a range of one. It holds the whole block, which outlives this session until somebody removes
 * the name, or gives it to another block, or the block's time to live has passed.
 */

/* Gives a block that this session holds a name. Errors: NAME_TAKEN, BAD_NAME, STALE_HANDLE, NOT_HELD, LIMIT, READ_ONLY. */
SHMB_PUBLIC int shmb_publish(shmb_session *session, shmb_handle handle, const char *name);

/* How to publish. Zero-initialise, then set what differs. */
typedef struct shmb_publish_options {
	bool replace;    /* the name may stand for something already: it stands for this from then on */
	uint64_t offset; /* where the range starts, bytes from the start of the block */
	uint64_t length; /* of the range, bytes; 0: to the end of the block */
} shmb_publish_options;

/*
 * The same, with options, which may be NULL. A name is replaced in one step: whoever looks it up at any moment finds what it stood
 * for before, or what it stands for now, never nothing. Who has looked it up before keeps the former block, which is
 * freed when nothing holds it any more. Fill the block first, and replace then. Only the publisher's uid and root may replace a name;
 * whoever does is its publisher from then on. Errors: as above, without NAME_TAKEN where it is to be replaced; DENIED;
 * INVALID_ARGUMENT (the range is empty, or reaches beyond the block).
 */
SHMB_PUBLIC int shmb_publish_with(shmb_session *session, shmb_handle handle, const char *name,
                                  const shmb_publish_options *options);

/* Takes a name away; its block is freed where nothing else holds it. Only for the publisher's uid and for root.
 * Errors: NO_SUCH_NAME, DENIED, BAD_NAME, READ_ONLY. */
SHMB_PUBLIC int shmb_unpublish(shmb_session *session, const char *name);

/*
 * Finds a block by its name and takes a reference to it; give it back with shmb_free. Where the name stands for a range, `offset`, `size` and
 * `data` are those of the range, `granted` is no more than `size`, and `handle` is that of the whole block, which the
 * reference holds (shmb_acquire and shmb_find_block tell where that lies). Errors: NO_SUCH_NAME, BAD_NAME.
 */
SHMB_PUBLIC int shmb_lookup(shmb_session *session, const char *name, shmb_block *out_block);

/*
 * The same, and where nothing is published under the name, waits up to `timeout_ms` until something is, by itself or together with an
 * allocation. Errors: NO_SUCH_NAME (nothing was in that time), BAD_NAME, LIMIT (16384 calls wait for names in the pool).
 */
SHMB_PUBLIC int shmb_lookup_wait(shmb_session *session, const char *name, uint32_t timeout_ms, shmb_block *out_block);

/* ---- Inspection ------------------------------------------------------------------------------------------------- */

/* The state of a pool. Sizes in bytes. Read from shared memory without a round trip. */
typedef struct shmb_status {
	char pool[SHMB_POOL_NAME_MAX + 1];
	uint32_t incarnation;
	uint32_t daemon_pid;
	uint64_t unit;         /* the smallest piece handed out */
	uint64_t size;         /* of the segment */
	uint64_t used;         /* set aside for blocks */
	uint64_t requested;    /* asked for by their owners; used - requested is lost to rounding */
	uint64_t free;         /* size - used */
	uint64_t longest_free; /* the largest request that would be met now */
	uint64_t committed;    /* backed by memory of the kernel */
	uint64_t blocks;       /* live */
	uint64_t names;        /* published */
	uint64_t clients;      /* sessions */
	uint64_t tickets;      /* that can be redeemed */
	uint64_t leases;       /* blocks with a time to live */
	uint64_t idle_blocks;  /* cache blocks that nobody holds: they go when their memory is needed; */
	uint64_t idle_bytes;   /* what is set aside for them, which is part of `used` */
	uint64_t evictions;    /* cache blocks that went so since the pool was made */
	uint64_t max_blocks, max_names, max_clients;
	uint64_t allocations; /* blocks allocated since the pool was made */
	uint64_t frees;       /* blocks freed since then */
	uint64_t refusals;    /* allocations refused for want of memory since then */
	uint64_t requests;    /* requests answered by the daemon since then */
	uint64_t created_ns;  /* when the pool was made: nanoseconds since 1970-01-01 UTC */
} shmb_status;

SHMB_PUBLIC int shmb_get_status(shmb_session *session, shmb_status *out_status);

/* One live block, for listings. */
typedef struct shmb_block_info {
	shmb_handle handle;
	uint64_t offset, size, granted; /* bytes */
	uint32_t uid;                   /* of the user that allocated it */
	uint32_t owner;                 /* session that allocated it and still holds it; 0: none */
	uint64_t created_ns;            /* nanoseconds since 1970-01-01 UTC */
	char tag[SHMB_TAG_MAX + 1];
	bool sealed;
	bool cached; /* shmb_cache */
} shmb_block_info;

/* One name, for listings. */
typedef struct shmb_name_info {
	char name[SHMB_NAME_MAX + 1];
	uint64_t block;      /* id */
	uint64_t offset;     /* of what it stands for, bytes from the start of the block */
	uint64_t length;     /* of the same, bytes */
	uint32_t uid;        /* of the publisher */
	uint64_t created_ns; /* when it came to stand for that: nanoseconds since 1970-01-01 UTC */
} shmb_name_info;

/*
 * Walks the live blocks, or the names, in the order of their records. `*cursor` starts at 0 and belongs to the caller.
 * Returns 1 with the next one, 0 at the end, or a negative SHMB_E_*. Reads shared memory, without a round trip and without
 * stopping the daemon: each record is consistent by itself; what comes or goes during the walk may or may not be seen. A walk is
 * no picture of one moment: a block may have been allocated where one lay that was seen before. For that there are the lists.
 * Errors: CORRUPT, for one record that contradicts itself; the walk may go on behind it.
 */
SHMB_PUBLIC int shmb_next_block(shmb_session *session, uint32_t *cursor, shmb_block_info *out_block);
SHMB_PUBLIC int shmb_next_name(shmb_session *session, uint32_t *cursor, shmb_name_info *out_name);

/*
 * All live blocks, or all names, as they were at one moment during the call: no two blocks overlap, no name stands twice. In the
 * list is all that lived during the whole call; what came or went meanwhile may or may not be. The owner of a block, and what a name that
 * is being replaced stands for, are of this moment or a little later. Blocks and names are two lists, of two moments. Reads shared memory twice over, without a
 * round trip and without stopping the daemon, and takes no longer beside a busy one. After a daemon was killed, what it was
 * allocating may be missing, if it had not answered yet. In the order of their records; the array belongs to the caller, who
 * frees it with free(); NULL where it is empty, perhaps. Errors: CORRUPT (a record contradicts itself), SYSTEM (no memory).
 */
SHMB_PUBLIC int shmb_list_blocks(shmb_session *session, shmb_block_info **out_blocks, size_t *out_count);
SHMB_PUBLIC int shmb_list_names(shmb_session *session, shmb_name_info **out_names, size_t *out_count);

/* Which names. Zero-initialise, then set what is wanted; both: those that meet both. */
typedef struct shmb_name_filter {
	const char *prefix;  /* the names that start with these bytes; NULL: all */
	const char *pattern; /* those that the pattern matches as a whole, as the shell's do (fnmatch(3), in the program's
	                        locale): * any characters, ? one, [a-z] one of these, \ takes the next as it is. A slash is a
	                        character like any other. NULL: all */
} shmb_name_filter;

/* shmb_list_names of those that the filter wants; NULL: of all. Errors: as there. */
SHMB_PUBLIC int shmb_match_names(shmb_session *session, const shmb_name_filter *filter, shmb_name_info **out_names,
                                 size_t *out_count);

/* The live block with this id. Errors: NO_SUCH_BLOCK, CORRUPT. No round trip. */
SHMB_PUBLIC int shmb_find_block(shmb_session *session, uint64_t id, shmb_block_info *out_block);

/* One session, for listings. */
typedef struct shmb_client_info {
	uint32_t session; /* number, from 1; given to another once this one has ended */
	uint32_t
		pid; /* in the daemon's pid namespace; 0: not visible there, or not known until a session that was opened under a
	                     daemon in another namespace connects again */
	uint32_t uid, gid;
	char program[SHMB_PROGRAM_MAX + 1];
	enum shmb_access access;
	bool connected;        /* false: the connection was lost while the process lives */
	uint64_t connected_ns; /* nanoseconds since 1970-01-01 UTC */
	uint64_t blocks;       /* blocks it holds */
	uint64_t bytes;        /* bytes set aside for blocks that it allocated and still holds */
	uint64_t requests;     /* answered */
} shmb_client_info;

/* One session's hold on one block. */
typedef struct shmb_holder_info {
	uint32_t session; /* number */
	uint32_t pid, uid;
	char program[SHMB_PROGRAM_MAX + 1];
	uint32_t references;
	bool allocated; /* this session allocated the block */
} shmb_holder_info;

/*
 * All sessions of the pool; all sessions that hold a block. The arrays belong to the caller, who frees them with free().
 * As many round trips as there are pages. Errors: NO_SUCH_BLOCK, LIMIT (as of shmb_remove), SYSTEM, DISCONNECTED, TIMEOUT.
 */
SHMB_PUBLIC int shmb_list_clients(shmb_session *session, shmb_client_info **out_clients, size_t *out_count);
SHMB_PUBLIC int shmb_list_holders(shmb_session *session, uint64_t id, shmb_holder_info **out_holders, size_t *out_count);

/* No limit: as much as the pool has. */
#define SHMB_NO_LIMIT UINT64_MAX

/* What is charged to a user, all its sessions together, and what it may have: a number, or bytes. */
typedef struct shmb_charge {
	uint64_t used; /* may be more than `limit`: what others leave to whoever still holds it is refused to nobody */
	uint64_t limit;
} shmb_charge;

/*
 * One user, for listings. A block is charged to the user that allocated it, while that holds it in any way: by a session, a name, a ticket, a
 * link that it made, a time to live; then to another user that does, the one with the lowest uid, root last.
 */
typedef struct shmb_user_info {
	uint32_t uid;
	uint64_t guarantee;         /* bytes that are kept for it; 0: none */
	shmb_charge bytes;          /* set aside for blocks that are charged to it */
	shmb_charge blocks;         /* of those */
	shmb_charge names;          /* that it published */
	shmb_charge tickets, links; /* that it made */
	shmb_charge waiters;        /* calls that wait: those with a wait_ms that is not over */
	shmb_charge sessions;       /* clones among them */
} shmb_user_info;

/*
 * All users that have anything in the pool, or of which its daemon's command line speaks, by uid. The array belongs to the caller, who
 * frees it with free(). As many round trips as there are pages. Errors: SYSTEM, DISCONNECTED, TIMEOUT, UNKNOWN_OPERATION (an older daemon).
 */
SHMB_PUBLIC int shmb_list_users(shmb_session *session, shmb_user_info **out_users, size_t *out_count);

/* Tickets and links of one block are counted up to this: it stands for as many or more. */
#define SHMB_COUNTED_MAX 10000

/* What holds a block besides sessions and names. */
typedef struct shmb_lifetime {
	uint64_t expires_ms; /* milliseconds that are left of its time to live, at least 1; 0: it has none */
	uint64_t tickets;    /* for it, that can be redeemed: SHMB_COUNTED_MAX */
	uint64_t links;      /* by which other blocks hold it: SHMB_COUNTED_MAX */
} shmb_lifetime;

/* One round trip. Errors: NO_SUCH_BLOCK. */
SHMB_PUBLIC int shmb_get_lifetime(shmb_session *session, uint64_t id, shmb_lifetime *out_lifetime);
/* ---- Events ----------------------------------------------------------------------------------------------------- */

/* Kinds of events, one bit each. What each says beside kind and time stands in brackets. */
enum shmb_event_kind {
	SHMB_EVENT_LOST = 1 << 0, /* events were lost here; always told [lost] */
	SHMB_EVENT_NAME_PUBLISHED =
		1 << 1, /* [block, name, bytes that it stands for, uid of the publisher, session that did it] */
	SHMB_EVENT_NAME_REMOVED = 1 << 2, /* taken away, replaced, or gone with its block [the same] */
	SHMB_EVENT_BLOCK_FREED = 1 << 3,  /* nothing held it any more [block, bytes that were set aside, uid of who allocated it,
	                                       session by whose call or end; 0: the daemon found out later] */
	SHMB_EVENT_BLOCK_EVICTED = 1 << 4,  /* its memory was needed; it is freed right after [the same] */
	SHMB_EVENT_BLOCK_EXPIRED = 1 << 5,  /* its time to live was over; what else holds it keeps it [the same] */
	SHMB_EVENT_PRESSURE = 1 << 6,       /* how full the pool is has changed [pressure, bytes: see there] */
	SHMB_EVENT_SESSION_OPENED = 1 << 7, /* [session, uid, name of the program] */
	SHMB_EVENT_SESSION_ENDED =
		1 << 8, /* what it held is given back from now on [the same, bytes set aside for its blocks] */
};
#define SHMB_EVENT_ALL ((1u << 9) - 2)

/* How full the pool is. The thresholds are the daemon's (--pressure), and are told with `bytes` used. */
enum shmb_pressure {
	SHMB_PRESSURE_NONE = 0,   /* memory is free again: a little below the lower threshold */
	SHMB_PRESSURE_LOW = 1,    /* the lower threshold was reached, or it has fallen a little below the higher one */
	SHMB_PRESSURE_HIGH = 2,   /* the higher threshold was reached */
	SHMB_PRESSURE_KERNEL = 3, /* the kernel has refused an allocation of `bytes`: /dev/shm or a control group is full */
};

typedef struct shmb_event {
	enum shmb_event_kind kind;
	enum shmb_pressure pressure;
	uint64_t time_ns;  /* nanoseconds since 1970-01-01 UTC */
	shmb_handle block; /* it may be gone by now; id 0: the event is about none */
	uint64_t bytes;
	uint64_t lost; /* with SHMB_EVENT_LOST: how many, with a prefix names of others among them; 0: nobody knows */
	uint32_t uid;
	uint32_t session; /* number */
	char name[SHMB_NAME_MAX + 1];
} shmb_event;

/*
 * Has the session be told of these kinds (SHMB_EVENT_*, or-ed), and of the names that start with `prefix` (NULL: of all); in place of what it
 * was subscribed to before, of which what was not sent yet is lost. 0: of nothing any more; what has come can still be taken.
 * Events are told after they have happened, in order; by the time that one is read, the name may lead elsewhere. Who subscribes to SHMB_EVENT_PRESSURE
 * while there is pressure is told at once. Everyone in a pool may see its names, users and sessions.
 *
 * Nobody waits for a subscriber. What it does not take is kept up to a bound, 1024 events in this process and a mebibyte for all
 * subscribers together in the daemon; then events are lost, and SHMB_EVENT_LOST stands in their place. The subscription survives a lost
 * daemon; then SHMB_EVENT_LOST says that nobody knows how many were lost. A child after fork is subscribed to nothing.
 * Errors: LIMIT (a pool has at most 1024 subscribers), INVALID_ARGUMENT (a kind that daemon or library do not know, a prefix that
 * no name can have).
 */
SHMB_PUBLIC int shmb_subscribe(shmb_session *session, uint32_t kinds, const char *prefix);

/*
 * Takes the next event: 1, or 0 where none has come within `timeout_ms` (0: does not wait; UINT32_MAX: for ever). Beside calls of other
 * threads, of which each event reaches one. The socket is read by calls on the session only: who makes none hears nothing, and
 * loses events once the bound is reached. A lost daemon is looked for as in any call (with 0 for some milliseconds).
 * Errors: INVALID_ARGUMENT (subscribed to nothing), LIMIT (the daemon was lost, and the next one has not taken the subscription up again),
 * DISCONNECTED, SESSION_ENDED.
 */
SHMB_PUBLIC int shmb_next_event(shmb_session *session, uint32_t timeout_ms, shmb_event *out_event);

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

/* Name ("SHMB_E_STALE_HANDLE"; "SHMB_OK" for 0) and sentence of a result, negative or positive. Static strings, never NULL. */
SHMB_PUBLIC const char *shmb_error_name(int error);
SHMB_PUBLIC const char *shmb_error_text(int error);

/* What went wrong in the calling thread's last call that failed: what, why, and the remedy where there is one. Valid until
 * that thread's next call; never NULL. */
SHMB_PUBLIC const char *shmb_last_error(void);

#define SHMB_OOM_HOLDERS_MAX 5

enum shmb_oom_limit {
	SHMB_OOM_SEGMENT = 0,   /* no free run of the segment is long enough */
	SHMB_OOM_KERNEL = 1,    /* the kernel gives no memory for it: /dev/shm or a control group is full */
	SHMB_OOM_BLOCKS = 2,    /* the pool has as many blocks as its table holds */
	SHMB_OOM_USER = 3,      /* the quota of the user, all its sessions together */
	SHMB_OOM_SESSION = 4,   /* the quota of the session */
	SHMB_OOM_GUARANTEE = 5, /* what is free is guaranteed to other users */
};

/* Why an allocation was refused. Sizes in bytes. */
typedef struct shmb_oom {
	enum shmb_oom_limit limit;
	uint64_t requested;    /* asked for; in a batch, by the item that did not fit */
	uint64_t granted;      /* would have been set aside; 0: more than the pool has */
	uint64_t free;         /* free in the segment */
	uint64_t longest_free; /* the largest request that would be met now */
	uint64_t kernel_free;  /* left in /dev/shm; with SHMB_OOM_KERNEL */
	bool set_aside;        /* there may be room, but for a call that came before and waits */
	size_t holder_count; /* of the largest holders, largest first; with SHMB_OOM_USER and SHMB_OOM_SESSION: of that user's */
	struct shmb_oom_holder {
		uint32_t session; /* number; 0: held by no session, but by names, tickets, or until a time */
		uint32_t pid, uid;
		char program[SHMB_PROGRAM_MAX + 1];
		uint64_t bytes, blocks;
	} holders[SHMB_OOM_HOLDERS_MAX];
	/* With SHMB_OOM_USER and SHMB_OOM_SESSION, what the user, or the session, may have and has; else 0. */
	uint64_t quota;        /* bytes, or blocks; with SHMB_OOM_GUARANTEE: bytes that are kept for others */
	uint64_t quota_used;   /* of it */
	uint64_t quota_blocks; /* blocks that are charged */
	bool quota_of_blocks;  /* `quota` is a number of blocks */
} shmb_oom;

/* Detail of the calling thread's last SHMB_E_OUT_OF_MEMORY. False where there was none, or where the daemon was lost after it had
 * refused and before it had said so: the next one knows that it refused, and not why. */
SHMB_PUBLIC bool shmb_out_of_memory(shmb_oom *out_oom);

/* Version of the library, "MAJOR.MINOR.PATCH". */
SHMB_PUBLIC const char *shmb_version(void);

#ifdef __cplusplus
}
#endif

#endif
