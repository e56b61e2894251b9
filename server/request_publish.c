/* SPDX-License-Identifier: Apache-2.0 */
/* Publish: a block that the session holds gets a name, which holds it from then on. */
#include "request.h"

#include <string.h>

#include "clock.h"
#include "errors.h"
#include "lifetime.h"
#include "name.h"

static int check(const struct request *request, const char *name)
{
	const Shmbuddy__V1__Handle *handle = request->message->publish->handle;
	uint32_t taken;

	if (!handle)
		return ERROR_INVALID_ARGUMENT;
	if (name_check(name, strlen(name)) < 0)
		return ERROR_BAD_NAME;
	int error = lifetime_check_held(request->slot.session, &(struct handle){handle->id, handle->index, handle->incarnation});
	if (error)
		return error;
	return names_find(&request->pool->names, name, strlen(name), &taken) == 0 ? ERROR_NAME_TAKEN : 0;
}

void request_publish(struct request *request)
{
	const char *name = request->message->publish->name;
	struct pool *pool = request->pool;
	uint32_t index;
	int error = check(request, name);

	if (!error && table_take(&pool->names.table, &index) < 0)
		error = ERROR_LIMIT;
	if (error) {
		slot_refuse(&request->slot, SLOT_PUBLISH, (uint32_t)error);
		if (error == ERROR_NAME_TAKEN)
			request_reply(request, error,
			              "a block is published under this name already: choose another, or remove it first");
		else
			request_reply(request, error, NULL);
		return;
	}
	const uint32_t block = request->message->publish->handle->index;
	blocks_share(&pool->blocks, block);
	struct slot_record *record = slot_begin(&request->slot, SLOT_PUBLISH);
	record->block = block;
	record->id = record_id(blocks_word(&pool->blocks, block));
	record->name = index + 1;
	names_write(&pool->names, index,
	            &(struct name_content){
					.id = pool_take_ids(pool, 1),
					.block = block,
					.block_id = record->id,
					.length = blocks_body(&pool->blocks, block)->size,
					.created_ns = clock_realtime_ns(),
					.uid = request->slot.session->record->uid,
					.name = name,
					.name_length = strlen(name),
				});
	slot_decide(&request->slot);
	lifetime_add_name(pool, index);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
