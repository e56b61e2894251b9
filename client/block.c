/* SPDX-License-Identifier: Apache-2.0 */
/* One block: allocating, freeing, removing, and its address. */
#include "block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "deadline.h"
#include "hold_page.h"
#include "name.h"
#include "size.h"

int block_accept(const struct shmb_session *session, const shmb_block *described, shmb_block *out_block)
{
	const struct mapping *mapping = session->mapping;
	uint8_t *base = described->sealed ? mapping_read_only(mapping) : mapping->base;

	if (described->handle.id == 0 || described->handle.incarnation != session->incarnation || described->size == 0 ||
	    described->size > described->granted || !mapping_holds(mapping, described->offset, described->granted))
		return -EPROTO;
	*out_block = *described;
	out_block->data = base ? base + described->offset : NULL;
	return 0;
}

int block_from_message(const struct shmb_session *session, const Shmbuddy__V1__Block *message, shmb_block *out_block)
{
	if (!message || !message->handle)
		return -EPROTO;

	const Shmbuddy__V1__Handle *handle = message->handle;
	const shmb_block described = {
		.handle = {.id = handle->id, .index = handle->index, .incarnation = handle->incarnation},
		.offset = message->offset,
		.size = message->size,
		.granted = message->granted,
		.sealed = message->sealed,
	};

	return block_accept(session, &described, out_block);
}

bool block_narrow(shmb_block *block, uint64_t offset, uint64_t length)
{
	if (offset >= block->size || length > block->size - offset)
		return false;
	if (offset == 0 && length == 0)
		return true;
	block->size = length ? length : block->size - offset;
	block->granted = block->size;
	block->offset += offset;
	if (block->data)
		block->data = (uint8_t *)block->data + offset;
	return true;
}

int block_from_reply(const struct shmb_session *session, const Shmbuddy__V1__Reply *reply, shmb_block *out_block)
{
	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_BLOCK)
		return -EPROTO;
	return block_from_message(session, reply->block, out_block);
}

static int map_read_only(struct shmb_session *session)
{
	int r;

	if (mapping_read_only(session->mapping))
		return 0;
	pthread_mutex_lock(&session->exchange.mutex);
	r = mapping_map_read_only(session->mapping);
	pthread_mutex_unlock(&session->exchange.mutex);
	return r;
}

int block_hand_out(struct shmb_session *session, const shmb_block *block, shmb_block *out_block)
{
	uint8_t *data = block->data;

	if (!data && block->sealed) {
		int r = map_read_only(session);
		if (r < 0) {
			char sentence[LAST_ERROR_MAX];
			snprintf(sentence, sizeof sentence, "%s", shmb_last_error());
			shmb_free(session, block->handle);
			return last_error_set((enum error_code) - r, "%s", sentence);
		}
		data = mapping_read_only(session->mapping) + block->offset;
	}
	*out_block = *block;
	out_block->data = data;
	return 0;
}

static int check_alignment(const struct shmb_session *session, uint64_t alignment)
{
	char asked[SIZE_EXACT_MAX], pool[SIZE_EXACT_MAX], most[SIZE_EXACT_MAX];

	if (alignment == 0 || (size_is_power_of_two(alignment) && alignment <= session->mapping->alignment))
		return 0;
	size_format_exact(alignment, asked);
	if (!size_is_power_of_two(alignment) || alignment > SHMB_ALIGNMENT_MAX)
		return last_error_set(ERROR_INVALID_ARGUMENT, "an alignment is a power of two up to 1G, which %s is not", asked);
	size_format_exact(session->mapping->max_size, pool);
	size_format_exact(session->mapping->alignment, most);
	return last_error_set(ERROR_INVALID_ARGUMENT, "in a pool of up to %s the largest alignment is %s, not %s", pool, most,
	                      asked);
}

int block_check_options(const struct shmb_session *session, const shmb_alloc_options *options)
{
	if (!options)
		return 0;
	int r = check_alignment(session, options->alignment);
	if (r < 0)
		return r;
	if (options->tag && tag_check(options->tag, strlen(options->tag)) < 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "a tag is up to %d bytes of UTF-8 without control characters",
		                      SHMB_TAG_MAX);
	return block_check_metadata(options->metadata, options->metadata_size);
}

int block_check_metadata(const void *metadata, size_t size)
{
	if (size > SHMB_METADATA_MAX)
		return last_error_set(ERROR_INVALID_ARGUMENT, "metadata has at most %d bytes, not %zu", SHMB_METADATA_MAX, size);
	if (size && !metadata)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the metadata is NULL");
	return 0;
}

int block_check_ttl(uint64_t ttl_ms)
{
	if (ttl_ms > SHMB_TTL_MAX_MS)
		return last_error_set(ERROR_INVALID_ARGUMENT,
		                      "a time to live is at most 30 days, %" PRIu64 " ms, not %" PRIu64 " ms", SHMB_TTL_MAX_MS,
		                      ttl_ms);
	return 0;
}

int block_check_handle(shmb_handle handle)
{
	if (handle.id == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the handle is that of no block: its id is 0");
	return 0;
}

Shmbuddy__V1__Handle block_wire_handle(shmb_handle handle)
{
	Shmbuddy__V1__Handle wire = SHMBUDDY__V1__HANDLE__INIT;

	wire.id = handle.id;
	wire.index = handle.index;
	wire.incarnation = handle.incarnation;
	return wire;
}

int block_find_handle(struct shmb_session *session, uint64_t id, Shmbuddy__V1__Handle *out_wire)
{
	shmb_block_info info;
	int r = session_enter(session);

	if (r == 0)
		r = shmb_find_block(session, id, &info);
	if (r == 0)
		*out_wire = block_wire_handle(info.handle);
	return r;
}

int block_gone(int result, uint64_t id)
{
	if (result == -ERROR_STALE_HANDLE)
		return last_error_set(ERROR_NO_SUCH_BLOCK, "no live block has the id %" PRIu64, id);
	return result;
}

struct fetch_call {
	struct call call;
	const struct shmb_session *session;
	shmb_block *out_block;
};

static int take_fetched(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	const struct fetch_call *fetch = (const struct fetch_call *)call;

	return block_from_reply(fetch->session, reply, fetch->out_block);
}

int block_fetch(struct shmb_session *session, Shmbuddy__V1__Request *request, uint32_t *wait_ms, shmb_block *out_block)
{
	shmb_block block = {0};
	struct fetch_call fetch = {.session = session, .out_block = &block};

	call_init(&fetch.call, take_fetched);
	fetch.call.wait_ms = wait_ms;
	int64_t until = deadline_in(session_timeout(session, wait_ms));
	int r = session_perform(session, &fetch.call, request);
	if (r < 0)
		return r;
	hold_page_missed(session, until);
	return block_hand_out(session, &block, out_block);
}

/* ---- Allocating ------------------------------------------------------------------------------------------------- */

struct alloc_call {
	struct call call;
	const struct shmb_session *session;
	uint64_t size, alignment;
	shmb_block *out_block;
};

static int take_block(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	const struct alloc_call *alloc = (const struct alloc_call *)call;
	shmb_block block;
	int r = block_from_reply(alloc->session, reply, &block);

	if (r < 0)
		return r;
	if (block.size != alloc->size || (alloc->alignment && block.offset & (alloc->alignment - 1)))
		return -EPROTO;
	*alloc->out_block = block;
	return 0;
}

int shmb_alloc(shmb_session *session, uint64_t size, const shmb_alloc_options *options, shmb_block *out_block)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Allocate allocate = SHMBUDDY__V1__ALLOCATE__INIT;
	struct alloc_call alloc;
	shmb_block block = {0};
	int r;

	if (!out_block)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_block is NULL");
	if (size == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "a block has 1 byte or more, not 0");
	r = session_enter(session);
	if (r == 0)
		r = block_check_options(session, options);
	if (r < 0)
		return r;
	allocate.size = size;
	if (options) {
		if (options->name && name_check(options->name, strlen(options->name)) < 0)
			return last_error_set(ERROR_BAD_NAME, "%s", error_sentence(ERROR_BAD_NAME));
		r = block_check_ttl(options->ttl_ms);
		if (r < 0)
			return r;
		allocate.ttl_ms = options->ttl_ms;
		allocate.alignment = options->alignment;
		allocate.name = options->name ? (char *)(uintptr_t)options->name : allocate.name;
		allocate.tag = options->tag ? (char *)(uintptr_t)options->tag : allocate.tag;
		allocate.wait_ms = options->wait_ms;
		allocate.replace = options->replace;
		allocate.metadata = (ProtobufCBinaryData){options->metadata_size, (uint8_t *)(uintptr_t)options->metadata};
	}
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ALLOCATE;
	request.allocate = &allocate;
	call_init(&alloc.call, take_block);
	alloc.call.wait_ms = allocate.wait_ms ? &allocate.wait_ms : NULL;
	alloc.session = session;
	alloc.size = size;
	alloc.alignment = allocate.alignment;
	alloc.out_block = &block;
	r = session_perform(session, &alloc.call, &request);
	return r < 0 ? r : block_hand_out(session, &block, out_block);
}

int shmb_acquire(shmb_session *session, shmb_handle handle, shmb_block *out_block)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Acquire body = SHMBUDDY__V1__ACQUIRE__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	shmb_block block;
	int r = block_check_handle(handle);

	if (r < 0)
		return r;
	if (!out_block)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_block is NULL");
	r = session_enter(session);
	if (r < 0)
		return r;
	if (holds_acquire(session, handle, &block))
		return block_hand_out(session, &block, out_block);
	body.handle = &wire;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_ACQUIRE;
	request.acquire = &body;
	return block_fetch(session, &request, NULL, out_block);
}

int shmb_free(shmb_session *session, shmb_handle handle)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Free body = SHMBUDDY__V1__FREE__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct call call;
	int r = block_check_handle(handle);

	if (r == 0)
		r = session_enter(session);
	if (r < 0)
		return r;
	if (holds_release(session, handle))
		return 0;
	body.handle = &wire;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_FREE;
	request.free = &body;
	call_init(&call, NULL);
	r = session_perform(session, &call, &request);
	/* Other threads, who took and gave back holds on the same block, may have moved ours past the one that looked for it. */
	return r == -ERROR_NOT_HELD && holds_release(session, handle) ? 0 : r;
}

int shmb_renew(shmb_session *session, shmb_handle handle, uint64_t ttl_ms)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Renew body = SHMBUDDY__V1__RENEW__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct call call;
	int r = block_check_handle(handle);

	if (r == 0)
		r = block_check_ttl(ttl_ms);
	if (r < 0)
		return r;
	body.handle = &wire;
	body.ttl_ms = ttl_ms;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RENEW;
	request.renew = &body;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

int shmb_remove(shmb_session *session, uint64_t id)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Remove body = SHMBUDDY__V1__REMOVE__INIT;
	Shmbuddy__V1__Handle wire;
	struct call call;
	int r = block_find_handle(session, id, &wire);

	if (r < 0)
		return r;
	body.handle = &wire;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_REMOVE;
	request.remove = &body;
	call_init(&call, NULL);
	return block_gone(session_perform(session, &call, &request), id);
}

/* ---- Addresses -------------------------------------------------------------------------------------------------- */

void *shmb_pointer(shmb_session *session, uint64_t offset)
{
	if (session_enter(session) < 0)
		return NULL;
	return mapping_holds(session->mapping, offset, 1) ? session->mapping->base + offset : NULL;
}

const void *shmb_pointer_read_only(shmb_session *session, uint64_t offset)
{
	if (session_enter(session) < 0 || map_read_only(session) < 0)
		return NULL;
	return mapping_holds(session->mapping, offset, 1) ? mapping_read_only(session->mapping) + offset : NULL;
}

/* Of an address in the mapping that starts at `base`; one below it wraps, and is too large. */
static uint64_t offset_from(const uint8_t *base, const void *pointer)
{
	return (uint64_t)((uintptr_t)pointer - (uintptr_t)base);
}

int shmb_offset(shmb_session *session, const void *pointer, uint64_t *out_offset)
{
	const uint8_t *read_only;
	uint64_t offset;
	int r;

	if (!out_offset)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_offset is NULL");
	r = session_enter(session);
	if (r < 0)
		return r;
	read_only = mapping_read_only(session->mapping);
	offset = offset_from(session->mapping->base, pointer);
	if (read_only && !mapping_holds(session->mapping, offset, 1))
		offset = offset_from(read_only, pointer);
	if (!mapping_holds(session->mapping, offset, 1))
		return last_error_set(ERROR_INVALID_ARGUMENT, "the address does not lie in the pool");
	*out_offset = offset;
	return 0;
}
