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
 * call tries again. With SESSION_ENDED (but of shmb_end_session) the session is over for good: its blocks are not its own any more, and their addresses fault;
 * only shmb_close is left. That happens when an administrator ends it, when the program has closed descriptors that are not its own, and
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
 * shmb_lookup, or ask the parent, to share a block with a child.
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
	SHMB_E_SEALED = 1024,            /* the block is sealed: neither its size nor its metadata can change */
};

/* One session: this program's standing with one pool. Opaque; owned by whoever connected. */
typedef struct shmb_session shmb_session;

/* Which block. By value; never reused, so a stale one is always refused. All zeros is no block. */
typedef struct shmb_handle {
	uint64_t id;          /* unique within the pool for ever; in text, a block is its id in decimal. Names take numbers from
	                         the same counter, so ids of blocks skip some */
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
	uint32_t timeout_ms; /* for each call, connecting included; default 30000; UINT32_MAX: wait for ever */
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
} shmb_alloc_options;

/*
 * Allocates `size` bytes, which is 1 or more. The contents are undefined. The memory is committed: touching it never
 * raises SIGBUS. The session holds the block until shmb_free, shmb_close or the end of the process.
 * `options` may be NULL. Errors: OUT_OF_MEMORY, INVALID_ARGUMENT, NAME_TAKEN, BAD_NAME, LIMIT (names, or metadata), READ_ONLY,
 * DISCONNECTED, TIMEOUT.
 *
 * TIMEOUT means that no answer came in time; the daemon may still allocate the block, and publish its name. A later call on
 * the session comes across that answer, and the library gives the block and its name back then, unless somebody holds the
 * block by that time; until then the name may be found, and asking again for it may fail with NAME_TAKEN. A session that
 * ends first leaves such a block to its name.
 */
SHMB_PUBLIC int shmb_alloc(shmb_session *session, uint64_t size, const shmb_alloc_options *options, shmb_block *out_block);

/*
 * Gives back one reference that this session holds, whether it came from shmb_alloc, shmb_lookup or shmb_acquire. The block is
 * freed when nothing holds it: no session, no name. Errors: STALE_HANDLE (freed already), NOT_HELD, OTHER_POOL,
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
 * is no daemon. That the session is over, such calls do not notice; the next one that asks does.
 */
SHMB_PUBLIC int shmb_acquire(shmb_session *session, shmb_handle handle, shmb_block *out_block);

/*
 * Allocates `count` blocks (1 to SHMB_BATCH_MAX), of sizes[0..count-1] bytes, all or none, in one round trip.
 * `out_blocks` has room for `count`.
 */
SHMB_PUBLIC int shmb_alloc_batch(shmb_session *session, const uint64_t *sizes, size_t count,
                                 const shmb_alloc_options *options, shmb_block *out_blocks);

/* Gives back one reference for each handle, all or none, in one round trip. A handle may stand as often as it is held. */
SHMB_PUBLIC int shmb_free_batch(shmb_session *session, const shmb_handle *handles, size_t count);

/* Frees a block that only names published by this user hold, names included. Errors: NO_SUCH_BLOCK, IN_USE, DENIED, READ_ONLY. */
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
 * Smaller: in its place; what it had beyond that is free at once. Only where no other session holds the block, and no name stands for bytes that
 * would go: else IN_USE. (A name that shmb_publish gave stands for all the bytes that there were.)
 * Larger: in its place where what lies behind it is free; the bytes stay, those that are new are undefined. Else a new block is allocated,
 * which this session owns, with tag and metadata of the old one, aligned as its size brings; its contents are undefined. The old block stays
 * as it is, with its names: copy what is wanted, then free it. Others who hold it keep it.
 *
 * Errors: IN_USE, SEALED, OUT_OF_MEMORY (the block stays as it is), LIMIT, STALE_HANDLE, NOT_HELD, OTHER_POOL, READ_ONLY, INVALID_ARGUMENT.
 * After a TIMEOUT the daemon may still do it; a new block that comes of it is given back, as of shmb_alloc.
 */
SHMB_PUBLIC int shmb_resize(shmb_session *session, shmb_handle handle, uint64_t size, shmb_block *out_block,
                            bool *out_moved);

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
 * name holds its block: it outlives this session until somebody removes the name.
 */

/* Gives a block that this session holds a name. Errors: NAME_TAKEN, BAD_NAME, STALE_HANDLE, NOT_HELD, LIMIT, READ_ONLY. */
SHMB_PUBLIC int shmb_publish(shmb_session *session, shmb_handle handle, const char *name);

/* Takes a name away; its block is freed where nothing else holds it. Only for the publisher's uid and for root.
 * Errors: NO_SUCH_NAME, DENIED, BAD_NAME, READ_ONLY. */
SHMB_PUBLIC int shmb_unpublish(shmb_session *session, const char *name);

/* Finds a block by its name and takes a reference to it; give it back with shmb_free. Errors: NO_SUCH_NAME, BAD_NAME. */
SHMB_PUBLIC int shmb_lookup(shmb_session *session, const char *name, shmb_block *out_block);

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
} shmb_block_info;

/* One name, for listings. */
typedef struct shmb_name_info {
	char name[SHMB_NAME_MAX + 1];
	uint64_t block;      /* id */
	uint64_t offset;     /* bytes from the start of the block; shmb_publish names whole blocks, so it is 0 */
	uint64_t length;     /* bytes */
	uint32_t uid;        /* of the publisher */
	uint64_t created_ns; /* nanoseconds since 1970-01-01 UTC */
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
 * list is all that lived during the whole call; what came or went meanwhile may or may not be. The owner of a block is that of
 * this moment or a little later. Blocks and names are two lists, of two moments. Reads shared memory twice over, without a
 * round trip and without stopping the daemon, and takes no longer beside a busy one. After a daemon was killed, what it was
 * allocating may be missing, if it had not answered yet. In the order of their records; the array belongs to the caller, who
 * frees it with free(); NULL where it is empty, perhaps. Errors: CORRUPT (a record contradicts itself), SYSTEM (no memory).
 */
SHMB_PUBLIC int shmb_list_blocks(shmb_session *session, shmb_block_info **out_blocks, size_t *out_count);
SHMB_PUBLIC int shmb_list_names(shmb_session *session, shmb_name_info **out_names, size_t *out_count);

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
 * As many round trips as there are pages. Errors: NO_SUCH_BLOCK, SYSTEM, DISCONNECTED, TIMEOUT.
 */
SHMB_PUBLIC int shmb_list_clients(shmb_session *session, shmb_client_info **out_clients, size_t *out_count);
SHMB_PUBLIC int shmb_list_holders(shmb_session *session, uint64_t id, shmb_holder_info **out_holders, size_t *out_count);

/* ---- Errors ----------------------------------------------------------------------------------------------------- */

/* Name ("SHMB_E_STALE_HANDLE"; "SHMB_OK" for 0) and sentence of a result, negative or positive. Static strings, never NULL. */
SHMB_PUBLIC const char *shmb_error_name(int error);
SHMB_PUBLIC const char *shmb_error_text(int error);

/* What went wrong in the calling thread's last call that failed: what, why, and the remedy where there is one. Valid until
 * that thread's next call; never NULL. */
SHMB_PUBLIC const char *shmb_last_error(void);

#define SHMB_OOM_HOLDERS_MAX 5

enum shmb_oom_limit {
	SHMB_OOM_SEGMENT = 0, /* no free run of the segment is long enough */
	SHMB_OOM_KERNEL = 1,  /* the kernel gives no memory for it: /dev/shm or a control group is full */
	SHMB_OOM_BLOCKS = 2,  /* the pool has as many blocks as its table holds */
};

/* Why an allocation was refused. Sizes in bytes. */
typedef struct shmb_oom {
	enum shmb_oom_limit limit;
	uint64_t requested;    /* asked for; in a batch, by the item that did not fit */
	uint64_t granted;      /* would have been set aside; 0: more than the pool has */
	uint64_t free;         /* free in the segment */
	uint64_t longest_free; /* the largest request that would be met now */
	uint64_t kernel_free;  /* left in /dev/shm; with SHMB_OOM_KERNEL */
	size_t holder_count;   /* of the largest holders, largest first */
	struct shmb_oom_holder {
		uint32_t session; /* number; 0: held by names alone */
		uint32_t pid, uid;
		char program[SHMB_PROGRAM_MAX + 1];
		uint64_t bytes, blocks;
	} holders[SHMB_OOM_HOLDERS_MAX];
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
