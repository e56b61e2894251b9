/* SPDX-License-Identifier: Apache-2.0 */
/* The table of leases: the blocks with a time to live, which are held until then. Owned by the pool; loop thread only. */
#ifndef SERVER_LEASES_H
#define SERVER_LEASES_H

#include <stdint.h>

#include "state_layout.h"
#include "table.h"

struct leases {
	struct table table;
	struct lease_record *records;
	uint64_t count; /* live ones */
};

int leases_init(struct leases *leases, const struct shared_object *state, uint64_t at, uint32_t capacity);
void leases_deinit(struct leases *leases);

/* Writes a lease, PENDING, at an index from table_take. */
void leases_write(struct leases *leases, uint32_t index, uint32_t block, uint64_t block_id, uint64_t deadline);

/* LIVE with this deadline, or, with 0, FREE: then its index is given back as well. One store. */
void leases_set(struct leases *leases, uint32_t index, uint64_t deadline);

/* What the word of a lease says: deadline, state, and 16 bits in between by which damage shows. 0 where it is FREE. */
uint64_t lease_word(uint64_t deadline, enum record_state state);

/* Over what never changes in a lease's life. */
uint32_t lease_checksum(const struct lease_record *record);

static inline uint64_t leases_word(const struct leases *leases, uint32_t index)
{
	return atomic_load_explicit(&leases->records[index].word, memory_order_relaxed);
}

#endif
