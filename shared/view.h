/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a pool's view (view_layout.h) and trusts nothing in it: every index and offset is checked, records are copied before
 * they are believed. Works on any mapping of the object, beside a daemon that writes, hangs or is dead. No memory, no locks;
 * thread-safe as long as the mapping stays.
 */
#ifndef SHARED_VIEW_H
#define SHARED_VIEW_H

#include "view_layout.h"

/* Where the tables lie in a view of given capacities, all in bytes. */
struct view_geometry {
	uint32_t name_buckets;
	uint64_t names_at, blocks_at, metadata_at, view_size;
};
void view_geometry(uint32_t max_blocks, uint32_t max_names, struct view_geometry *out_geometry);

/* An open view. Borrows the mapping. */
struct view {
	const struct view_header *header;
	const struct view_counters *counters;
	const _Atomic uint32_t *buckets;
	const struct name_record *names;
	const struct block_record *blocks;
	const struct metadata_record *metadata;
};

/* What the checksums of header and records cover. */
uint32_t view_header_checksum(const struct view_header *header);
uint32_t block_record_checksum(const struct block_record *record, uint64_t id);
uint32_t block_body_checksum(const struct block_body *body, uint64_t id);
uint32_t name_record_checksum(const struct name_record *record);
uint32_t name_body_checksum(const struct name_body *body, uint64_t first_id);
uint32_t metadata_checksum(const struct metadata_record *record);

/*
 * Opens the view that lies at `base`, `size` bytes mapped. -EAGAIN: half made (no magic); -EPROTONOSUPPORT: another layout
 * version; -EBADMSG: the header contradicts itself or the mapping.
 */
int view_open(const void *base, uint64_t size, struct view *out_view);

/* A live block or name, as it was at one moment. */
struct view_block {
	uint64_t id, offset, size, granted, created_ns;
	uint32_t owner; /* number of the session; 0: none */
	uint32_t uid;
	uint32_t flags;    /* BLOCK_* */
	uint32_t metadata; /* index of its metadata record, plus one; 0: it has none */
	char tag[16];
};
struct view_name {
	uint64_t id, first_id; /* of the publication that counts; of the first one, by which the name is still the same */
	uint64_t block_id, offset, length, created_ns; /* a length of 0: to the end of the block */
	uint32_t block, uid;
	char name[256];
};

/* 1: the record lives and was copied. 0: it does not live. -EBADMSG: its checksum or bounds are wrong. */
int view_read_block(const struct view *view, uint32_t index, struct view_block *out_block);
int view_read_name(const struct view *view, uint32_t index, struct view_name *out_name);

/*
 * The metadata of the block with this id, at this index, as it was at one moment. 1: the block lives, and its metadata was copied, which
 * may be none: `*out_length` is 0 then. 0: it does not live. -EBADMSG.
 */
int view_read_metadata(const struct view *view, uint32_t index, uint64_t id, uint8_t out_bytes[METADATA_MAX],
                       uint32_t *out_length);

/*
 * The record of a live name. 1: found. 0: not found, which may be false where other names of its chain come and go: ask the
 * daemon. A name that is being replaced is found.
 */
int view_find_name(const struct view *view, const char *name, size_t length, uint32_t *out_index);

/* Where a live name leads to, as long as its record's word is still `word`. */
struct view_named {
	uint64_t word, block_id, offset, length; /* a length of 0: to the end of the block */
	uint32_t index, block;                   /* records */
};

/* The same without the checksums, for who looks at the word again afterwards. 1: found. 0: not found, or ask the daemon. */
int view_find_named(const struct view *view, const char *name, size_t length, struct view_named *out_named);

#endif
