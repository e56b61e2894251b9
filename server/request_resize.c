/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resize: a block that the session holds gets another size.
 *
 * Smaller: in its place, where nobody else holds it (lifetime_seclude) and no name stands for what would go; the tail is free in the moment
 * in which the block's record says so, and served to those who wait. A name for the whole block, or for a range to its end, stands for
 * what there is, and is in nobody's way as long as a byte of it is left: who looks it up later finds the smaller block, who has looked
 * it up holds it. Larger, and within what was granted: only the record changes. Larger than that: in its place, where what lies
 * behind it is free and it is charged to the same user (extension.c), once that is committed; meanwhile the block may have gone or changed, and then the request
 * begins again. Else a new block is allocated, with the tag and the metadata of the old one, which stays what it is. Whoever asked
 * is told which. A kernel without memory for the tail has none for a whole block either: refused. It takes memory as an allocation does
 * that does not wait: none that is set aside for those who do.
 */
#include "request.h"

#include <errno.h>
#include <string.h>

#include "allocation.h"
#include "block_change.h"
#include "connection.h"
#include "errors.h"
#include "extension.h"
#include "handle.h"
#include "out_of_memory.h"
#include "page_holds.h"
#include "size.h"

static void refuse(struct request *request, int error, const char *text)
{
	slot_refuse(&request->slot, SLOT_RESIZE, (uint32_t)error);
	if (text)
		request_reply(request, error, "%s", text);
	else
		request_reply(request, error, NULL);
}

static void change(struct request *request, uint32_t block, uint64_t size, uint64_t granted, enum record_state state)
{
	struct block_body body = *blocks_body(&request->pool->blocks, block);

	body.size = size;
	body.granted = granted;
	block_change_perform(&request->slot, SLOT_RESIZE, block, &body, state);
	reply_resized(request->connection, request->slot.index, request->slot.sequence, request->pool, block, false);
	pool_publish_counters(request->pool);
}

/* ---- Smaller ---------------------------------------------------------------------------------------------------- */

/* Does a name stand for bytes from `size` on? One to the end of the block stands for a byte at least, and for what is there. */
static bool is_named(const struct pool *pool, uint32_t block, uint64_t size)
{
	for (uint32_t link = pool->blocks.names[block]; link; link = pool->names.of_block[link - 1].next) {
		struct name_range range = names_range(&pool->names, link - 1);
		if (range.offset + (range.length ? range.length : 1) > size)
			return true;
	}
	return false;
}

static void shrink(struct request *request, uint32_t block, uint64_t size)
{
	struct pool *pool = request->pool;
	enum record_state state = record_state(blocks_word(&pool->blocks, block));
	uint64_t units = (size + pool->unit - 1) / pool->unit, granted = buddy_rounded(units) * pool->unit;
	uint64_t former = blocks_body(&pool->blocks, block)->granted;

	if (is_named(pool, block, size)) {
		refuse(request, ERROR_IN_USE, "a name stands for bytes of the block that would go: take it away first");
		return;
	}
	int error = lifetime_seclude(request->slot.session, block);
	if (error)
		refuse(request, error,
		       error == ERROR_IN_USE ? "others hold the block: it can shrink once they have let go of it"
		                             : PAGE_HOLDS_TOO_MUCH);
	else
		change(request, block, size, granted < former ? granted : former, state);
}

/* ---- Larger ----------------------------------------------------------------------------------------------------- */

static void perform(struct request *request, const struct handle *handle, uint64_t size);

/* A new block, that whoever asked fills. */
static void move(struct request *request, uint32_t block, uint64_t size)
{
	const struct block_record *record = &request->pool->blocks.records[block];
	const uint32_t link = blocks_body(&request->pool->blocks, block)->metadata;
	struct allocation *allocation;

	if (allocation_new(1, false, &allocation) < 0) {
		refuse(request, ERROR_SYSTEM, "the daemon itself has no memory left");
		return;
	}
	allocation->operation = SLOT_RESIZE;
	allocation->sizes[0] = size;
	allocation->tag_length = strlen(record->tag);
	memcpy(allocation->tag, record->tag, allocation->tag_length);
	if (link) {
		const struct metadata_record *metadata = &request->pool->metadata.records[link - 1];
		allocation->metadata_length = metadata->length;
		memcpy(allocation->metadata, metadata->bytes, metadata->length);
	}
	request_start_allocation(request, allocation, 0, 0);
}

/* The tail is there: it becomes the block's. */
static void grow(struct request *request, struct extension *extension)
{
	const struct handle handle = {extension->id, extension->block, request->pool->incarnation};
	struct blocks *blocks = &request->pool->blocks;
	const uint64_t size = extension->size;

	if (extension_fits(extension) && !block_change_check(&request->slot, &handle)) {
		uint64_t granted = blocks_body(blocks, extension->block)->granted + extension->tail.length;
		extension_merge(extension);
		change(request, extension->block, size, granted, record_state(blocks_word(blocks, extension->block)));
		extension_free(extension);
		return;
	}
	extension_release(extension);
	pool_publish_counters(request->pool);
	extension_free(extension);
	perform(request, &handle, size);
}

static void refuse_kernel(struct request *request, struct extension *extension)
{
	const struct allocation_refusal refusal = {
		.requested = extension->size,
		.granted = extension->tail.offset + extension->tail.length - request->pool->blocks.records[extension->block].offset,
		.kernel_free = extension->job.kernel_free,
		.limit = SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL,
	};

	slot_refuse(&request->slot, SLOT_RESIZE, ERROR_OUT_OF_MEMORY);
	out_of_memory_reply(request->connection, &request->slot, request->pool, &refusal);
	extension_free(extension);
	pool_publish_counters(request->pool);
}

/* The committer has been to the kernel. The client may have another connection by now, or none. */
static void finished(struct extension *extension, int result)
{
	struct session *session = extension->slot.session;
	struct connection *connection = session->connection;
	struct request request = {.connection = connection, .pool = session->pool, .slot = extension->slot};

	if (result < 0)
		refuse_kernel(&request, extension);
	else
		grow(&request, extension);
	/* Last: a client that is gone takes its session along here. */
	if (connection)
		connection_flush(connection);
}

static void extend(struct request *request, uint32_t block, uint64_t size)
{
	struct extension *extension;

	if (extension_new(&request->slot, block, size, &extension) < 0) {
		refuse(request, ERROR_SYSTEM, "the daemon itself has no memory left");
		return;
	}
	extension->finished = finished;
	int result = extension_start(extension);
	if (result == 0)
		return;
	if (result > 0) {
		grow(request, extension);
	} else if (result == -ENOSPC) {
		refuse_kernel(request, extension);
	} else {
		extension_free(extension);
		move(request, block, size);
	}
}

/* ---- Which of them ---------------------------------------------------------------------------------------------- */

static void perform(struct request *request, const struct handle *handle, uint64_t size)
{
	int error = block_change_check(&request->slot, handle);

	if (error) {
		refuse(request, error, NULL);
		return;
	}
	const struct block_body *body = blocks_body(&request->pool->blocks, handle->index);
	if (size < body->size)
		shrink(request, handle->index, size);
	else if (size <= body->granted)
		change(request, handle->index, size, body->granted,
		       record_state(blocks_word(&request->pool->blocks, handle->index)));
	else
		extend(request, handle->index, size);
}

void request_resize(struct request *request)
{
	const Shmbuddy__V1__Resize *message = request->message->resize;
	const Shmbuddy__V1__Handle *handle = message->handle;

	if (!handle || message->size == 0)
		refuse(request, ERROR_INVALID_ARGUMENT, "a resize needs a block, and a size of at least 1 byte");
	else
		perform(request, &(struct handle){handle->id, handle->index, handle->incarnation}, message->size);
}
