/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's standing with a pool: who it is, what it holds, which of its request slots are busy. Outlives its connection,
 * ends with its process. Made by request_hello.c; owned by the pool's `sessions`; freed by the reaper once nothing of it is left.
 * Loop thread only.
 */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "account.h"
#include "hold_page_lane.h"
#include "peer.h"
#include "state_layout.h"

struct connection;
struct pool;
struct user;

/* A request that is answered later, and keeps its slot until then. Embedded in whoever works on it. */
struct deferred {
	/*
	 * The session is over. With `lost` only its connection is: what merely waits has not happened, and ends; what is worked on is brought to
	 * its end. It arrives (session_arrive) at once, or when the kernel has let go of it.
	 */
	void (*cancel)(struct deferred *deferred, bool lost);
};

struct session {
	struct pool *pool;
	struct session_record *record;
	struct connection *connection; /* NULL: lost, while the process lives */
	uint32_t number;
	uint32_t pid;    /* in this daemon's pid namespace; 0: not visible there, or not known until it connects again */
	uint64_t serial; /* never given to another session of the pool */
	bool read_only;
	bool lost;
	bool adopted;           /* a former daemon opened it, and it has not connected since */
	bool asked_to_end;      /* see session_ask */
	bool unadopted;         /* a clone without a process: adoption.h */
	bool adopting;          /* a clone whose process has not been heard of since it adopted it */
	bool awaited;           /* that process has to come until then: */
	uint64_t awaited_until; /* uv_now() */
	bool dead;
	bool forgotten;                        /* the daemon stops: dead in private, not in its record */
	uint32_t blocks;                       /* head of the list of the blocks that it allocated and holds */
	uint32_t references;                   /* head of the list of its references */
	uint32_t walk_blocks, walk_references; /* where a clone of the session that is under way has come to in them */
	uint64_t reference_count;
	uint64_t held;                    /* blocks that it holds in one way or the other, each once */
	struct account account;           /* its own: its `blocks`, what it published, shared and linked, and what waits */
	struct user *user;                /* whose account all sessions of its uid share */
	uint64_t requests;                /* answered */
	uint64_t busy_slots;              /* bit n: slot n has a request under way */
	uint64_t seen[SESSION_SLOTS];     /* highest sequence of each slot, the requests of no consequence included */
	unsigned under_way;               /* requests that are answered later, and what is done to its hold page */
	uint32_t *batches[SESSION_SLOTS]; /* by slot: indexes of the blocks of its last request, if that was a batch; owned */
	struct deferred *deferred[SESSION_SLOTS]; /* by slot: cancelled when the session ends */
	uint32_t goodbye_slot;                    /* whose reply goes out once nothing of the session is left */
	uint64_t goodbye_sequence;                /* 0: it did not say goodbye */
	uv_poll_t watch;                          /* of the pidfd */
	int pidfd;                                /* -1: none */
	int hold_page; /* descriptor of its file, or HOLD_PAGE_NONE, HOLD_PAGE_LOST: hold_page.h. See page_holds.h */
	struct hold_page_job notice, removal; /* of that page */
	bool watching;                        /* `watch` is open or closing */
	struct session *next;                 /* in the pool's list of lost, awaited, or dead sessions */
	char program[64];
};

struct session_request {
	const struct peer *peer;
	bool read_only;
	const char *program; /* NUL-terminated, checked */
};

/*
 * Opens a session for a peer and takes over its pidfd. -EDQUOT: as many as the pool takes; -ENOSPC, -ENOMEM; -ESRCH: the peer has
 * gone already.
 */
int session_open(struct pool *pool, const struct session_request *request, struct session **out_session);

/*
 * Opens a clone of a session, without a process, for whoever fills it: CLONING. Errors as above, but for -ESRCH. adoption.h has what follows.
 */
int session_open_clone(const struct session *parent, struct session **out_copy);

/*
 * For recovery: the session of a record that a former daemon left, without a connection. -ENOMEM, -EMFILE, -ENFILE. Once all that it holds is known,
 * wake it: it is lost from then on, or over if its process is gone.
 */
int session_adopt(struct pool *pool, uint32_t number);
void session_wake(struct session *session);

/* What records say of the session that made them. */
static inline uint64_t session_key(const struct session *session)
{
	return SESSION_KEY(session->number, session->serial);
}

/* The live session that this token belongs to, or NULL. */
struct session *session_find(const struct pool *pool, const uint8_t token[16]);

/* Is this the process that opened it, or adopted it? */
bool session_is_of(const struct session *session, const struct peer *peer);

/* Its connection ended, and what waited with it. The session goes on if its process does; whether it does is looked at now and then. */
void session_lost(struct session *session);

/* Another connection takes the session up; the old one, if it is still there, is closed. */
void session_found(struct session *session, struct connection *connection);

/*
 * An administrator wants it ended: it is to be told so, by this daemon or the next, and goes on until it has let go of its lock. One
 * store.
 */
void session_ask(struct session *session);

/* The session is over: marked dead in one store. What it held is dropped in slices by the reaper. Nothing if it is dead already. */
void session_end(struct session *session, const char *why);

/*
 * The daemon stops: the session's private part goes as soon as the committer has let go of it; its record and its blocks stay as they
 * are, for the next daemon.
 */
void session_forget(struct session *session);

/*
 * The session's hold page, made if it has none yet. -EDQUOT: it is dead; -ENOSPC, -ENOMEM, -EMFILE. Its descriptor is the session's
 * `hold_page`.
 */
int session_open_hold_page(struct session *session);

/* A request is answered later: a dead session is kept until the last one has arrived. */
void session_depart(struct session *session, uint32_t slot, struct deferred *deferred);
void session_arrive(struct session *session, uint32_t slot);

#endif
