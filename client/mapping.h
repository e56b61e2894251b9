/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session has of its pool: the descriptors that came with Welcome, and the segment and the view mapped. The address of
 * the segment is aligned as far as any block in it can be, so that an aligned offset is an aligned address.
 *
 * A session that may write maps the segment a second time, read-only, once it meets a sealed block: a stray write there faults.
 *
 * Owned by its session. All but the reading of an open mapping happens under the session's mutex, so that a fork sees either
 * all of a step or nothing of it: no descriptor of ours ever stays open in a child, and no page of the segment is mapped
 * there once the handlers have run.
 */
#ifndef CLIENT_MAPPING_H
#define CLIENT_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shmbuddy.pb-c.h"
#include "view.h"

/* The descriptors in the order in which they come. */
enum mapping_descriptor {
	MAPPING_SEGMENT, /* closed once it is mapped as often as it may be */
	MAPPING_VIEW,    /* closed once it is mapped */
	MAPPING_LOCK,    /* never used, only kept open: the lock that the daemon took on it says that this program lives */
	MAPPING_DESCRIPTORS,
};

struct mapping {
	int fds[MAPPING_DESCRIPTORS]; /* -1: none */
	uint8_t *base;                /* of the segment, NULL: not mapped; in a child, reserved and not accessible */
	/* The segment once more; `base` where that is read-only; NULL: not mapped; in a child as `base`. */
	uint8_t *_Atomic read_only;
	size_t length;      /* bytes in each place, whole pages */
	bool shared;        /* the segment itself is mapped there, not a reservation */
	bool holed;         /* addresses that are to be kept for whoever maps the segment there again could not all be kept */
	uint64_t max_size;  /* bytes that the segment may grow to, at most `length` */
	uint64_t alignment; /* of `base`, bytes */
	void *view_base;    /* NULL: not mapped */
	size_t view_length;
	struct view view;       /* of view_base */
	bool adopting;          /* the segment goes where `former` keeps its addresses reserved, which become this one's */
	struct mapping *former; /* the session's mapping in the process that forked this one, newest first */
};

/* Are its addresses kept for whoever maps the segment there again? In a child, of its parent's mapping. */
static inline bool mapping_is_reserved(const struct mapping *mapping)
{
	return mapping && mapping->base && !mapping->shared && !mapping->holed;
}

/* Without descriptors, nothing mapped. NULL: no memory. */
struct mapping *mapping_new(void);

/* Closes and unmaps everything, `former` included, and frees it. NULL is fine. */
void mapping_free(struct mapping *mapping);

/*
 * Maps what `welcome` describes by the descriptors in `fds` and checks it against what lies there; writable where
 * `writable`. A negative SHMB_E_* with its sentence; whatever was mapped until then is mapping_free's.
 */
int mapping_open(struct mapping *mapping, const Shmbuddy__V1__Welcome *welcome, bool writable);

/*
 * The segment's address in the read-only mapping, which is made if there is none yet. A negative SHMB_E_* with its sentence. Under the session's
 * mutex, as all that changes a mapping; mapping_read_only looks whether that is needed.
 */
int mapping_map_read_only(struct mapping *mapping);

static inline uint8_t *mapping_read_only(const struct mapping *mapping)
{
	return atomic_load_explicit(&mapping->read_only, memory_order_acquire);
}

/* Closes and unmaps everything but `former`: as it was when it was new. */
void mapping_drop(struct mapping *mapping);

/* Unmaps segment and view; the lock stays open. */
void mapping_unmap(struct mapping *mapping);

/*
 * The session is over, and the memory may be given to others: the segment's addresses become inaccessible, and only then the lock is
 * closed. The view stays.
 */
void mapping_revoke(struct mapping *mapping);

/*
 * Around a fork: before it, after it in the parent, and in the child, which closes the descriptors and keeps the addresses of
 * the segment inaccessible. `inherited`: mapping_before_fork has run. None of them takes a lock.
 */
void mapping_before_fork(struct mapping *mapping);
void mapping_in_parent(struct mapping *mapping);
void mapping_in_child(struct mapping *mapping, bool inherited);

/* Whether `size` bytes from `offset` on lie in the segment as it is now: another daemon may have made it larger meanwhile. */
static inline bool mapping_holds(const struct mapping *mapping, uint64_t offset, uint64_t size)
{
	uint64_t end = atomic_load_explicit(&mapping->view.header->size, memory_order_acquire);

	if (end > mapping->max_size)
		end = mapping->max_size;
	return offset <= end && size <= end - offset;
}

#endif
