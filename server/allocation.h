/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request for blocks on its way: found in the segment, then committed, then written into the tables. Before it is found, if it has to
 * wait for memory, and between the second and the third other requests may run; until then only the buddy allocator
 * knows of it. Owned by whoever made it, until it is finished. Loop thread only.
 */
#ifndef SERVER_ALLOCATION_H
#define SERVER_ALLOCATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admission.h"
#include "committer.h"
#include "eviction.h"
#include "publication.h"
#include "session.h"
#include "slot.h"
#include "view_layout.h"
#include "wait_queue.h"

/* What a refusal for want of memory was about. */
struct allocation_refusal {
	uint64_t requested, granted, kernel_free; /* bytes */
	uint64_t batch;                           /* bytes asked for by the whole batch; 0: no batch */
	int limit;                                /* Shmbuddy__V1__OutOfMemory__Limit */
	uint32_t waited_ms;                       /* it has waited for so long; 0: not at all */
	bool set_aside;                           /* there may be room, but for one who waits, and came before */
	bool never;                               /* an empty segment would not do either, or the quota is too small for it */
	enum quota_kind kind;                     /* of a quota: QUOTA_BYTES or QUOTA_BLOCKS; and so the next three */
	uint64_t quota, used;                     /* of that; with GUARANTEE: what is guaranteed to others, and not used yet */
	uint64_t used_blocks;                     /* in which the used bytes are */
};

struct allocation {
	struct commit_job job; /* first: the committer knows the allocation by it */
	struct waiter waiter;
	struct admission admission;
	struct deferred deferred;
	struct eviction_search evictable; /* cache blocks that may still go for its account's sake; */
	uint64_t evict_seen;              /* and how many had become idle by then */
	bool evicts;                      /* these two have been set */
	uint32_t wait_ms;   /* how long it waits for room at most; 0: not, but for what is on its way back by itself */
	uint64_t alignment; /* bytes; 0: none asked for */
	struct slot slot;
	void (*finished)(struct allocation *allocation, int result); /* allocation_start's last word; frees the allocation */
	struct allocation_refusal refusal;                           /* of what failed with -ENOMEM or -ENOSPC */
	uint64_t ttl_ms;                                             /* time to live; 0: none */
	char name[256];                                              /* to publish; empty: none */
	size_t name_length;
	bool replace; /* the name, if it is published already */
	char tag[16];
	size_t tag_length;
	uint8_t metadata[METADATA_MAX];
	size_t metadata_length;        /* 0: none */
	enum slot_operation operation; /* that the slot records */
	size_t count;
	struct commit_range *ranges; /* what was found: offset and granted size, bytes */
	uint64_t *sizes;             /* bytes asked for */
	uint32_t *indexes; /* of the records, once written: `index`, or `kept` of a batch, which the session then keeps */
	uint32_t *kept, index;
	bool batch;
};

/* With room for `count` blocks; 1, unless it is a batch. */
int allocation_new(size_t count, bool batch, struct allocation **out_allocation);
void allocation_free(struct allocation *allocation);

/*
 * Finds and commits memory for all blocks, if quotas let it. 1: done, go on with allocation_write. 0: `finished` will be called, with 0, or
 * -ECANCELED, or one of these errors, after which nothing is left of it but `refusal`: -ENOMEM: the segment has no room for one of
 * the blocks, the table for so many, or a quota; -ENOSPC: the kernel has no memory. Or, at once, -EDQUOT: as many wait as may, of the session
 * and its user with a sentence in `out_text`.
 */
int allocation_start(struct allocation *allocation, char out_text[CHARGE_TEXT_MAX]);

/*
 * Writes the blocks, and the name, the lease and the metadata, into the tables, decides and records: the request has happened. 0, or an
 * ERROR_* of publication_prepare, with its sentence, ERROR_LIMIT (no more leases, or metadata), or ERROR_OUT_OF_MEMORY (no record left, or
 * no memory for one; `refusal` says which): recorded as well, and nothing is left of it. `out_text` is left alone where there is nothing
 * more to say.
 */
int allocation_write(struct allocation *allocation, char out_text[PUBLICATION_TEXT_MAX]);

#endif
