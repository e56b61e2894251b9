/* SPDX-License-Identifier: Apache-2.0 */
/* Publish: a block that the session holds, or a range of it, gets a name, which holds the block from then on. */
#include "request.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "errors.h"
#include "handle.h"
#include "name.h"
#include "publication.h"

/* 0, or an ERROR_*; where it has more to say than the list of errors, in `out_text`. */
static int check(const struct request *request, char out_text[PUBLICATION_TEXT_MAX])
{
	const Shmbuddy__V1__Publish *message = request->message->publish;
	const Shmbuddy__V1__Handle *handle = message->handle;

	if (!handle)
		return ERROR_INVALID_ARGUMENT;
	if (name_check(message->name, strlen(message->name)) < 0)
		return ERROR_BAD_NAME;
	int error = handle_check_held(request->slot.session, &(struct handle){handle->id, handle->index, handle->incarnation});
	if (error)
		return error;
	uint64_t size = blocks_body(&request->pool->blocks, handle->index)->size;
	if (message->offset >= size || message->length > size - message->offset) {
		snprintf(out_text, PUBLICATION_TEXT_MAX, "the range does not lie within the block, which has %llu %s",
		         (unsigned long long)size, size == 1 ? "byte" : "bytes");
		return ERROR_INVALID_ARGUMENT;
	}
	return 0;
}

static void publish(struct request *request, const struct publication *publication)
{
	const Shmbuddy__V1__Publish *message = request->message->publish;
	struct pool *pool = request->pool;
	const uint32_t block = message->handle->index;

	blocks_share(&pool->blocks, block);
	struct slot_record *record = slot_begin(&request->slot, SLOT_PUBLISH);
	record->block = block;
	record->id = message->handle->id;
	publication_write(pool, publication,
	                  &(struct name_content){
						  .id = pool_take_ids(pool, 1),
						  .block = block,
						  .block_id = record->id,
						  .range = {message->offset, message->length},
						  .created_ns = clock_realtime_ns(),
						  .session = session_key(request->slot.session),
						  .uid = request->slot.session->record->uid,
						  .name = message->name,
						  .name_length = strlen(message->name),
					  },
	                  record);
	slot_decide(&request->slot);
	publication_apply(pool, publication);
	slot_done(&request->slot);
}

void request_publish(struct request *request)
{
	const Shmbuddy__V1__Publish *message = request->message->publish;
	const struct publication_wish wish = {message->name, strlen(message->name), message->replace, request->slot.session};
	struct publication publication;
	char text[PUBLICATION_TEXT_MAX] = "";
	int error = check(request, text);

	if (!error)
		error = publication_prepare(request->pool, &wish, &publication, text);
	if (error) {
		slot_refuse(&request->slot, SLOT_PUBLISH, (uint32_t)error);
		request_reply(request, error, "%s", text[0] ? text : error_sentence(error));
		return;
	}
	publish(request, &publication);
	request_reply(request, 0, NULL);
	pool_publish_counters(request->pool);
}
