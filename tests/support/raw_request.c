/* SPDX-License-Identifier: Apache-2.0 */
/* Requests word by word: see raw_request.h. */
#include "tests/support/raw_request.h"

/* Protobuf-c wants strings and bytes that may be written to, and does not write to what it packs. */
static char *text_of(const char *text)
{
	return (char *)(uintptr_t)(text ? text : "");
}

static ProtobufCBinaryData bytes_of(const void *bytes, size_t size)
{
	return (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)bytes};
}

static Shmbuddy__V1__Handle *copy_handle(const Shmbuddy__V1__Handle *handle, Shmbuddy__V1__Handle *copy)
{
	if (!handle)
		return NULL;
	*copy = *handle;
	return copy;
}

/* A request that stays where it is: a caller may fill in slot and sequence later. */
#define REQUEST(field, NAME, message)                                                                                       \
	static Shmbuddy__V1__Request request;                                                                                   \
	request = (Shmbuddy__V1__Request)SHMBUDDY__V1__REQUEST__INIT;                                                           \
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_##NAME;                                                       \
	request.field = &(message)

Shmbuddy__V1__Request *raw_request_ping(void)
{
	static Shmbuddy__V1__Ping message;
	REQUEST(ping, PING, message);
	message = (Shmbuddy__V1__Ping)SHMBUDDY__V1__PING__INIT;
	return &request;
}

Shmbuddy__V1__Request *raw_request_allocate(uint64_t size, const char *name)
{
	static Shmbuddy__V1__Allocate message;
	REQUEST(allocate, ALLOCATE, message);
	message = (Shmbuddy__V1__Allocate)SHMBUDDY__V1__ALLOCATE__INIT;
	message.size = size;
	message.name = text_of(name);
	return &request;
}

Shmbuddy__V1__Request *raw_request_free(const Shmbuddy__V1__Handle *handle)
{
	static Shmbuddy__V1__Free message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(free, FREE, message);
	message = (Shmbuddy__V1__Free)SHMBUDDY__V1__FREE__INIT;
	message.handle = copy_handle(handle, &copy);
	return &request;
}

Shmbuddy__V1__Request *raw_request_remove(const Shmbuddy__V1__Handle *handle)
{
	static Shmbuddy__V1__Remove message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(remove, REMOVE, message);
	message = (Shmbuddy__V1__Remove)SHMBUDDY__V1__REMOVE__INIT;
	message.handle = copy_handle(handle, &copy);
	return &request;
}

Shmbuddy__V1__Request *raw_request_acquire(const Shmbuddy__V1__Handle *handle)
{
	static Shmbuddy__V1__Acquire message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(acquire, ACQUIRE, message);
	message = (Shmbuddy__V1__Acquire)SHMBUDDY__V1__ACQUIRE__INIT;
	message.handle = copy_handle(handle, &copy);
	return &request;
}

Shmbuddy__V1__Request *raw_request_lookup(const char *name)
{
	static Shmbuddy__V1__Lookup message;
	REQUEST(lookup, LOOKUP, message);
	message = (Shmbuddy__V1__Lookup)SHMBUDDY__V1__LOOKUP__INIT;
	message.name = text_of(name);
	return &request;
}

Shmbuddy__V1__Request *raw_request_publish(const Shmbuddy__V1__Handle *handle, const char *name)
{
	static Shmbuddy__V1__Publish message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(publish, PUBLISH, message);
	message = (Shmbuddy__V1__Publish)SHMBUDDY__V1__PUBLISH__INIT;
	message.handle = copy_handle(handle, &copy);
	message.name = text_of(name);
	return &request;
}

Shmbuddy__V1__Request *raw_request_publish_range(const Shmbuddy__V1__Handle *handle, const char *name, bool replace,
                                                 uint64_t offset, uint64_t length)
{
	Shmbuddy__V1__Request *request = raw_request_publish(handle, name);

	request->publish->replace = replace;
	request->publish->offset = offset;
	request->publish->length = length;
	return request;
}

Shmbuddy__V1__Request *raw_request_unpublish(const char *name)
{
	static Shmbuddy__V1__Unpublish message;
	REQUEST(unpublish, UNPUBLISH, message);
	message = (Shmbuddy__V1__Unpublish)SHMBUDDY__V1__UNPUBLISH__INIT;
	message.name = text_of(name);
	return &request;
}

Shmbuddy__V1__Request *raw_request_link(const Shmbuddy__V1__Handle *from, const Shmbuddy__V1__Handle *to)
{
	static Shmbuddy__V1__Link message;
	static Shmbuddy__V1__Handle ends[2];
	REQUEST(link, LINK, message);
	message = (Shmbuddy__V1__Link)SHMBUDDY__V1__LINK__INIT;
	message.from = copy_handle(from, &ends[0]);
	message.to = copy_handle(to, &ends[1]);
	return &request;
}

Shmbuddy__V1__Request *raw_request_unlink(const Shmbuddy__V1__Handle *from, const Shmbuddy__V1__Handle *to)
{
	static Shmbuddy__V1__Unlink message;
	static Shmbuddy__V1__Handle ends[2];
	REQUEST(unlink, UNLINK, message);
	message = (Shmbuddy__V1__Unlink)SHMBUDDY__V1__UNLINK__INIT;
	message.from = copy_handle(from, &ends[0]);
	message.to = copy_handle(to, &ends[1]);
	return &request;
}

Shmbuddy__V1__Request *raw_request_collect(void)
{
	static Shmbuddy__V1__Collect message;
	REQUEST(collect, COLLECT, message);
	message = (Shmbuddy__V1__Collect)SHMBUDDY__V1__COLLECT__INIT;
	return &request;
}

Shmbuddy__V1__Request *raw_request_share(const Shmbuddy__V1__Handle *handle, uint64_t ttl_ms)
{
	static Shmbuddy__V1__Share message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(share, SHARE, message);
	message = (Shmbuddy__V1__Share)SHMBUDDY__V1__SHARE__INIT;
	message.handle = copy_handle(handle, &copy);
	message.ttl_ms = ttl_ms;
	return &request;
}

Shmbuddy__V1__Request *raw_request_redeem(const uint8_t *token, size_t size)
{
	static Shmbuddy__V1__Redeem message;
	REQUEST(redeem, REDEEM, message);
	message = (Shmbuddy__V1__Redeem)SHMBUDDY__V1__REDEEM__INIT;
	message.token = bytes_of(token, size);
	return &request;
}

Shmbuddy__V1__Request *raw_request_revoke(const uint8_t *token, size_t size)
{
	static Shmbuddy__V1__Revoke message;
	REQUEST(revoke, REVOKE, message);
	message = (Shmbuddy__V1__Revoke)SHMBUDDY__V1__REVOKE__INIT;
	message.token = bytes_of(token, size);
	return &request;
}

Shmbuddy__V1__Request *raw_request_renew(const Shmbuddy__V1__Handle *handle, uint64_t ttl_ms)
{
	static Shmbuddy__V1__Renew message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(renew, RENEW, message);
	message = (Shmbuddy__V1__Renew)SHMBUDDY__V1__RENEW__INIT;
	message.handle = copy_handle(handle, &copy);
	message.ttl_ms = ttl_ms;
	return &request;
}

Shmbuddy__V1__Request *raw_request_seal(const Shmbuddy__V1__Handle *handle)
{
	static Shmbuddy__V1__Seal message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(seal, SEAL, message);
	message = (Shmbuddy__V1__Seal)SHMBUDDY__V1__SEAL__INIT;
	message.handle = copy_handle(handle, &copy);
	return &request;
}

Shmbuddy__V1__Request *raw_request_cache(const Shmbuddy__V1__Handle *handle)
{
	Shmbuddy__V1__Request *request = raw_request_seal(handle);

	request->seal->cached = true;
	return request;
}

Shmbuddy__V1__Request *raw_request_set_metadata(const Shmbuddy__V1__Handle *handle, const void *metadata, size_t size)
{
	static Shmbuddy__V1__SetMetadata message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(set_metadata, SET_METADATA, message);
	message = (Shmbuddy__V1__SetMetadata)SHMBUDDY__V1__SET_METADATA__INIT;
	message.handle = copy_handle(handle, &copy);
	message.metadata = bytes_of(metadata, size);
	return &request;
}

Shmbuddy__V1__Request *raw_request_resize(const Shmbuddy__V1__Handle *handle, uint64_t size)
{
	static Shmbuddy__V1__Resize message;
	static Shmbuddy__V1__Handle copy;
	REQUEST(resize, RESIZE, message);
	message = (Shmbuddy__V1__Resize)SHMBUDDY__V1__RESIZE__INIT;
	message.handle = copy_handle(handle, &copy);
	message.size = size;
	return &request;
}

Shmbuddy__V1__Request *raw_request_clone(uint32_t incarnation, const uint64_t *ids, size_t id_count, const uint32_t *indexes,
                                         size_t index_count)
{
	static Shmbuddy__V1__Clone message;
	REQUEST(clone, CLONE, message);
	message = (Shmbuddy__V1__Clone)SHMBUDDY__V1__CLONE__INIT;
	message.incarnation = incarnation;
	message.id = (uint64_t *)(uintptr_t)ids;
	message.n_id = id_count;
	message.index = (uint32_t *)(uintptr_t)indexes;
	message.n_index = index_count;
	return &request;
}

Shmbuddy__V1__Request *raw_request_end_session(uint32_t number)
{
	static Shmbuddy__V1__EndSession message;
	REQUEST(end_session, END_SESSION, message);
	message = (Shmbuddy__V1__EndSession)SHMBUDDY__V1__END_SESSION__INIT;
	message.session = number;
	return &request;
}
