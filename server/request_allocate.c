/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocate, one block or a batch. Most requests find their memory committed and are answered at once; the others keep their
 * slot, and are answered when there is room for them (wait_queue.h), when the committer has been to the kernel, or when their time is over.
 */
#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "allocation.h"
#include "connection.h"
#include "daemon.h"
#include "errors.h"
#include "name.h"
#include "out_of_memory.h"
#include "size.h"

/* As shmbuddy.h says: SHMB_ALIGNMENT_MAX. */
#define ALIGNMENT_MAX (UINT64_C(1) << 30)

/* All that may refuse a request before memory is looked for. 0, or an ERROR_* with a sentence. */
static int check(uint64_t alignment, const char *tag, const char **out_text)
{
	if (alignment && (!size_is_power_of_two(alignment) || alignment > ALIGNMENT_MAX)) {
		*out_text = "the alignment must be a power of two, at most 1G";
		return ERROR_INVALID_ARGUMENT;
	}
	if (tag_check(tag, strlen(tag)) < 0) {
		*out_text = "the tag must be at most 15 bytes of UTF-8 without control characters";
		return ERROR_INVALID_ARGUMENT;
	}
	return 0;
}

/* The same of the name that an allocation brings. */
static int check_name(const struct request *request, char room[PUBLICATION_TEXT_MAX], const char **out_text)
{
	const Shmbuddy__V1__Allocate *message = request->message->allocate;
	const struct publication_wish wish = {message->name, strlen(message->name), message->replace, request->slot.session};

	*out_text = room;
	if (name_check(wish.name, wish.length) == 0)
		return publication_check(request->pool, &wish, room);
	*out_text = "the name must be 1 to 255 bytes of UTF-8, without control characters, and not start with \"//\"";
	return ERROR_BAD_NAME;
}

/* Memory has been found and committed: the blocks come to be. */
static void finish(struct allocation *allocation, struct connection *connection)
{
	const struct slot *slot = &allocation->slot;
	struct pool *pool = slot->session->pool;
	const uint32_t *indexes = allocation->indexes;
	char text[PUBLICATION_TEXT_MAX];

	text[0] = '\0';
	int error = allocation_write(allocation, text);

	if (error == ERROR_OUT_OF_MEMORY)
		out_of_memory_reply(connection, slot, pool, &allocation->refusal);
	else if (error)
		reply_status(connection, slot->index, slot->sequence, error, "%s", text[0] ? text : error_sentence(error));
	else if (allocation->operation == SLOT_RESIZE)
		reply_resized(connection, slot->index, slot->sequence, pool, indexes[0], true);
	else if (allocation->batch)
		reply_block_batch(connection, slot->index, slot->sequence, pool, record_id(blocks_word(&pool->blocks, indexes[0])),
		                  allocation->indexes, allocation->count);
	else
		reply_block(connection, slot->index, slot->sequence, pool, indexes[0]);
	pool_publish_counters(pool);
}

static void refuse(struct allocation *allocation, struct connection *connection)
{
	const struct slot *slot = &allocation->slot;

	slot_refuse(slot, allocation->operation, ERROR_OUT_OF_MEMORY);
	out_of_memory_reply(connection, slot, slot->session->pool, &allocation->refusal);
	pool_publish_counters(slot->session->pool);
}

/* The committer has been to the kernel, or the wait for room is over. The client may have another connection by now, or none. */
static void finished(struct allocation *allocation, int result)
{
	struct connection *connection = allocation->slot.session->connection;

	if (result == 0)
		finish(allocation, connection);
	else if (result != -ECANCELED)
		refuse(allocation, connection);
	struct pool *pool = allocation->slot.session->pool;
	allocation_free(allocation);
	name_waiters_tell(&pool->name_waiters);
	/* Last: a client that is gone takes its session along here. */
	if (connection)
		connection_flush(connection);
}

/* Too many wait already. */
static void refuse_to_wait(const struct request *request, enum slot_operation operation, const char *text)
{
	slot_refuse(&request->slot, operation, ERROR_LIMIT);
	if (text[0]) {
		request_reply(request, ERROR_LIMIT, "there is no room, and who waits for it counts: %s", text);
		return;
	}
	request_reply(request, ERROR_LIMIT,
	              "there is no room, and as many wait for it as may: %d requests, for %u blocks; try again later",
	              WAIT_QUEUE_MAX, (unsigned)WAIT_QUEUE_BLOCKS_MAX);
}

void request_start_allocation(struct request *request, struct allocation *allocation, uint64_t alignment, uint32_t wait_ms)
{
	allocation->slot = request->slot;
	allocation->finished = finished;
	allocation->alignment = alignment;
	allocation->wait_ms = wait_ms;
	char text[CHARGE_TEXT_MAX];

	text[0] = '\0'; /* not all of it is cleared for each request */
	int result = allocation_start(allocation, text);
	if (result == 0)
		return;
	if (result == -EDQUOT)
		refuse_to_wait(request, allocation->operation, text);
	else if (result < 0)
		refuse(allocation, request->connection);
	else
		finish(allocation, request->connection);
	allocation_free(allocation);
}

static void refuse_early(struct request *request, enum slot_operation operation, int error, const char *text)
{
	slot_refuse(&request->slot, operation, (uint32_t)error);
	request_reply(request, error, "%s", text);
}

void request_allocate(struct request *request)
{
	const Shmbuddy__V1__Allocate *message = request->message->allocate;
	struct allocation *allocation;
	char room[PUBLICATION_TEXT_MAX];
	const char *text = "the size must be at least 1 byte";
	int error = message->size ? check(message->alignment, message->tag, &text) : ERROR_INVALID_ARGUMENT;

	if (!error && message->ttl_ms > DEADLINES_TTL_MAX) {
		text = "the time to live must be at most 30 days";
		error = ERROR_INVALID_ARGUMENT;
	}
	if (!error && message->name[0])
		error = check_name(request, room, &text);
	if (!error && message->metadata.len > METADATA_MAX) {
		text = "metadata has at most 256 bytes";
		error = ERROR_INVALID_ARGUMENT;
	}
	if (!error && allocation_new(1, false, &allocation) < 0) {
		text = "the daemon itself has no memory left";
		error = ERROR_SYSTEM;
	}
	if (error) {
		refuse_early(request, SLOT_ALLOCATE, error, text);
		return;
	}
	allocation->sizes[0] = message->size;
	allocation->ttl_ms = message->ttl_ms;
	allocation->name_length = strlen(message->name);
	memcpy(allocation->name, message->name, allocation->name_length);
	allocation->replace = message->replace;
	allocation->tag_length = strlen(message->tag);
	memcpy(allocation->tag, message->tag, allocation->tag_length);
	allocation->metadata_length = message->metadata.len;
	if (allocation->metadata_length)
		memcpy(allocation->metadata, message->metadata.data, allocation->metadata_length);
	request_start_allocation(request, allocation, message->alignment, message->wait_ms);
}

void request_allocate_batch(struct request *request)
{
	const Shmbuddy__V1__AllocateBatch *message = request->message->allocate_batch;
	struct allocation *allocation;
	const char *text = "a batch has 1 to 4096 sizes, each at least 1 byte";
	int error = message->n_size && message->n_size <= DAEMON_BATCH_MAX ? check(message->alignment, message->tag, &text)
	                                                                   : ERROR_INVALID_ARGUMENT;

	for (size_t i = 0; i < message->n_size && !error; i++)
		error = message->size[i] ? 0 : ERROR_INVALID_ARGUMENT;
	if (!error && allocation_new(message->n_size, true, &allocation) < 0) {
		text = "the daemon itself has no memory left";
		error = ERROR_SYSTEM;
	}
	if (error) {
		refuse_early(request, SLOT_ALLOCATE_BATCH, error, text);
		return;
	}
	memcpy(allocation->sizes, message->size, message->n_size * sizeof *message->size);
	allocation->tag_length = strlen(message->tag);
	memcpy(allocation->tag, message->tag, allocation->tag_length);
	request_start_allocation(request, allocation, message->alignment, message->wait_ms);
}
