/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon for tests of the library: it speaks the protocol as well or as badly as told, and keeps no promises about memory.
 * It is a child process, so that the tests can fork without inheriting it. What it does is steered, and what it saw is read,
 * through `shared`.
 */
#ifndef SUPPORT_FAKE_DAEMON_H
#define SUPPORT_FAKE_DAEMON_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum fake_mode {
	FAKE_SERVE,   /* answers at once */
	FAKE_REVERSE, /* answers several at a time, the last one first */
	FAKE_CRUMBS,  /* answers byte by byte */
	FAKE_SILENT,  /* reads, and answers when the mode is another one */
	FAKE_DEAF,    /* does not even read */
	FAKE_RAW,     /* answers each request with `raw` and closes where `raw_close` */
	FAKE_STRANGE, /* answers with what `strange` says, well-formed */
};

/* What is wrong with an otherwise good welcome or reply. */
enum fake_strange {
	STRANGE_NOTHING,
	/* of Welcome */
	STRANGE_FEW_DESCRIPTORS,
	STRANGE_MANY_DESCRIPTORS,
	STRANGE_TOO_MANY_DESCRIPTORS, /* for the room that a library would make */
	STRANGE_NO_TOKEN,
	STRANGE_VERSION,
	STRANGE_SHORT_SEGMENT,
	STRANGE_SHORT_VIEW,
	STRANGE_OTHER_VIEW,
	STRANGE_DAMAGED_VIEW,
	STRANGE_HUGE,
	STRANGE_PIPE,
	STRANGE_NO_RESULT,
	STRANGE_REFUSED,     /* NO_SUCH_POOL with a text */
	STRANGE_OTHER_TOKEN, /* than the one that was to be adopted */
	STRANGE_OTHER_LIFE,  /* of the pool */
	/* of other replies */
	STRANGE_STATUS, /* a status that nobody knows */
	STRANGE_SLOT,
	STRANGE_SEQUENCE,
	STRANGE_TWICE,
	STRANGE_OUTSIDE, /* a block beyond the end */
	STRANGE_SMALL,   /* granted less than asked for */
	STRANGE_INCARNATION,
	STRANGE_COUNT,       /* of a batch */
	STRANGE_SAME_PAGE,   /* of a listing, for ever */
	STRANGE_SHORT_TOKEN, /* of a clone */
	STRANGE_NUMBER,      /* of a clone: none */
	STRANGE_OOM,
	STRANGE_TEXT,       /* not UTF-8, and long */
	STRANGE_UNREADABLE, /* slot 0, sequence 0, PROTOCOL */
};

/* What becomes of a hello that shows a token. */
enum fake_resume {
	RESUME_SAME,    /* the session goes on */
	RESUME_OTHER,   /* the welcome is that of another session */
	RESUME_ENDED,   /* SESSION_ENDED, in the pool that it was */
	RESUME_ANEW,    /* SESSION_ENDED, in another */
	RESUME_FOREIGN, /* DENIED */
	RESUME_FULL,    /* LIMIT, as a listener says it: slot 0, sequence 0 */
	RESUME_CUT,     /* closed without a word */
	RESUME_VERSION,
};

struct fake_shared {
	_Atomic int mode, strange;
	_Atomic int resume;
	_Atomic uint32_t resume_times; /* so many hellos are treated so, then the session goes on */
	/*
	 * So many requests end their connection instead of being answered, after `cut_spare` more have been; done they are first where
	 * `cut_done`. From then on, and where `once`, a request that comes again gets the answer that was kept.
	 */
	_Atomic uint32_t cuts, cut_spare, cut_done, once;
	_Atomic uint32_t slots, max_batch;
	_Atomic uint64_t size;          /* of the pool */
	_Atomic uint32_t remove_status; /* of each Remove; 0: OK */
	_Atomic uint32_t raw_length, raw_close;
	uint8_t raw[64];
	_Atomic uint32_t over; /* incarnation to be told to all clients in an event; 0: nothing to be told */
	/* Seen. */
	_Atomic uint32_t ready, hellos, resumes, repeats, goodbyes, requests, allocations, frees, removes, ended;
	_Atomic uint32_t frees_before_remove; /* `frees` when the last Remove came */
	_Atomic uint64_t last_start_time;
	_Atomic uint64_t last_allocated, last_freed, last_removed; /* ids of blocks that came alone, in no batch */
};

struct fake_daemon {
	char directory[64], path[100];
	pid_t pid;
	struct fake_shared *shared; /* mapped in both processes */
};

/* Starts one that serves a pool of 1 MiB at `path`, in a new directory. Fails the test where it cannot. */
void fake_daemon_start(struct fake_daemon *daemon);

/* Ends it, if it has not ended, and removes what it made. */
void fake_daemon_stop(struct fake_daemon *daemon);

/* Sends an event to all clients: the session is over. */
void fake_daemon_end_sessions(struct fake_daemon *daemon, uint32_t incarnation);
#define FAKE_INCARNATION 7

/* Waits until `*counter` is at least `value`; the test's own time limit is the only one. */
void fake_daemon_await(_Atomic uint32_t *counter, uint32_t value);

#endif
