/* SPDX-License-Identifier: Apache-2.0 */
/* Lookup: a block by its name, and a reference to it for the session. */
#include "request.h"

#include <string.h>

#include "acquisition.h"
#include "errors.h"
#include "name.h"

void request_lookup(struct request *request)
{
	const char *name = request->message->lookup->name;
	const struct pool *pool = request->pool;
	uint32_t index, block = 0;
	int error = 0;

	if (name_check(name, strlen(name)) < 0)
		error = ERROR_BAD_NAME;
	else if (names_find(&pool->names, name, strlen(name), &index) < 0)
		error = ERROR_NO_SUCH_NAME;
	if (!error) {
		block = pool->names.records[index].block;
		error = acquisition_perform(&request->slot, SLOT_LOOKUP, block);
	}
	if (error) {
		slot_refuse(&request->slot, SLOT_LOOKUP, (uint32_t)error);
		request_reply(request, error, NULL);
		return;
	}
	reply_block(request->connection, request->slot.index, request->slot.sequence, pool, block);
}
