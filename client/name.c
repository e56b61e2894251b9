/* SPDX-License-Identifier: Apache-2.0 */
/* Names: publish, unpublish, look up, wait for. Which names there may be is shared/name.h's. */
#include <string.h>

#include "block.h"
#include "name.h"

static int check(const char *name)
{
	if (!name)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the name is NULL");
	if (name_check(name, strlen(name)) < 0)
		return last_error_set(ERROR_BAD_NAME, "%s", error_sentence(ERROR_BAD_NAME));
	return 0;
}

int shmb_publish(shmb_session *session, shmb_handle handle, const char *name)
{
	return shmb_publish_with(session, handle, name, NULL);
}

int shmb_publish_with(shmb_session *session, shmb_handle handle, const char *name, const shmb_publish_options *options)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Publish publish = SHMBUDDY__V1__PUBLISH__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);
	struct call call;
	int r = check(name);

	if (r == 0)
		r = block_check_handle(handle);
	if (r < 0)
		return r;
	publish.handle = &wire;
	publish.name = (char *)(uintptr_t)name;
	if (options) {
		publish.replace = options->replace;
		publish.offset = options->offset;
		publish.length = options->length;
	}
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_PUBLISH;
	request.publish = &publish;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

int shmb_unpublish(shmb_session *session, const char *name)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Unpublish unpublish = SHMBUDDY__V1__UNPUBLISH__INIT;
	struct call call;
	int r = check(name);

	if (r < 0)
		return r;
	unpublish.name = (char *)(uintptr_t)name;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_UNPUBLISH;
	request.unpublish = &unpublish;
	call_init(&call, NULL);
	return session_perform(session, &call, &request);
}

static int look_up(shmb_session *session, const char *name, uint32_t wait_ms, shmb_block *out_block)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Lookup body = SHMBUDDY__V1__LOOKUP__INIT;
	shmb_block block;
	int r;

	if (!out_block)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_block is NULL");
	r = check(name);
	if (r < 0)
		return r;
	r = session_enter(session);
	if (r < 0)
		return r;
	if (holds_look_up(session, name, strlen(name), &block))
		return block_hand_out(session, &block, out_block);
	body.name = (char *)(uintptr_t)name;
	body.wait_ms = wait_ms;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_LOOKUP;
	request.lookup = &body;
	return block_fetch(session, &request, wait_ms ? &body.wait_ms : NULL, out_block);
}

int shmb_lookup(shmb_session *session, const char *name, shmb_block *out_block)
{
	return look_up(session, name, 0, out_block);
}

int shmb_lookup_wait(shmb_session *session, const char *name, uint32_t timeout_ms, shmb_block *out_block)
{
	return look_up(session, name, timeout_ms, out_block);
}
