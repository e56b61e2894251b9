/* SPDX-License-Identifier: Apache-2.0 */
/* Lookup: a block by its name, and a reference to it for the session. */
#include "request.h"

#include <string.h>

#include "errors.h"
#include "lifetime.h"
#include "name.h"

static void refuse(struct request *request, int error)
{
	slot_refuse(&request->slot, SLOT_LOOKUP, (uint32_t)error);
	request_reply(request, error, NULL);
}

/* Steps 1 and 2 of the slot: what is looked up, and what the count of the reference becomes. */
static void begin(struct request *request, uint32_t block, uint32_t reference, uint32_t next)
{
	struct slot_record *record = slot_begin(&request->slot, SLOT_LOOKUP);

	record->block = block;
	record->id = record_id(blocks_word(&request->pool->blocks, block));
	record->reference = reference + 1;
	record->next = next;
}

void request_lookup(struct request *request)
{
	const char *name = request->message->lookup->name;
	struct session *session = request->slot.session;
	struct pool *pool = request->pool;
	uint32_t name_index, reference;

	if (name_check(name, strlen(name)) < 0) {
		refuse(request, ERROR_BAD_NAME);
		return;
	}
	if (names_find(&pool->names, name, strlen(name), &name_index) < 0) {
		refuse(request, ERROR_NO_SUCH_NAME);
		return;
	}
	uint32_t block = pool->names.records[name_index].block;
	uint32_t link = lifetime_find_reference(session, block);
	if (link) {
		uint32_t count = REFERENCE_COUNT(references_word(&pool->references, link - 1));
		if (count == REFERENCE_COUNT_MAX) {
			refuse(request, ERROR_LIMIT);
			return;
		}
		begin(request, block, link - 1, count + 1);
		slot_decide(&request->slot);
		lifetime_set_reference(session, link - 1, count + 1);
	} else {
		if (table_take(&pool->references.table, &reference) < 0) {
			refuse(request, ERROR_LIMIT);
			return;
		}
		begin(request, block, reference, 1);
		references_write(&pool->references, reference, session->number, block, record_id(blocks_word(&pool->blocks, block)));
		slot_decide(&request->slot);
		lifetime_add_reference(session, reference);
	}
	slot_done(&request->slot);
	reply_block(request->connection, request->slot.index, request->slot.sequence, pool, block);
}
