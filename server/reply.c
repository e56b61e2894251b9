/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: see reply.h. */
#include "reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "connection.h"
#include "errors.h"
#include "frame.h"
#include "pool.h"
#include "session.h"

void reply_send(struct connection *connection, const Shmbuddy__V1__Reply *reply)
{
	if (!connection || connection->closing)
		return;
	size_t size = shmbuddy__v1__reply__get_packed_size(reply);
	assert(size > 0 && size <= FRAME_MAX);
	uint8_t *bytes = connection_reserve(connection, FRAME_HEADER + size);
	if (!bytes)
		return;
	frame_put_header((uint32_t)size, bytes);
	shmbuddy__v1__reply__pack(reply, bytes + FRAME_HEADER);
	connection_commit(connection, FRAME_HEADER + size);
}

void reply_status(struct connection *connection, uint32_t slot, uint64_t sequence, int status, const char *format, ...)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	char text[512];

	reply.slot = slot;
	reply.sequence = sequence;
	reply.status = (Shmbuddy__V1__Status)status;
	if (status && format) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(text, sizeof text, format, arguments);
		va_end(arguments);
		reply.text = text;
	} else if (status) {
		snprintf(text, sizeof text, "%s", error_sentence(status));
		reply.text = text;
	} else if (slot == 0 && sequence == 0) {
		return; /* nothing to say to nobody */
	}
	reply_send(connection, &reply);
}

/* Packed before the block changes: its metadata stays where it is. */
static void fill_block(const struct pool *pool, uint32_t index, Shmbuddy__V1__Handle *handle, Shmbuddy__V1__Block *block)
{
	const struct block_body *body = blocks_body(&pool->blocks, index);

	handle->id = record_id(blocks_word(&pool->blocks, index));
	handle->index = index;
	handle->incarnation = pool->incarnation;
	block->handle = handle;
	block->offset = pool->blocks.records[index].offset;
	block->size = body->size;
	block->granted = body->granted;
	block->sealed = body->flags & BLOCK_SEALED;
	if (body->metadata) {
		struct metadata_record *metadata = &pool->metadata.records[body->metadata - 1];
		block->metadata = (ProtobufCBinaryData){metadata->length, metadata->bytes};
	}
}

void reply_block(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool, uint32_t index)
{
	reply_range(connection, slot, sequence, pool, index, (struct name_range){0});
}

void reply_range(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool, uint32_t index,
                 struct name_range range)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Block block = SHMBUDDY__V1__BLOCK__INIT;
	Shmbuddy__V1__Handle handle = SHMBUDDY__V1__HANDLE__INIT;

	fill_block(pool, index, &handle, &block);
	if (range.offset || range.length) {
		block.offset += range.offset;
		block.size = block.granted = range.length ? range.length : block.size - range.offset;
	}
	reply.slot = slot;
	reply.sequence = sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_BLOCK;
	reply.block = &block;
	reply_send(connection, &reply);
}

void reply_clone_token(struct connection *connection, uint32_t slot, uint64_t sequence, const struct session *copy)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__CloneToken token = SHMBUDDY__V1__CLONE_TOKEN__INIT;

	token.session = copy->number;
	token.token = (ProtobufCBinaryData){sizeof copy->record->token, copy->record->token};
	reply.slot = slot;
	reply.sequence = sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_CLONE_TOKEN;
	reply.clone_token = &token;
	reply_send(connection, &reply);
}

void reply_ticket(struct connection *connection, uint32_t slot, uint64_t sequence, const uint8_t *token)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Ticket ticket = SHMBUDDY__V1__TICKET__INIT;

	ticket.token = (ProtobufCBinaryData){TICKET_TOKEN_SIZE, (uint8_t *)(uintptr_t)token};
	reply.slot = slot;
	reply.sequence = sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_TICKET;
	reply.ticket = &ticket;
	reply_send(connection, &reply);
}

void reply_resized(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool, uint32_t index,
                   bool moved)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__Resized resized = SHMBUDDY__V1__RESIZED__INIT;
	Shmbuddy__V1__Block block = SHMBUDDY__V1__BLOCK__INIT;
	Shmbuddy__V1__Handle handle = SHMBUDDY__V1__HANDLE__INIT;

	fill_block(pool, index, &handle, &block);
	resized.block = &block;
	resized.moved = moved;
	reply.slot = slot;
	reply.sequence = sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_RESIZED;
	reply.resized = &resized;
	reply_send(connection, &reply);
}

void reply_block_batch(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool,
                       uint64_t first_id, uint32_t *indexes, size_t count)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__BlockBatch batch = SHMBUDDY__V1__BLOCK_BATCH__INIT;
	uint64_t *offsets = malloc(2 * count * sizeof *offsets);

	if (!offsets) {
		/* It has happened and is recorded: the client that connects again and asks again gets it. */
		if (connection)
			connection_close(connection);
		return;
	}
	uint64_t *granted = offsets + count;
	for (size_t i = 0; i < count; i++) {
		bool gone = indexes[i] == REPLY_NO_BLOCK;
		offsets[i] = gone ? 0 : pool->blocks.records[indexes[i]].offset;
		granted[i] = gone ? 0 : blocks_body(&pool->blocks, indexes[i])->granted;
	}
	batch.first_id = first_id;
	batch.incarnation = pool->incarnation;
	batch.n_index = batch.n_offset = batch.n_granted = count;
	batch.index = indexes;
	batch.offset = offsets;
	batch.granted = granted;
	reply.slot = slot;
	reply.sequence = sequence;
	reply.result_case = SHMBUDDY__V1__REPLY__RESULT_BLOCK_BATCH;
	reply.block_batch = &batch;
	reply_send(connection, &reply);
	free(offsets);
}
