/* SPDX-License-Identifier: Apache-2.0 */
/* Link and Unlink: a block holds another, or does not any more. The session holds the one that holds; to link, both. */
#include "request.h"

#include <stdio.h>

#include "charge.h"
#include "errors.h"
#include "handle.h"
#include "lifetime.h"

static struct handle handle_of(const Shmbuddy__V1__Handle *message)
{
	return (struct handle){message->id, message->index, message->incarnation};
}

static void refuse(struct request *request, enum slot_operation operation, int error, const char *text)
{
	slot_refuse(&request->slot, operation, (uint32_t)error);
	if (text[0])
		request_reply(request, error, "%s", text);
	else if (error == ERROR_INVALID_ARGUMENT)
		request_reply(request, error, "a link goes from one block to another");
	else
		request_reply(request, error, NULL);
}

static struct slot_record *begin(struct request *request, enum slot_operation operation, uint32_t link,
                                 const struct link_record *content)
{
	struct slot_record *record = slot_begin(&request->slot, operation);

	record->id = content->to_id;
	record->block = content->from;
	record->reference = link + 1;
	return record;
}

/* The two ends, as far as the message names live ones that the session holds. 0, or an ERROR_*. */
static int check(struct request *request, const Shmbuddy__V1__Handle *from, const Shmbuddy__V1__Handle *to, bool both)
{
	if (!from || !to || from->id == to->id)
		return ERROR_INVALID_ARGUMENT;
	const struct handle ends[] = {handle_of(from), handle_of(to)};
	struct session *session = request->slot.session;
	int error = handle_check_held(session, &ends[0]);
	if (!error)
		error = both ? handle_check_held(session, &ends[1]) : handle_find_to_acquire(session, &ends[1]);
	return error;
}

void request_link(struct request *request)
{
	const Shmbuddy__V1__Handle *from = request->message->link->from, *to = request->message->link->to;
	struct pool *pool = request->pool;
	const struct session *session = request->slot.session;
	char text[CHARGE_TEXT_MAX] = "";
	uint32_t index;
	int error = check(request, from, to, true);
	bool there = !error && lifetime_find_link(pool, from->index, to->index);

	/* Else it could be held by a circle through itself, which the collector does not see while the pool keeps it. */
	if (!error && blocks_is_cached(&pool->blocks, from->index)) {
		error = ERROR_SEALED;
		snprintf(text, sizeof text, "a cache block holds no others");
	}
	if (!error && !there)
		error = charge_check(session, QUOTA_LINKS, text);
	if (!error && !there && table_take(&pool->links.table, &index) < 0)
		error = ERROR_LIMIT;
	if (error || there) {
		if (error) {
			refuse(request, SLOT_LINK, error, text);
			return;
		}
		slot_refuse(&request->slot, SLOT_LINK, 0); /* it was so before */
		request_reply(request, 0, NULL);
		return;
	}
	/* Whoever reads the one block finds the other's handle there. */
	blocks_share(&pool->blocks, to->index);
	const struct link_record content = {
		.from = from->index,
		.to = to->index,
		.from_id = from->id,
		.to_id = to->id,
		.session = session_key(session),
		.uid = session->record->uid,
	};
	begin(request, SLOT_LINK, index, &content);
	links_write(&pool->links, index, &content);
	slot_decide(&request->slot);
	lifetime_add_link(pool, index);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}

void request_unlink(struct request *request)
{
	const Shmbuddy__V1__Handle *from = request->message->unlink->from, *to = request->message->unlink->to;
	struct pool *pool = request->pool;
	int error = check(request, from, to, false);
	uint32_t link = error ? 0 : lifetime_find_link(pool, from->index, to->index);

	if (!error && !link)
		error = ERROR_NO_SUCH_LINK;
	if (error) {
		refuse(request, SLOT_UNLINK, error, "");
		return;
	}
	begin(request, SLOT_UNLINK, link - 1, &pool->links.records[link - 1]);
	slot_decide(&request->slot);
	lifetime_drop_link(pool, link - 1);
	slot_done(&request->slot);
	request_reply(request, 0, NULL);
	pool_publish_counters(pool);
}
