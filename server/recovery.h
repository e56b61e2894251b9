/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a takeover (takeover.c tells the story), one table each, and what they share. Loop thread, before anybody is let in.
 */
#ifndef SERVER_RECOVERY_H
#define SERVER_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "pool.h"
#include "state_layout.h"

/* What the pool cannot be served with: its records contradict each other. The record was named in the log. */
#define RECOVERY_CONTRADICTION (-EUCLEAN)

struct recovery {
	struct pool *pool;
	struct slot_record *open;        /* the one slot that was open when the daemon ended; NULL: none */
	uint32_t open_session;           /* number of its session */
	bool decided;                    /* the open slot's operation has happened */
	uint64_t highest_id;             /* of all records, the dead ones included */
	uint64_t undone, redone, unheld; /* records */
};

/* Had the former daemon decided that all condemned blocks end (collector.c)? */
static inline bool recovery_has_collected(const struct recovery *recovery)
{
	return atomic_load_explicit(&recovery->pool->state_header->collection, memory_order_relaxed) == STATE_COLLECTED;
}

/* Names a record that contradicts others, and returns RECOVERY_CONTRADICTION. */
__attribute__((format(printf, 4, 5))) int recovery_contradiction(const struct recovery *recovery, const char *kind,
                                                                 uint32_t index, const char *format, ...);

/* Records of a table whose memory was ever written to, as the object tells: the others are zero. */
int recovery_count_records(const struct table *table, uint32_t *out_count);

/* The parts, in this order; each file has its own rules. */
int recovery_sessions(struct recovery *recovery);  /* finds the open slot */
int recovery_open_slot(struct recovery *recovery); /* what one word can redo */
int recovery_blocks(struct recovery *recovery);    /* takes ranges in the allocator */
int recovery_references(struct recovery *recovery);
int recovery_names(struct recovery *recovery); /* mends the name index */
int recovery_links(struct recovery *recovery);
int recovery_tickets(struct recovery *recovery);
int recovery_leases(struct recovery *recovery);
int recovery_metadata(struct recovery *recovery); /* what no block names is free */
void recovery_close_slot(struct recovery *recovery);
int recovery_liveness(struct recovery *recovery); /* whose process is gone */

#endif
