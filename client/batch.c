/* SPDX-License-Identifier: Apache-2.0 */
/* Many blocks in one round trip, all or none. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "block.h"
#include "cleanup.h"

/* What one request can carry: the protocol's own bound, or less where the daemon says so. */
static int check_count(const struct shmb_session *session, size_t count)
{
	if (count == 0 || count > SHMB_BATCH_MAX)
		return last_error_set(ERROR_INVALID_ARGUMENT, "a batch has 1 to %d blocks, not %zu", SHMB_BATCH_MAX, count);
	if (count > session->max_batch)
		return last_error_set(ERROR_LIMIT, "this daemon takes %" PRIu32 " blocks in one batch at most, not %zu",
		                      session->max_batch, count);
	return 0;
}

struct batch_call {
	struct call call;
	const struct shmb_session *session;
	const uint64_t *sizes;
	size_t count;
	uint64_t alignment;
	shmb_block *out_blocks;
};

static int accept_nth(const struct batch_call *batch, const Shmbuddy__V1__BlockBatch *from, size_t n, shmb_block *out_block)
{
	const shmb_block described = {
		.handle = {.id = from->first_id + n, .index = from->index[n], .incarnation = from->incarnation},
		.offset = from->offset[n],
		.size = batch->sizes[n],
		.granted = from->granted[n],
	};

	return block_accept(batch->session, &described, out_block);
}

static int take_blocks(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	const struct batch_call *batch = (const struct batch_call *)call;
	const Shmbuddy__V1__BlockBatch *from = reply->block_batch;
	shmb_block block;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH || from->n_index != batch->count ||
	    from->n_offset != batch->count || from->n_granted != batch->count || from->first_id > UINT64_MAX - batch->count)
		return -EPROTO;
	/* All are checked before the first is written. */
	for (size_t i = 0; i < batch->count; i++)
		if (accept_nth(batch, from, i, &block) < 0 || (batch->alignment && block.offset & (batch->alignment - 1)))
			return -EPROTO;
	for (size_t i = 0; i < batch->count; i++)
		accept_nth(batch, from, i, &batch->out_blocks[i]);
	return 0;
}

int shmb_alloc_batch(shmb_session *session, const uint64_t *sizes, size_t count, const shmb_alloc_options *options,
                     shmb_block *out_blocks)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__AllocateBatch body = SHMBUDDY__V1__ALLOCATE_BATCH__INIT;
	struct batch_call batch;
	int r;

	if (!sizes || !out_blocks)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", sizes ? "out_blocks" : "sizes");
	r = session_enter(session);
	if (r == 0)
		r = check_count(session, count);
	if (r == 0)
		r = block_check_options(session, options);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (sizes[i] == 0)
			return last_error_set(ERROR_INVALID_ARGUMENT, "a block has 1 byte or more, not 0: sizes[%zu]", i);
	if (options) {
		if (options->name)
			return last_error_set(ERROR_INVALID_ARGUMENT, "the blocks of a batch cannot all have the name \"%s\"",
			                      options->name);
		if (options->metadata_size)
			return last_error_set(ERROR_INVALID_ARGUMENT, "the blocks of a batch are allocated without metadata");
		body.alignment = options->alignment;
		body.tag = options->tag ? (char *)(uintptr_t)options->tag : body.tag;
		body.wait_ms = options->wait_ms;
	}
	body.n_size = count;
	body.size = (uint64_t *)(uintptr_t)sizes; /* protobuf-c only reads it */
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE_BATCH;
	request.allocate_batch = &body;
	call_init(&batch.call, take_blocks);
	batch.call.wait_ms = body.wait_ms ? &body.wait_ms : NULL;
	batch.session = session;
	batch.sizes = sizes;
	batch.count = count;
	batch.alignment = body.alignment;
	batch.out_blocks = out_blocks;
	return session_perform(session, &batch.call, &request);
}

/* Those of the batch that the daemon knows of: all that have no slot in the hold page. */
static int free_known(struct shmb_session *session, const shmb_handle *handles, size_t count, const uint16_t *slots)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__FreeBatch body = SHMBUDDY__V1__FREE_BATCH__INIT;
	struct known {
		uint64_t ids[SHMB_BATCH_MAX];
		uint32_t indexes[SHMB_BATCH_MAX];
	};
	CLEANUP_FREE struct known *known = malloc(sizeof *known);
	struct call call;

	if (!known)
		return last_error_system(ENOMEM, "cannot free a batch");
	for (size_t i = 0; i < count; i++) {
		if (slots[i] != HOLD_SLOTS)
			continue;
		known->ids[body.n_id] = handles[i].id;
		known->indexes[body.n_id++] = handles[i].index;
	}
	if (!body.n_id)
		return 0;
	body.incarnation = session->incarnation;
	body.n_index = body.n_id;
	body.id = known->ids;
	body.index = known->indexes;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE_BATCH;
	request.free_batch = &body;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

int shmb_free_batch(shmb_session *session, const shmb_handle *handles, size_t count)
{
	uint16_t slots[SHMB_BATCH_MAX];
	int r;

	if (!handles)
		return last_error_set(ERROR_INVALID_ARGUMENT, "handles is NULL");
	r = session_enter(session);
	if (r == 0)
		r = check_count(session, count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		r = block_check_handle(handles[i]);
		if (r < 0)
			return r;
		if (handles[i].incarnation != session->incarnation)
			return last_error_set(ERROR_OTHER_POOL, "handles[%zu] comes from another pool, or a former life of this one", i);
	}
	/* The hold page's own go last: if the daemon refuses the others, none is given back. */
	holds_claim(session, handles, count, slots);
	r = free_known(session, handles, count, slots);
	holds_settle(session, handles, count, slots, r < 0);
	return r;
}
