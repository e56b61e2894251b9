/* SPDX-License-Identifier: Apache-2.0 */
/* Unpublish: a name is taken away, by its publisher's uid or by an administrator; its block goes with it if nothing else holds it. */
#include "request.h"

#include <string.h>

#include "errors.h"
#include "lifetime.h"
#include "name.h"

void request_unpublish(struct request *request)
{
	const char *name = request->message->unpublish->name;
	struct pool *pool = request->pool;
	uint32_t uid = request->slot.session->record->uid, index;
	int error = 0;

	if (name_check(name, strlen(name)) < 0)
		error = ERROR_BAD_NAME;
	else if (names_find(&pool->names, name, strlen(name), &index) < 0)
		error = ERROR_NO_SUCH_NAME;
	else if (names_body(&pool->names, index)->uid != uid && uid != 0)
		error = ERROR_DENIED;
	if (error) {
		slot_refuse(&request->slot, SLOT_UNPUBLISH, (uint32_t)error);
		if (error == ERROR_DENIED)
			request_reply(request, error, "the name belongs to uid %u: only that user and root may remove it",
			              (unsigned)names_body(&pool->names, index)->uid);
		else
			request_reply(request, error, NULL);
		return;
	}
	struct slot_record *record = slot_begin(&request->slot, SLOT_UNPUBLISH);
	record->name = index + 1;
	record->id = record_id(names_word(&pool->names, index));
	slot_decide(&request->slot);
	lifetime_drop_name(pool, index);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
