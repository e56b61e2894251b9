/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of metadata: up to METADATA_MAX bytes of a block, the user's own, in the view. A record belongs to the block whose body names it,
 * never changes while it is named, and has no state of its own (view_layout.h). Owned by the pool; loop thread only.
 */
#ifndef SERVER_METADATA_H
#define SERVER_METADATA_H

#include <stddef.h>
#include <stdint.h>

#include "table.h"
#include "view_layout.h"

/* Why there is no record for more. */
#define METADATA_LIMIT_TEXT "the pool has as many blocks with metadata as it takes: free some, or take their metadata away"

struct metadata {
	struct table table;
	struct metadata_record *records;
	_Atomic uint64_t *used; /* in the view: readers look no further */
};

/* `view` is mapped, with its header and counters. */
int metadata_init(struct metadata *metadata, const struct shared_object *view);
void metadata_deinit(struct metadata *metadata);

/* Writes a record, which counts once a body names it, at an index from table_take; `length` from 1 to METADATA_MAX. */
void metadata_write(struct metadata *metadata, uint32_t index, uint64_t block_id, const uint8_t *bytes, size_t length);

/* What no body names any more is given back. Nothing for link 0. */
void metadata_give(struct metadata *metadata, uint32_t link);

#endif
