/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may change of a block while it lives: sealing, metadata, size. Changes are the daemon's; what is the case now stands in the view. Any
 * thread.
 */
#include <errno.h>
#include <string.h>

#include "block.h"
#include "inspect.h"

_Static_assert(SHMB_METADATA_MAX == METADATA_MAX, "as the view has it");

static int seal_block(shmb_session *session, shmb_handle handle, bool cached)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Seal seal = SHMBUDDY__V1__SEAL__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct call call;
	int r = block_check_handle(handle);

	if (r < 0)
		return r;
	seal.handle = &wire;
	seal.cached = cached;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SEAL;
	request.seal = &seal;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

int shmb_seal(shmb_session *session, shmb_handle handle)
{
	return seal_block(session, handle, false);
}

int shmb_cache(shmb_session *session, shmb_handle handle)
{
	return seal_block(session, handle, true);
}

/* ---- Metadata --------------------------------------------------------------------------------------------------- */

int shmb_set_metadata(shmb_session *session, shmb_handle handle, const void *metadata, size_t size)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__SetMetadata set = SHMBUDDY__V1__SET_METADATA__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct call call;
	int r = block_check_handle(handle);

	if (r == 0)
		r = block_check_metadata(metadata, size);
	if (r < 0)
		return r;
	set.handle = &wire;
	set.metadata = (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)metadata}; /* protobuf-c only reads it */
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_SET_METADATA;
	request.set_metadata = &set;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

int shmb_get_metadata(shmb_session *session, shmb_handle handle, void *buffer, size_t size, size_t *out_size)
{
	uint8_t bytes[METADATA_MAX];
	uint32_t length = 0;
	int r = block_check_handle(handle);

	if (r < 0)
		return r;
	if (!out_size || (size && !buffer))
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_size ? "the buffer" : "out_size");
	r = session_enter_view(session);
	if (r < 0)
		return r;
	if (handle.incarnation != session->incarnation)
		return last_error_set(ERROR_OTHER_POOL, "%s", error_sentence(ERROR_OTHER_POOL));
	if (handle.index < inspect_block_records(&session->mapping->view))
		r = view_read_metadata(&session->mapping->view, handle.index, handle.id, bytes, &length);
	if (r < 0)
		return last_error_set(ERROR_CORRUPT, "the metadata of block %llu is not what was written",
		                      (unsigned long long)handle.id);
	if (r == 0)
		return last_error_set(ERROR_STALE_HANDLE, "%s", error_sentence(ERROR_STALE_HANDLE));
	if (length > size)
		return last_error_set(ERROR_INVALID_ARGUMENT,
		                      "the block has %u bytes of metadata, and the buffer %zu: %d are always enough", length, size,
		                      SHMB_METADATA_MAX);
	if (length && buffer)
		memcpy(buffer, bytes, length);
	*out_size = length;
	return 0;
}

/* ---- Size ------------------------------------------------------------------------------------------------------- */

struct resize_call {
	struct call call;
	const struct shmb_session *session;
	shmb_handle handle;
	uint64_t size;
	shmb_block block;
	bool moved;
};

static int take_resized(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	struct resize_call *resize = (struct resize_call *)call;
	shmb_block block;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_RESIZED ||
	    block_from_message(resize->session, reply->resized->block, &block) < 0)
		return -EPROTO;
	/* Sent again after others have resized it too, it is answered with the size of now. */
	if (reply->resized->moved ? block.handle.id == resize->handle.id || block.size != resize->size
	                          : block.handle.id != resize->handle.id)
		return -EPROTO;
	resize->block = block;
	resize->moved = reply->resized->moved;
	return 0;
}

int shmb_resize(shmb_session *session, shmb_handle handle, uint64_t size, shmb_block *out_block, bool *out_moved)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Resize body = SHMBUDDY__V1__RESIZE__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct resize_call resize = {.session = session, .handle = handle, .size = size};
	int r = block_check_handle(handle);

	if (r < 0)
		return r;
	if (!out_block || !out_moved)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", out_block ? "out_moved" : "out_block");
	if (size == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "a block has 1 byte or more, not 0");
	body.handle = &wire;
	body.size = size;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RESIZE;
	request.resize = &body;
	call_init(&resize.call, take_resized);
	r = session_perform(session, &resize.call, &request);
	if (r == 0 && resize.moved)
		r = block_hand_out(session, &resize.block, &resize.block);
	if (r < 0)
		return r;
	/* In its place it keeps its address, though it may be sealed by the time that a daemon answers in the place of a dead one. */
	if (!resize.moved)
		resize.block.data = session->mapping->base + resize.block.offset;
	*out_block = resize.block;
	*out_moved = resize.moved;
	return 0;
}
